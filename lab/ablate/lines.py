"""Which lines of a tuning can do anything here, found out in fresh namespaces before any load.

A line that the kernel does not let a namespace set, or that sets what is there anyway, cannot change
an experiment. It is listed with its reason and costs no trial.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from lab.ablate.arms import plan_arms, tuning_of
from lab.ablate.records import ALL, NONE, State, TuningLine, TuningLines
from lab.sysctl.apply import Applied, apply, read_sysctls
from lab.sysctl.names import obsolete
from lab.sysctl.tuning import Setting, Tuning, TuningError
from lab.sysctl.values import same_value
from loadgen.sample import ROLE_CLIENT
from loadgen.sampling.namespace import new_namespace

_CONNTRACK = "net.netfilter.nf_conntrack_"


def wants_tracking(tuning: Tuning) -> bool:
    """Return whether a tuning has a line about connection tracking."""
    for key in tuning.values:
        past = obsolete(key)
        if (past.became if past else key).startswith(_CONNTRACK):
            return True
    return False


def look(tuning: Tuning, only: Sequence[str] = (), *, tracked: bool) -> TuningLines:
    """Apply a tuning where nothing runs, and return which of its lines are to be weighed how.

    Args:
        tuning: what to weigh.
        only: keys of the lines to weigh; none for all of them. The others are in the arm `all`, and
            in those that leave one of these out.
        tracked: whether the servers will track their connections.

    Raises:
        ValueError: for a key in `only` that the tuning does not set.
        TuningError: for a line that is a mistake; names the line.
        NamespaceError: when no namespace may be made.
    """
    unknown = [key for key in only if key not in tuning.values]
    if unknown:
        raise ValueError(
            f"{tuning.name} has no line {unknown[0]!r}; it has {', '.join(tuning.values)}"
        )
    before, applied = _rehearse(tuning, ALL)
    lines = [_judge(setting, before, applied) for setting in tuning.settings]
    active = [line.key for line in lines if line.state == "active"]
    arms, questions = plan_arms(active, [key for key in active if not only or key in only])
    unfit = _unfit(tuning, arms)
    asked = [
        msgspec.structs.replace(_ask(line, questions, unfit), asked=not only or line.key in only)
        for line in lines
    ]
    used = {arm for line in asked for arm in (line.without, line.alone)} | {NONE, ALL}
    return TuningLines(
        tuning=tuning.name,
        source=tuning.source,
        lines=asked,
        arms={name: list(keys) for name, keys in arms.items() if name in used},
        tracked=tracked,
        notes=[f"{arm}: {reason}" for arm, reason in unfit.items()],
    )


def _rehearse(tuning: Tuning, arm: str) -> tuple[dict[str, str], Applied]:
    """Return what a fresh namespace has, and what holds after the tuning was applied.

    Raises:
        TuningError: when it cannot be applied.
    """
    namespace = new_namespace()
    try:
        before = read_sysctls(namespace, tuning.values)
        return before, apply(tuning, namespace, arm=arm, role=ROLE_CLIENT, lenient=True)
    finally:
        os.close(namespace)


def _judge(setting: Setting, before: dict[str, str], applied: Applied) -> TuningLine:
    """Return a line with what it can do here."""

    def line(state: State, reason: str) -> TuningLine:
        return TuningLine(
            key=setting.key, value=setting.value, number=setting.line, state=state, reason=reason
        )

    if setting.key in applied.skipped:
        return line("out_of_scope", applied.skipped[setting.key].partition(": ")[2])
    was, now = before.get(setting.key), applied.in_force.get(setting.key, setting.value)
    if was is None:
        # Not of a namespace, and in force on the host already.
        return line("inert", "in force on this host already")
    if same_value(setting.key, was, now):
        return line("inert", "the value that a fresh namespace has anyway")
    return line("active", was)


def _unfit(tuning: Tuning, arms: dict[str, tuple[str, ...]]) -> dict[str, str]:
    """Return the arms whose tuning does not hold on its own, with the reason."""
    found = {}
    for arm, keys in arms.items():
        try:
            _rehearse(tuning_of(tuning, arm, keys), arm)
        except TuningError as error:
            found[arm] = str(error)
    return found


def _ask(
    line: TuningLine, questions: dict[str, tuple[str, str]], unfit: dict[str, str]
) -> TuningLine:
    """Return a line with the arms that answer for it."""
    if line.key not in questions:
        return line
    without, alone = questions[line.key]
    reasons = [unfit[arm] for arm in (without, alone) if arm in unfit]
    return msgspec.structs.replace(
        line,
        without=None if without in unfit else without,
        alone=None if alone in unfit else alone,
        unfit="; ".join(reasons),
    )
