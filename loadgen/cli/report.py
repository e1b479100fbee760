"""`loadgen report`: rebuild the summary and the page of a run directory, a truncated one too."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from loadgen.cli import options
from loadgen.cli.group import fail, tell


@click.command()
@options.directory
@options.json_file
@click.option(
    "--csv",
    "csv_file",
    type=click.Path(dir_okay=False, allow_dash=True),
    default=None,
    metavar="FILE|-",
    help="Also write the samples there, one line a sample, one column a metric.",
)
@options.junit
def command(
    directory: Path, json_file: str | None, csv_file: str | None, junit: Path | None
) -> None:
    """Rebuild summary.json and index.html from the run's other files, and print the summary.

    A directory of `loadgen watch --out` becomes a page with its courses and what happened.

    Works on a run that was killed or whose files were cut off, too: the summary then covers what
    was recorded, and says what is missing.
    """
    from loadgen import summary
    from loadgen.cli.execute import exit_code
    from loadgen.files import write_result, writing
    from loadgen.fleet import home
    from loadgen.report import junit as junit_xml
    from loadgen.report import page, table, text
    from loadgen.run import rundir, stored
    from loadgen.watch.recorded import is_recording

    if is_recording(directory):
        if json_file or csv_file or junit:
            fail("a recording has a page and no summary: leave --json, --csv and --junit out")
        _recording(directory)
        return
    if json_file == csv_file == "-":
        fail("--json - and --csv - both want stdout; give one of them a file")
    fleet = home.read_fleet(directory)
    found = stored.salvage(directory) if fleet is None else home.gathered(fleet, directory)
    # The text first: what there is to say is said, whatever can be written of it.
    sys.stderr.write(text.render(found.summary, directory / page.PAGE))
    for line in found.missing:
        tell(f"  missing: {line}", err=True)
    with writing(directory):
        if fleet is not None:
            home.write_pages(found)
        if found.about is not None:
            rundir.write_summary(directory, found.summary)
        page.write(found)
    if json_file == "-":
        sys.stdout.buffer.write(summary.encode(found.summary))
        sys.stdout.flush()
    elif json_file:
        write_result(json_file, summary.encode(found.summary))
    if csv_file == "-":
        table.write([({}, found.samples)], sys.stdout)
    elif csv_file:
        write_result(csv_file, table.render([({}, found.samples)]))
    if junit:
        write_result(junit, junit_xml.render(found.summary))
    sys.exit(int(exit_code(found.summary)))


def _recording(directory: Path) -> None:
    from loadgen.files import write_whole, writing
    from loadgen.report import recording
    from loadgen.report.page import recording as page
    from loadgen.report.page.run import PAGE
    from loadgen.watch.recorded import read

    found = read(directory)
    told = recording.tell(found)
    path = directory / PAGE
    tell(recording.text(told, str(path)), nl=False)
    with writing(path):
        write_whole(path, page.render(found, told).encode())
