"""Proof that the event log is what was written: its hashes, their check, its export."""
