"""Which directories a guest may write."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.vm.names import VmError
from lab.vm.sharing import shared


def test_the_working_directory_and_where_results_go(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    assert shared(here, []) == [here]
    assert shared(here, [Path("reports/a"), here / "b.json"]) == [here]
    assert shared(here, [there / "new" / "deep", there / "b.json"]) == [here, there]


def test_an_index_is_written_beside_a_report(tmp_path: Path) -> None:
    here, report = tmp_path / "here", tmp_path / "reports" / "first"
    here.mkdir()
    report.mkdir(parents=True)
    assert shared(here, [report]) == [here, tmp_path / "reports"]


def test_a_directory_within_another_is_shared_once(tmp_path: Path) -> None:
    here = tmp_path / "a" / "b"
    here.mkdir(parents=True)
    assert shared(here, [Path("../out")]) == [tmp_path / "a"]


def test_the_whole_system_is_not_shared() -> None:
    assert shared(Path("/"), []) == []
    with pytest.raises(VmError, match="output /results: the root directory is not shared"):
        shared(Path("/"), [Path("/results")])


@pytest.mark.parametrize("place", ["/run/out", "/dev/shm/out", "/proc/self/out"])
def test_what_the_guest_has_itself_cannot_come_out(place: str, tmp_path: Path) -> None:
    with pytest.raises(VmError, match=r"a guest has a /.* of its own; use another directory"):
        shared(tmp_path, [Path(place)])
