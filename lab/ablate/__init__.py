"""Which line of a tuning does the work: each left out, and each alone.

lines     which lines can do anything here, and which cannot and why
arms      the tunings to be compared: all lines, none, all but one, one alone (pure)
records   what an ablation leaves on disk
weigh     from the trials to the weight of each line (pure)
render    the report (pure)
tracked   a testbed whose servers track their connections
"""
