r"""Reading a reply as it comes in, in pieces of any size, in bounded memory. No input or output here.

A protocol describes its reply as a generator that yields what it wants next and is handed exactly
that, so that its grammar reads from top to bottom and never meets half a line:

    line = yield Until(b"\r\n", 2048, (b"VALUE ", b"END\r\n"))
    yield Skip(100)
    yield Literal(b"\r\nEND\r\n")
    return HIT

`Parser` takes the bytes as recv() returns them and hands them on. What it keeps of an unfinished
piece is bounded by what was asked for, and what is skipped is counted, not kept: a server may send
for ever, and costs no memory. Bytes that cannot become what was asked for are malformed as soon as
the first of them shows it, whatever the pieces they come in.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from loadgen.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Reply:
    """What a complete reply comes to."""

    name: str
    """Under which the summary's `replies` count it, where it is good."""
    outcome: Outcome = Outcome.OK
    """Of the attempt that got it."""
    detail: str = ""
    """The server's own word for what is wrong, such as `HTTP 503`; the summary's `errors` count it."""
    text: bytes = b""
    """The content, where somebody wants it: statistics."""


MALFORMED = Reply("malformed", Outcome.MALFORMED_REPLY)


class Until(NamedTuple):
    """Everything up to and with the next `mark`."""

    mark: bytes
    most: int
    """Bytes, the mark included, that this may be at most."""
    starts: tuple[bytes, ...] = ()
    """It begins with one of these; with anything if empty."""


class Exactly(NamedTuple):
    """The next `size` bytes, which are kept: for sizes that the protocol bounds."""

    size: int


class Literal(NamedTuple):
    """These bytes and no others."""

    expected: bytes


class Skip(NamedTuple):
    """The next `size` bytes, which nobody wants."""

    size: int


class Rest(NamedTuple):
    """Whatever else came in the same piece, which nobody wants either."""


class ToEnd(NamedTuple):
    """Everything until the server closes, which nobody wants."""


Need: TypeAlias = Until | Exactly | Literal | Skip | Rest | ToEnd
Steps: TypeAlias = Generator[Need, bytes, Reply]


class Parser:
    """One reply under way.

    Args:
        steps: the reply's grammar, not yet begun.
    """

    __slots__ = ("_held", "_left", "_need", "_searched", "_steps", "rest", "result")

    def __init__(self, steps: Steps) -> None:
        self.result: Reply | None = None
        """The reply, once it is complete."""
        self.rest = b""
        """What came after the complete reply in the same piece."""
        self._steps = steps
        self._held = b""
        self._searched = 0
        try:
            self._want(next(steps))
        except StopIteration as stop:
            self.result = stop.value

    def feed(self, data: bytes) -> Reply | None:
        """Take the next piece; return the reply once it is complete, None until then.

        Never raises, whatever the bytes. Pieces after the end are ignored.
        """
        if self.result is not None:
            return self.result
        self._held = self._held + data if self._held else data
        while (size := self._size()) is not None:
            piece, self._held = self._held[:size], self._held[size:]
            if self._advance(piece):
                self.rest, self._held = self._held, b""
                return self.result
        return self.result

    def end(self) -> Reply | None:
        """Note that the server has closed; return the reply if that completes it, else None."""
        if self.result is None and isinstance(self._need, ToEnd):
            self._advance(b"")
        return self.result

    def _want(self, need: Need) -> None:
        self._need = need
        self._left = need.size if isinstance(need, Skip) else 0
        self._searched = 0

    def _advance(self, piece: bytes) -> bool:
        """Hand over what was wanted; return whether that was the last."""
        try:
            self._want(self._steps.send(piece))
        except StopIteration as stop:
            self.result = stop.value
            return True
        return False

    def _size(self) -> int | None:
        """Return how much of what is held is what is wanted; None when it is not all there yet."""
        held, need = self._held, self._need
        match need:
            case Until():
                return self._until(need)
            case Exactly(size):
                return size if len(held) >= size else None
            case Literal(expected):
                if held.startswith(expected):
                    return len(expected)
                if not expected.startswith(held):
                    self._give_up()
                return None
            case Skip():
                taken = min(self._left, len(held))
                self._left -= taken
                self._held = held[taken:]
                return None if self._left else 0
            case Rest():
                return len(held)
            case ToEnd():
                self._held = b""
                return None

    def _until(self, need: Until) -> int | None:
        held = self._held
        if need.starts and not self._searched and not _may_begin(held, need.starts):
            self._give_up()
            return None
        end = held.find(need.mark, max(0, self._searched - len(need.mark) + 1), need.most)
        if end >= 0:
            return end + len(need.mark)
        if len(held) >= need.most:
            self._give_up()
        elif not need.starts or held.startswith(need.starts):
            # Until the beginning is known to be one of those that may be, it is looked at again.
            self._searched = len(held)
        return None

    def _give_up(self) -> None:
        """What came cannot become what was wanted."""
        self._steps.close()
        self.result, self._held = MALFORMED, b""


def size_of(text: bytes, digits: int) -> int | None:
    """Return the size that a reply announces; None for what is no number of at most so many digits."""
    return int(text) if text.isdigit() and len(text) <= digits else None


def _may_begin(held: bytes, starts: tuple[bytes, ...]) -> bool:
    return held.startswith(starts) or any(start.startswith(held) for start in starts)


class Memory:
    """Reads the beginnings of replies, and knows by heart the last that came whole.

    An HTTP reply has a date, so it cannot be known before the run; but it is the same for a second, and
    to read it anew takes 10 µs, more than all the rest that a connection costs in Python.
    """

    def __init__(self) -> None:
        self._begins: Callable[[], Steps] | None = None
        self._data = b""
        self._reply: Reply | None = None

    def read(self, begins: Callable[[], Steps], data: bytes) -> tuple[Parser | None, Reply | None]:
        """Return the parser that has read `data`, if one was needed, and the reply if it is complete.

        Args:
            begins: begins to read; the same one reads the same bytes alike.
            data: the first that came of a reply, not empty.
        """
        if data == self._data and begins is self._begins:
            return None, self._reply
        parser = Parser(begins())
        reply = parser.feed(data)
        if reply is not None and not parser.rest:
            self._begins, self._data, self._reply = begins, data, reply
        return parser, reply
