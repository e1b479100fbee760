"""Kernels found, unpacked and kept."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.vm import archive, cache
from lab.vm.archive import Archive
from lab.vm.cache import GuestKernel, resolve
from lab.vm.names import VmError
from tests.lab.vm.test_image import image

RELEASE = "6.1.0-50-amd64"


@dataclass
class Usage:
    """What shutil.disk_usage tells."""

    free: int


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "churnlab"


def tree(root: Path) -> Path:
    """A kernel as a distribution's package lays it out."""
    (root / "boot").mkdir(parents=True)
    (root / "lib" / "modules" / RELEASE).mkdir(parents=True)
    vmlinuz = root / "boot" / f"vmlinuz-{RELEASE}"
    vmlinuz.write_bytes(image(f"{RELEASE} (debian)".encode()))
    return vmlinuz


def package(place: Path) -> Path:
    """A Debian package of that kernel."""
    root = place / "root"
    tree(root)
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN" / "control").write_text(
        "Package: linux-image-test\nVersion: 1\nArchitecture: all\nMaintainer: x <x@example.org>\n"
        "Description: a test\n"
    )
    made = place / "kernel.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(root), str(made)],
                   check=True, capture_output=True)  # fmt: skip
    return made


def test_an_image_is_found_with_the_modules_of_its_tree(tmp_path: Path) -> None:
    vmlinuz = tree(tmp_path / "root")
    modules = tmp_path / "root" / "lib" / "modules" / RELEASE
    assert resolve(str(vmlinuz), ()) == GuestKernel(vmlinuz, RELEASE, modules)


def test_a_package_is_unpacked_once(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deb = package(tmp_path)
    first = resolve(None, [deb])
    assert first.release == RELEASE
    assert first.image.is_relative_to(own_cache / "kernels")
    assert first.modules is not None
    monkeypatch.setattr(cache, "_unpack", lambda *_: pytest.fail("unpacked again"))
    assert resolve(None, [deb]) == first
    assert list(own_cache.glob("unpacking-*")) == []


def test_a_package_without_a_kernel_says_what_is_missing(tmp_path: Path) -> None:
    deb = package(tmp_path)
    (tmp_path / "root" / "boot" / f"vmlinuz-{RELEASE}").unlink()
    subprocess.run(["dpkg-deb", "--build", str(tmp_path / "root"), str(deb)],
                   check=True, capture_output=True)  # fmt: skip
    with pytest.raises(VmError, match="holds no kernel image; newer Debian kernels are two"):
        resolve(None, [deb])


def test_a_file_that_is_no_package_is_one_line(tmp_path: Path, own_cache: Path) -> None:
    wrong = tmp_path / "x.deb"
    wrong.write_text("no package")
    with pytest.raises(VmError, match=r"cannot unpack .*x\.deb: ") as caught:
        resolve(None, [wrong])
    assert len(str(caught.value).splitlines()) == 1
    assert list((own_cache / "kernels").iterdir()) == []
    assert list(own_cache.glob("unpacking-*")) == []


def test_a_full_disk_is_said_before_anything_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(20 << 20))
    monkeypatch.setattr(cache, "Archive", lambda _: pytest.fail("apt was asked"))
    with pytest.raises(VmError, match=r"has .*left, and a kernel needs 200: make room"):
        resolve("debian:6.1", ())


def test_apt_that_waits_for_ever_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(archive, "_WITHIN", 0.3)
    with pytest.raises(VmError, match=r"apt-get took longer than 0\.3 s"):
        Archive(tmp_path / "apt").renew()


def test_a_machine_without_debians_archive_says_what_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "apt-get"
    program.write_text("#!/bin/sh\nprintf 'Ubuntu\\tUbuntu\\tmain\\taddress\\n'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(VmError, match="no Debian archive to take kernels from; give"):
        Archive(tmp_path / "apt").renew()


def test_a_machine_without_apt_says_what_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(VmError, match="apt-get is not installed: kernels named debian:"):
        Archive(tmp_path / "apt").renew()
