"""`loadgen watch`: the samplers without a load, for a host in production.

headroom     how near each limit is, and when it is reached at this rate (pure)
table        what a terminal shows of it
openmetrics  what a Prometheus server scrapes of it
session      the readers of one namespace, read in turn
"""
