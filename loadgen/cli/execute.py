"""Carries out `loadgen run`: options to configuration, the run itself, its writers, its exit code."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import trio

from loadgen import summary as records
from loadgen.cli.group import fail, say, write_to
from loadgen.cli.spoken import (
    bytes_of,
    check_options,
    credentials_of,
    protocol_of,
    targets_of,
    tls_of,
)
from loadgen.config import LoadOptions, RunConfig
from loadgen.engine.library_client import unsupported
from loadgen.errors import Exit
from loadgen.files import WriteError, check_results, writing
from loadgen.report import junit, page, text
from loadgen.run import stored
from loadgen.run.coordinator import Coordinator
from loadgen.run.live import Live, terminal
from loadgen.run.resolve import (
    addresses_of,
    check_sources,
    default_workers,
    descriptors_per_worker,
    parse_namespaces,
    usable_cpus,
)
from loadgen.run.rundir import RunDirectory
from loadgen.run.stored import Salvaged
from loadgen.sampling.namespace import open_namespace
from loadgen.summary import Summary
from loadgen.target import is_loopback
from loadgen.thresholds import parse_threshold
from loadgen.units import LONGEST, format_duration, shortened

DEFAULT_RATE = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Where a run's results go."""

    out: Path | None = None
    """The run directory; None for a new one under ./runs."""
    json_file: str | None = None
    """`-` for stdout."""
    junit: Path | None = None
    quiet: bool = False


def build_config(options: LoadOptions) -> RunConfig:
    """Return the effective configuration.

    Raises:
        ValueError: for anything that cannot be run; the message names the option's value.
        NamespaceError: for a namespace that cannot be opened.
    """
    targets = targets_of(options)
    protocol = protocol_of(targets)
    op = options.op or ("connect" if protocol.name == "tcp" else "get")
    namespaces = parse_namespaces(options.namespaces)
    for name in namespaces.values():
        with open_namespace(name):
            pass
    addresses = addresses_of(targets, options.allowed, namespaces.values())
    check_sources(options.source_addresses, addresses)
    for expression in options.thresholds:
        parse_threshold(expression)
    schedule = options.schedule
    closed_loop = options.rate == "max"
    rate = None if options.rate == "max" else options.rate
    brings_rate = schedule.startswith(("ramp", "steps"))
    if closed_loop and schedule != "constant":
        raise ValueError(f"--rate max is the closed loop; it has no --schedule {schedule}")
    if brings_rate and rate is not None:
        raise ValueError(f"--schedule {schedule} brings its own rates; omit --rate")
    servers_are_here = bool(namespaces) or any(is_loopback(host) for host, _ in addresses)
    workers = options.workers or default_workers(usable_cpus(), shared=servers_are_here)
    # Each worker keeps at least one attempt under way, so more workers than that exceed the bound.
    bound = options.concurrency if closed_loop else options.max_in_flight
    workers = min(workers, bound or workers)
    affordable = descriptors_per_worker() * workers
    timeout = options.timeout
    config = RunConfig(
        targets=[str(target) for target in targets],
        addresses=addresses,
        rate=None if closed_loop or brings_rate else rate or DEFAULT_RATE,
        closed_loop=closed_loop,
        concurrency=options.concurrency,
        duration=options.duration,
        warmup=options.warmup,
        schedule=schedule,
        protocol=protocol.name,
        gets=protocol.gets(op),
        op=op,
        key_space=options.key_space,
        value_size=options.value_size,
        send=bytes_of("--send", options.send),
        expect=bytes_of("--expect", options.expect),
        http_host=options.http_host,
        status_path=options.status_path,
        tls=tls_of(targets, options),
        requests_per_connection=options.requests_per_connection,
        close=options.close,
        client=options.client,
        source_addresses=list(options.source_addresses),
        bind_early=options.bind_early,
        local_port_range=options.local_port_range,
        timeout=timeout,
        connect_timeout=options.connect_timeout or timeout,
        max_lateness=options.max_lateness,
        workers=workers,
        max_in_flight=options.max_in_flight or affordable,
        thresholds=list(options.thresholds),
        abort_on_fail=options.abort_on_fail,
        namespaces=namespaces,
        sample_interval=options.sample_interval,
        shard=options.shard,
        seed=options.seed,
    )
    if not closed_loop:
        config.law()
    check_options(config)
    if config.client == "pymemcache" and (reason := unsupported(config)):
        raise ValueError(reason)
    return config


def parse_start(text: str | None) -> float | None:
    """Return seconds since the epoch for `--start-at`.

    Raises:
        ValueError: when the text is no time, or one that has passed.
    """
    if text is None:
        return None
    try:
        moment = float(text)
    except ValueError:
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            raise ValueError(
                f"--start-at {text!r} is not a time: write 2030-01-31T12:00:00Z or epoch seconds"
            ) from None
        try:
            moment = (parsed if parsed.tzinfo else parsed.astimezone()).timestamp()
        except (OverflowError, OSError, ValueError):  # the first and the last hours of the calendar
            moment = math.copysign(math.inf, parsed.year - 5000)
    wait = moment - time.time()
    if wait < 0:
        raise ValueError(f"--start-at {text!r} has passed")
    if not wait <= LONGEST:  # nan is no time either
        raise ValueError(
            f"--start-at {shortened(text)} is not a time within the next {format_duration(LONGEST)}"
        )
    return moment


def exit_code(summary: Summary) -> Exit:
    """Return the exit code that a summary stands for; the most serious first."""
    if any(w.code == "interrupted" for w in summary.warnings):
        return Exit.INTERRUPTED
    if any(w.code == "unwritten" for w in summary.warnings):
        return Exit.INVALID
    if not summary.verdict.passed:
        return Exit.FAILED
    return Exit.PASS if summary.validity == "valid" else Exit.INVALID


def execute(options: LoadOptions, results: Results, *, start_at: str | None = None) -> Exit:
    """Run, write what was asked for, and return the exit code.

    Raises:
        ValueError: for anything that cannot be run; the message names the option's value.
        ChurnlabError: for a namespace that cannot be opened, or a run that cannot begin.
    """
    config = build_config(options)
    credentials = credentials_of(targets_of(options), options.password_file)
    moment = parse_start(start_at)
    check_results(results.json_file, results.junit)
    out = results.out or new_directory()
    try:
        directory = RunDirectory(out)
    except FileExistsError as error:
        fail(str(error))
    with terminal(enabled=not results.quiet and sys.stderr.isatty()) as draw:
        show = Live(config, draw).update
        summary = trio.run(Coordinator(config, directory, show, credentials).run, moment)
    return deliver(summary, stored.salvage(out), results, directory.unwritten)


def deliver(
    summary: Summary, found: Salvaged, results: Results, unwritten: WriteError | None = None
) -> Exit:
    """Say what was measured, write it wherever the user wants it, and return the exit code.

    What cannot be written costs no more than itself: all the rest is said and written first.

    Args:
        summary: of the run.
        found: the run as its directory has it, for the page.
        results: what is wanted.
        unwritten: a file that could not be written before.
    """
    lost = [] if unwritten is None else [unwritten]
    if not results.quiet:
        sys.stderr.write(text.render(summary, found.path))
    wanted: list[tuple[str | Path, Callable[[], object]]] = [
        (found.path, partial(page.write, found)),
        ("standard output", partial(write_to, results.json_file, records.encode(summary))),
    ]
    if results.junit:
        wanted.append((results.junit, partial(write_to, results.junit, junit.render(summary))))
    for place, write in wanted:
        try:
            with writing(place):
                write()
        except WriteError as error:
            lost.append(error)
    if lost:
        say(str(lost[0]))
    code = exit_code(summary)
    return Exit.INVALID if lost and code is Exit.PASS else code


def new_directory() -> Path:
    """Return a new name under ./runs that sorts by time."""
    stem = datetime.now(UTC).astimezone().strftime("%Y%m%d-%H%M%S")
    path = Path("runs", stem)
    number = 2
    while path.exists():
        path = Path("runs", f"{stem}-{number}")
        number += 1
    return path
