"""Directories that nobody's run wrote, and what the commands that read them do."""
