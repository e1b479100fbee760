"""The table, the page and the JSON, and the page that is kept in docs/."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.claims import by_kernel, render
from lab.claims.behind_nat import BEHIND_NAT
from lab.claims.catalogue import ENTRIES
from lab.claims.outcome import Failed, Found
from lab.claims.records import ByKernel, Claims
from lab.claims.results import results
from loadgen.summary import Environment
from tests.lab.claims.samples import OF, PLACE

DOCS = Path(__file__).parents[3] / "docs"


def made(**changes: Any) -> Claims:
    """The results of a run on a made-up machine."""
    decided = results(ENTRIES, {kind: Found(sample, 0.5) for kind, sample in OF.items()}, PLACE)
    return msgspec.structs.replace(
        Claims(
            kernel="6.18.0",
            environment=Environment(
                kernel="6.18.0", architecture="x86_64", cpus=2, memory_kib=4 << 20,
            ),
            started_at="2026-01-02T03:04:05+00:00",
            seconds=63.2,
            finished=True,
            claims=decided,
        ),
        **changes,
    )  # fmt: skip


def test_the_json_is_what_the_interface_promises() -> None:
    found = json.loads(render.json(made()))
    assert found["schema"] == "churnlab.claims/1"
    assert found["kernel"] == "6.18.0"
    assert len(found["claims"]) == len(ENTRIES)
    promised = {
        "name", "quote", "verdict", "condition", "metric", "measured", "expected", "evidence",
    }  # fmt: skip
    for claim in found["claims"]:
        assert promised <= set(claim)
    assert msgspec.json.decode(render.json(made()), type=Claims) == made()


def test_the_table_has_every_claim_and_the_tally() -> None:
    plain = render.terminal(made(), width=160)
    for entry in ENTRIES:
        assert entry.name in plain
    assert render.tally(made()) in plain
    assert "Linux 6.18.0, x86_64, 2 CPUs, 4.0 GiB, in 63 s" in plain
    assert "reading:" not in plain
    assert "predict" not in plain


def test_details_hold_the_articles_words_and_the_evidence() -> None:
    plain = render.terminal(made(claims=made().claims[:1]), details=True, width=160)
    assert "client sends TCP SYN, server responds TCP ACK" in plain
    assert "- captured" in plain


@pytest.mark.parametrize("width", [40, 80, 200])
def test_no_line_is_wider_than_asked(width: int) -> None:
    assert max(map(len, render.terminal(made(), details=True, width=width).splitlines())) <= width


def test_a_kernel_that_decides_otherwise_is_pointed_out() -> None:
    """In the table and on the page; one that could not be tested is no such surprise."""
    claims = made().claims
    other = msgspec.structs.replace(claims[1], verdict="refuted")
    untested = msgspec.structs.replace(claims[0], verdict="untestable_here")
    changed = made(claims=[untested, other, *claims[2:]])
    assert "packets-per-connection: refuted, where documentation" in render.terminal(
        changed, width=160
    )
    page = render.markdown(changed)
    assert "- `packets-per-connection`: refuted instead of confirmed" in page
    assert "`handshake-order`: untestable" not in page


def test_an_interrupted_run_says_so() -> None:
    cut = made(finished=False, claims=made().claims[:2])
    assert "interrupted" in render.terminal(cut)
    assert "**Interrupted:**" in render.markdown(cut)


def test_the_page_has_a_row_and_a_section_for_each_claim() -> None:
    page = render.markdown(made())
    assert page.count("\n### ") == len(ENTRIES)
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(rows) == len(ENTRIES) + 1
    assert {row.replace("\\|", "").count("|") for row in rows} == {6}


def test_words_from_outside_stay_words() -> None:
    """A reason comes from a program's stderr; it must not become a table's cell or a link."""
    outcome = {kind: Failed("a | b [x](y)\n# c", 0.1) for kind in OF}
    page = render.markdown(made(claims=results(ENTRIES, outcome, PLACE)))
    assert "a | b" not in page
    assert "\n# c" not in page


def test_what_changes_behind_a_nat_is_said_of_claims_that_there_are() -> None:
    assert BEHIND_NAT.keys() <= {entry.name for entry in ENTRIES}
    outcome = {kind: Failed("x", 0.1) for kind in OF}
    claims = made(claims=results(ENTRIES, outcome, PLACE))
    assert render.markdown(claims).count("- behind a NAT: ") == len(BEHIND_NAT)
    assert render.terminal(claims, details=True).count("behind a NAT: ") == len(BEHIND_NAT)
    assert f"behind a NAT {len(BEHIND_NAT)} of these" in render.terminal(claims)


def test_the_kept_page_is_of_a_real_run_and_of_this_catalogue() -> None:
    """docs/claims.md is what docs/claims.json renders to, for the claims as they are now."""
    kept = msgspec.json.decode((DOCS / "claims.json").read_bytes(), type=ByKernel)
    assert by_kernel.markdown(kept) == (DOCS / "claims.md").read_text(encoding="utf-8")
    for claims in kept.kernels:
        assert claims.finished
        told = [(result.name, result.says, result.quote, result.row) for result in claims.claims]
        assert told == [(entry.name, entry.says, entry.quote, entry.row) for entry in ENTRIES]
