"""`loadgen watch`: the samplers without a load, for a host in production.

headroom     how near each limit is, and when it is reached at this rate (pure)
forecast     what one connect() costs now, and when it will be slow or fail (pure)
who          who uses what: by destination, process, container and unit (pure)
places       which container and unit a cgroup is (pure)
words        how all that is written for people (pure)
view         what a terminal shows of it (pure)
terminal     the terminal itself: keys, sizes
recording    what a recording is made of (pure)
moments      what is worth a mark in it (pure)
courses      a recording of days boiled down (pure)
recorder     writes a recording
recorded     reads one back
names        names for addresses and ports, on request
http         an HTTP server that is bounded in everything
openmetrics  what a Prometheus server scrapes of it
session      the readers of one namespace, read in turn
"""
