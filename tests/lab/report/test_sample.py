"""The sample that the repository keeps: from a real run, whole, and in today's form."""

import html
import json
import re
from pathlib import Path

import jsonschema
import junitparser
import msgspec

from lab import schemas
from lab.analysis.records import Comparison

SAMPLE = Path(__file__).parents[3] / "reports" / "sample"


def comparison() -> Comparison:
    return msgspec.json.decode((SAMPLE / "comparison.json").read_bytes(), type=Comparison)


def test_its_json_follows_the_published_schema() -> None:
    """After a change of the records: lab run, then lab report DIR --out reports/sample."""
    validator = jsonschema.Draft202012Validator(schemas.schema("comparison.schema.json"))
    validator.validate(json.loads((SAMPLE / "comparison.json").read_text()))


def test_its_peers_tell_the_same() -> None:
    found = comparison()
    page = html.unescape((SAMPLE / "index.html").read_text())
    assert found.sentence in page
    assert found.sentence in (SAMPLE / "summary.md").read_text().replace("\\", "")
    [suite] = junitparser.JUnitXml.fromfile(str(SAMPLE / "junit.xml"))
    assert suite.tests == 1 + len(found.gates)


def test_it_is_of_a_real_kernel_and_small() -> None:
    found = comparison()
    assert all(run.environment.kernel for arm in found.arms for run in arm.trials)
    assert all(len(arm.trials) >= 6 for arm in found.arms)
    assert "synthetic" not in (SAMPLE / "index.html").read_text()
    assert sum(path.stat().st_size for path in SAMPLE.iterdir()) < 600_000


def test_it_links_to_nothing_that_is_not_there() -> None:
    page = (SAMPLE / "index.html").read_text()
    links = {link for link in re.findall(r'href="([^"#][^"]*)"', page) if link != "data:,"}
    assert links
    assert all((SAMPLE / link).exists() for link in links)
