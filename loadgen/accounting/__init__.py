"""What workers count, what they say of it, and how it adds up to a run's figures."""
