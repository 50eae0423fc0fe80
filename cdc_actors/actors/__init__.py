"""Who acts: the supervisor, and for each task its reader and appliers."""
