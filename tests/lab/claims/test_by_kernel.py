"""Several kernels in one table: what differs, and why."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from lab.claims import by_kernel
from lab.claims.catalogue import ENTRIES
from lab.claims.expected import Platform
from lab.claims.findings import Conntrack
from lab.claims.outcome import Found, Refused
from lab.claims.records import ByKernel, Claims
from lab.claims.results import results
from lab.cli.claims import command
from lab.cli.claims_kernels import ResultsError, read
from loadgen.summary import Environment
from tests.lab.claims.samples import OF

OLD_SIZES = msgspec.structs.replace(OF[Conntrack], entries=65_536, buckets=16_384)
SMALL_SIZES = msgspec.structs.replace(OF[Conntrack], entries=65_536, buckets=65_536)


def run_on(release: str, memory: float, **findings: Any) -> Claims:
    """The results of a kernel; a finding by its type's name in place of the sample."""
    outcomes = {
        kind: findings.get(kind.__name__, Found(sample, 0.5)) for kind, sample in OF.items()
    }
    environment = Environment(
        kernel=release,
        cpus=2,
        memory_kib=int(memory * (1 << 20)),
        guest={"accelerator": "emulation"} if memory < 4 else None,
    )
    return Claims(
        kernel=release,
        environment=environment,
        started_at="2026-01-02T03:04:05+00:00",
        seconds=60.0,
        finished=True,
        claims=results(ENTRIES, outcomes, Platform.of(environment)),
    )


OLDEST = run_on("5.10.0-32-amd64", 3.8, Conntrack=Found(OLD_SIZES, 0.1))
OLDER = run_on("6.1.0-50-amd64", 3.8, Conntrack=Found(SMALL_SIZES, 0.1))
OWN = run_on("6.18.44", 23.5)
FOUND = by_kernel.ordered([OWN, OLDEST, OLDER])


def test_oldest_kernel_first() -> None:
    assert [claims.kernel for claims in FOUND.kernels] == [
        "5.10.0-32-amd64", "6.1.0-50-amd64", "6.18.44",
    ]  # fmt: skip


def test_a_difference_is_explained_by_the_release_that_made_it() -> None:
    told = by_kernel.differences(FOUND)
    assert [line.split(":")[0] for line in told] == [
        "conntrack-default-sizes", "conntrack-ratio-4", "conntrack-eightfold",
    ]  # fmt: skip
    assert "confirmed on 5.10, refuted on 6.1: since 5.15 the hash" in told[0]
    assert "commit d532bcd0b269" in told[1]


def test_a_difference_is_explained_by_memory() -> None:
    (told,) = (line for line in by_kernel.differences(FOUND) if "eightfold" in line)
    assert "confirmed on 6.1, refuted on 6.18" in told
    assert "6.1 ran with 3.8 GiB, 6.18 with 23.5" in told


def test_what_could_not_be_tested_says_why() -> None:
    kind = next(kind for kind in OF if kind.__name__ == "Delayed")
    bare = run_on("6.18.44", 23.5, **{kind.__name__: Refused("this kernel has no netem", 0.1)})
    told = by_kernel.differences(by_kernel.ordered([OLDER, bare]))
    assert any("untestable here on 6.18: 6.18: this kernel has no netem" in line for line in told)


def test_a_difference_that_nothing_explains_says_so() -> None:
    changed = msgspec.structs.replace(OWN.claims[0], verdict="confirmed")
    other = msgspec.structs.replace(OWN, claims=[changed, *OWN.claims[1:]])
    (told,) = (line for line in by_kernel.differences(by_kernel.ordered([OLDER, other]))
               if line.startswith(changed.name))  # fmt: skip
    assert told.endswith("no change of the kernel is known that explains this")
    assert any(changed.name in line for line in by_kernel.surprises(by_kernel.ordered([other])))


def test_figures_that_a_release_changed_are_listed_where_verdicts_agree() -> None:
    told = by_kernel.measured_changes(FOUND)
    assert any(line.startswith("reuse-has-no-limit") and "since 6.14" in line for line in told)


def test_the_page_has_a_column_for_each_kernel_and_says_what_was_emulated() -> None:
    page = by_kernel.markdown(FOUND)
    assert "| | the article says | 5.10 | 6.1 | 6.18 |" in page
    assert page.count("emulated: counts hold, times do not") == 2
    assert "## Each claim, on Linux 6.18.44" in page
    rows = [line for line in page.splitlines() if line.startswith(("| 1 ", "| 16 "))]
    assert {row.replace("\\|", "").count("|") for row in rows} == {6}


def test_the_table_fits_and_names_every_claim() -> None:
    plain = by_kernel.terminal(FOUND, width=160)
    assert max(map(len, by_kernel.terminal(FOUND, width=120).splitlines()[:-12])) <= 160
    for entry in ENTRIES:
        assert entry.name in plain


def test_stored_results_come_back(tmp_path: Path) -> None:
    one, many = tmp_path / "one.json", tmp_path / "many.json"
    one.write_bytes(msgspec.json.encode(OLDEST))
    many.write_text(by_kernel.json(FOUND))
    assert read(one) == [OLDEST]
    assert read(many) == FOUND.kernels
    done = CliRunner().invoke(
        command, ["--with", str(one), "--with", str(many), "--json", "-", "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)["kernels"]) == 4
    kept = msgspec.json.decode((tmp_path / "claims.json").read_bytes(), type=ByKernel)
    assert by_kernel.markdown(kept) == (tmp_path / "claims.md").read_text()


@pytest.mark.parametrize("content", [None, b"", b"{}", b'{"schema":"churnlab.run/1"}', b"\xff"])
def test_a_file_that_holds_no_results_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ResultsError) as caught:
        read(path)
    assert str(caught.value).startswith(f"--with {path}")
    assert len(str(caught.value).splitlines()) == 1
