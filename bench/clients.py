"""Other clients that open a connection per request, beside loadgen and the floor.

- pymemcache in threads: `loadgen run --client pymemcache`, the reference workload.
- pymemcache in a loop: the library alone, one thread, one `Client` per get, nothing around it.
- ab and wrk, without keep-alive, and loadgen, against nginx in the server's namespace: what the best
  known tools for another protocol reach with the same kernel. nginx runs one process, memcached four
  threads, and HTTP is a longer conversation; they are here for scale.
- redis-benchmark with a connection a request (-k 0), and loadgen, against Redis.

What a client says of itself is held against what its kernel counted (Tcp ActiveOpens): a request that had
no connection of its own does not count.

Clients that are not installed are left out, with a line that says how to get them.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import trio

from bench import arms, command
from bench.figures import Run
from bench.site import Ground, add_options, ground, run_of
from lab.testbed.base import TestbedError
from lab.testbed.processes import spawn
from loadgen.sampling.namespace import run_inside

_AGAINST = ("memcached", "nginx", "redis")
WEB_PORT = 8080
REDIS_PORT = 6379
_PACKAGES = {
    "nginx": "nginx-light",
    "ab": "apache2-utils",
    "wrk": "wrk",
    "redis-server": "redis-server",
    "redis-benchmark": "redis-tools",
}
_LOOP = """
import sys, time
from pymemcache.client.base import Client
host, port, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
begin, done = time.monotonic(), 0
while time.monotonic() < begin + seconds:
    client = Client((host, port))
    client.get("churnlab:1")
    client.close()
    done += 1
print(done, time.monotonic() - begin)
"""
_NGINX = """
daemon off; master_process off; pid {scratch}/nginx.pid; error_log stderr crit;
events {{ worker_connections 10000; }}
http {{
    access_log off; client_body_temp_path {scratch}; proxy_temp_path {scratch};
    fastcgi_temp_path {scratch}; uwsgi_temp_path {scratch}; scgi_temp_path {scratch};
    server {{ listen {address}:{port} backlog=4096; location / {{ return 200 "hello"; }} }}
}}
"""


def installed(name: str) -> str | None:
    """Return the path of a program, or say how to get it."""
    path = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if path is None:
        print(f"  left out: {name} is not installed (apt install {_PACKAGES[name]})")
    return path


def ab_served(printed: str) -> int:
    """Return how many requests `ab` says were served.

    Raises:
        ValueError: when it does not say so, or says that some failed.
    """
    complete = re.search(r"^Complete requests:\s+(\d+)", printed, re.MULTILINE)
    failed = re.search(r"^Failed requests:\s+(\d+)", printed, re.MULTILINE)
    if complete is None or failed is None or int(failed[1]):
        raise ValueError(f"ab did not serve all: {printed.strip()[-300:]!r}")
    return int(complete[1])


def wrk_served(printed: str) -> int:
    """Return how many requests `wrk` says were served.

    Raises:
        ValueError: when it does not say so, or says that some failed.
    """
    found = re.search(r"^\s+(\d+) requests in ", printed, re.MULTILINE)
    if found is None or "Socket errors" in printed or "Non-2xx" in printed:
        raise ValueError(f"wrk did not serve all: {printed.strip()[-300:]!r}")
    return int(found[1])


def redis_served(printed: str, requests: int) -> int:
    """Return how many requests `redis-benchmark` says were served: all, or it fails.

    Raises:
        ValueError: when it does not say so.
    """
    if re.search(r"\bGET: [0-9.]+ requests per second", printed) is None:
        raise ValueError(f"redis-benchmark did not serve all: {printed.strip()[-300:]!r}")
    return requests


def loop_served(printed: str) -> int:
    """Return how many gets the loop made.

    Raises:
        ValueError: when it printed something else.
    """
    return int(printed.split(maxsplit=1)[0])


async def program(site: Ground, words: list[str], served: Callable[[str], int]) -> Run:
    """Run a client's program in the client's namespace; the CPU is all that it used."""
    before, begin = os.times(), time.monotonic()
    printed = await site.output_of(words)
    after, seconds = os.times(), time.monotonic() - begin
    return Run(
        served(printed),
        seconds,
        after.children_user - before.children_user,
        after.children_system - before.children_system,
    )


async def with_pymemcache(site: Ground, seconds: float) -> Run:
    summary, _ = await site.loadgen(
        *("--client", "pymemcache", "--rate", "max", "--concurrency", "16"),
        *("--duration", f"{seconds}s", "--workers", "1"),
    )
    return run_of(summary)


@asynccontextmanager
async def serving(site: Ground, words: list[str], port: int) -> AsyncIterator[None]:
    """Run a server in the server's namespace; its CPU is part of the measurement.

    Raises:
        TestbedError: when it ended instead.
    """
    output = os.memfd_create("server")
    child = spawn(words, namespace=site.site.server, output=output)
    try:
        with trio.fail_after(10):
            while not run_inside(site.site.server, partial(_listens, port)):
                if child.returncode is not None:
                    raise TestbedError(f"{words[0]} ended: {os.pread(output, 500, 0).decode()}")
                await trio.sleep(0.02)
        site.ours.append(child.pid)
        yield
    finally:
        child.kill()
        os.close(output)


@asynccontextmanager
async def nginx(site: Ground) -> AsyncIterator[str | None]:
    """Serve HTTP in the server's namespace; yield the URL, or None without nginx."""
    binary = installed("nginx")
    if binary is None:
        yield None
        return
    address = site.target.rpartition(":")[0]
    configuration = site.scratch / "nginx.conf"
    configuration.write_text(_NGINX.format(scratch=site.scratch, address=address, port=WEB_PORT))
    async with serving(site, [binary, "-c", str(configuration)], WEB_PORT):
        yield f"http://{address}:{WEB_PORT}/"


@asynccontextmanager
async def redis(site: Ground) -> AsyncIterator[str | None]:
    """Run a Redis in the server's namespace; yield its address, or None without Redis."""
    binary = installed("redis-server")
    if binary is None:
        yield None
        return
    address = site.target.rpartition(":")[0]
    words = [binary, "--bind", address, "--port", str(REDIS_PORT), "--protected-mode", "no"]
    words += ["--save", "", "--tcp-backlog", "4096", "--dir", str(site.scratch)]
    async with serving(site, words, REDIS_PORT):
        yield address


def toward(site: Ground, target: str) -> Ground:
    """Return the same ground, where loadgen speaks to another server."""
    return replace(site, site=replace(site.site, targets=(target,)))


def _listens(port: int) -> bool:
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{port:04X}") for line in lines)


def memcached_arms(site: Ground, seconds: float) -> dict[str, arms.Arm]:
    """Return the arms against memcached."""
    address, _, port = site.target.rpartition(":")
    loop = [sys.executable, "-c", _LOOP, address, port, str(seconds)]
    return {
        "loadgen": partial(site.closed_loop, seconds, 64),
        "pymemcache in threads": partial(with_pymemcache, site, seconds),
        "pymemcache in a loop": partial(program, site, loop, loop_served),
    }


def web_arms(site: Ground, url: str, seconds: float, requests: int) -> dict[str, arms.Arm]:
    """Return the arms of ab and wrk, as far as they are installed."""
    found: dict[str, arms.Arm] = {}
    connections = ["-c", "64"]
    wanted = {
        "ab → nginx": (["ab", "-q", "-n", str(requests), *connections, url], ab_served),
        "wrk → nginx": (
            ["wrk", "-t1", *connections, f"-d{seconds:g}s", "-H", "Connection: close", url],
            wrk_served,
        ),
    }
    for name, (words, served) in wanted.items():
        path = installed(words[0])
        if path is not None:
            found[name] = partial(program, site, [path, *words[1:]], served)
    found["loadgen → nginx"] = partial(toward(site, url).closed_loop, seconds, 64)
    return found


def redis_arms(site: Ground, address: str, seconds: float, requests: int) -> dict[str, arms.Arm]:
    """Return the arms against Redis."""
    target = toward(site, f"redis://{address}:{REDIS_PORT}")
    found: dict[str, arms.Arm] = {"loadgen → redis": partial(target.closed_loop, seconds, 64)}
    path = installed("redis-benchmark")
    if path is not None:
        words = [path, "-h", address, "-p", str(REDIS_PORT), "-k", "0", "-c", "64", "-q"]
        words += ["-n", str(requests), "-t", "get", "-d", "100"]
        served = partial(redis_served, requests=requests)
        found["redis-benchmark → redis"] = partial(program, site, words, served)
    return found


def opened(site: Ground) -> int:
    """Return how many connections have been opened from the client's namespace so far."""
    text = run_inside(site.site.client, Path("/proc/thread-self/net/snmp").read_text)
    names, values = (line.split() for line in text.splitlines() if line.startswith("Tcp:"))
    return int(values[names.index("ActiveOpens")])


async def judged(site: Ground, name: str, arm: arms.Arm) -> Run:
    """Run a client; return what it did by the kernel's count, where that is less than its own."""
    before = opened(site)
    run = await arm()
    counted = opened(site) - before
    if counted >= run.connections:
        return run
    print(f"  {name}: {run.connections:,} by its own count, {counted:,} by the kernel's")
    return replace(run, connections=counted)


async def measure(chosen: argparse.Namespace) -> None:
    seconds = chosen.seconds
    async with AsyncExitStack() as stack:
        site = await stack.enter_async_context(ground(chosen))
        sides: dict[str, arms.Arm] = {"floor": partial(site.floor, seconds, 64)}
        if "memcached" in chosen.against:
            sides.update(memcached_arms(site, seconds))
        if "nginx" in chosen.against:
            url = await stack.enter_async_context(nginx(site))
            sides.update(web_arms(site, url, seconds, chosen.requests) if url else {})
        if "redis" in chosen.against:
            store = await stack.enter_async_context(redis(site))
            sides.update(redis_arms(site, store, seconds, chosen.requests) if store else {})
        judges = {name: partial(judged, site, name, arm) for name, arm in sides.items()}
        found = await arms.interleave(site, judges, chosen.rounds)
    print(arms.compared(found, "floor"))


def main() -> None:
    parser = command.options(__doc__, "clients")
    parser.add_argument(
        "--against",
        nargs="+",
        choices=_AGAINST,
        default=_AGAINST,
        help="the servers whose clients are measured",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument(
        "--requests", type=int, default=40_000, help="of a run of ab or redis-benchmark"
    )
    add_options(parser)
    command.run(measure, parser)


if __name__ == "__main__":
    main()
