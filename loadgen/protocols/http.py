"""HTTP/1.1, as far as a short connection needs it: GET and HEAD (RFC 9110, RFC 9112).

Who closes first is what an experiment with ports is about, so it is asked for and not left to
chance. Where the server is to close, the last request says `Connection: close` and the attempt waits
for the end (RFC 9112, 9.6). Where the client is, it does not say so: a server that had been told
would close too, and win the race now and then.

A body ends where its length or its last chunk says, or else with the connection (RFC 9112, 6.3). It
is counted and forgotten.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import replace
from functools import partial
from typing import Final

from loadgen.config import RunConfig
from loadgen.metrics import NGINX
from loadgen.outcome import Outcome
from loadgen.protocols.parsing import (
    MALFORMED,
    Exactly,
    Literal,
    Reply,
    Skip,
    Steps,
    ToEnd,
    Until,
    size_of,
)
from loadgen.protocols.seam import Protocol, Request, Script, Statistics, close_modes
from loadgen.summary import Number
from loadgen.target import Credentials, Target

_END = b"\r\n"
_LONGEST_HEAD: Final = 65_536
"""Bytes of a status line and its headers; servers limit what they send to less."""
_LONGEST_CHUNK_LINE = 256
_MOST_TRAILERS = 100
_MOST_INTERIM = 8
"""Responses 1xx before the one that counts."""
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)
_CODING = re.compile(rb"\r\ntransfer-encoding:[ \t]*([^\r\n]*?)[ \t]*(?=\r\n)", re.IGNORECASE)
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")
_NO_BODY = (204, 304)
_MOST_TEXT = 4096
_STUB = re.compile(
    rb"Active connections: ([0-9]{1,18}) *\nserver accepts handled requests *\n"
    rb" *([0-9]{1,18}) ([0-9]{1,18}) ([0-9]{1,18}) *\n"
    rb"Reading: ([0-9]{1,18}) Writing: ([0-9]{1,18}) Waiting: ([0-9]{1,18})"
)
"""nginx, ngx_http_stub_status_module."""
_STUB_FIELDS = tuple(
    f"nginx_{name}"
    for name in ("active", "accepts", "handled", "requests", "reading", "writing", "waiting")
)
_AUTHENTICATION = (401, 407)


def _judge(status: int) -> Reply:
    """Return what a status comes to: 2xx and 3xx are good, whatever they say."""
    detail = f"HTTP {status}"
    if status < 400:
        return Reply(f"{status // 100}xx")
    if status in _AUTHENTICATION:
        return Reply("not_authenticated", Outcome.NOT_AUTHENTICATED, detail)
    if status < 500:
        return Reply("client_error", Outcome.REQUEST_REFUSED, detail)
    return Reply("server_error", Outcome.SERVER_ERROR, detail)


def _length(head: bytes) -> int | None:
    """Return the announced length, -1 for none and None for one that cannot be.

    A length that is given several times must be the same each time (RFC 9110, 8.6).
    """
    found = set(_LENGTH.findall(head))
    if not found:
        return -1
    text = found.pop()
    return None if found else size_of(text, 18)


def _chunks() -> Steps:
    """Pass over a chunked body and its trailers; the reply says only whether it is well-formed."""
    while True:
        line = yield Until(_END, _LONGEST_CHUNK_LINE)
        found = _CHUNK.fullmatch(line)
        if found is None:
            return MALFORMED
        size = int(found[1], 16)
        if not size:
            break
        yield Skip(size)
        yield Literal(_END)
    for _ in range(_MOST_TRAILERS):
        if (yield Until(_END, _LONGEST_HEAD)) == _END:
            return Reply("chunks")
    return MALFORMED


def _response(*, head_only: bool, keep: int = 0) -> Steps:
    """Read a response; a body with a length of at most `keep` bytes becomes its text."""
    for _ in range(_MOST_INTERIM):
        head = yield Until(b"\r\n\r\n", _LONGEST_HEAD, (b"HTTP/1.",))
        found = _STATUS.match(head)
        if found is None:
            return MALFORMED
        status = int(found[1])
        if status >= 200:
            break
    else:
        return MALFORMED
    reply = _judge(status)
    if head_only or status in _NO_BODY:
        return reply
    coding = _CODING.findall(head)
    if coding and coding[-1].lower().endswith(b"chunked"):
        whole = yield from _chunks()
        return reply if whole is not MALFORMED else MALFORMED
    length = _length(head)
    if length is None:
        return MALFORMED
    if coding or length < 0:
        yield ToEnd()
        return reply
    if length <= keep:
        text = yield Exactly(length)
        return replace(reply, text=text)
    yield Skip(length)
    return reply


def request(
    target: Target, host: str, *, method: str, close: bool, credentials: Credentials | None
) -> bytes:
    """Return a request's bytes.

    Args:
        target: its path is asked for, and its authority is the Host.
        host: the Host in its place, if not empty.
        method: GET or HEAD.
        close: whether the server is asked to close afterwards.
        credentials: for Basic authentication (RFC 7617).
    """
    lines = [
        f"{method} {target.path or '/'} HTTP/1.1",
        f"Host: {host or target.authority}",
        "User-Agent: churnlab",
    ]
    if credentials is not None:
        word = b64encode(f"{credentials.user}:{credentials.password}".encode()).decode()
        lines.append(f"Authorization: Basic {word}")
    if close:
        lines.append("Connection: close")
    return "\r\n".join((*lines, "", "")).encode()


def _gets(op: str) -> float:
    if op in {"get", "head"}:
        return 1.0
    raise ValueError(f"{op!r} is not an operation of http: write get or head")


def _scripts(config: RunConfig, credentials: Credentials | None, _: int) -> list[Script]:
    head_only = config.op == "head"
    reply = partial(_response, head_only=head_only)

    def said(target: Target, *, close: bool) -> list[Request]:
        method = "HEAD" if head_only else "GET"
        data = request(
            target, config.http_host, method=method, close=close, credentials=credentials
        )
        return [Request(data, None, "2xx", reply)]

    scripts = []
    for target in config.parsed_targets():
        on, last = said(target, close=False), said(target, close=config.close == "server")
        first = last if config.requests_per_connection == 1 else on
        scripts.append(Script(first=first, later=on, last=last))
    return scripts


def _status_page() -> Steps:
    """Read stub_status: a short text, whose length nginx gives."""
    reply = yield from _response(head_only=False, keep=_MOST_TEXT)
    if reply.outcome is not Outcome.OK:
        return reply
    return Reply("statistics", text=reply.text) if _STUB.match(reply.text) else MALFORMED


def _figures(text: bytes) -> dict[str, Number]:
    found = _STUB.match(text)
    if found is None:
        return {}
    figures = dict(zip(_STUB_FIELDS, map(int, found.groups()), strict=True))
    figures["nginx_dropped"] = max(0, figures["nginx_accepts"] - figures["nginx_handled"])
    return dict(figures)


def _statistics(config: RunConfig, credentials: Credentials | None) -> Statistics | None:
    if not config.status_path:
        return None
    target = replace(config.parsed_targets()[0], path=config.status_path)
    data = request(target, config.http_host, method="GET", close=False, credentials=credentials)
    return Statistics(
        program="nginx",
        command="stub_status",
        request=Request(data, None, "", _status_page),
        select=_figures,
        metrics=NGINX,
    )


PROTOCOL = Protocol(
    name="http",
    gets=_gets,
    scripts=_scripts,
    closes=close_modes("the server's FIN first (Connection: close)"),
    statistics=_statistics,
)
