"""Starts a guest, watches it, and ends it: by itself, by Ctrl-C, or because it came to grief.

KVM may be offered and still not work, as where this machine is a guest itself: the guest hangs, or
QEMU gives up. So with KVM a guest has a few seconds to show a sign of life, else it is started again
under emulation; that KVM failed is remembered until this machine boots again.

Nothing outlives the lab. virtme-run and QEMU each ask for SIGKILL at their parent's death, and a
guest that hears nothing from its host for a minute powers off.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal, Self

from lab.testbed.base import TestbedError
from lab.testbed.processes import tool
from lab.vm import script as files
from lab.vm.cache import GuestKernel, cache_directory
from lab.vm.names import GuestError, VmError
from loadgen.fleet.owner import boot_id

Accelerator = Literal["kvm", "emulation"]

KVM_WITHIN: Final = 15.0
"""Seconds for a sign of life under KVM, where a boot takes one or two."""
BOOT_WITHIN: Final = 180.0
"""Seconds for one under emulation: 5 to 20 on an idle machine, a minute seen on a busy one."""
SILENT_FOR: Final = 60.0
"""Seconds without one after which a guest hangs; it gives two a second."""
GRACE: Final = 30.0
"""Seconds that an interrupted verb has to write its report, emulated."""
_LOOK_EVERY: Final = 0.1
_HOST_BEAT: Final = 5.0
_OVERLAYS: Final = ("/etc", "/lib", "/home", "/opt", "/srv", "/usr", "/var", "/tmp")  # noqa: S108 - the guest's
"""Written to in the guest's memory only."""
_PARENT: Final = '[ "$PPID" = "$0" ] || exit 1; exec "$@"'


class Interrupted(KeyboardInterrupt):
    """The guest was stopped by a signal, its verb first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A guest that can be started."""

    kernel: GuestKernel
    cpus: int = 2
    memory: str = "4G"
    """As QEMU has it."""
    shared: Sequence[Path] = ()
    """Directories that the guest may write."""
    kvm: bool = True
    """Whether to try it."""
    boot_within: float = BOOT_WITHIN
    silent_for: float = SILENT_FOR


@dataclass(slots=True)
class _Signals:
    """SIGINT and SIGTERM, counted."""

    count: int = 0

    @contextmanager
    def counted(self) -> Iterator[None]:
        before = {
            number: signal.signal(number, self._add) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _add(self, _number: int, _frame: object) -> None:
        self.count += 1


def virtme_run() -> str:
    """Return the path of virtme-ng's launcher.

    Raises:
        VmError: when it is not installed.
    """
    beside = Path(sys.executable).with_name("virtme-run")
    found = str(beside) if beside.exists() else shutil.which("virtme-run")
    if found is None:
        raise VmError("virtme-ng is not installed", "install it with: pip install 'churnlab[vm]'")
    return found


def qemu() -> str:
    """Return the path of QEMU for this machine's own architecture.

    Raises:
        VmError: when it is not installed, or this is no x86_64.
    """
    architecture = os.uname().machine
    if architecture != "x86_64":
        raise VmError(f"this machine is {architecture}: other kernels are booted on x86_64 only")
    return _needed("qemu-system-x86_64", "qemu-system-x86")


def check_tools() -> None:
    """Check that everything is installed that a guest is made of.

    Raises:
        VmError: for the first that is not; says how to get it.
    """
    virtme_run()
    qemu()
    for name, package in (
        ("busybox", "busybox-static"),
        ("file", "file"),
        ("setpriv", "util-linux"),
    ):
        _needed(name, package)


def _needed(name: str, package: str) -> str:
    try:
        return tool(name)
    except TestbedError:
        raise VmError(
            f"{name} is not installed", f"install it with: apt install {package}"
        ) from None


def kvm_is_offered() -> bool:
    """Whether KVM may be tried: the device is there, and has not failed since this machine booted."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    try:
        return _kvm_failed().read_text(encoding="ascii") != boot_id()
    except OSError:
        return True


def _kvm_failed() -> Path:
    return cache_directory() / "kvm-failed"


def run(
    machine: Machine,
    make_script: Callable[[Path, Accelerator], str],
    *,
    stdout: BinaryIO,
    stderr: BinaryIO,
    say: Callable[[str], None],
) -> int:
    """Run a script in a guest, copying what it prints; return its command's exit code.

    Args:
        machine: what to start.
        make_script: gets the directory that host and guest share, and what the guest runs on.
        stdout: gets the command's standard output as it comes.
        stderr: gets its standard error.
        say: told what the guest runs on, before it does.

    Raises:
        VmError: when it cannot be started.
        GuestError: when it panics, hangs, or ends in another way than it should.
        Interrupted: by SIGINT or SIGTERM, once the guest is gone.
        OSError: when the cache directory or an output cannot be written.
    """
    check_tools()
    if machine.kvm and kvm_is_offered():
        try:
            with _Guest(machine, make_script, "kvm", stdout, stderr) as guest:
                guest.boot(KVM_WITHIN)
                say("on KVM")
                return guest.wait()
        except _NoSignError:
            _kvm_failed().write_text(boot_id(), encoding="ascii")
    with _Guest(machine, make_script, "emulation", stdout, stderr) as guest:
        say("on emulated processors: what is counted holds, what is timed is the emulator's")
        guest.boot(machine.boot_within)
        return guest.wait()


class _NoSignError(GuestError):
    """The guest gave no sign of life."""


class _Guest:
    """One started guest; leaving the context ends it and removes its files."""

    def __init__(
        self,
        machine: Machine,
        make_script: Callable[[Path, Accelerator], str],
        accelerator: Accelerator,
        stdout: BinaryIO,
        stderr: BinaryIO,
    ) -> None:
        self._machine = machine
        self._make_script = make_script
        self._accelerator: Accelerator = accelerator
        self._sinks = {files.STDOUT: stdout, files.STDERR: stderr}
        self._copied = {files.STDOUT: 0, files.STDERR: 0}
        self._signals = _Signals()
        self._stack = ExitStack()
        self._heard = self._told = 0.0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            jobs = cache_directory() / "jobs"
            jobs.mkdir(parents=True, exist_ok=True)
            self._job = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=jobs))
            stack.callback(shutil.rmtree, self._job, ignore_errors=True)
            for name in (files.HOST, files.BEAT, files.STDOUT, files.STDERR):
                (self._job / name).touch()
            (self._job / "script").write_text(
                self._make_script(self._job, self._accelerator), encoding="utf-8"
            )
            stack.enter_context(self._signals.counted())
            self._process = self._start()
            stack.callback(self._kill)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self) -> subprocess.Popen[bytes]:
        # QEMU is virtme-run's child, which does not die with it.
        wrapper = self._job / "qemu"
        wrapper.write_text(f'#!/bin/sh\nexec {tool("setpriv")} --pdeathsig KILL -- {qemu()} "$@"\n')
        wrapper.chmod(0o700)
        machine = self._machine
        command = [
            *(tool("setpriv"), "--pdeathsig", "KILL", "--"),
            *("sh", "-c", _PARENT, str(os.getpid())),
            *(virtme_run(), "--qemu-bin", str(wrapper)),
            *("--kimg", str(machine.kernel.image), "--mods", "auto"),
            *("--force-9p", "--disable-microvm", "--no-dhcp", "--name", "guest"),
            *("--cpus", str(machine.cpus), "--memory", machine.memory),
            *(("--disable-kvm",) if self._accelerator == "emulation" else ()),
            # The console shows a panic, and little else.
            *("--show-boot-console", "--kopt", "quiet", "--kopt", "loglevel=3"),
            *(word for path in _OVERLAYS for word in ("--overlay-rwdir", path)),
            *(word for path in (self._job, *machine.shared) for word in ("--rwdir", str(path))),
            *("--script-sh", f"sh '{self._job}/script'"),
        ]
        with (self._job / "console").open("wb") as console:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                process_group=0,
                cwd="/",
            )

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def boot(self, within: float) -> None:
        """Wait for the guest's first sign of life."""
        end = time.monotonic() + within
        up = self._job / files.UP
        while not up.exists():
            if self._process.poll() is not None and not up.exists():
                if self._accelerator == "kvm":
                    raise _NoSignError(str(self._ended()))
                raise self._ended()
            if self._signals.count:
                raise Interrupted
            if time.monotonic() > end:
                raise _NoSignError(
                    f"{self._name} gave no sign of life within {within:g} s of its start"
                    f"{self._console()}"
                )
            self._beat()
            time.sleep(_LOOK_EVERY)

    def wait(self) -> int:
        """Wait for the verb's end and return its exit code."""
        code, beat = self._job / files.CODE, self._job / files.BEAT
        last, heard, give_up = 0, time.monotonic(), float("inf")
        while not code.exists():
            self._copy()
            if self._process.poll() is not None and not code.exists():
                raise self._ended()
            now, touched = time.monotonic(), beat.stat().st_mtime_ns
            if touched != last:
                last, heard = touched, now
            if now - heard > self._machine.silent_for:
                raise GuestError(
                    f"{self._name} hangs: no sign of life for {self._machine.silent_for:g} s"
                    f"{self._console()}"
                )
            if self._signals.count == 1 and give_up == float("inf"):
                (self._job / files.STOP).touch()
                give_up = now + GRACE
            if now > give_up or self._signals.count > 1:
                raise Interrupted
            self._beat()
            time.sleep(_LOOK_EVERY)
        self._copy()
        text = code.read_text(encoding="ascii", errors="replace").strip()
        if not text.isdigit():
            raise GuestError(f"{self._name} left no exit code: is the disk of {self._job} full?")
        return int(text)

    def _copy(self) -> None:
        """Pass on what the verb has printed since the last time."""
        for name, sink in self._sinks.items():
            with (self._job / name).open("rb") as file:
                file.seek(self._copied[name])
                data = file.read()
            if data:
                self._copied[name] += len(data)
                sink.write(data)
                sink.flush()

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._told > _HOST_BEAT:
            self._told = now
            os.utime(self._job / files.HOST)

    @property
    def _name(self) -> str:
        return f"the guest with Linux {self._machine.kernel.release}"

    def _ended(self) -> GuestError:
        """Say why a guest ended without an exit code, from its console's last words."""
        lines = self._last_words()
        panic = next((line for line in lines if "Kernel panic" in line), None)
        if panic is not None:
            told = panic[panic.index("Kernel panic") :]
            return GuestError(f"{self._name} panicked: {told}{self._console()}")
        ours = [line for line in lines if line.startswith(("virtme-run:", "qemu-system"))]
        last = (ours or lines or ["nothing"])[-1]
        return GuestError(
            f"{self._name} ended before its verb did; it said: {last}{self._console()}"
        )

    def _last_words(self) -> list[str]:
        text = (self._job / "console").read_text(encoding="utf-8", errors="replace")
        return [line.strip() for line in text[-20_000:].splitlines() if line.strip()]

    def _console(self) -> str:
        """Keep the console, and say where."""
        kept = cache_directory() / "last-console"
        try:
            shutil.copyfile(self._job / "console", kept)
        except OSError:
            return ""
        return f" (its console: {kept})"
