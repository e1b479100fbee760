"""Carries out `lab run`: options to a plan, the experiment, the reports, the exit code."""

from __future__ import annotations

from contextlib import ExitStack, closing
from pathlib import Path

from lab import report
from lab.analysis.exit import exit_code
from lab.analysis.gates import is_relative, parse_gate
from lab.analysis.records import AFTER, BEFORE
from lab.cli.asked import RunOptions
from lab.cli.doubts import doubts
from lab.cli.progress import ExperimentStatus
from lab.report.terminal import show
from lab.testbed import middle
from lab.testbed.base import SitePlan, Testbed, TestbedError
from lab.testbed.faults import check_faults, parse_fault
from lab.testbed.host.settings import HostSettings
from lab.testbed.host.testbed import HostTuned
from lab.testbed.netns import NetnsTestbed
from lab.testbed.servers import kind_of, require, self_signed
from lab.testbed.userns import ensure_privileges
from lab.trials.experiment import run
from lab.trials.plan import USUAL, ExperimentPlan
from lab.tunings import demand_of, load_for
from loadgen.errors import Exit
from loadgen.files import NoRoomError
from loadgen.thresholds import parse_threshold


def build_plan(options: RunOptions, name: str) -> ExperimentPlan:
    """Return the plan that the options describe.

    Raises:
        ValueError: for an option that cannot be.
        TuningError: for a tuning that cannot be read.
        TestbedError: for a site that cannot be made.
    """
    gates = tuple(filter(is_relative, options.thresholds))
    thresholds = tuple(one for one in options.thresholds if one not in gates)
    for gate in gates:
        parse_gate(gate)
    for threshold in thresholds:
        parse_threshold(threshold)
    asked = options.load(thresholds)
    site = site_of(options)
    demand = demand_of(asked, site)
    named = {BEFORE: options.before, AFTER: options.after}
    arms = tuple((arm, load_for(text, site.roles, demand)) for arm, text in named.items())
    for arm, tuning in arms:
        if tuning.parts and options.testbed != "netns":
            raise ValueError(
                f"--{arm} {named[arm]}: a tuning for each role needs --testbed netns; the containers "
                "of an arm have one tuning"
            )
    rate = options.number
    # Where the rate is found, so is how long it takes to reach something with it.
    duration = options.duration or (None if rate is None else USUAL)
    return ExperimentPlan(
        name=name,
        arms=arms,
        rate=rate,
        duration=duration,
        trials=options.trials,
        site=site,
        load=asked,
        gates=gates,
        faults=check_faults(
            map(parse_fault, options.faults),
            servers=options.servers,
            duration=duration or USUAL,
        ),
    )


def site_of(options: RunOptions) -> SitePlan:
    """Return what a trial's site consists of.

    Raises:
        ValueError: for options that do not go together.
        TestbedError: for a site that cannot be made.
    """
    topology, room = options.topology, options.nat_room
    if topology == "nat" and room in {None, "auto"}:
        # RunOptions sees to it that there is a rate.
        room = max(1, int((options.number or 0) * (options.duration or USUAL) / 2))
    server = options.server
    if options.proxy == "nutcracker" and server not in middle.SPOKEN_BY_NUTCRACKER:
        raise ValueError(
            f"--proxy nutcracker speaks for {' and '.join(middle.SPOKEN_BY_NUTCRACKER)} only, not for "
            f"{server[:40]!r}; --proxy haproxy passes on whatever it is"
        )
    if options.proxy == "nutcracker" and options.tls:
        raise ValueError("--proxy nutcracker does not speak TLS; --proxy haproxy passes it on")
    return SitePlan(
        server=server,
        server_url=options.server_url,
        certificate=self_signed() if options.tls else "",
        servers=options.servers,
        source_addresses=options.clients,
        memcached_threads=options.memcached_threads,
        rtt=options.rtt,
        topology=topology,
        nat_ports=options.nat_ports,
        nat_room=room if isinstance(room, int) else None,
        proxy=options.proxy or "haproxy",
    )


def open_testbed(options: RunOptions, site: SitePlan, stack: ExitStack) -> Testbed:
    """Return the testbed that the options ask for, once it is known to work here.

    Raises:
        TestbedError: when it does not; says what is missing.
    """
    testbed: Testbed
    if options.testbed == "docker":
        # The SDK is wanted on this path only, and takes 0.2 s to import.
        from lab.testbed.docker.testbed import DockerTestbed, check_plan

        check_plan(site)
        docker = testbed = stack.enter_context(closing(DockerTestbed(options.image)))
        testbed.check()
        if options.allow_host_sysctls and not docker.on_this_machine():
            raise TestbedError(
                "--allow-host-sysctls: the Docker engine runs on another kernel than this lab",
                "run the lab on the engine's own host",
            )
    elif options.testbed == "swarm":
        from lab.testbed.docker import swarm

        swarm.check_plan(site)
        testbed = stack.enter_context(closing(swarm.SwarmTestbed(options.image)))
        testbed.check()
    else:
        require(kind_of(site))
        ensure_privileges()
        testbed = NetnsTestbed(needs=())
        testbed.check()
    if options.allow_host_sysctls:
        testbed = HostTuned(testbed, stack.enter_context(HostSettings()))
    return testbed


def execute(options: RunOptions, out: Path) -> Exit:
    """Run the experiment, show the verdict, write the reports; return the exit code.

    Raises:
        NoRoomError: when the disk is full; what the trials before said is shown, if there is any.
    """
    plan = build_plan(options, out.name)
    with ExitStack() as stack:
        testbed = open_testbed(options, plan.site, stack)
        said = doubts(tuning for _, tuning in plan.arms)
        with ExperimentStatus(plan, said, quiet=options.quiet) as progress:
            try:
                run(plan, testbed, out, progress)
            except NoRoomError:
                if any(out.glob("trials/*/summary.json")):
                    show(report.compared(out)[1])
                raise
    stored, comparison = report.compared(out)
    show(comparison)
    report.write_reports(out, stored, comparison)
    report.reports_index(out.parent)
    print(f"report: {out / report.PAGE}")
    return exit_code(comparison)
