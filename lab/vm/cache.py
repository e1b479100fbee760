"""Kernels as directories that a guest can boot from, kept under the user's cache directory."""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.testbed.base import TestbedError
from lab.testbed.processes import tool
from lab.vm.archive import Archive
from lab.vm.image import HEAD, release_of
from lab.vm.names import VmError, choose, parse_kernel

_LISTS: Final = 200 << 20
"""Bytes: five suites' lists of packages took 99 MB."""
_UNPACKED: Final = 700 << 20
"""Bytes: a kernel's packages, up to 110 MB, and what is in them, up to 400."""
_TREES = ("usr/lib/modules", "lib/modules")


@dataclass(frozen=True, slots=True)
class GuestKernel:
    """A kernel that can be booted."""

    image: Path
    release: str
    """As `uname -r` will print it."""
    modules: Path | None
    """Its directory of modules; None when there is none near the image."""

    @property
    def version(self) -> str:
        """The leading numbers of the release: two of them, and the third if it is not 0."""
        numbers = re.findall(r"\d+", self.release.split("-")[0].split("+")[0])[:3]
        return ".".join(numbers[:2] if numbers[2:] == ["0"] else numbers)


def cache_directory() -> Path:
    """Return where kernels are kept: `churnlab` in XDG_CACHE_HOME, by default ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if base.startswith("/") else Path.home() / ".cache", "churnlab")


def resolve(kernel: str | None, packages: Sequence[Path]) -> GuestKernel:
    """Return the kernel that the options ask for, fetched and unpacked if it has to be.

    Args:
        kernel: `debian:6.1`, or an image's path.
        packages: the files of a kernel's Debian packages, instead.

    Raises:
        VmError: when it cannot be had.
        OSError: when the cache cannot be written.
    """
    if packages:
        return _unpacked(packages)
    wanted = parse_kernel(kernel or "")
    if wanted is None:
        image = Path(kernel or "")
        return _kernel_at(image)
    with _locked() as cache:
        _check_room(cache, _LISTS)
        archive = Archive(cache / "apt")
        release = choose(wanted, archive.kernels())
        target = cache / "kernels" / release.release
        if not target.exists():
            _check_room(cache, _UNPACKED)
            with _workspace(cache) as work:
                _unpack(archive.fetch(release, work), work / "tree")
                (work / "tree").rename(target)
    return _kernel_in(target)


def _kernel_at(image: Path) -> GuestKernel:
    """Return the kernel of an image, with the modules that stand near it."""
    try:
        with image.open("rb") as file:
            release = release_of(file.read(HEAD), str(image))
    except OSError as error:
        raise VmError(
            f"--kernel {image}: {error.strerror}", "write debian:6.1, or the path of a vmlinuz"
        ) from None
    place = image.resolve()
    # Beside the image, or in the lib/modules of the directory tree that it belongs to.
    near = [
        directory / tree / release for directory in place.parents for tree in (*_TREES, "modules")
    ]
    modules = next((one for one in near if one.is_dir()), None)
    return GuestKernel(place, release, modules)


def _unpacked(packages: Sequence[Path]) -> GuestKernel:
    digest = hashlib.sha256()
    for package in packages:
        try:
            # A device may have no end, and a pipe could be read only once.
            if package.exists() and not package.is_file():
                raise VmError(f"--kernel-deb {package}: it is no regular file", "give a .deb")
            with package.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise VmError(f"--kernel-deb {package}: {error.strerror}") from None
    with _locked() as cache:
        target = cache / "kernels" / f"deb-{digest.hexdigest()[:16]}"
        if not target.exists():
            _check_room(cache, _UNPACKED)
            with _workspace(cache) as work:
                _unpack(packages, work / "tree")
                (work / "tree").rename(target)
    return _kernel_in(target)


def _kernel_in(tree: Path) -> GuestKernel:
    images = [*tree.glob("boot/vmlinuz-*"), *tree.glob("usr/lib/modules/*/vmlinuz")]
    images += tree.glob("lib/modules/*/vmlinuz")
    if not images:
        raise VmError(
            f"{tree} holds no kernel image",
            "newer Debian kernels are two packages: give --kernel-deb for linux-binary-… and for linux-modules-…",
        )
    return _kernel_at(images[0])


def _unpack(packages: Sequence[Path], tree: Path) -> None:
    """Unpack packages into one tree, and index its modules."""
    tree.mkdir()
    for package in packages:
        _checked([_tool("dpkg-deb"), "-x", str(package), str(tree)], f"cannot unpack {package}")
    for base in ("usr", "."):
        for modules in (tree / base).glob("lib/modules/*"):
            _checked(
                [_tool("depmod"), "-b", str(tree / base), modules.name],
                f"depmod {modules.name}",
            )


def _check_room(directory: Path, needed: int) -> None:
    """Refuse before anything is fetched: on a full disk apt waits and tells nobody."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise VmError(
            f"{directory} has {free >> 20} MB left, and a kernel needs {needed >> 20}: make room "
            "there, or choose another place with XDG_CACHE_HOME"
        )


def _tool(name: str) -> str:
    try:
        return tool(name)
    except TestbedError as error:
        raise VmError(str(error)) from None


def _checked(command: Sequence[str], doing: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise VmError(f"{doing}: {said[-1]}")


@contextmanager
def _locked() -> Iterator[Path]:
    """Hold the cache: two labs that want the same kernel fetch it once."""
    cache = cache_directory()
    (cache / "kernels").mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield cache


@contextmanager
def _workspace(cache: Path) -> Iterator[Path]:
    """Make a directory on the cache's file system that is gone afterwards."""
    for stale in cache.glob("unpacking-*"):  # of a lab that was killed: the lock is ours
        shutil.rmtree(stale, ignore_errors=True)
    work = Path(tempfile.mkdtemp(prefix="unpacking-", dir=cache))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
