"""compose.yaml's variables: its defaults are valid, and a wrong one is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.compose import settings
from lab.compose.variables import FREE, VARIABLES
from lab.sysctl.tuning import parse

COMPOSE = (Path(__file__).parents[3] / "compose.yaml").read_text()
DEFAULTS = dict(re.findall(r"^      (\w+): \$\{\1:?-(.*)\}$", COMPOSE, re.MULTILINE))


def read(**changed: str) -> settings.ComposeSettings:
    return settings.read({**DEFAULTS, **changed}, name="now")


def test_compose_yamls_own_defaults_are_valid() -> None:
    found = read()
    assert found.trials >= 6  # fewer give no interval of 95 %
    assert found.close == "client"
    assert found.workers == 0
    assert found.memcached_options == []
    assert found.names == {"before": "", "after": ""}


@pytest.mark.parametrize("name", sorted(DEFAULTS))
def test_every_variable_is_documented_at_the_top_with_its_default(name: str) -> None:
    head = COMPOSE.partition("x-image:")[0]
    if name.endswith("_NAME"):
        assert re.search(r"^#   NAME ", head, re.MULTILINE)
    else:
        assert re.search(rf"^#   {name}={re.escape(DEFAULTS[name])} ", head, re.MULTILINE)


@pytest.mark.parametrize("arm", ["BEFORE", "AFTER"])
def test_the_writer_of_env_files_knows_every_sysctl_of_compose_yaml(arm: str) -> None:
    found = dict(re.findall(rf"^  - (net\S+)=\$\{{{arm}_(\w+)-", COMPOSE, re.MULTILINE))
    assert {variable: key for key, variable in found.items()} == dict(VARIABLES)
    free = re.findall(rf"^  - \$\{{{arm}_SYSCTL_(\d):-(net\S+)=\}}$", COMPOSE, re.MULTILINE)
    assert [int(number) for number, _ in free] == list(range(1, FREE + 1))
    assert not {key for _, key in free} & set(VARIABLES.values())
    head = COMPOSE.partition("x-image:")[0]
    for variable in VARIABLES:
        assert re.search(rf"(\b|_){variable}\b", head), variable


@pytest.mark.parametrize(
    ("variable", "text", "said"),
    [
        ("RATE", "fast", "RATE=fast: not a number from 1 to 1e+06"),
        ("RATE", "0", "RATE=0: not between 1 and 1e+06"),
        ("RATE", "nan", "RATE=nan: not between"),
        ("DURATION", "", "DURATION=: "),
        ("DURATION", "0s", "not above 0 and at most 600 s"),
        ("DURATION", "1h", "not above 0 and at most 600 s"),
        ("TRIALS", "51", "TRIALS=51: not a whole number from 1 to 50"),
        ("TRIALS", "-1", "not a whole number"),
        ("TRIALS", "²", "not a whole number"),
        ("SERVERS", "0", "SERVERS=0: not a whole number from 1 to 50"),
        ("CLOSE", "both", "CLOSE=both: not one of client, server, rst"),
        ("OP", "delete", "OP=delete: "),
        ("TIMEOUT", "2m", "not above 0 and at most 60 s"),
        ("MAX_LATENESS", "soon", "MAX_LATENESS=soon: "),
        ("WORKERS", "many", "WORKERS=many: not a whole number from 1 to 1024"),
        ("MEMCACHED_THREADS", "0", "MEMCACHED_THREADS=0: "),
        ("MEMCACHED_CONNECTIONS", "1.5", "MEMCACHED_CONNECTIONS=1.5: "),
        ("MEMCACHED_MEMORY", "0", "MEMCACHED_MEMORY=0: "),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_variable(
    variable: str, text: str, said: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        read(**{variable: text})
    assert "\n" not in str(caught.value)


def test_the_load_generators_options_are_the_variables() -> None:
    found = read(RATE="1500", DURATION="2500ms", CLOSE="rst", OP="mix:9/1", TIMEOUT="500ms")
    assert " ".join(found.load().arguments()) == (
        "--rate=1500 --duration=2.5s --op=mix:9/1 --close=rst --timeout=0.5s --max-lateness=0.25s"
    )
    assert read(MEMCACHED_OPTIONS=" -R 20  -b 64 ").memcached_options == ["-R", "20", "-b", "64"]
    assert read(WORKERS="3").workers == 3


def test_a_container_knows_what_its_arm_asked_for() -> None:
    environment = {
        "net.ipv4.ip_local_port_range": "5000\t65000 ",
        "net.ipv4.tcp_tw_reuse": "1",
        "net.core.somaxconn": "",
        "net.ipv4.tcp_syncookies": " ",
        "PATH": "/bin",
    }
    asked = settings.asked(environment)
    assert asked == {"net.ipv4.ip_local_port_range": "5000 65000", "net.ipv4.tcp_tw_reuse": "1"}
    text = settings.tuning_text(asked)
    assert parse(text, name="x", source="x").values == asked


@pytest.mark.parametrize(
    ("before", "after", "names"),
    [
        ({}, {"a.b": "1", "a.c": "2 3"}, ("kernel-default", "b=1, c=2 3")),
        ({"a.b": "0", "a.x": "9"}, {"a.b": "1", "a.x": "9"}, ("b=0", "b=1")),
        ({"a.b": "1"}, {"a.b": "1"}, ("before", "after")),
        ({}, {}, ("kernel-default", "kernel-default")),
        ({"a.b": "1"}, {"a.b": "1", "a.c": "2"}, ("before", "c=2")),
    ],
)
def test_arms_are_called_by_what_they_differ_in(
    before: dict[str, str], after: dict[str, str], names: tuple[str, str]
) -> None:
    found = settings.arm_names({"before": before, "after": after})
    assert (found["before"], found["after"]) == names
