"""What `lab doctor` says of other kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lab.doctor.records import Check
from lab.vm.cache import cache_directory
from lab.vm.machine import check_tools, kvm_is_offered
from lab.vm.names import VmError

_GROUP: Final = "Other kernels"


def other_kernels() -> list[Check]:
    """Whether `lab vm` works here, on what its guests run, and which kernels are at hand.

    Nothing is booted: whether KVM works shows the first guest, which falls back to emulation.
    """
    try:
        check_tools()
    except VmError as error:
        remedy = f"{error.remedy}. Only lab vm needs it"
        return [
            Check(group=_GROUP, name="lab vm", state="limited", found=error.problem, remedy=remedy)
        ]
    if kvm_is_offered():
        runs = Check(group=_GROUP, name="lab vm", state="ok", found="works, with KVM if it answers")
    else:
        there = Path("/dev/kvm").exists()
        runs = Check(
            group=_GROUP,
            name="lab vm",
            state="limited",
            found="works, on emulated processors, some ten times slower: "
            + ("KVM is offered and does not answer" if there else "there is no KVM"),
            remedy="a machine with KVM (/dev/kvm). Only times suffer: what is counted holds",
        )
    kept = sorted(path.name for path in (cache_directory() / "kernels").glob("*"))
    return [
        runs,
        Check(
            group=_GROUP,
            name="kernels kept",
            state="note",
            found=", ".join(kept) or "none yet: lab vm fetches what it is asked for",
        ),
    ]
