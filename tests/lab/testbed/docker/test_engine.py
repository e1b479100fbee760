"""Engines that are not there, too old, or without the image: each one line with the remedy.

An engine made of a few canned answers plays those that no test machine has.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler
from ipaddress import IPv4Network
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer
from typing import Any

import pytest

from lab.testbed.base import TestbedError
from lab.testbed.docker import orders
from lab.testbed.docker.engine import Container, Engine, Leftover, Network
from lab.testbed.docker.errors import EngineError, NoEngineError
from lab.testbed.docker.swarm import SwarmTestbed
from loadgen.fleet import engine as engines
from loadgen.fleet.engine import endpoint
from loadgen.fleet.errors import FleetError
from loadgen.fleet.owner import Owner

BREAK = (0, None)
"""The answer that an engine owes when it ends."""
VERSION = {"Version": "27.0", "ApiVersion": "1.46", "MinAPIVersion": "1.24"}


class _Server(ThreadingMixIn, UnixStreamServer):
    daemon_threads = True
    answers: Mapping[str, tuple[int, Any]]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        answers = self.server.answers  # type: ignore[attr-defined]
        tail = next((known for known in answers if path.endswith(known)), None)
        code, answer = answers[tail] if tail else (404, {"message": "no such thing"})
        if (code, answer) == BREAK:
            self.close_connection = True
            return
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_DELETE(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        self.do_GET()

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "engine.sock"
    monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
    return path


@contextmanager
def engine(path: Path, answers: Mapping[str, tuple[int, Any]]) -> Iterator[None]:
    with _Server(str(path), _Handler) as server:
        server.answers = {"/version": (200, VERSION), **answers}
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


def test_no_engine_is_one_line_with_the_remedy(where: Path) -> None:
    with pytest.raises(
        NoEngineError, match=r"no Docker engine answers .*systemctl start"
    ) as caught:
        Engine()
    assert str(where) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_socket_that_nobody_listens_to_is_no_engine(where: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(where))
        with pytest.raises(NoEngineError, match="Connection refused"):
            Engine()


def test_an_engine_that_this_user_may_not_use(where: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may use every socket, so the kernel's answer is played."""

    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(socket.socket, "connect", refuse)
    with pytest.raises(
        NoEngineError, match=f"may not use the Docker engine at unix://{where}.*group"
    ):
        Engine()


def test_an_engine_elsewhere_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
    with pytest.raises(NoEngineError, match=f"no Docker engine answers at tcp://127.0.0.1:{port}"):
        Engine()


@pytest.mark.parametrize("version", ["1.39", "1.40"])
def test_an_engine_that_is_too_old_names_both_versions(where: Path, version: str) -> None:
    old = {**VERSION, "Version": "19.03", "ApiVersion": version}
    with (
        engine(where, {"/version": (200, old)}),
        pytest.raises(TestbedError, match=rf"is 19.03 \(API {version}\); 20.10 .* is needed"),
    ):
        Engine()


def test_an_engine_that_takes_the_call_and_says_nothing_is_given_up(
    where: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an address does behind which packets are swallowed, or an engine that hangs."""
    answering = partial(engines.connect, answer_within=0.2)
    monkeypatch.setattr(engines, "connect", answering)
    with socket.socket(socket.AF_UNIX) as mute:
        mute.bind(str(where))
        mute.listen(8)
        with pytest.raises(
            TestbedError, match=r"no Docker engine answers at .* timed out"
        ) as caught:
            Engine()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("address", ["tcp://h:abc", "tcp://", "nonsense://x"])
def test_an_address_that_is_no_address_is_one_line(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", address)
    with pytest.raises(TestbedError, match="no Docker engine answers") as caught:
        Engine()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, {"message": "No such image: churnlab"}), "there is no image churnlab; docker build"),
        ((200, {"Id": "x", "Config": {"Labels": None}}), "of another version than this lab"),
        (
            (200, {"Id": "x", "Config": {"Labels": {"churnlab.image": "0"}}}),
            "of another version than this lab; docker build --tag churnlab .",
        ),
        ((500, {"message": "disk on fire"}), "image churnlab: disk on fire"),
    ],
)
def test_an_image_that_does_not_do_says_how_to_build_it(
    where: Path, answer: tuple[int, Any], said: str
) -> None:
    with engine(where, {"/images/churnlab/json": answer}), closing(Engine()) as found:
        with pytest.raises(TestbedError, match=said) as caught:
            found.check_image()
        assert "\n" not in str(caught.value)


def test_the_right_image_does(where: Path) -> None:
    answer = {"Id": "x", "Config": {"Labels": {"churnlab.image": orders.VERSION}}}
    with engine(where, {"/images/churnlab/json": (200, answer)}), closing(Engine()) as found:
        found.check_image()


def test_no_room_for_a_network_says_what_to_remove(where: Path) -> None:
    taken = [{"Id": "1", "Name": "all", "IPAM": {"Config": [{"Subnet": "198.18.0.0/15"}]}}]
    with (
        engine(where, {"/networks": (200, taken)}),
        closing(Engine()) as found,
        pytest.raises(TestbedError, match=r"no subnet of 198.18.0.0/15 is free; .*lab restore"),
    ):
        found.create_network(2)


def _network() -> Network:
    return Network("1" * 64, IPv4Network("198.18.0.0/29"))


REMOVALS: list[Callable[[Engine], None]] = [
    lambda engine: engine.remove_network(_network()),
    lambda engine: engine.remove_volume("gone"),
    *(
        partial(Engine.remove, leftover=Leftover(kind, "gone", "1" * 64, Owner.this()))
        for kind in ("container", "network", "volume")
    ),
    lambda engine: Container("gone", engine._client.containers.get("gone")).remove(),
]
"""All that removes something from an engine."""
GONE = {"/containers/gone/json": (200, {"Id": "1" * 64, "Name": "/gone"})}


@pytest.mark.parametrize("remove", REMOVALS)
def test_what_has_gone_already_is_removed_without_a_word(
    where: Path, remove: Callable[[Engine], None]
) -> None:
    """Two labs clean up at once, or somebody by hand: the engine says 404 to the second."""
    with engine(where, GONE), closing(Engine()) as found:
        remove(found)


@pytest.mark.parametrize("remove", REMOVALS)
def test_what_cannot_be_removed_is_said(where: Path, remove: Callable[[Engine], None]) -> None:
    busy = (409, {"message": "it is in use"})
    answers = {"1" * 64: busy, "/volumes/gone": busy, **GONE}
    with (
        engine(where, answers),
        closing(Engine()) as found,
        pytest.raises(EngineError, match=r"docker: removing .*: it is in use"),
    ):
        remove(found)


@pytest.mark.parametrize(
    "ask",
    [
        Engine.check_image,
        lambda engine: engine.create_network(2),
        lambda engine: Container("gone", engine._client.containers.get("gone")).signal("SIGINT"),
    ],
)
def test_an_engine_that_breaks_off_is_one_line(where: Path, ask: Callable[[Engine], None]) -> None:
    """It is restarted meanwhile; the SDK lets through what its HTTP library raises then."""
    answers = {**GONE, "/networks": (200, []), "/images/churnlab/json": BREAK}
    answers |= {"/networks/create": BREAK, "/kill": BREAK}
    with engine(where, answers), closing(Engine()) as found:
        with pytest.raises(TestbedError, match=r"^docker: ") as caught:
            ask(found)
        assert "\n" not in str(caught.value)


def test_the_engine_is_looked_for_where_the_docker_command_looks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    assert endpoint() == "tcp://127.0.0.1:1"
    monkeypatch.delenv("DOCKER_HOST")
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert endpoint().startswith("unix://")
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    with pytest.raises(FleetError, match="there is no docker context far; docker context ls"):
        endpoint()
    (tmp_path / "config.json").write_text("{}")
    meta = tmp_path / "contexts/meta" / hashlib.sha256(b"far").hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    engine = {"Host": "tcp://127.0.0.1:2", "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": "far", "Metadata": {}, "Endpoints": {"docker": engine}}))
    assert endpoint() == "tcp://127.0.0.1:2"
    (tmp_path / "config.json").write_text('{"currentContext": "far"}')
    monkeypatch.delenv("DOCKER_CONTEXT")
    assert endpoint() == "tcp://127.0.0.1:2"


def test_the_dockerfile_and_the_lab_are_of_one_version() -> None:
    dockerfile = (Path(__file__).parents[4] / "Dockerfile").read_text()
    assert f'LABEL {orders.LABEL}="{orders.VERSION}"' in dockerfile


class _Slow:
    """An engine whose network is in use at first, and gone some time after the order was taken."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def remove_network(self, _: Network) -> None:
        self.asked.append("remove")
        if len(self.asked) == 1:
            raise EngineError("network", "it is in use by a task")

    def has_network(self, _: Network) -> bool:
        self.asked.append("has")
        return self.asked.count("has") < 3


def test_a_swarm_s_network_is_waited_for_until_it_is_gone() -> None:
    """The order to remove it was taken for the deed, and the network was still there."""
    testbed, engine = object.__new__(SwarmTestbed), _Slow()
    testbed._engine = engine  # type: ignore[assignment]
    testbed._remove_network(_network())
    assert engine.asked == ["remove", *("remove", "has") * 3]
