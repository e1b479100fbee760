"""`junit.xml`: one testcase for the verdict and one for each gate, for a pipeline's test view."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from xml.etree import ElementTree as ET

from lab.analysis.records import Comparison, VerdictName
from lab.analysis.verdict import FAILS, UNMEASURED
from loadgen.foreign import harmless


def render(comparison: Comparison, fails: AbstractSet[VerdictName] = FAILS) -> str:
    """Return the JUnit XML.

    The verdict's testcase agrees with the exit code: it fails for the verdicts in `fails`, and is
    an error where nothing was measured (`generator_limited`, `inconclusive`).
    """
    failures = sum(1 for gate in comparison.gates if not gate.passed)
    failures += comparison.verdict in fails
    errors = int(comparison.verdict in UNMEASURED)
    suite = ET.Element(
        "testsuite",
        name=harmless(f"churnlab {comparison.name}"),
        tests=str(len(comparison.gates) + 1),
        failures=str(failures),
        errors=str(errors),
        skipped="0",
        time=f"{sum(run.elapsed for arm in comparison.arms for run in arm.trials):.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for arm in comparison.arms:
        ET.SubElement(properties, "property", name=harmless(arm.name), value=harmless(arm.tuning))
    ET.SubElement(properties, "property", name="verdict", value=comparison.verdict)
    case = ET.SubElement(suite, "testcase", classname="churnlab.verdict", name="verdict")
    if comparison.verdict in fails | UNMEASURED:
        kind = "failure" if comparison.verdict in fails else "error"
        ET.SubElement(case, kind, type=comparison.verdict, message=harmless(comparison.sentence))
    ET.SubElement(case, "system-out").text = harmless(
        "\n".join([comparison.sentence, *comparison.missing, *comparison.warnings])
    )
    for gate in comparison.gates:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"churnlab.gate.{harmless(gate.arm)}",
            name=harmless(gate.expression),
        )
        if not gate.passed:
            ET.SubElement(case, "failure", type="gate", message=harmless(gate.value))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
