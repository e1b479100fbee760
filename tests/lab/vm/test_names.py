"""Which kernels `--kernel debian:…` means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.vm.names import Debian, Release, VmError, choose, parse_kernel, releases

LISTED = [
    *(f"linux-image-5.10.0-{abi}{flavour}-amd64" for abi in (30, 32) for flavour in ("", "-rt")),
    "linux-image-5.10.0-32-amd64-unsigned",
    "linux-image-6.1.0-50-amd64",
    "linux-image-6.1.0-50-cloud-amd64",
    "linux-image-6.12.107+deb13-amd64",
    "linux-image-6.12.94+deb13-amd64",
    *(f"linux-{part}-7.2.13+deb14-amd64" for part in ("image", "binary", "modules")),
    "linux-image-7.2.13+deb14-arm64",
    "linux-image-amd64",
    "linux-headers-6.1.0-50-amd64",
]


def test_plain_kernels_of_this_machine_oldest_first() -> None:
    assert releases(LISTED, "amd64") == [
        Release("5.10.0-30-amd64", ("linux-image-5.10.0-30-amd64",)),
        Release("5.10.0-32-amd64", ("linux-image-5.10.0-32-amd64",)),
        Release("6.1.0-50-amd64", ("linux-image-6.1.0-50-amd64",)),
        Release("6.12.94+deb13-amd64", ("linux-image-6.12.94+deb13-amd64",)),
        Release("6.12.107+deb13-amd64", ("linux-image-6.12.107+deb13-amd64",)),
        Release(
            "7.2.13+deb14-amd64",
            ("linux-binary-7.2.13+deb14-amd64", "linux-modules-7.2.13+deb14-amd64"),
        ),
    ]


@pytest.mark.parametrize(
    ("series", "release"),
    [
        ("5.10", "5.10.0-32-amd64"),
        ("5", "5.10.0-32-amd64"),
        ("6.1", "6.1.0-50-amd64"),  # and not 6.12, whose name begins alike
        ("6", "6.12.107+deb13-amd64"),
        ("6.12.94", "6.12.94+deb13-amd64"),
        ("newest", "7.2.13+deb14-amd64"),
    ],
)
def test_the_newest_of_a_series(series: str, release: str) -> None:
    assert choose(Debian(series), releases(LISTED, "amd64")).release == release


def test_a_series_that_is_gone_is_refused_with_what_there_is() -> None:
    with pytest.raises(VmError, match=r"no kernel 5\.4; it has 5\.10\.0-30-amd64, "):
        choose(Debian("5.4"), releases(LISTED, "amd64"))
    with pytest.raises(VmError, match=r"no kernel newest; it has none"):
        choose(Debian("newest"), [])


@pytest.mark.parametrize("text", ["debian:", "debian:6.x", "debian:bookworm", "debian:6.1-50"])
def test_a_name_that_is_none(text: str) -> None:
    with pytest.raises(VmError, match=r"write debian:6\.1 or debian:newest"):
        parse_kernel(text)


@given(st.text().filter(lambda text: not text.startswith("debian:")))
def test_anything_else_is_a_path(text: str) -> None:
    assert parse_kernel(text) is None
