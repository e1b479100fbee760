"""Opens and closes short connections at a steady rate; a program of its own, to be put in a cgroup.

python churner.py SECONDS RATE HOLD HOST:PORT... takes the destinations in turn and keeps each connection
for HOLD seconds. Its last line of output is how many it opened, and after how many seconds of
CLOCK_MONOTONIC no port was left, or `-`.
"""

from __future__ import annotations

import errno
import socket
import sys
import time


def main(
    seconds: float, rate: float, hold: float, targets: list[tuple[str, int]]
) -> tuple[int, float | None]:
    """Return how many connections were opened, and when no port was left."""
    start = time.monotonic()
    opened = 0
    while (now := time.monotonic()) < start + seconds:
        due = int((now - start) * rate)
        if opened >= due:
            time.sleep(0.001)
            continue
        while opened < due:
            try:
                with socket.create_connection(targets[opened % len(targets)]):
                    time.sleep(hold)
            except OSError as error:
                if error.errno != errno.EADDRNOTAVAIL:
                    raise
                return opened, time.monotonic()
            opened += 1
    return opened, None


if __name__ == "__main__":
    places = [(host, int(port)) for host, _, port in (text.partition(":") for text in sys.argv[4:])]
    length, each, hold = map(float, sys.argv[1:4])
    count, full = main(length, each, hold, places)
    print(count, "-" if full is None else full)
