"""What sampling costs with full tables: `python bench/sampler.py` (as root).

Makes a client's and a server's namespace of its own, joined by a veth pair in 198.18.0.0/15, fills
the client's with 28,000 TIME_WAIT sockets and 250,000 conntrack entries (ctnetlink, in that
namespace only; no setting of the host is touched), starts a memcached in the server's, and takes
10 samples a second of all of it as `loadgen run` does. Prints the CPU that each part cost as a
share of one core, and fails when the whole is 1 % or more.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from loadgen.namespace import new_namespace, run_inside
from loadgen.sample import ROLE_CLIENT, ROLE_GENERATOR, ROLE_HOST, ROLE_SERVER, encode_line
from loadgen.sampling import (
    MachineReader,
    MemcachedReader,
    NamespaceReader,
    ProcessReader,
    Reader,
    Sampler,
)
from loadgen.summary import Number

CLIENT, SERVER, PORT = "198.18.77.1", "198.18.77.2", 11211
INTERVAL = 0.1
STRIDE = 10
GOAL = 0.01


def run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def join(client: int, server: int) -> None:
    """Give each namespace one end of a veth pair."""
    other = f"/proc/{os.getpid()}/fd/{server}"
    pair = ("link", "add", "churn0", "type", "veth", "peer", "name", "churn1", "netns", other)
    run_inside(client, lambda: run("ip", *pair))
    for namespace, device, address in ((client, "churn0", CLIENT), (server, "churn1", SERVER)):
        for words in (
            ("addr", "add", f"{address}/24", "dev", device),
            ("link", "set", device, "up"),
            ("link", "set", "lo", "up"),
        ):
            run_inside(namespace, partial(run, "ip", *words))


def fill_time_wait(client: int, server: int, count: int) -> None:
    """Open and close `count` connections, the client first each time."""

    def listen() -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((SERVER, PORT))
        listener.listen(8)
        return listener

    def connect() -> None:
        # Twice the ports that are needed: connect() takes those of one parity first and is slow
        # once they are gone.
        Path("/proc/sys/net/ipv4/ip_local_port_range").write_text(f"5000 {5000 + 2 * count}")
        for _ in range(count):
            near = socket.socket()
            near.connect((SERVER, PORT))
            far, _ = listener.accept()
            near.close()
            far.close()

    with run_inside(server, listen) as listener:
        run_inside(client, connect)


def fill_conntrack(namespace: int, count: int) -> None:
    """Put `count` entries into the namespace's conntrack table through ctnetlink."""
    conntrack = shutil.which("conntrack")
    if conntrack is None:
        sys.exit("bench/sampler.py: no conntrack command; apt-get install conntrack")
    line = (
        "-A -t 120 -u SEEN_REPLY,ASSURED -s 198.19.{0}.{1} -d 198.19.255.1 -r 198.19.255.1 "
        "-q 198.19.{0}.{1} -p tcp --sport {2} --dport 9 --reply-port-src 9 --reply-port-dst {2} "
        "--state ESTABLISHED\n"
    )
    with tempfile.NamedTemporaryFile("w", suffix=".conntrack") as file:
        for number in range(count):
            host, port = divmod(number, 50_000)
            file.write(line.format(host // 250, host % 250 + 1, port + 1024))
        file.flush()
        run_inside(namespace, lambda: run(conntrack, "-R", file.name))


class Timed:
    """A reader that notes what CPU its readings cost."""

    def __init__(self, name: str, reader: Reader) -> None:
        self.name = name
        self.reader = reader
        self.absent = reader.absent
        self.seconds = 0.0
        self.readings = 0

    def read(self, *, now: float | None = None, force: bool = False) -> dict[str, Number]:
        before = time.thread_time()
        values = self.reader.read(now=now, force=force)
        self.seconds += time.thread_time() - before
        self.readings += bool(values)
        return values

    def close(self) -> None:
        self.reader.close()


def measure(readers: Mapping[str, list[Timed]], seconds: float) -> tuple[float, float, Sampler]:
    """Return elapsed and CPU seconds (of the process) of sampling for about `seconds`."""
    sampler = Sampler(
        readers, interval=INTERVAL, strides={ROLE_HOST: STRIDE, ROLE_GENERATOR: STRIDE}
    )
    start = time.monotonic()
    cpu = time.process_time()
    with Path(os.devnull).open("wb") as sink:
        for number in range(round(seconds / INTERVAL)):
            time.sleep(max(0.0, start + number * INTERVAL - time.monotonic()))
            sink.writelines(encode_line(sample) for sample in sampler.sample(start))
    return time.monotonic() - start, time.process_time() - cpu, sampler


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sockets", type=int, default=28_000, help="TIME_WAIT sockets")
    parser.add_argument("--entries", type=int, default=250_000, help="conntrack entries")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to sample")
    options = parser.parse_args()
    with ExitStack() as stack:
        client, server = new_namespace(), new_namespace()
        stack.callback(os.close, client)
        stack.callback(os.close, server)
        join(client, server)
        fill_conntrack(client, options.entries)
        fill_time_wait(client, server, options.sockets)
        memcached = run_inside(
            server,
            lambda: subprocess.Popen(["memcached", "-u", "nobody", "-l", SERVER, "-p", str(PORT)]),
        )
        stack.callback(memcached.wait)
        stack.callback(memcached.terminate)
        time.sleep(0.5)  # for memcached to listen; nothing is measured yet

        target = [(SERVER, PORT)]
        counted = NamespaceReader(client, targets=target, ports=True)
        readers = {
            ROLE_CLIENT: [Timed("client: namespace and ports", counted)],
            ROLE_SERVER: [
                Timed("server: namespace", NamespaceReader(server, targets=target)),
                Timed("server: memcached stats", MemcachedReader(target, namespace=server)),
            ],
            ROLE_HOST: [
                Timed("host: namespace", NamespaceReader(None)),
                Timed("host: CPUs and softnet", MachineReader()),
            ],
            ROLE_GENERATOR: [Timed("generator: process", ProcessReader([os.getpid()]))],
        }
        for group in readers.values():
            for reader in group:
                stack.callback(reader.close)
        full = counted.read(force=True)
        print(
            f"client: {full['sockstat_TCP_tw']} TIME_WAIT sockets, "
            f"{full['ephemeral_ports_in_use']} ports in use of "
            f"{full['ephemeral_ports_limit']}, {full['nf_conntrack_entries']} conntrack entries"
        )
        elapsed, cpu, sampler = measure(readers, options.seconds)
        report(readers, counted, elapsed, cpu, sampler)
        if cpu / elapsed >= GOAL:
            sys.exit(f"sampling used {cpu / elapsed:.2%} of one core; the goal is below {GOAL:.0%}")


def report(
    readers: Mapping[str, list[Timed]],
    counted: NamespaceReader,
    elapsed: float,
    cpu: float,
    sampler: Sampler,
) -> None:
    print(f"{'part':<30}{'readings':>10}{'µs each':>10}{'of one core':>13}")
    for group in readers.values():
        for part in group:
            each = part.seconds / part.readings * 1e6 if part.readings else 0.0
            print(f"{part.name:<30}{part.readings:>10}{each:>10.0f}{part.seconds / elapsed:>12.3%}")
    rest = cpu - sum(part.seconds for group in readers.values() for part in group)
    print(f"{'timing, encoding, sleeping':<30}{sampler.rounds:>10}{'':>10}{rest / elapsed:>12.3%}")
    print(f"{'all, CPU of the process':<30}{sampler.rounds:>10}{'':>10}{cpu / elapsed:>12.3%}")
    ports = counted.ports
    if ports is not None:
        print(
            f"a count of the ports costs {ports.pace.cost * 1e3:.1f} ms and is taken every "
            f"{ports.pace.cost / ports.pace.share:.1f} s"
        )
    print(
        f"longest round {sampler.longest * 1e3:.1f} ms, "
        f"{sampler.overruns} of {sampler.rounds} rounds overran {INTERVAL} s"
    )


if __name__ == "__main__":
    main()
