"""An ordinary user in a real container, under its runtime's filter: what works, and what says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.docker.conftest import docker

FORBIDS = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": ["setns", "unshare"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 97,  # EAFNOSUPPORT
            "args": [{"index": 0, "value": 16, "op": "SCMP_CMP_EQ"}],  # AF_NETLINK
        },
    ],
}
COMMANDS = {
    "run": "loadgen run --rate 200 --duration 1s --max-lateness 10s --quiet --out /tmp/run",
    "report": "loadgen report /tmp/run",
    "watch": "loadgen watch --once",
    "elsewhere": "loadgen watch --once --netns 1",
    "plan": "lab plan --rate 400",
    "tunings": "lab tunings show article",
    "restore": "lab restore",
    "doctor": "lab doctor",
    "lab": "lab run --rate 100 --duration 1s --trials 1",
    "claims": "lab claims",
}


@pytest.mark.parametrize("filtered", [False, True], ids=["Docker's default", "a strict filter"])
def test_what_works_works_and_the_rest_says_what_it_needs(
    image: str, tmp_path: Path, *, filtered: bool
) -> None:
    profile = tmp_path / "seccomp.json"
    profile.write_text(json.dumps(FORBIDS))
    security = ("--security-opt", f"seccomp={profile}") if filtered else ()
    lines = ["memcached -l 127.0.0.1 & sleep 1; cd /tmp"]
    lines += [
        f"{words} >/tmp/{name}.out 2>/tmp/{name}.err; echo {name} $? >>/tmp/codes"
        for name, words in COMMANDS.items()
    ]
    lines.append('for f in codes *.err doctor.out; do echo "@@$f"; cat $f; done')
    options = ("--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", *security)
    said = docker("run", *options, image, "sh", "-c", "\n".join(lines))
    files = dict(part.split("\n", 1) for part in said.split("@@")[1:])
    codes = dict(line.split() for line in files["codes"].splitlines())
    assert "Traceback" not in said
    assert "unexpected" not in said
    works = ("run", "report", "watch", "plan", "tunings", "restore")
    assert {name: codes[name] for name in works} == dict.fromkeys(works, "0")
    assert (codes["doctor"], codes["elsewhere"], codes["lab"], codes["claims"]) == (
        "99",
        "2",
        "2",
        "2",
    )
    for name in ("lab", "claims"):
        (line,) = files[f"{name}.err"].splitlines()
        assert "a seccomp filter forbids it here" in line
        assert "run the container with --privileged, or on the host" in line
    (line,) = files["elsewhere.err"].splitlines()
    assert line.startswith(
        ("error: cannot enter the network namespace", "error: no network namespace")
    )
    assert "a seccomp filter forbids it here" in " ".join(files["doctor.out"].split())
    assert ("AF_NETLINK" in files["watch.err"]) is filtered
