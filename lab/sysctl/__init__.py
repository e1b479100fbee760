"""What a line of a tuning is: its key, its value, who may set it, and whether it holds."""
