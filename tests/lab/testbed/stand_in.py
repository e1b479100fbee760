"""Stands in for `loadgen run` where a test is about the testbed, not about load.

    stand_in.py [--exit CODE] [--from ADDRESS]… [--forever | --stubborn] TARGET… --netns server=PATH

Connects once from each address to each target and says what it saw as one line of JSON. With
`--forever` it then waits for SIGINT, with `--stubborn` it waits and ignores SIGINT; both have a
worker process that holds on to its pipe, as loadgen's do. Runs with the standard library alone.
"""

import argparse
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

WORKER = "import sys; sys.stdin.read()"


def ask(target: str, source: str) -> str:
    """Return the address that a connection came from, after the target answered."""
    host, _, port = target.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5, source_address=(source, 0)) as link:
        link.sendall(b"version\r\n")
        assert link.recv(64).startswith(b"VERSION ")
        address: str = link.getsockname()[0]
        return address


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("targets", nargs="*")
    parser.add_argument("--exit", type=int, default=0)
    parser.add_argument("--from", dest="sources", action="append")
    parser.add_argument("--forever", action="store_true")
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--netns")
    options = parser.parse_args()
    worker = None
    if options.forever or options.stubborn:
        worker = subprocess.Popen([sys.executable, "-I", "-c", WORKER], stdin=subprocess.PIPE)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    saw = {
        "pid": os.getpid(),
        "worker": worker and worker.pid,
        "sources": [ask(t, s) for t in options.targets for s in options.sources or ("",)],
        "client": Path("/proc/self/ns/net").stat().st_ino,
        "server": Path(options.netns.removeprefix("server=")).stat().st_ino,
        "nofile": resource.getrlimit(resource.RLIMIT_NOFILE),
        "group": os.getpgrp(),
    }
    print(json.dumps(saw), flush=True)
    if worker is not None:
        signal.sigwait({signal.SIGINT})
        print("interrupted", flush=True)
        if options.stubborn:
            signal.sigwait({signal.SIGTERM})
        worker.communicate()
        return 130
    code: int = options.exit
    return code


if __name__ == "__main__":
    sys.exit(main())
