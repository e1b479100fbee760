"""What a Prometheus server gets: valid OpenMetrics, node_exporter's names, nothing made up."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Iterable
from contextlib import closing

import pytest
from prometheus_client.core import Metric
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from loadgen.metrics import CATALOGUE
from loadgen.sampling.sock_diag import Pool
from loadgen.watch.headroom import History, Reading
from loadgen.watch.openmetrics import Exporter, exported_name, families

VALUES = {name: 7 for name in CATALOGUE if not name.endswith("*")}


def scrape(exporter: Exporter) -> dict[str, Metric]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{exporter.port}/metrics", headers={"Accept": CONTENT_TYPE_LATEST}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        text = answer.read().decode()
    parse: Callable[[str], Iterable[Metric]] = text_string_to_metric_families
    return {family.name: family for family in parse(text)}


def test_what_is_served_parses_and_has_every_metric() -> None:
    found = History()
    found.add(Reading(0.0, VALUES, {Pool("10.0.0.1", "10.0.0.5", 11211): 41}))
    with closing(Exporter("127.0.0.1", 0)) as exporter:
        assert scrape(exporter) == {}
        exporter.update(VALUES, found.gauges())
        served = scrape(exporter)
    samples = {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in served.values()
        for sample in family.samples
    }
    labels = (("destination", "10.0.0.5"), ("port", "11211"), ("source", "10.0.0.1"))
    assert samples["churnlab_ephemeral_ports_in_use", labels] == 41
    assert samples["churnlab_ephemeral_ports_in_use_limit", labels] == 7
    assert samples["node_sockstat_TCP_tw", ()] == 7
    # Each metric of the catalogue but the pool's, which has labels.
    without = {name for name, tags in samples if not tags}
    expected = {exported_name(name) for name in VALUES} - {"churnlab_ephemeral_ports_in_use"}
    assert {name.removesuffix("_total") for name in without} == {
        name.removesuffix("_total") for name in expected
    }


@pytest.mark.parametrize(
    ("name", "exported"),
    [
        ("sockstat_TCP_tw", "node_sockstat_TCP_tw"),
        ("sockstat_TCP_tw_limit", "churnlab_sockstat_TCP_tw_limit"),
        ("netstat_TcpExt_ListenDrops", "node_netstat_TcpExt_ListenDrops"),
        ("nf_conntrack_entries", "node_nf_conntrack_entries"),
        ("nf_conntrack_entries_limit", "node_nf_conntrack_entries_limit"),
        ("nf_conntrack_buckets", "churnlab_nf_conntrack_buckets"),
        ("filefd_allocated", "node_filefd_allocated"),
        ("memcached_curr_connections", "churnlab_memcached_curr_connections"),
    ],
)
def test_names_are_node_exporter_s_where_it_has_the_metric(name: str, exported: str) -> None:
    assert exported_name(name) == exported


def test_what_could_not_be_read_is_absent_and_not_zero() -> None:
    assert families({}, []) == []
    assert [family.name for family in families({"sockstat_TCP_tw": 0}, [])] == [
        "node_sockstat_TCP_tw"
    ]


def test_a_port_that_is_taken_is_an_error() -> None:
    with closing(Exporter("127.0.0.1", 0)) as first, pytest.raises(OSError, match="in use"):
        Exporter("127.0.0.1", first.port)
