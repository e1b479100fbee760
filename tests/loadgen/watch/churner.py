"""Opens and closes short connections at a steady rate; a program of its own, to be put in a cgroup.

python churner.py SECONDS RATE HOST:PORT... takes the destinations in turn. What it opened is its last
line of output.
"""

from __future__ import annotations

import socket
import sys
import time


def main(seconds: float, rate: float, targets: list[tuple[str, int]]) -> int:
    """Return how many connections were opened."""
    start = time.monotonic()
    opened = 0
    while (now := time.monotonic()) < start + seconds:
        due = int((now - start) * rate)
        if opened >= due:
            time.sleep(0.001)
            continue
        while opened < due:
            with socket.create_connection(targets[opened % len(targets)]):
                pass
            opened += 1
    return opened


if __name__ == "__main__":
    places = [(host, int(port)) for host, _, port in (text.partition(":") for text in sys.argv[3:])]
    print(main(float(sys.argv[1]), float(sys.argv[2]), places))
