"""Connection-churn load generator: opens short TCP connections and watches the kernel.

The pure modules (schedule, protocol, outcome, accounting, histogram, diagnosis, summary, …) import
no socket, clock, file or trio. The shell around them (engine, worker, coordinator, sampling, cli)
does the work. `loadgen` knows nothing of tunings and labs; `lab` uses it, never the reverse.
"""

from importlib import metadata

__version__ = metadata.version("churnlab")
