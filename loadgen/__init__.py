"""Connection-churn load generator: opens short TCP connections and watches the kernel.

docs/design.md says which modules are pure, without socket, clock, file or trio; the shell around
them does the work. `loadgen` knows nothing of tunings and labs; `lab` uses it, never the reverse.
"""

from importlib import metadata

try:
    __version__ = metadata.version("churnlab")
except metadata.PackageNotFoundError:  # a checkout on PYTHONPATH, never installed
    __version__ = "0+checkout"
