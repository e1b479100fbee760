"""An arm's values on the host: in force for a while, and the old ones back however that ends."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.sysctl.tuning import Tuning, TuningError, parse
from lab.testbed.base import TestbedError
from lab.testbed.host import journal
from lab.testbed.host.journal import JournalPlace
from lab.testbed.host.settings import HostSettings, host_wide, take_lock
from tests.lab.testbed.host.conftest import BUCKETS, MAX

DEADLINE = 30.0
"""Seconds; it takes well below one on an idle machine."""
TEXT = f"net.ipv4.tcp_tw_reuse = 1\n{MAX} = 524288\n{BUCKETS} = 131072\nfs.file-max = 9\n"


def tuned(text: str = TEXT) -> Tuning:
    return parse(text, name="mine", source="./mine.conf")


def values(place: JournalPlace) -> tuple[str, str]:
    return place.get(MAX), place.get(BUCKETS)


OLD, NEW = ("262144", "65536"), ("524288", "131072")


def test_only_lines_of_the_host_that_bear_on_connections_are_its() -> None:
    text = TEXT + "net.core.rmem_max = 1\nnet.core.somaxconn = 9\n"
    assert [setting.key for setting in host_wide(tuned(text))] == [MAX, BUCKETS]


def test_values_are_in_force_and_on_record_meanwhile_and_back_afterwards(
    place: JournalPlace,
) -> None:
    with HostSettings(place) as host:
        for _ in range(2):
            with host.changed(tuned(), "after") as before:
                assert values(place) == NEW
                assert before == {MAX: OLD[0], BUCKETS: OLD[1]}
                found = journal.read(place)
                assert found is not None
                assert found.pid == os.getpid()
            assert values(place) == OLD
            assert journal.read(place) is None


def test_a_tuning_without_such_lines_touches_nothing(place: JournalPlace) -> None:
    with HostSettings(place) as host, host.changed(tuned("net.core.somaxconn = 9\n"), "after") as b:
        assert b == {}
    assert not place.folder.exists()


def test_a_value_in_force_already_is_left_alone(place: JournalPlace) -> None:
    with HostSettings(place) as host, host.changed(tuned(f"{MAX} = 262144\n"), "after") as before:
        assert before == {}
        assert journal.read(place) is None


def test_an_error_in_the_body_restores(place: JournalPlace) -> None:
    with (
        pytest.raises(RuntimeError, match="the body"),
        HostSettings(place) as host,
        host.changed(tuned(), "after"),
    ):
        raise RuntimeError("the body")
    assert values(place) == OLD
    assert journal.read(place) is None


def test_a_line_that_cannot_be_read_names_the_option(place: JournalPlace) -> None:
    text = "net.ipv4.tcp_max_orphans = 5\n"
    with (
        HostSettings(place) as host,
        pytest.raises(TestbedError, match=r"--allow-host-sysctls: net.ipv4.tcp_max_orphans"),
        host.changed(tuned(text), "after"),
    ):
        pass
    with HostSettings(place) as host, host.changed(tuned("-" + text), "after") as before:
        assert before == {}


@contextmanager
def refusing(place: JournalPlace, code: int) -> Iterator[None]:
    """A host that takes no second value."""
    real = JournalPlace.set

    def write(self: JournalPlace, key: str, value: str) -> None:
        if key == BUCKETS and value == NEW[1]:
            raise OSError(code, os.strerror(code))
        real(self, key, value)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(JournalPlace, "set", write)
        yield


def test_a_refused_value_restores_the_others_and_names_arm_and_line(place: JournalPlace) -> None:
    with (
        refusing(place, 22),
        HostSettings(place) as host,
        pytest.raises(
            TuningError, match=r"after arm: ./mine.conf:3: .*_buckets: the kernel rejects"
        ),
        host.changed(tuned(), "after"),
    ):
        pass
    assert values(place) == OLD
    assert journal.read(place) is None


def test_a_refused_value_that_may_fail_is_left_out(place: JournalPlace) -> None:
    text = TEXT.replace(BUCKETS, f"-{BUCKETS}")
    with refusing(place, 22), HostSettings(place) as host, host.changed(tuned(text), "after"):
        assert values(place) == (NEW[0], OLD[1])
    assert values(place) == OLD


@pytest.mark.parametrize("error", [errno.EACCES, errno.EROFS])
def test_without_the_right_to_write_it_says_so(place: JournalPlace, error: int) -> None:
    with (
        refusing(place, error),
        HostSettings(place) as host,
        pytest.raises(TestbedError, match=r"may not be written .* run as root"),
        host.changed(tuned(), "after"),
    ):
        pass
    assert values(place) == OLD


def test_a_folder_that_cannot_be_made_is_one_line(place: JournalPlace) -> None:
    place.folder.write_text("in the way")
    with (
        HostSettings(place) as host,
        pytest.raises(TestbedError, match=r"cannot be written .* run as root"),
        host.changed(tuned(), "after"),
    ):
        pass
    assert values(place) == OLD


def test_two_labs_do_not_change_the_host_at_once(place: JournalPlace) -> None:
    with (
        HostSettings(place) as host,
        host.changed(tuned(), "after"),
        HostSettings(place) as other,
        pytest.raises(TestbedError, match=rf"another lab \(process {os.getpid()}\)"),
        other.changed(tuned(), "after"),
    ):
        pass
    with HostSettings(place) as other, other.changed(tuned(), "after"):
        assert values(place) == NEW
    assert values(place) == OLD


def test_a_guardian_that_was_killed_is_replaced(place: JournalPlace) -> None:
    with HostSettings(place) as host:
        with host.changed(tuned(), "after"):
            assert host._guardian is not None
            first = host._guardian
            first.kill()
            first.wait()
        assert values(place) == OLD
        with host.changed(tuned(), "after"):
            assert host._guardian is not first
            assert host._guardian.poll() is None


def held(place: JournalPlace, text: str = TEXT) -> subprocess.Popen[str]:
    command = [sys.executable, str(Path(__file__).with_name("holder.py"))]
    lab = subprocess.Popen(
        [*command, str(place.folder), str(place.root), text],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        process_group=0,
    )
    assert lab.stdout is not None
    assert lab.stdout.readline() == "in force\n"
    return lab


def until(true: Callable[[], object], what: str) -> None:
    end = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.01)


def free(place: JournalPlace) -> bool:
    """Whether nobody holds the journal's lock; a killed process keeps it until the kernel is done."""
    try:
        os.close(take_lock(place))
    except TestbedError:
        return False
    return True


ENDINGS: dict[str, Callable[[subprocess.Popen[str]], object]] = {
    "kill -9": lambda lab: lab.send_signal(signal.SIGKILL),
    "kill -9 of the whole group": lambda lab: os.killpg(lab.pid, signal.SIGKILL),
    "SIGTERM": lambda lab: lab.send_signal(signal.SIGTERM),
    "SIGHUP to the group": lambda lab: os.killpg(lab.pid, signal.SIGHUP),
    "Ctrl-C": lambda lab: os.killpg(lab.pid, signal.SIGINT),
    "an error": lambda lab: lab.stdin and lab.stdin.close(),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_however_the_lab_ends_the_old_values_come_back(ending: str, place: JournalPlace) -> None:
    with held(place) as lab:
        assert values(place) == NEW
        ENDINGS[ending](lab)
        until(lambda: values(place) == OLD, "the values did not come back")
        until(lambda: not any(map(Path.exists, place.files)), "the journal did not go")
        assert lab.wait(DEADLINE) != 0
        assert lab.stderr is not None
        said = lab.stderr.read()
    if "kill -9" in ending:
        assert f"lab's guardian: {MAX} = 262144 (was 524288)" in said


RUINS: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
    "overwritten": lambda path: path.write_bytes(b"\xff" * 500),
}


@pytest.mark.parametrize("ruin", RUINS)
@pytest.mark.parametrize("ending", ["kill -9", "an error"])
def test_a_journal_ruined_on_disk_is_not_asked(ruin: str, ending: str, place: JournalPlace) -> None:
    """Whoever is alive knows the values: the lab its own, the guardian what the lab told it."""
    with held(place) as lab:
        for path in place.files:
            RUINS[ruin](path)
        ENDINGS[ending](lab)
        until(lambda: values(place) == OLD, "the values did not come back")
        until(lambda: not any(map(Path.exists, place.files)), "the journal did not go")
        lab.wait(DEADLINE)


def test_a_guardian_killed_and_a_journal_ruined_leave_the_lab_s_memory(place: JournalPlace) -> None:
    with HostSettings(place) as host, host.changed(tuned(), "after"):
        assert host._guardian is not None
        host._guardian.kill()
        host._guardian.wait()
        for path in place.files:
            path.write_bytes(b"\xff")
    assert values(place) == OLD


def test_the_next_lab_restores_what_one_without_a_guardian_left(place: JournalPlace) -> None:
    with held(place) as lab:
        children = Path(f"/proc/{lab.pid}/task/{lab.pid}/children").read_text().split()
        (guardian,) = map(int, children)
        os.kill(guardian, signal.SIGKILL)
        lab.kill()
        lab.wait()
    until(lambda: free(place), "the dead guardian kept the lock")
    assert values(place) == NEW
    with HostSettings(place) as host, host.changed(tuned(f"{MAX} = 600000\n"), "after") as before:
        assert before == {MAX: "262144"}
        assert place.get(BUCKETS) == "65536"
    assert values(place) == OLD


REAL = JournalPlace().root / "net/netfilter/nf_conntrack_max"


@pytest.mark.kernel
@pytest.mark.skipif(not REAL.exists(), reason="conntrack is not loaded here")
@pytest.mark.skipif(
    "4294967295" not in Path("/proc/self/uid_map").read_text() or os.geteuid() != 0,
    reason="only the host's root may change the host's settings",
)
def test_the_real_host_is_as_it_was_after_kill_9(tmp_path: Path) -> None:
    """One entry more than it has, for as long as the test takes: nobody notices."""
    place = JournalPlace(tmp_path)
    old = place.get(MAX)
    wanted = str(int(old) + 1)
    try:
        with held(place, f"{MAX} = {wanted}\n") as lab:
            assert place.get(MAX) == wanted
            lab.kill()
            until(lambda: place.get(MAX) == old, "the value did not come back")
    finally:
        place.set(MAX, old)
