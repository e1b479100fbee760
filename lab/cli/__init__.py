"""The `lab` command: one module a verb, imported only when that verb is called."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own takes a fifth of the time until Ctrl-C is heard
if TYPE_CHECKING:
    from loadgen.cli.group import LazyGroup

VERBS = {
    "run": "Compare two tunings under the same load, and judge whether the second prevents failures.",
    "claims": "Test every claim of the article by experiment on this kernel.",
    "plan": "Predict what a tuning does at a rate, and compute one that holds it.",
    "sweep": "Measure the capacity of tunings, against the prediction.",
    "ablate": "Find out which line of a tuning does the work.",
    "tunings": "List the built-in tunings, or show one with what each line does here.",
    "compare": "Compare two stored runs or experiments.",
    "vm": "Run any of these on another kernel, in a virtual machine.",
    "doctor": "Say what this machine can do, and how to get what is missing.",
    "restore": "Put back and remove what labs that were killed have left.",
    "report": "Rebuild the reports of a stored experiment.",
}


def command_group() -> LazyGroup:
    """Return the command with its verbs."""
    from loadgen.cli.group import LazyGroup

    return LazyGroup(
        name="lab",
        package="lab.cli",
        verbs=VERBS,
        help=(
            "Find out by experiment which kernel setting prevents connect failures here.\n\n"
            "Exit codes: 0 pass, 1 unexpected error, 2 usage, 3 measurement invalid "
            "(generator-limited, inconclusive), 99 verdict failed, 130 interrupted."
        ),
    )


def main() -> None:
    """Run the command line and exit; a Ctrl-C while modules are still read ends it without a word."""
    try:
        from loadgen.cli.group import run_command

        run_command(command_group())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
