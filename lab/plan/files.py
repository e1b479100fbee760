"""A plan as files: sysctl.d, and the `sysctls:` of a compose file. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lab.analysis.text import count, plural
from lab.capacity import KEYS
from lab.plan.records import Plan
from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.tuning import parse
from loadgen.units import spaced

_CLOSES: Final = {
    "client": "closed by the client",
    "server": "closed by the server",
    "rst": "reset by the client",
}


def topology(plan: Plan) -> str:
    """Return addresses and close mode in words."""
    clients = plural(plan.load.sources, "client address").replace("addresss", "addresses")
    servers = plural(plan.load.destinations, "server")
    return f"{clients} to {servers}, {_CLOSES[plan.load.close]}"


def proof(plan: Plan, file: str, before: str = "") -> str:
    """Return the command that puts a plan's file to the test.

    Args:
        plan: see above.
        file: the tuning that should hold.
        before: the one that it is compared with; empty for the kernel's defaults.
    """
    load = plan.load
    first = f"--before {before} " if before else ""
    words = [f"lab run {first}--after {file} --rate {plan.now.rate:g}"]
    for option, value, default in (
        ("--clients", load.sources, 1),
        ("--servers", load.destinations, 1),
        ("--close", load.close, "client"),
    ):
        if value != default:
            words.append(f"{option} {value}")
    if load.local_port_range:
        low, high = load.local_port_range
        words.append(f"--local-port-range {low}-{high}")
    return " ".join(words)


def sysctl_file(plan: Plan, name: str = "plan") -> str:
    """Return the sysctl.d file, each line with its reason and its price.

    Args:
        plan: what to write.
        name: of the tuning; the file's first comment begins with it.

    Raises:
        TuningError: never for a plan made here; the text is read back to be sure.
    """
    verb = "holds" if plan.then.holds else "for"
    head = [
        f"{name}: {verb} {count(plan.now.rate)} connections/s, {topology(plan)}.",
        f"Computed by lab plan. Prove it: {proof(plan, 'FILE')}",
    ]
    lines = [line for text in head for line in _comment(text)]
    if not plan.lines:
        nothing = "the load holds as it is" if plan.then.holds else "no setting helps here"
        lines.append(f"# Nothing is set: {nothing}.")
    for line in plan.lines:
        lines += ["", *_comment(f"{line.why[0].upper()}{line.why[1:]}.")]
        lines += _comment(f"Price: {line.price}.")
        if line.was is not None:
            lines += _comment(f"Was: {line.was}" if line.was else "Was empty.")
        lines.append(f"{'-' if line.may_fail else ''}{line.key} = {line.value}")
    text = "\n".join(lines) + "\n"
    parse(text, name=name, source="plan")
    return text


def compared(plan: Plan, sysctls: Mapping[str, str]) -> tuple[str, str]:
    """Return two tunings: a host's settings as they were, and the same with the plan's lines.

    Only settings that decide how fast connections can churn and that a namespace has for itself: the
    lab's namespaces begin with the kernel's defaults, the host had its own.

    Args:
        plan: for that host.
        sysctls: in force there, by dotted key.
    """
    own = {
        key: sysctls[key]
        for key in KEYS
        if sysctls.get(key) and CATALOGUE[key].scope == "namespace"
    }
    new = own | {line.key: line.value for line in plan.lines if line.scope == "namespace"}
    texts = []
    for title, values in (("as recorded", own), ("as recorded, with the plan's lines", new)):
        lines = [f"# The host's settings, {title}; for lab run.", *_settings(values)]
        texts.append("\n".join(lines) + "\n")
    return texts[0], texts[1]


def _settings(values: Mapping[str, str]) -> list[str]:
    # A namespace without connection tracking has none of its settings.
    return [
        f"{'-' if key.startswith('net.netfilter.') else ''}{key} = {spaced(value)}"
        for key, value in values.items()
    ]


def _comment(text: str, width: int = 96) -> list[str]:
    lines, current = [], "#"
    for word in text.split():
        if len(current) + 1 + len(word) > width:
            lines.append(current)
            current = "#"
        current = f"{current} {word}"
    return [*lines, current]


def compose_blocks(plan: Plan) -> dict[str, str]:
    """Return the same settings as `sysctls:` for the client's and the server's service.

    Only those of a namespace: a container cannot set the host's. A side that needs none is left
    out.
    """
    blocks = {}
    for side in ("client", "server"):
        own = [
            line for line in plan.lines if line.scope == "namespace" and line.side in {side, "both"}
        ]
        if own:
            lines = ["sysctls:", *(f'  {line.key}: "{line.value}"' for line in own)]
            blocks[side] = "\n".join(lines) + "\n"
    return blocks
