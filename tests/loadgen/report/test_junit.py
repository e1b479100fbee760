"""Thresholds as JUnit test cases."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from loadgen.report.junit import render
from loadgen.run.conclude import Ended, conclude
from tests.loadgen.builders import about, generator_sample, run_config


def _suite(ended: Ended, *thresholds: str) -> ET.Element:
    whole = {"scheduled": 10, "started": 10, "ok": 8, "failed": 2, "outcome_reset": 2}
    known = about(run_config(thresholds=list(thresholds)), ended)
    return ET.fromstring(render(conclude(known, [generator_sample(1.0, **whole)], {})))


def test_each_threshold_is_a_test_case() -> None:
    suite = _suite(Ended(elapsed=1.0), "failed: count < 3", "failed: rate == 0 ")
    assert suite.attrib["tests"] == "3"
    assert suite.attrib["failures"] == "1"
    assert suite.attrib["errors"] == "0"
    validity, first, second = suite.findall("testcase")
    assert validity.find("error") is None
    assert (first.attrib["name"], first.find("failure")) == ("failed: count < 3", None)
    failure = second.find("failure")
    assert failure is not None
    assert failure.attrib["message"] == "measured 20.0%"


def test_an_invalid_measurement_is_an_error() -> None:
    suite = _suite(Ended(elapsed=1.0, lost_workers=["worker 1 <ended> & left"]))
    assert suite.attrib["errors"] == "1"
    error = suite.find("testcase/error")
    assert error is not None
    assert error.attrib["type"] == "partial"
    assert "worker 1 <ended> & left" in error.attrib["message"]


def test_what_was_not_measured_is_a_failure_that_says_so() -> None:
    failure = _suite(Ended(elapsed=1.0), "latency_total: max < 1s").find("testcase/failure")
    assert failure is not None
    assert failure.attrib["message"] == "not measured"
