"""Validation lab for TCP tuning: runs a load before and after a tuning and judges the difference.

`lab` uses `loadgen`, as a command in a fresh namespace or container for each trial, and reads the
run directories that it leaves; never the reverse.
"""
