"""The journal of paid calls: SQLite, every attempt and every raw reply, shared by all stages and processes."""
