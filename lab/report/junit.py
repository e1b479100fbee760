"""`junit.xml`: one testcase for the verdict and one for each gate, for a pipeline's test view."""

from __future__ import annotations

import re
from typing import Final
from xml.etree import ElementTree as ET

from lab.records import Comparison, VerdictName

_FAILS: Final[frozenset[VerdictName]] = frozenset({"worse"})
_UNMEASURED: Final[frozenset[VerdictName]] = frozenset({"inconclusive", "generator_limited"})
_FORBIDDEN: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 does not allow, not even escaped."""


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)


def render(comparison: Comparison) -> str:
    """Return the JUnit XML.

    The verdict's testcase fails for `worse`, is an error where nothing was measured
    (`generator_limited`, `inconclusive`) and passes else: whether `no_effect` is good news depends
    on what was asked, and a gate can ask it.
    """
    failures = sum(1 for gate in comparison.gates if not gate.passed)
    failures += comparison.verdict in _FAILS
    errors = int(comparison.verdict in _UNMEASURED)
    suite = ET.Element(
        "testsuite",
        name=_clean(f"churnlab {comparison.name}"),
        tests=str(len(comparison.gates) + 1),
        failures=str(failures),
        errors=str(errors),
        skipped="0",
    )
    properties = ET.SubElement(suite, "properties")
    for arm in comparison.arms:
        ET.SubElement(properties, "property", name=arm.name, value=_clean(arm.tuning))
    ET.SubElement(properties, "property", name="verdict", value=comparison.verdict)
    case = ET.SubElement(suite, "testcase", classname="churnlab.verdict", name="verdict")
    if comparison.verdict in _FAILS | _UNMEASURED:
        kind = "failure" if comparison.verdict in _FAILS else "error"
        ET.SubElement(case, kind, type=comparison.verdict, message=_clean(comparison.sentence))
    ET.SubElement(case, "system-out").text = _clean(
        "\n".join([comparison.sentence, *comparison.missing, *comparison.warnings])
    )
    for gate in comparison.gates:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=f"churnlab.gate.{_clean(gate.arm)}",
            name=_clean(gate.expression),
        )
        if not gate.passed:
            ET.SubElement(case, "failure", type="gate", message=_clean(gate.value))
    suites = ET.Element("testsuites")
    suites.append(suite)
    ET.indent(suites)
    return ET.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"
