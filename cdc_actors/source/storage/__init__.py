"""The source's own files: the rows that its log may no longer hold."""
