"""One run from its options to its directory: resolve, seed, coordinate, conclude, read back."""
