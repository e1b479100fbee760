"""Carries out `lab run`: options to a plan, the experiment, the reports, the exit code."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from lab import report
from lab.analysis.exit import exit_code
from lab.analysis.gates import is_relative, parse_gate
from lab.capacity import Load
from lab.cli.doubts import doubts
from lab.cli.progress import Progress
from lab.report.terminal import show
from lab.testbed.base import SitePlan, Testbed, TestbedError
from lab.testbed.faults import check_faults, parse_fault
from lab.testbed.host.settings import HostSettings
from lab.testbed.host.testbed import HostTuned
from lab.testbed.netns import NetnsTestbed
from lab.testbed.userns import ensure_privileges
from lab.trials.experiment import AFTER, BEFORE, Plan, run
from lab.tunings import DEMAND, load
from loadgen.config import parse_mix
from loadgen.errors import Exit
from loadgen.thresholds import parse_threshold


def build_plan(options: dict[str, Any], name: str) -> Plan:
    """Return the plan that the options describe.

    Raises:
        ValueError: for an option that cannot be.
        TuningError: for a tuning that cannot be read.
        TestbedError: for a site that cannot be made.
    """
    rate = options["rate"]
    if rate == "max":
        raise ValueError("--rate max has no arrivals to drop, so nothing to compare; give a number")
    parse_mix(options["op"])
    loadgen = [
        *("--close", options["close"]),
        *("--op", options["op"]),
        *("--timeout", f"{options['timeout']}s"),
        *("--max-lateness", f"{options['max_lateness']}s"),
    ]
    for expression in options["threshold"]:
        if is_relative(expression):
            parse_gate(expression)
        else:
            parse_threshold(expression)
            loadgen += ["--threshold", expression]
    if options["workers"]:
        loadgen += ["--workers", str(options["workers"])]
    if options["local_port_range"]:
        low, high = options["local_port_range"]
        loadgen += ["--local-port-range", f"{low}-{high}"]
    return Plan(
        name=name,
        arms=tuple((arm, load(options[arm], _demand(options, rate))) for arm in (BEFORE, AFTER)),
        rate=None if rate == "auto" else float(rate),
        duration=options["duration"],
        trials=options["trials"],
        site=SitePlan(
            servers=options["servers"],
            source_addresses=options["clients"],
            memcached_threads=options["memcached_threads"],
            rtt=options["rtt"],
        ),
        loadgen=tuple(loadgen),
        gates=tuple(filter(is_relative, options["threshold"])),
        faults=check_faults(
            map(parse_fault, options["fault"]),
            servers=options["servers"],
            duration=options["duration"],
        ),
    )


def open_testbed(options: dict[str, Any], site: SitePlan, stack: ExitStack) -> Testbed:
    """Return the testbed that the options ask for, once it is known to work here.

    Raises:
        TestbedError: when it does not; says what is missing.
    """
    testbed: Testbed
    if options["testbed"] == "docker":
        # The SDK is wanted on this path only, and takes 0.2 s to import.
        from lab.testbed.docker.testbed import DockerTestbed, check_plan

        check_plan(site)
        docker = testbed = stack.enter_context(closing(DockerTestbed(options["image"])))
        testbed.check()
        if options["allow_host_sysctls"] and not docker.on_this_machine():
            raise TestbedError(
                "--allow-host-sysctls: the Docker engine runs on another kernel than this lab; "
                "run the lab on the engine's own host"
            )
    else:
        ensure_privileges()
        testbed = NetnsTestbed()
        testbed.check()
    if options["allow_host_sysctls"]:
        testbed = HostTuned(testbed, stack.enter_context(HostSettings()))
    return testbed


def _demand(options: dict[str, Any], rate: float | str) -> Load:
    """Return what the tuning `recommended` has to serve."""
    return replace(
        DEMAND,
        rate=DEMAND.rate if isinstance(rate, str) else rate,
        sources=options["clients"],
        destinations=options["servers"],
        close=options["close"],
        local_port_range=options["local_port_range"],
    )


def execute(options: dict[str, Any], out: Path) -> Exit:
    """Run the experiment, write its reports, show the verdict; return the exit code."""
    plan = build_plan(options, out.name)
    with ExitStack() as stack:
        testbed = open_testbed(options, plan.site, stack)
        said = doubts(tuning for _, tuning in plan.arms)
        with Progress(plan, said, quiet=options["quiet"]) as progress:
            run(plan, testbed, out, progress)
    comparison = report.write_all(out)
    show(comparison)
    report.reports_index(out.parent)
    print(f"report: {out / report.PAGE}")
    return exit_code(comparison)
