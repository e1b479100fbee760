"""Measured capacities: the search for the highest rate a tuning sustains, against the forecast.

search    the bracketing search: which rate to try next, when to stop (pure)
records   what a sweep and a validation leave on disk
cases     small situations in which each part of the model can be measured (pure)
run       the trials themselves
render    text; plot: SVG (pure)
"""
