"""The wheel is whole: built, checked, and installed alone, away from the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from loadgen.cli import VERBS
from tools import manual

ROOT = Path(__file__).parents[2]


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source distribution, and the wheel that was built from it."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    return out


def test_the_distributions_are_fit_to_be_published(built: Path) -> None:
    (wheel,), (source,) = built.glob("*.whl"), built.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", wheel, source, cwd=built)
    with tarfile.open(source) as archive:
        names = {name.split("/", 1)[-1] for name in archive.getnames()}
    assert {"contrib/prometheus/churnlab.rules.yml", "docs/design.md", "tools/manual.py"} <= names


def test_the_wheel_alone_works(built: Path, tmp_path: Path) -> None:
    """In an environment with nothing but the wheel and what it asks for, in an empty folder."""
    (wheel,) = built.glob("*.whl")
    place = tmp_path / "env"
    run(sys.executable, "-m", "venv", place, cwd=tmp_path)
    pip = (
        place / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    )
    run(*pip, "--constraint", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    loadgen, lab = place / "bin" / "loadgen", place / "bin" / "lab"
    assert re.fullmatch(r"loadgen \d+\.\d+\.\d+\n", run(loadgen, "--version", cwd=tmp_path))
    assert "TIME_WAIT" in run(loadgen, "watch", "--once", "--interval", "50ms", cwd=tmp_path)
    run(
        loadgen,
        "watch",
        "--out",
        "rec",
        "--quiet",
        "--interval",
        "50ms",
        "--duration",
        "1s",
        cwd=tmp_path,
    )
    assert "page:" in run(loadgen, "report", "rec", cwd=tmp_path)
    assert "article" in run(lab, "tunings", cwd=tmp_path)
    assert "ports_exhausted" not in run(lab, "plan", "--rate", "100", cwd=tmp_path)
    for file in (
        "man/man1/loadgen-watch.1",
        *(path.format("lab") for path in manual.COMPLETIONS.values()),
    ):
        assert (place / "share" / file).is_file(), file
    # The completion that was installed completes with the command that was installed.
    script = place / "share" / manual.COMPLETIONS["bash"].format("loadgen")
    ask = 'source "$1"; COMP_WORDS=(loadgen wat); COMP_CWORD=1; _loadgen_completion loadgen; echo "${COMPREPLY[@]}"'
    path = f"{place}/bin:{os.environ['PATH']}"
    assert run("bash", "-c", ask, "bash", script, cwd=tmp_path, PATH=path) == "watch\n"


def test_every_verb_has_its_page_and_the_pages_are_roff() -> None:
    made = manual.files()
    for verb in VERBS:
        assert f"man/man1/loadgen-{verb}.1" in made
    for name, text in made.items():
        if name.startswith("man/"):
            assert text.startswith('.TH "')
            orders = {line.split()[0] for line in text.splitlines() if line.startswith(".")}
            assert orders <= {".TH", ".SH", ".TP", ".B", ".BR", ".PP"}
    assert "\\-\\-interval DURATION" in made["man/man1/loadgen-watch.1"]


def test_no_text_is_an_order_to_roff() -> None:
    assert manual.roff(".so /etc/passwd\n'x\\y a-b") == "\\&.so /etc/passwd\n\\&'x\\ey a\\-b"
