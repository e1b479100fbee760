"""How a guest is watched, with a stand-in for virtme-run: every way in which it can end."""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lab.vm import machine
from lab.vm.cache import GuestKernel
from lab.vm.machine import Interrupted, Machine
from lab.vm.names import GuestError

KERNEL = GuestKernel(Path("/boot/vmlinuz"), "6.1.0-50-amd64", None)


@dataclass
class Bench:
    """A machine whose guest is a shell script, which gets the job's directory as $job."""

    cache: Path
    out: io.BytesIO = field(default_factory=io.BytesIO)
    err: io.BytesIO = field(default_factory=io.BytesIO)
    said: list[str] = field(default_factory=list)

    def run(self, guest: str, **options: float) -> int:
        stand_in = self.cache / "virtme-run"
        stand_in.write_text(f'#!/bin/sh\nuntil [ "$1" = --qemu-bin ]; do shift; done\n'
                            f'job=${{2%/qemu}}\n{guest}\n')  # fmt: skip
        stand_in.chmod(0o755)
        return machine.run(
            Machine(kernel=KERNEL, kvm=bool(options.pop("kvm", False)), **options),  # type: ignore[arg-type]  # seconds
            lambda job, accelerator: f"on {accelerator} in {job}",
            stdout=self.out,
            stderr=self.err,
            say=self.said.append,
        )

    @property
    def left(self) -> list[Path]:
        """What is still there of any job."""
        return list((self.cache / "churnlab" / "jobs").iterdir())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(machine, "check_tools", lambda: None)
    monkeypatch.setattr(machine, "qemu", lambda: "/bin/true")
    monkeypatch.setattr(machine, "virtme_run", lambda: str(tmp_path / "virtme-run"))
    return Bench(tmp_path)


def test_output_and_exit_code_are_the_verbs(bench: Bench) -> None:
    code = bench.run('touch "$job/up"; echo out >"$job/stdout"; echo err >"$job/stderr"; '
                     'echo 99 >"$job/code"; sleep 60')  # fmt: skip
    assert code == 99
    assert bench.out.getvalue() == b"out\n"
    assert bench.err.getvalue() == b"err\n"
    assert bench.said == [
        "on emulated processors: what is counted holds, what is timed is the emulator's"
    ]
    assert bench.left == []


def test_a_panic_is_named_and_its_console_kept(bench: Bench) -> None:
    with pytest.raises(GuestError, match=r"panicked: Kernel panic - not syncing: sysrq") as caught:
        bench.run(
            'touch "$job/up"; echo "[ 9.1] Kernel panic - not syncing: sysrq triggered crash"'
        )
    kept = bench.cache / "churnlab" / "last-console"
    assert str(kept) in str(caught.value)
    assert "Kernel panic" in kept.read_text()
    assert len(str(caught.value).splitlines()) == 1
    assert bench.left == []


def test_a_launcher_that_refuses_is_quoted(bench: Bench) -> None:
    with pytest.raises(GuestError, match="it said: virtme-run: initramfs is needed"):
        bench.run('echo "virtme-run: initramfs is needed, and no busybox was found"; exit 1')


def test_a_guest_that_never_comes_up(bench: Bench) -> None:
    with pytest.raises(GuestError, match=r"no sign of life within 0\.5 s of its start"):
        bench.run("sleep 60", boot_within=0.5)
    assert bench.left == []


def test_a_guest_that_falls_silent(bench: Bench) -> None:
    with pytest.raises(GuestError, match=r"hangs: no sign of life for 0\.5 s"):
        bench.run('touch "$job/up"; sleep 60', silent_for=0.5)
    assert bench.left == []


@pytest.mark.parametrize("failure", ["sleep 60", "exit 1"], ids=["hangs", "gives up"])
def test_where_kvm_fails_the_guest_is_emulated_and_kvm_is_not_tried_again(
    failure: str, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "KVM_WITHIN", 0.5)
    monkeypatch.setattr(os, "access", lambda *_: True)
    guest = (f'grep -q "on kvm" "$job/script" && {failure}; '
             'touch "$job/up"; echo 0 >"$job/code"; sleep 60')  # fmt: skip
    assert machine.kvm_is_offered()
    assert bench.run(guest, kvm=True) == 0
    assert not machine.kvm_is_offered()
    assert [words.split(":")[0] for words in bench.said] == ["on emulated processors"]
    assert bench.left == []


def test_where_kvm_works_it_is_used(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: True)
    assert bench.run('touch "$job/up"; echo 0 >"$job/code"; sleep 60', kvm=True) == 0
    assert bench.said == ["on KVM"]


def interrupted_when(ready: Path, pattern: str) -> None:
    """Send this process SIGINT as soon as a job has come so far."""

    def wait() -> None:
        end = time.monotonic() + 20
        while not list(ready.glob(pattern)) and time.monotonic() < end:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()


def test_ctrl_c_stops_the_verb_first(bench: Bench) -> None:
    interrupted_when(bench.cache, "churnlab/jobs/*/up")
    code = bench.run('touch "$job/up"; until [ -e "$job/stop" ]; do touch "$job/beat"; sleep 0.1; '
                     'done; echo partial >"$job/stdout"; echo 130 >"$job/code"; sleep 60')  # fmt: skip
    assert code == 130
    assert bench.out.getvalue() == b"partial\n"
    assert bench.left == []


def test_ctrl_c_while_it_boots_ends_it_at_once(bench: Bench) -> None:
    interrupted_when(bench.cache, "churnlab/jobs/*/script")
    with pytest.raises(Interrupted):
        bench.run("sleep 60")
    assert bench.left == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
