"""A directory that plays the host's /proc/sys, and one for the journal."""

from pathlib import Path

import pytest

from lab.testbed.host.journal import JournalPlace

MAX = "net.netfilter.nf_conntrack_max"
BUCKETS = "net.netfilter.nf_conntrack_buckets"


@pytest.fixture
def place(tmp_path: Path) -> JournalPlace:
    root = tmp_path / "sys"
    settings = root / "net/netfilter"
    settings.mkdir(parents=True)
    (settings / "nf_conntrack_max").write_text("262144\n")
    (settings / "nf_conntrack_buckets").write_text("65536\n")
    return JournalPlace(tmp_path / "state", root)
