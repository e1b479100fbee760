"""One trial, and many of them interleaved."""
