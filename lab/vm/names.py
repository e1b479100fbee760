"""What `--kernel` may be, and which packages hold a kernel of a distribution. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from loadgen.errors import ChurnlabError, Exit


class VmError(ChurnlabError):
    """A virtual machine that cannot be had. One line, with the remedy."""


class GuestError(VmError):
    """A guest that was started and came to grief: it panicked, hangs, or ended too soon."""

    code = Exit.UNEXPECTED


NEWEST: Final = "newest"
_DEBIAN: Final = re.compile(r"debian:(newest|\d+(?:\.\d+){0,3})", re.ASCII)
_PACKAGE: Final = re.compile(r"linux-(image|binary|modules)-(\d[\w.+~-]*)", re.ASCII)
_FLAVOURS: Final = ("cloud", "rt")
"""Passed over: the former lack 9p, by which the guest sees its disk, the latter are run by few."""


@dataclass(frozen=True, slots=True)
class Debian:
    """A kernel of Debian's archive."""

    series: str
    """Leading numbers of the version, such as `6.1`; `newest`."""


@dataclass(frozen=True, slots=True)
class Release:
    """A kernel that the archive has."""

    release: str
    """As `uname -r` will print it."""
    packages: tuple[str, ...]
    """All that is needed to boot it."""

    @property
    def version(self) -> tuple[int, ...]:
        """Its numbers, for sorting: 6.12.117+deb13-amd64 gives 6, 12, 117, 13, 64."""
        return tuple(map(int, re.findall(r"\d+", self.release)))


def parse_kernel(text: str) -> Debian | None:
    """Return what a `--kernel` of the archive asks for, None when it names a file.

    Raises:
        VmError: for `debian:` with something else behind it.
    """
    if not text.startswith("debian:"):
        return None
    match = _DEBIAN.fullmatch(text)
    if match is None:
        raise VmError(f"--kernel {text}: write debian:6.1 or debian:newest")
    return Debian(match[1])


def releases(packages: Iterable[str], architecture: str) -> list[Release]:
    """Return the kernels among the archive's packages, oldest first.

    A release is one package, or since 7.x two: the image proper and its modules.

    Args:
        packages: names, such as `linux-image-6.1.0-50-amd64`.
        architecture: as dpkg names it; the plain flavour has its name.
    """
    found: dict[str, set[str]] = {}
    for package in packages:
        match = _PACKAGE.fullmatch(package)
        if match is None or not match[2].endswith(f"-{architecture}"):
            continue
        if not any(f"-{flavour}" in match[2] for flavour in _FLAVOURS):
            found.setdefault(match[2], set()).add(match[1])
    kernels = []
    for release, kinds in found.items():
        parts = ("binary", "modules") if {"binary", "modules"} <= kinds else ("image",)
        if set(parts) <= kinds:
            kernels.append(Release(release, tuple(f"linux-{part}-{release}" for part in parts)))
    return sorted(kernels, key=lambda kernel: kernel.version)


def choose(wanted: Debian, available: Iterable[Release]) -> Release:
    """Return the newest release of the series.

    Raises:
        VmError: when there is none; says which there are.
    """
    kernels = list(available)
    if wanted.series == NEWEST:
        fitting = kernels
    else:
        numbers = tuple(map(int, wanted.series.split(".")))
        fitting = [kernel for kernel in kernels if kernel.version[: len(numbers)] == numbers]
    if not fitting:
        there = ", ".join(kernel.release for kernel in kernels) or "none"
        raise VmError(f"the archive has no kernel {wanted.series}; it has {there}")
    return fitting[-1]
