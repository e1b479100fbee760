"""The lab's side: an arm's values are in force on the host for the length of one `with`."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.refusals import RIGHTS, rejected
from lab.sysctl.tuning import Setting, Tuning, TuningError, where
from lab.sysctl.values import same_value
from lab.testbed.base import TestbedError
from lab.testbed.host import guardian, journal
from lab.testbed.host.journal import Change, Journal, JournalError, JournalPlace
from loadgen.fleet.owner import boot_id

OPTION: Final = "--allow-host-sysctls"


def host_wide(tuning: Tuning) -> list[Setting]:
    """Return the lines of a tuning that are the host's and bear on short connections."""
    return [
        setting
        for setting in tuning.settings
        if (entry := CATALOGUE.get(setting.key)) and entry.scope == "host" and entry.bears
    ]


class HostSettings:
    """Changes the host's settings for arms, and puts them back; a context manager.

    Args:
        place: where journal and settings are.
    """

    def __init__(self, place: JournalPlace | None = None) -> None:
        self._place = place or JournalPlace()
        self._lock = -1
        self._guardian: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Take nothing yet: an experiment may need none of it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let the guardian go, which finds nothing pending."""
        if self._guardian is not None:
            _dismiss(self._guardian)
        if self._lock >= 0:
            os.close(self._lock)
        self._guardian, self._lock = None, -1

    @contextmanager
    def changed(self, tuning: Tuning, arm: str) -> Iterator[dict[str, str]]:
        """Have a tuning's host-wide lines in force, and what was there before back afterwards.

        Args:
            tuning: lines that are no host's are left to others.
            arm: `before` or `after`, for messages.

        Yields:
            The values from before, by key, of what was changed.

        Raises:
            TestbedError: when the host cannot be changed here, or not be put back.
            TuningError: when the kernel refuses a value; names the arm and the line.
        """
        settings = host_wide(tuning)
        if not settings:
            yield {}
            return
        self._prepare()
        changes = [change for setting in settings if (change := self._change(setting))]
        if not changes:
            yield {}
            return
        record = Journal(boot=boot_id(), pid=os.getpid(), changes=changes)
        try:
            self._tell(changes)
            journal.write(self._place, record)
            for change in changes:
                setting = next(one for one in settings if one.key == change.key)
                self._write(setting, tuning, arm)
            yield {change.key: change.before for change in changes}
        finally:
            # From memory: whatever has become of the journal meanwhile.
            try:
                journal.put_back(self._place, changes)
            except JournalError as error:
                raise TestbedError(error.problem, error.remedy) from None
            self._tell([])

    def _tell(self, changes: Sequence[Change]) -> None:
        """Have the guardian know what to put back. One that was killed is replaced before long."""
        assert self._guardian is not None
        assert self._guardian.stdin is not None
        with suppress(BrokenPipeError):
            os.write(self._guardian.stdin.fileno(), guardian.message(changes))

    def _prepare(self) -> None:
        """Lock out other labs, clean up after a dead one, and have a guardian."""
        place = self._place
        try:
            place.folder.mkdir(parents=True, exist_ok=True)
            if self._lock < 0:
                self._lock = take_lock(place)
            journal.restore(place)
        except OSError as error:
            raise TestbedError(
                f"{OPTION}: {place.folder} cannot be written ({error.strerror})", "run as root"
            ) from None
        except JournalError as error:
            raise TestbedError(error.problem, error.remedy) from None
        if self._guardian is None or self._guardian.poll() is not None:
            if self._guardian is not None:
                _dismiss(self._guardian)
            self._guardian = _start_guardian(place, self._lock)

    def _change(self, setting: Setting) -> Change | None:
        """Return what writing a line changes; None where the value is in force already."""
        try:
            before = self._place.get(setting.key)
        except OSError as error:
            if setting.may_fail:
                return None
            raise TestbedError(
                f"{OPTION}: {setting.key} cannot be read here ({error.strerror})",
                "run the lab in the host's own network namespace, with the module loaded",
            ) from None
        if same_value(setting.key, setting.value, before):
            return None
        return Change(key=setting.key, before=before, asked=setting.value)

    def _write(self, setting: Setting, tuning: Tuning, arm: str) -> None:
        try:
            self._place.set(setting.key, setting.value)
        except OSError as error:
            if error.errno in RIGHTS:
                raise TestbedError(
                    f"{OPTION}: {setting.key} may not be written ({error.strerror})",
                    "run as root in the host's own network namespace, where /proc/sys is not mounted "
                    "read-only",
                ) from None
            if not setting.may_fail:
                refusal = rejected(setting, error.errno or 0)
                raise TuningError(f"{arm} arm: {where(tuning, setting.line)}: {refusal}") from None


def take_lock(place: JournalPlace) -> int:
    """Return a descriptor that holds the journal's lock; it goes when all copies are closed.

    Raises:
        TestbedError: when a lab, or its guardian, holds it.
        OSError: when the file cannot be opened.
    """
    descriptor = os.open(place.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            holder = os.read(descriptor, 32).decode(errors="replace").strip()
        finally:
            os.close(descriptor)
        raise TestbedError(
            f"another lab (process {holder or 'unknown'}) is changing this host's settings",
            "wait for its end",
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def _start_guardian(place: JournalPlace, lock: int) -> subprocess.Popen[bytes]:
    """Start a guardian and return it once it listens.

    Raises:
        TestbedError: when it does not come up.
    """
    process = subprocess.Popen(
        [sys.executable, "-m", guardian.__name__, str(place.folder), str(place.root)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=(lock,),
        start_new_session=True,
    )
    assert process.stdout is not None
    if process.stdout.readline() != guardian.READY:
        _dismiss(process)
        raise TestbedError(
            f"the guardian of the host's settings did not start (code {process.returncode}); "
            "nothing was changed",
            f"run without {OPTION}",
        )
    return process


def _dismiss(process: subprocess.Popen[bytes]) -> None:
    """Close the pipe, which ends a guardian, and wait for that."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    process.wait()
    process.stdout.close()
