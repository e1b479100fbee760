"""Carries out `lab plan`: the situation, the plan, the files, the exit code."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

import msgspec

from lab import plan as planning
from lab.capacity import KEYS, CapacityError, Load
from lab.capacity.defaults import defaults
from lab.cli.asked import PlanOptions
from lab.cli.options import THIS_HOST
from lab.plan import Plan
from lab.plan.files import compared, proof
from lab.plan.recorded import recorded
from lab.plan.text import forecast_lines
from lab.sysctl.apply import own_sysctls
from lab.sysctl.tuning import Tuning, where
from lab.sysctl.values import unfit_value
from lab.testbed.fresh import fresh_values
from lab.tunings import RECOMMENDED, load, plan_for
from loadgen.cli.group import fail, tell, write_to
from loadgen.errors import Exit
from loadgen.files import writing
from loadgen.summary import encode
from loadgen.units import spaced
from loadgen.watch.recorded import read

DOCUMENTED: Final = (
    "these are the documented defaults of that version; a distribution may have brought changes back "
    "to it: lab vm --kernel debian:VERSION -- plan … asks a real one"
)


def execute(options: PlanOptions, given: frozenset[str]) -> Exit:
    """Make the plan, show it, write what was asked for; return the exit code.

    Args:
        options: of the command.
        given: those of them that stand on the command line.

    Raises:
        ChurnlabError: TuningError, CapacityError, RecordingError or WriteError, as their docstrings
            say.
    """
    if options.recording is None:
        plan, note = _plan(options)
    else:
        plan, note = _recorded(options, options.recording, given), ""
    if not options.prints:
        tell(planning.render(plan), nl=False)
        if note:
            tell(f"\nnote: {note}")
    write_to(options.output, planning.sysctl_file(plan).encode())
    write_to(options.json_file, encode(plan))
    if options.output and not options.prints:
        shown = options.output if "/" in options.output else f"./{options.output}"
        tell(f"\nwritten: {options.output}; prove it: {proof(plan, shown)}")
    if options.proof is not None and options.recording is not None:
        tell(f"\nprove it: {_proof(options.proof, options.recording, plan)}", err=options.prints)
    return Exit.PASS if plan.then.holds else Exit.FAILED


def _plan(options: PlanOptions) -> tuple[Plan, str]:
    """Return the plan, and what to say about where its values come from.

    Raises:
        TuningError: for a tuning that cannot be read.
        CapacityError: for a situation that cannot be.
    """
    assert options.rate is not None  # else there is a recording: PlanOptions sees to it
    demand = Load(
        rate=options.rate,
        duration=options.duration,
        close=options.close,
        sources=options.clients,
        destinations=options.servers,
        rtt=options.rtt,
        local_port_range=options.local_port_range,
        bind_early=options.bind_early,
        tracked=options.conntrack,
        nat=options.topology == "nat",
        nat_addresses=options.nat_addresses,
        nat_ports=options.nat_ports,
    )
    if options.topology == "proxy":
        return _proxy_plan(options, demand)
    return _plan_for(options, demand)


def _proxy_plan(options: PlanOptions, demand: Load) -> tuple[Plan, str]:
    """Return the plan of a proxy, with a note on its clients; raises as `_plan`."""
    proxy = replace(demand, sources=1, local_port_range=None, bind_early=False)
    plan, note = _plan_for(options, proxy)
    clients, _ = _plan_for(options, replace(demand, destinations=1))
    theirs = " ".join(spaced(line) for line in forecast_lines(clients.now)[:2])
    addresses = "address" if demand.sources == 1 else "addresses"
    told = (
        "this is the plan of the proxy, a client of its servers like any other; the clients, "
        f"{demand.sources} {addresses} toward the proxy alone, under the same tuning: {theirs}"
    )
    return plan, f"{told}; {note}" if note else told


def _plan_for(options: PlanOptions, demand: Load) -> tuple[Plan, str]:
    """Return the plan for a load; raises as `_plan`."""
    name, release = options.tuning, options.kernel
    if release is not None:
        return _elsewhere(demand, name, release, options.memory), DOCUMENTED
    if name == THIS_HOST:
        known, note = own_sysctls(KEYS), ""
    else:
        tuning = load(name, demand)
        fresh, note = fresh_values(KEYS)
        known = fresh | {
            setting.key: setting.value
            for setting in tuning.settings
            # A line written `-key` whose value the kernel does not take is one that is not there.
            if setting.key in fresh and not unfit_value(setting.key, setting.value)
        }
        try:
            return plan_for(demand, known, tuning=name), note
        except CapacityError as error:
            raise _located(error, tuning) from None
    return plan_for(demand, known, tuning=name), note


_FIELDS: Final = {
    "rate": "rate", "duration": "duration", "close": "close", "clients": "sources",
    "servers": "destinations", "local_port_range": "local_port_range", "bind_early": "bind_early",
    "conntrack": "tracked",
}  # fmt: skip
"""Options by what they are called in a load."""


def _recorded(options: PlanOptions, recording: Path, given: frozenset[str]) -> Plan:
    """Return the plan for a recorded load, on the host that was recorded.

    Raises:
        RecordingError: for a recording that cannot be read.
        TuningError: for a tuning that cannot be read.
        CapacityError: for a situation that cannot be.
    """
    found = recorded(read(recording), rtt=options.rtt)
    mine = {_FIELDS[name]: getattr(options, name) for name in given & _FIELDS.keys()}
    demand = replace(found.load, **mine)
    known, name = dict(found.sysctls), "as recorded"
    if "tuning" in given:
        name = options.tuning
        known |= {key: value for key, value in load(name, demand).values.items() if key in known}
    plan = plan_for(demand, known, tuning=name, release=found.kernel)
    return msgspec.structs.replace(plan, notes=[*found.notes, *plan.notes])


def _proof(folder: Path, recording: Path, plan: Plan) -> str:
    """Write the two tunings, and return the command that compares them."""
    head = read(recording).head
    assert head is not None
    before, after = compared(plan, head.sysctls)
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    shown = f"./{folder}" if not folder.is_absolute() else str(folder)
    write_to(folder / "before.conf", before.encode())
    write_to(folder / "after.conf", after.encode())
    return proof(plan, f"{shown}/after.conf", f"{shown}/before.conf")


def _elsewhere(demand: Load, name: str, release: str, memory: float | None) -> Plan:
    """Return the plan for a kernel that is not at hand.

    Raises:
        TuningError: for a tuning that cannot be read.
        CapacityError: for a situation that cannot be.
    """
    if name in {THIS_HOST, RECOMMENDED}:
        fail(f"--kernel with --tuning {name}: that is of the kernel here; leave one of them out")
    if memory is None:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    there = defaults(release, memory)
    wanted = load(name, demand).values
    known = {**there, **{key: value for key, value in wanted.items() if key in there}}
    return plan_for(demand, known, tuning=name, release=release)


def _located(error: CapacityError, tuning: Tuning) -> CapacityError:
    """Return what is wrong with a setting, with the file and the line that it comes from."""
    for setting in tuning.settings:
        if setting.key == error.key:
            problem = f"{where(tuning, setting.line)}: {error.problem}"
            return CapacityError(problem, error.remedy, key=error.key)
    return error
