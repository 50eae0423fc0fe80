"""The control plane: who asks, which tasks there are, and what is to run."""
