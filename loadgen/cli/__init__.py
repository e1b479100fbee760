"""The `loadgen` command: one module a verb, imported only when that verb is called."""

from __future__ import annotations

TYPE_CHECKING = False  # typing's own takes a fifth of the time until Ctrl-C is heard
if TYPE_CHECKING:
    from loadgen.cli.group import LazyGroup

VERBS = {
    "run": "Open short connections on a schedule and say what happened to each.",
    "watch": "Show how near a host is to each limit, and when it is reached; no load.",
    "merge": "Add up the run directories of several shards.",
    "fleet": "Parts of a fleet: the process on each node, a manifest, a run to bring home.",
    "report": "Rebuild the summary of a run directory, a truncated one too.",
}


def command_group() -> LazyGroup:
    """Return the command with its verbs."""
    from loadgen.cli.group import LazyGroup

    return LazyGroup(
        name="loadgen",
        package="loadgen.cli",
        verbs=VERBS,
        help=(
            "Open thousands of short TCP connections a second and watch the kernel.\n\n"
            "Exit codes: 0 pass, 1 unexpected error, 2 usage, 3 measurement invalid "
            "(generator-limited, partial), 99 threshold failed, 130 interrupted."
        ),
    )


def main() -> None:
    """Run the command line and exit; a Ctrl-C while modules are still read ends it without a word."""
    try:
        from loadgen.cli.group import run_command

        run_command(command_group())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
