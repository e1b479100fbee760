"""Writers: each takes a summary and returns one form of it."""
