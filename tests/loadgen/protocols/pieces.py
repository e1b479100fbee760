"""Replies in pieces: what every protocol's parser is held to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import strategies as st

from loadgen.protocols.parsing import Parser, Reply
from loadgen.protocols.seam import Request


def read(request: Request, *pieces: bytes, end: bool = False) -> Reply | None:
    """Return what a reply that comes in these pieces is, None while more must come.

    Args:
        request: which it answers.
        pieces: as recv() returns them.
        end: whether the server closes then.
    """
    assert request.reply is not None
    parser = Parser(request.reply())
    for piece in pieces:
        reply = parser.feed(piece)
        if reply is not None:
            return reply
    return parser.end() if end else None


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    """Return the data, cut at these places; none of the pieces is empty."""
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in pairwise(edges)]


places = st.lists(st.integers(0, 10**6), max_size=8)
"""Where to cut."""


def noise(*words: bytes) -> st.SearchStrategy[bytes]:
    """Return bytes of all kinds, and a protocol's own words in any order."""
    return st.one_of(
        st.binary(max_size=80), st.lists(st.sampled_from(words), max_size=12).map(b"".join)
    )
