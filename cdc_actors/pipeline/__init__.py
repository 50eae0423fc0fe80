"""The data plane: one run of one task, from the source's log to the target."""
