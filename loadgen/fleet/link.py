"""One authenticated connection between a shard and control, over TCP; see `loadgen.fleet.wire`."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress
from typing import Final

import trio

from loadgen.fleet import wire
from loadgen.fleet.wire import FromShard, Opener, Sealer, ToShard, WireError

GREETING: Final = 5.0
"""Seconds that the other side gets to prove who it is."""
SILENCE: Final = 10.0
"""Seconds without a word after which a connection is given up: control asks for the time each second."""
_CHUNK: Final = 256 << 10


class Link:
    """A connection whose other side has shown that it holds the run's key."""

    def __init__(self, stream: trio.SocketStream, sealer: Sealer, opener: Opener) -> None:
        self._stream = stream
        self._sealer = sealer
        self._opener = opener
        self._bodies: list[bytes] = []
        self._sending = trio.Lock()

    async def send(self, message: FromShard | ToShard) -> None:
        """Send a message.

        Raises:
            trio.BrokenResourceError: when the connection is gone, or takes nothing for `SILENCE`.
        """
        async with self._sending:
            with trio.move_on_after(SILENCE) as scope:
                await self._stream.send_all(self._sealer.seal(wire.encode(message)))
            if scope.cancelled_caught:
                # Half a frame may have gone out: this connection can carry no other.
                await trio.aclose_forcefully(self._stream)
                raise trio.BrokenResourceError("the other side takes nothing")

    async def receive(self) -> bytes | None:
        """Return the next body, or None when the connection has ended or says nothing any more.

        Raises:
            WireError: when what comes is not the other side's.
        """
        while not self._bodies:
            data = b""
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                with trio.move_on_after(SILENCE):
                    data = await self._stream.receive_some(_CHUNK)
            if not data:
                return None
            self._bodies = self._opener.feed(data)
        return self._bodies.pop(0)

    async def aclose(self) -> None:
        """Close the connection."""
        await trio.aclose_forcefully(self._stream)


async def _exactly(stream: trio.SocketStream, number: int) -> bytes:
    data = b""
    while len(data) < number:
        more = await stream.receive_some(number - len(data))
        if not more:
            raise WireError("the other side hung up before it had shown who it is")
        data += more
    return data


async def greet_shard(stream: trio.SocketStream, key: bytes) -> Link:
    """Return the link to whoever has connected, once it has shown that it holds the key.

    Raises:
        WireError: when it does not.
        trio.TooSlowError: when it takes longer than `GREETING` seconds.
        trio.BrokenResourceError: when it is gone.
    """
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours = secrets.token_bytes(wire.NONCE)
    with trio.fail_after(GREETING):
        await stream.send_all(wire.HELLO + ours)
        answer = await _exactly(stream, wire.NONCE + wire.TAG)
        theirs, given = answer[: wire.NONCE], answer[wire.NONCE :]
        wire.check_proof(key, "shard", ours, theirs, given)
        await stream.send_all(wire.proof(key, "control", ours, theirs))
    return Link(stream, Sealer(key, "down", ours, theirs), Opener(key, "up", ours, theirs))


async def greet_control(stream: trio.SocketStream, key: bytes) -> Link:
    """Return the link to control, once it has shown that it holds the key.

    Raises:
        WireError: when it does not, or is something else.
        trio.TooSlowError: when it takes longer than `GREETING` seconds.
        trio.BrokenResourceError: when it is gone.
    """
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours = secrets.token_bytes(wire.NONCE)
    with trio.fail_after(GREETING):
        hello = await _exactly(stream, len(wire.HELLO) + wire.NONCE)
        if not hello.startswith(wire.HELLO):
            raise WireError("what answers there is no control machine of this version")
        theirs = hello[len(wire.HELLO) :]
        await stream.send_all(ours + wire.proof(key, "shard", theirs, ours))
        given = await _exactly(stream, wire.TAG)
        wire.check_proof(key, "control", theirs, ours, given)
    return Link(stream, Sealer(key, "up", theirs, ours), Opener(key, "down", theirs, ours))
