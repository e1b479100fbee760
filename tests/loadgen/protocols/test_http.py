"""HTTP's responses, whole, in pieces, and as garbage; and what is asked."""

from __future__ import annotations

from base64 import b64decode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.outcome import Outcome
from loadgen.protocols.http import PROTOCOL
from loadgen.protocols.parsing import MALFORMED, Reply
from loadgen.protocols.seam import Request
from loadgen.target import Credentials
from tests.loadgen.builders import run_config
from tests.loadgen.protocols.pieces import cut, noise, places, read


def _script(
    *targets: str, credentials: Credentials | None = None, **changes: object
) -> list[Request]:
    targets = targets or ("http://127.0.0.1:8080/",)
    config = run_config(protocol="http", targets=list(targets), **changes)
    return [script.first[0] for script in PROTOCOL.scripts(config, credentials, 1)]


GET = _script()[0]
HEAD = _script(op="head")[0]
OK, MOVED = Reply("2xx"), Reply("3xx")
STATUS_PAGE = (
    b"Active connections: 3 \nserver accepts handled requests\n 12 10 40 \n"
    b"Reading: 0 Writing: 1 Waiting: 2 \n"
)


def _bad(status: int) -> Reply:
    outcome = Outcome.REQUEST_REFUSED if status < 500 else Outcome.SERVER_ERROR
    name = "client_error" if status < 500 else "server_error"
    return Reply(name, outcome, f"HTTP {status}")


COMPLETE = [
    (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", OK),
    (GET, b"HTTP/1.0 200\r\ncontent-length:\t5 \r\nX: y\r\n\r\nhello", OK),
    (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", OK),
    (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx", OK),
    (GET, b"HTTP/1.1 204 No Content\r\n\r\n", OK),
    (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", MOVED),
    (GET, b"HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 2\r\n\r\n\r\n", MOVED),
    (GET, b"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx", _bad(404)),
    (GET, b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", _bad(503)),
    (GET, b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n\r\n",
     Reply("not_authenticated", Outcome.NOT_AUTHENTICATED, "HTTP 401")),
    (GET, b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\n"
          b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", OK),
    (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
          b"5\r\nhello\r\n1A;x=y\r\n" + b"z" * 26 + b"\r\n0\r\n\r\n", OK),
    (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\nContent-Length: 3\r\n\r\n"
          b"0\r\nTrailer: x\r\n\r\n", OK),
    (GET, b"HTTP/1.1 500 E\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", _bad(500)),
    (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", OK),
    (HEAD, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", OK),
    (HEAD, b"HTTP/1.1 502 Bad\r\n\r\n", _bad(502)),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "data", "reply"), COMPLETE)
def test_a_response_is_judged_when_its_last_byte_is_there(
    request_: Request, data: bytes, reply: Reply
) -> None:
    for length in range(len(data)):
        assert read(request_, data[:length]) is None, data[:length]
    assert read(request_, data) == reply
    assert read(request_, *(bytes([byte]) for byte in data)) == reply


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nContent-Length: 3\r\n\r\n",
    ],
)
def test_a_body_without_a_length_ends_with_the_connection(head: bytes) -> None:
    for body in (b"", b"x", b"HTTP/1.1 200 OK\r\n\r\n"):
        assert read(GET, head, body) is None
        assert read(GET, head, body, end=True) == OK
    assert read(GET, head[:-1], end=True) is None


@pytest.mark.parametrize(
    "data",
    [
        b"\x15\x03\x01",
        b"ERROR\r\n",
        b"HTTP/2",
        b"HTTP/1.1 20\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 600 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.2 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 19 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1" * 16 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"x" * 256,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * 100,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 65_536,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 8,
    ],
)
def test_what_is_not_the_protocol_is_malformed(data: bytes) -> None:
    assert read(GET, data) is MALFORMED


_noise = noise(
    *(b"HTTP/1.1 ", b"HTTP/1.0 ", b"200 OK", b"404", b"100", b"\r\n", b"\r\n\r\n", b"5", b"0"),
    *(b"Content-Length: ", b"Transfer-Encoding: chunked", b"hello", b";", b"a: b"),
)


@given(st.sampled_from([GET, HEAD]), _noise, places, st.booleans())
def test_no_bytes_raise_and_the_pieces_make_no_difference(
    request: Request, data: bytes, where: list[int], end: bool
) -> None:
    assert read(request, *cut(data, where), end=end) == read(request, data, end=end)


@given(
    chunks=st.lists(st.binary(min_size=1, max_size=40), max_size=5),
    where=places,
)
def test_a_chunked_body_may_hold_anything(chunks: list[bytes], where: list[int]) -> None:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"
    assert read(GET, *cut(data, where)) == OK
    assert read(GET, data[:-1]) is None


def test_what_is_asked() -> None:
    assert GET.data == b"GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: churnlab\r\n\r\n"
    assert HEAD.data.startswith(b"HEAD / HTTP/1.1\r\n")
    first, second = _script("http://[::1]/a?b=c", "http://web.example:81/x")
    assert first.data.startswith(b"GET /a?b=c HTTP/1.1\r\nHost: [::1]\r\n")
    assert second.data.startswith(b"GET /x HTTP/1.1\r\nHost: web.example:81\r\n")
    assert b"\r\nHost: www.example\r\n" in _script(http_host="www.example")[0].data
    (locked,) = _script(credentials=Credentials("ann", "pä:ss"))
    word = locked.data.partition(b"Authorization: Basic ")[2].partition(b"\r\n")[0]
    assert b64decode(word).decode() == "ann:pä:ss"


@pytest.mark.parametrize(
    ("close", "count", "asked"),
    [
        ("client", 1, (False, False, False)),
        ("rst", 2, (False, False, False)),
        ("server", 1, (True, False, True)),
        ("server", 3, (False, False, True)),
    ],
)
def test_only_the_last_request_asks_the_server_to_close(
    close: str, count: int, asked: tuple[bool, bool, bool]
) -> None:
    config = run_config(
        protocol="http", targets=["http://h/"], close=close, requests_per_connection=count
    )
    (script,) = PROTOCOL.scripts(config, None, 1)
    said = (script.first, script.later, script.last)
    assert tuple(b"Connection: close" in one[0].data for one in said) == asked
    assert script.farewell is None


def test_the_figures_of_stub_status() -> None:
    assert PROTOCOL.statistics is not None
    assert PROTOCOL.statistics(run_config(protocol="http"), None) is None
    config = run_config(protocol="http", targets=["http://h:81/x"], status_path="/status")
    statistics = PROTOCOL.statistics(config, None)
    assert statistics is not None
    assert statistics.request.data.startswith(b"GET /status HTTP/1.1\r\nHost: h:81\r\n")
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(STATUS_PAGE)
    reply = read(statistics.request, head + STATUS_PAGE)
    assert reply is not None
    assert statistics.select(reply.text) == {
        "nginx_active": 3,
        "nginx_accepts": 12,
        "nginx_handled": 10,
        "nginx_requests": 40,
        "nginx_dropped": 2,
        "nginx_reading": 0,
        "nginx_writing": 1,
        "nginx_waiting": 2,
    }
    other = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
    assert read(statistics.request, other) is MALFORMED
    assert read(statistics.request, b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n") == _bad(404)
    assert statistics.select(b"hello") == {}


@pytest.mark.parametrize("op", ["", "set", "post", "GET"])
def test_an_operation_that_is_none_names_those_that_are(op: str) -> None:
    with pytest.raises(ValueError, match="write get or head"):
        PROTOCOL.gets(op)
