"""What shards say of themselves, put together: causes with the nodes they were found on. Pure.

Each shard's kernel is diagnosed by itself, for limits belong to a host: ports run out on one node
and not on its neighbour. The whole's causes are the shards' own, put together by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import msgspec

from loadgen.accounting import figures
from loadgen.accounting.messages import Totals
from loadgen.config import RunConfig
from loadgen.diagnosis import honesty
from loadgen.diagnosis.causes import PORT_SEARCH_SLOW
from loadgen.fleet.member import Told
from loadgen.summary import (
    Cause,
    CauseShare,
    Environment,
    Evidence,
    Explanation,
    Generator,
    Notice,
    ShardNote,
    SnapshotNote,
    Validity,
)

_NAMED: Final = 5
"""Shards that one line names; the rest are counted."""
_EVIDENCE: Final = 6
"""Pieces of evidence that a cause of the whole keeps, those of the shards hit most first."""


def names(members: Sequence[str]) -> str:
    """Return a few names, and how many more there are."""
    shown = ", ".join(members[:_NAMED])
    more = len(members) - _NAMED
    return shown if more <= 0 else f"{shown} and {more:,} more"


def causes(members: Sequence[Told]) -> list[Cause]:
    """Put the shards' causes together by name, those that cost most first."""
    found = [(cause, told) for told in members for cause in told.causes]
    found.sort(key=lambda pair: (pair[0].cause, pair[0].fault, -pair[0].connections))
    alone = len(members) == 1
    together = []
    for _, group in groupby(found, key=lambda pair: (pair[0].cause, pair[0].fault)):
        shares = list(group)
        chief = shares[0][0]
        labels = [told.label for _, told in shares]
        everywhere = len(shares) == len(members)
        where = "every shard" if everywhere and len(shares) > _NAMED else names(labels)
        together.append(
            msgspec.structs.replace(
                chief,
                connections=sum(cause.connections for cause, _ in shares),
                first_at=min(
                    (cause.first_at for cause, _ in shares if cause.first_at is not None),
                    default=None,
                ),
                title=chief.title if alone else f"{chief.title} ({where})",
                evidence=_evidence(shares, alone=alone),
                shards=[
                    CauseShare(shard=told.index + 1, node=told.node, connections=cause.connections)
                    for cause, told in shares
                ],
            )
        )
    return sorted(together, key=lambda cause: -cause.connections)


def _evidence(shares: Sequence[tuple[Cause, Told]], *, alone: bool) -> list[Evidence]:
    """Return the evidence of the shards that were hit most, each piece with its shard."""
    found: list[Evidence] = []
    for cause, told in shares:
        if found and len(found) + len(cause.evidence) > _EVIDENCE:
            break
        for piece in cause.evidence:
            role = piece.role if told.index == 0 else f"{piece.role}@{told.index + 1}"
            text = piece.text if alone else f"{told.label}: {piece.text}"
            found.append(msgspec.structs.replace(piece, role=role, text=text))
    return found


def explanations(members: Sequence[Told]) -> list[Explanation]:
    """Return each explanation once, in the words of the first shard that has it."""
    by_name: dict[str, list[tuple[Explanation, Told]]] = {}
    for told in members:
        for explanation in told.explanations:
            by_name.setdefault(explanation.name, []).append((explanation, told))
    found = []
    for shares in by_name.values():
        chief, told = shares[0]
        if len(members) > 1:
            more = f" (likewise {len(shares) - 1:,} more)" if len(shares) > 1 else ""
            chief = msgspec.structs.replace(chief, text=f"{told.label}: {chief.text}{more}")
        found.append(chief)
    return found


def snapshots(members: Sequence[Told]) -> list[SnapshotNote]:
    """Return the earliest snapshot of each outcome, with the file's place in the fleet's."""
    earliest: dict[str, SnapshotNote] = {}
    for told in members:
        for kept in told.snapshots:
            if kept.outcome not in earliest or kept.at < earliest[kept.outcome].at:
                file = f"{told.directory}/{kept.file}" if told.directory else kept.file
                earliest[kept.outcome] = msgspec.structs.replace(kept, file=file)
    return sorted(earliest.values(), key=lambda kept: kept.at)


def environment(found: Sequence[Environment]) -> Environment:
    """Return what is the same on all nodes as it is; of names that differ, a list of them."""
    merged: dict[str, Any] = {}
    for field in Environment.__struct_fields__:
        values = list(dict.fromkeys(getattr(one, field) for one in found))
        if len(values) == 1:
            merged[field] = values[0]
        elif all(isinstance(value, str) for value in values):
            merged[field] = names(values)
    return Environment(**merged)


def generator(members: Sequence[Told], totals: Totals, config: RunConfig) -> Generator:
    """Return what the generators of all shards used, and what kept most of them from going faster."""
    parts = [(told, told.generator) for told in members if told.generator is not None]
    alone = len(members) == 1
    limits: dict[str, list[str]] = {}
    for told, one in parts:
        if one.limit:
            limits.setdefault(one.limit, []).append(told.label)
    most = max(limits.items(), key=lambda item: len(item[1]), default=("", []))
    limit = most[0] if len(most[1]) == len(parts) else f"{names(most[1])}: {most[0]}"
    return Generator(
        workers=config.workers,
        cpu_user=totals.cpu_user,
        cpu_system=totals.cpu_system,
        connect_call_seconds=totals.connect_call_seconds,
        tls=figures.tls_use(totals, config),
        saturated=any(one.saturated for _, one in parts),
        reasons=[
            reason if alone else f"{told.label}: {reason}"
            for told, one in parts
            for reason in one.reasons
        ][:_NAMED],
        limit=limit if most[1] else "",
    )


_OF_ONE: Final = frozenset({"truncated", "interrupted", "lost_worker", "started_late"})
"""Warnings of a shard that its own line says."""


def warnings(members: Sequence[Told], notes: Sequence[ShardNote]) -> list[Notice]:
    """Return which shards are not whole, and each warning of the shards once, with theirs."""
    found = []
    for told, note in zip(members, notes, strict=True):
        if told.state == "whole":
            continue
        lost = f"; {note.not_started:,} arrivals of its share were not started" * bool(
            note.not_started
        )
        found.append(
            Notice(
                code="shard_" + told.state,
                text=f"{told.label}: {told.said}{lost}",
                remedy="its share is not made up for; see to that node and run again",
            )
        )
    if len(found) > _NAMED:
        more = len(found) - _NAMED
        found[_NAMED:] = [
            Notice(
                code="shard_partial",
                text=f"{more:,} more shards are not whole",
                remedy="the list of shards has them all",
            )
        ]
    by_text: dict[tuple[str, str, str], list[str]] = {}
    for told in members:
        for warning in told.warnings:
            if warning.code not in _OF_ONE:
                key = warning.code, warning.text, warning.remedy
                by_text.setdefault(key, []).append(told.label)
    by_code: dict[str, int] = {}
    for (code, text, remedy), labels in by_text.items():
        by_code[code] = by_code.get(code, 0) + 1
        if by_code[code] <= _NAMED:
            where = "" if len(labels) == len(members) else f"{names(labels)}: "
            found.append(Notice(code=code, text=where + text, remedy=remedy))
    return found


def validity(members: Sequence[Told]) -> Validity:
    """Return the whole's validity, by the rule that a run of one has.

    A shard is limited by its own share of the arrivals; what it dropped may be too little of the
    whole's to matter.
    """
    if any(told.state != "whole" for told in members):
        return "partial"
    limited = [told for told in members if told.validity == "generator_limited"]
    if not limited:
        return "valid"
    causes = [cause for told in members for cause in told.causes]
    own = sum(cause.connections for cause in causes if cause.fault == "generator")
    beside = sum(cause.connections for cause in causes if cause.cause == PORT_SEARCH_SLOW.name)
    measured = all(any(cause.fault == "generator" for cause in told.causes) for told in limited)
    due = sum(told.totals.scheduled for told in members)
    few = own <= honesty.TOLERATED_DROPS * due or own <= honesty.TOLERATED_BESIDE * beside
    return "valid" if measured and few else "generator_limited"
