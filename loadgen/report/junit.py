"""A run's gates as JUnit XML: one test case a threshold, and one for the run's validity."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from loadgen.foreign import harmless
from loadgen.report.headline import measured
from loadgen.summary import Summary


def render(summary: Summary) -> bytes:
    """Return the document."""
    results = summary.verdict.thresholds
    failures = sum(not result.passed for result in results)
    invalid = summary.validity != "valid"
    suite = ET.Element(
        "testsuite",
        name="loadgen run",
        tests=str(len(results) + 1),
        failures=str(failures),
        errors=str(int(invalid)),
        time=f"{summary.elapsed:.3f}",
    )
    validity = ET.SubElement(suite, "testcase", classname="loadgen", name="measurement is valid")
    if invalid:
        reasons = "; ".join(warning.text for warning in summary.warnings) or summary.validity
        ET.SubElement(validity, "error", message=harmless(reasons), type=summary.validity)
    for result in results:
        name = harmless(result.expression)
        case = ET.SubElement(suite, "testcase", classname="loadgen", name=name)
        if not result.passed:
            ET.SubElement(case, "failure", message=measured(result), type="threshold")
    ET.indent(suite)
    data: bytes = ET.tostring(suite, encoding="utf-8", xml_declaration=True)
    return data + b"\n"
