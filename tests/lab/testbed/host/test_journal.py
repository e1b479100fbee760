"""The journal: written before a value is, read by whoever comes after."""

from __future__ import annotations

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.testbed.host import journal
from lab.testbed.host.journal import Change, Journal, JournalError, JournalPlace
from loadgen.fleet.owner import boot_id
from tests.lab.testbed.host.conftest import BUCKETS, MAX

CHANGES = [
    Change(key=MAX, before="262144", asked="524288"),
    Change(key=BUCKETS, before="65536", asked="131072"),
]


def pending(place: JournalPlace, *, boot: str | None = None) -> None:
    place.folder.mkdir()
    journal.write(place, Journal(boot=boot or boot_id(), pid=os.getpid(), changes=CHANGES))


def test_nothing_is_pending_at_first(place: JournalPlace) -> None:
    assert journal.read(place) is None
    assert journal.restore(place) == []


def test_what_was_written_is_read_back(place: JournalPlace) -> None:
    pending(place)
    found = journal.read(place)
    assert found is not None
    assert found.changes == CHANGES
    assert sorted(place.folder.iterdir()) == sorted(place.files)


def test_restoring_writes_the_old_values_and_removes_the_journal(place: JournalPlace) -> None:
    pending(place)
    place.set(MAX, "524288")
    place.set(BUCKETS, "131328")  # rounded by the kernel: not what was asked
    assert journal.restore(place) == [
        f"{BUCKETS} = 65536 (was 131328)",
        f"{MAX} = 262144 (was 524288)",
    ]
    assert (place.get(MAX), place.get(BUCKETS)) == ("262144", "65536")
    assert journal.read(place) is None


def test_restoring_twice_does_nothing_more(place: JournalPlace) -> None:
    pending(place)
    journal.restore(place)
    place.set(MAX, "300000")
    assert journal.restore(place) == []
    assert place.get(MAX) == "300000"


def test_a_journal_of_an_earlier_boot_is_void(place: JournalPlace) -> None:
    """The kernel started with its own values since; the old ones are nobody's wish any more."""
    pending(place, boot="00000000-0000-0000-0000-000000000000")
    place.set(MAX, "524288")
    assert journal.read(place) is None
    assert journal.restore(place) == []
    assert place.get(MAX) == "524288"


def test_a_value_that_cannot_be_put_back_keeps_the_journal_and_not_the_others(
    place: JournalPlace,
) -> None:
    pending(place)
    place.set(BUCKETS, "131072")
    (place.root / "net/netfilter/nf_conntrack_max").unlink()
    with pytest.raises(JournalError, match=f"cannot put back {MAX} = 262144.*lab restore"):
        journal.restore(place)
    assert place.get(BUCKETS) == "65536"
    assert journal.read(place) is not None


@pytest.mark.parametrize("content", [b"", b"{", b'{"schema": "churnlab.host/2"}', b"\xff", b"\n"])
def test_a_journal_of_which_nothing_is_intact_is_one_line_with_the_remedy(
    place: JournalPlace, content: bytes
) -> None:
    place.folder.mkdir()
    for path in place.files:
        path.write_bytes(content)
    with pytest.raises(JournalError, match=r"are damaged.*delete both") as caught:
        journal.read(place)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("copy", [0, 1])
@pytest.mark.parametrize("ruin", ["removed", "emptied", "overwritten"])
def test_one_copy_is_enough(place: JournalPlace, copy: int, ruin: str) -> None:
    pending(place)
    place.set(MAX, "524288")
    path = place.files[copy]
    path.unlink() if ruin == "removed" else path.write_bytes(b"x" * 300 * (ruin != "emptied"))
    assert journal.restore(place) == [
        f"{BUCKETS} = 65536 (was 65536)",
        f"{MAX} = 262144 (was 524288)",
    ]
    assert not place.folder.joinpath(path.name).exists()


def test_the_same_line_of_both_copies_damaged_loses_that_setting_and_says_so(
    place: JournalPlace,
) -> None:
    pending(place)
    place.set(MAX, "524288")
    place.set(BUCKETS, "131072")
    for path in place.files:
        first, *others = path.read_bytes().split(b"\n")
        path.write_bytes(b"\n".join([first.replace(b"262144", b"262145"), *others]))
    with pytest.raises(
        JournalError, match=rf"1 of 2 settings are not in it any more; put back: {BUCKETS} = 65536"
    ):
        journal.restore(place)
    assert (place.get(MAX), place.get(BUCKETS)) == ("524288", "65536")
    assert journal.restore(place) == []


@given(st.integers(0, 1000), st.integers(1, 1000), st.binary(max_size=40))
def test_whatever_befalls_a_copy_no_wrong_value_is_read(at: int, length: int, junk: bytes) -> None:
    with TemporaryDirectory() as folder:
        place = JournalPlace(Path(folder) / "state")
        pending(place)
        for path in place.files:
            data = path.read_bytes()
            path.write_bytes(data[:at] + junk + data[at + length :])
        try:
            found = journal.read(place)
        except JournalError:
            return
        assert found is not None
        assert all(change in CHANGES for change in found.changes)
        assert len(found.changes) + found.lost == len(CHANGES)


def test_it_holds_what_a_person_needs_to_restore_by_hand(place: JournalPlace) -> None:
    pending(place)
    line = json.loads(place.files[0].read_text().partition("\n")[0].rpartition(" ")[0])
    assert (line["key"], line["before"], line["asked"]) == (MAX, "262144", "524288")


def test_the_place_can_be_chosen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CHURNLAB_STATE", raising=False)
    assert JournalPlace().files[0] == Path("/var/lib/churnlab/host-sysctls.jsonl")
    monkeypatch.setenv("CHURNLAB_STATE", str(tmp_path))
    assert JournalPlace().files[0] == tmp_path / "host-sysctls.jsonl"
