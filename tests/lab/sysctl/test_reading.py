"""Files as people have them: read as the tools of a host read them, and out of common wrappers."""

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.sysctl.apply import read_sysctls
from lab.sysctl.reading import read
from lab.sysctl.tuning import Tuning, TuningError
from lab.testbed.processes import enter, tool
from loadgen.sampling.namespace import new_namespace

REUSE, RANGE, RESERVED = (
    "net.ipv4.tcp_tw_reuse", "net.ipv4.ip_local_port_range", "net.ipv4.ip_local_reserved_ports",
)  # fmt: skip
BACKLOG = "net.core.somaxconn"


def tuning(content: str | bytes, source: str = "./mine.conf") -> Tuning:
    data = content.encode() if isinstance(content, str) else content
    return read(data, name="mine", source=source)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f'{REUSE} = "1"', "hand the quotes on, and the kernel rejects them; write 1"),
        (f"{REUSE} = '1'", "write 1"),
        (f"{REUSE} = on", "'on' is no whole number, and the kernel rejects it; write 1"),
        (f"{REUSE} = 1;", "hand the ';' on, and the kernel rejects it; write 1"),
        (f"{REUSE} = 1.0", "is no whole number, and the kernel rejects it; correct the value"),
        (f"{REUSE} = 1#fast", "write 1"),
        (f"{REUSE} =", "is no whole number"),
        (f"{RANGE} = 1024-65000", "write 1024 65000"),
        (f"{RANGE} = 5000", "leaves the last as it is; write both"),
        (f"{RANGE} = 9000 5000", "is no range of ports"),
        (f"{RANGE} = 0 70000", "is no range of ports"),
        (f'{RESERVED} = "11211,6379"', "write 11211,6379"),
        (f"{RESERVED} = 11211 # memcached", "is no port list, and the kernel rejects it"),
    ],
)
def test_a_value_that_the_kernel_does_not_take_is_named_with_file_and_line(
    line: str, says: str
) -> None:
    with pytest.raises(TuningError) as caught:
        tuning(f"# a comment\n{line}\n")
    assert str(caught.value).startswith("./mine.conf:2: ")
    assert says in str(caught.value)
    kept = tuning(f"-{line}\n")
    assert any("kernel" in note or "range" in note for note in kept.notes), "with '-' it is told"


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (f"{REUSE} = 1 ; fast", "1"),
        (f"{REUSE} = 1 # fast", "1"),
        (f"{REUSE} = 1 2", "1"),
        (f"{REUSE} = 0x1", "0x1"),
        ("net.ipv4.tcp_congestion_control = 'bbr'", "'bbr'"),
        ("net.ipv4.something_new = on", "on"),
    ],
)
def test_what_the_kernel_takes_or_has_to_judge_is_left_to_it(line: str, value: str) -> None:
    assert tuning(line).settings[0].value == value


def test_a_comment_may_be_in_any_encoding_and_a_setting_may_not() -> None:
    assert tuning(b"# caf\xe9\n; \xff\nnet.ipv4.tcp_tw_reuse = 1\n").values == {REUSE: "1"}
    with pytest.raises(TuningError, match=r"mine\.conf:2: byte 0xE9 is not UTF-8 text"):
        tuning(b"a.b = 1\nnet.ipv4.caf\xe9 = 1\n")
    with pytest.raises(TuningError, match=r"mine\.conf:1: a zero byte"):
        tuning(b"a.b = \x00\n")


def test_a_byte_order_mark_is_said_and_before_a_key_it_loses_the_line() -> None:
    kept = tuning(b"\xef\xbb\xbf# mine\na.b = 1\n")
    assert kept.values == {"a.b": "1"}
    assert "byte-order mark" in kept.notes[0]
    with pytest.raises(TuningError, match=r"mine\.conf:1: a byte-order mark .* lose the line"):
        tuning(b"\xef\xbb\xbfa.b = 1\n")
    with pytest.raises(TuningError, match="iconv -f UTF-16"):
        tuning("a.b = 1\n".encode("utf-16"))


PROFILE = """#
# tuned configuration
[main]
summary=Many connections
include=throughput-performance

[cpu]
governor=performance

[sysctl]
net.core.somaxconn=>2048
net.ipv4.tcp_tw_reuse = "1"
; a comment
net.ipv4.ip_local_port_range = 10000 65000

[vm]
transparent_hugepages=never
"""
LIST = """services:
  web:
    image: x
    sysctls:
      - net.core.somaxconn=2048
      - net.ipv4.tcp_tw_reuse=1
      - net.ipv4.ip_local_port_range=10000 65000
"""
MAP = """services:
  web: &web
    sysctls:
      net.core.somaxconn: 2048
      net.ipv4.tcp_tw_reuse: 1
      net.ipv4.ip_local_port_range: "10000 65000"
  again:
    <<: *web
"""
POD = """apiVersion: v1
kind: Pod
spec:
  securityContext:
    sysctls:
      - name: net.core.somaxconn
        value: "2048"
      - {name: net.ipv4.tcp_tw_reuse, value: "1"}
      - name: net.ipv4.ip_local_port_range
        value: "10000 65000"
"""
RUN = """docker run --rm \\
  --sysctl net.core.somaxconn=2048 --sysctl=net.ipv4.tcp_tw_reuse=1 \\
  --sysctl 'net.ipv4.ip_local_port_range=10000 65000' web
"""
SAME = {BACKLOG: "2048", REUSE: "1", RANGE: "10000 65000"}


@pytest.mark.parametrize(
    ("content", "kind", "lines"),
    [
        (PROFILE, "tuned profile", [11, 12, 14]),
        (LIST, "YAML", [5, 6, 7]),
        (MAP, "YAML", [4, 5, 6]),
        (POD, "YAML", [7, 8, 9]),
        (RUN, "docker run", [2, 2, 3]),
    ],
)
def test_a_wrapper_is_read_as_what_it_stands_for(content: str, kind: str, lines: list[int]) -> None:
    found = tuning(content)
    assert found.values == SAME
    assert any(kind in note for note in found.notes)
    assert [setting.line for setting in found.settings][1:] == lines[1:]
    assert tuning(found.text).values == SAME, "what it keeps is a sysctl.d file"


def test_what_a_profile_says_beside_is_told() -> None:
    notes = " | ".join(tuning(PROFILE).notes)
    assert "not [main], [cpu], [vm]" in notes
    assert "includes the profile throughput-performance, which is not read" in notes
    assert "tuned sets it only where it raises the value in force" in notes


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[main]\nsummary=x\n", "sections \\[main\\] and no \\[sysctl\\]"),
        ("[sysctl]\nnet.core.somaxconn = ${mem}\n", ":2: .* is computed by tuned"),
        ("[sysctl]\nnet.ipv4.tcp_tw_reuse = on\n", ":2: .*write 1"),
        ("docker run --sysctl 'net.core.somaxconn=1\n", ":1: No closing quotation"),
        (
            "services:\n  a: {sysctls: {a.b: 1}}\n  b: {sysctls: {a.b: 2}}\n",
            "2 services .*lines 2, 3",
        ),
        ("sysctls: [a.b=1\n", ":[12]: no YAML"),
        ("sysctls:\n  - net.ipv4.tcp_tw_reuse=on\n", ":2: .*write 1"),
        ("sysctls: " + "[" * 5000, "nested too deeply"),
        ("sysctls: []\n", None),
    ],
)
def test_a_wrapper_that_cannot_be_read_says_why(content: str, says: str | None) -> None:
    if says is None:
        assert tuning(content).values == {}
        return
    with pytest.raises(TuningError, match=says):
        tuning(content)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_tuning_or_one_clear_line(content: bytes) -> None:
    try:
        found = tuning(content)
    except TuningError as error:
        assert all("\n" not in problem for problem in error.problems)
    else:
        found.text.encode()


FILES = [
    f"{REUSE} = 1\n{BACKLOG}=77\n",
    f"{REUSE} = 1 # fast\n{BACKLOG} = 77 ; x\n",
    f"# caf\u00e9\n; x\n-{REUSE} = 1\n",
    f"{REUSE} = 0x1\n{RANGE} =   1024    2000  \r\n",
    f"net/ipv4/tcp_tw_reuse = 1\n{REUSE} = 0\n",
    f'-{REUSE} = "1"\n{BACKLOG} = 78\n',
    f"-{REUSE} = 1;\n-{BACKLOG} = on\n",
    f"{REUSE} = 1 2\n",
]


@pytest.mark.kernel
@pytest.mark.parametrize("program", ["sysctl", "systemd-sysctl"])
@pytest.mark.parametrize("text", FILES)
def test_the_tools_of_a_host_come_to_the_same(tmp_path: Path, program: str, text: str) -> None:
    """Each file by sysctl(8) and by systemd-sysctl in a fresh namespace: what holds is what we read."""
    systemd = Path("/lib/systemd/systemd-sysctl")
    if program == "systemd-sysctl" and not systemd.exists():
        pytest.skip("no systemd-sysctl on this machine")
    file = tmp_path / "mine.conf"
    file.write_bytes(text.encode())
    command = [tool("sysctl"), "-p"] if program == "sysctl" else [str(systemd)]
    namespace = new_namespace()
    try:
        before = read_sysctls(namespace, SAME)
        subprocess.run(
            [*enter(namespace), *command, str(file)],
            pass_fds=(namespace,),
            capture_output=True,
            check=False,
        )
        after = read_sysctls(namespace, SAME)
    finally:
        os.close(namespace)
    ours = {
        setting.key: setting.value
        for setting in tuning(text).settings
        if not any(setting.key in note and "reject" in note for note in tuning(text).notes)
    }
    for key in SAME:
        wanted = {"0x1": "1"}.get(ours.get(key, ""), ours.get(key, before[key]))
        assert after[key] == wanted, key
