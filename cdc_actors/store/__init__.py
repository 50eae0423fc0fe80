"""How the truth is kept: event log, checkpoints and secrets, on SQLite or PostgreSQL."""
