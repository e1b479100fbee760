"""Generators of hostile input, seeded: a small count in the suite, a large one under bench/."""
