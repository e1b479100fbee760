"""A fleet: one run on several machines, its shards added up into one truth."""
