"""What is done to a directory: a value, a key, a line, bytes, a cut; a pipe, a device, a link."""

from __future__ import annotations

import gzip
import json
import os
import random
import shutil
import socket
import sys
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from lab.report.sheet import LISTED
from loadgen.report.page import PAGE
from loadgen.run import rundir

SEQUENCES: Final = (
    "\x1b]0;owned\x07",
    "\x1b[2J\x1b[31m",
    "\x9b31m\x9d0;owned\x9c",
    "\x00\x01\x07\x08\x7f",
    "one\rtwo\nthree\x0b\x0cfour\x85five\u2028six",
    "\u202egnp.exe\u2066\u200b\ufeff\U000e0041",
    "=HYPERLINK('http://example.invalid')",
    "</script><img src=x onerror=alert(1)><!--]]>",
    "javascript:alert(1)",
    "[link](http://example.invalid) | `code` | ![x](y)",
    "\uffff\ufffe",
)
"""What must come out harmless of every writer."""
_NUMBERS: Final = (
    0, -1, 1, 1e-300, 1e300, -1e300, 1e308, 5e-324, 2**31, 2**63, 2**64, -(2**63), 10**40, 10**5000,
    0.0, -0.0, 86400 * 1e6,
)  # fmt: skip
_RAW: Final = (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"nul", b"", b"\xff\xfe", b'"\\ud800"')
"""What stands for a value in place of JSON."""
_TEXTS: Final = (
    *SEQUENCES, "", "a" * 70_000, "constant", "ramp:1-2", "steps:", "p(99)", "ok: count > 0",
    "failed: rate == 0", "generator_outcome_bogus", "client-9", "before", "../../../etc/passwd", "/dev/zero", "trials/../..", "bogus", "NaN", "1e309",
)  # fmt: skip

_LARGE: Final = 10 << 20
"""Bytes of a file from which on nothing more is done to it."""


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _paths(inside, (*path, key))


def _nasty(dice: random.Random) -> Any:
    return dice.choice(
        (
            lambda: dice.choice(_NUMBERS),
            lambda: dice.choice(_TEXTS),
            lambda: dice.choice(
                (None, True, False, [], {}, [[]], {"": {}}, [None], {"a": [1e300]})
            ),
        )
    )()


def _change(value: Any, dice: random.Random) -> tuple[bytes, str]:
    """Return a document with one thing changed in it, and what that was."""
    places = list(_paths(value))
    if not places:
        return dice.choice(_RAW), "nothing of it left"
    *way, last = place = dice.choice(places)
    holder = value
    for key in way:
        holder = holder[key]
    where = ".".join(str(key)[:40] for key in place)
    what = dice.randrange(10)
    if what == 0:
        del holder[last]
        return _json(value), f"{where} is missing"
    if what == 1:
        raw = dice.choice(_RAW)
        holder[last] = "MARK"
        return _json(value).replace(b'"MARK"', raw, 1), f"{where} is {raw!r}"
    if what == 2 and isinstance(holder, dict):
        name = str(dice.choice(_TEXTS))
        holder[name] = holder.pop(last)
        return _json(value), f"{where} is named {name[:40]!r}"
    if what == 3 and isinstance(holder[last], list | dict) and len(holder[last]):
        inside = holder[last]
        if isinstance(inside, list):
            holder[last] = inside * dice.choice((2, 1000))
        else:
            holder[last] = inside | {f"more {n}": next(iter(inside.values())) for n in range(5000)}
        return _json(value), f"{where} has more"
    if what in {4, 5} and isinstance(holder[last], str):
        holder[last] += dice.choice(SEQUENCES)
        return _json(value), f"{where} is {holder[last][-60:]!r}"
    holder[last] = _nasty(dice)
    return _json(value), f"{where} is {str(holder[last])[:60]!r}"


def _json(value: Any) -> bytes:
    limit = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(0)
    try:
        return json.dumps(value).encode("utf-8", "surrogatepass")
    finally:
        sys.set_int_max_str_digits(limit)


def _edit(path: Path, dice: random.Random) -> str:
    """Change a value in a document, or in a line of one."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    if path.suffix == ".json":
        data, what = _change(json.loads(data), dice)
    else:
        lines = data.split(b"\n")
        number = dice.choice((0, len(lines) - 2, dice.randrange(max(1, len(lines) - 1))))
        try:
            lines[number], what = _change(json.loads(lines[number]), dice)
        except ValueError:
            fields = lines[number].split(b",")
            fields[dice.randrange(len(fields))] = str(_nasty(dice)).encode("utf-8", "replace")
            lines[number], what = b",".join(fields), "a field of a line"
        data = b"\n".join(lines)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return f"{path.name}: {what}"


def _cut(path: Path, dice: random.Random) -> str:
    size = path.stat().st_size
    place = dice.randrange(size + 1)
    os.truncate(path, place)
    return f"{path.name} is cut at {place} of {size}"


def _bytes(path: Path, dice: random.Random) -> str:
    data = bytearray(path.read_bytes())
    for _ in range(dice.choice((1, 1, 3, 50))):
        at = dice.randrange(len(data) + 1)
        data[at : at + dice.choice((0, 1, 2))] = dice.randbytes(dice.choice((0, 1, 3)))
    path.write_bytes(data)
    return f"{path.name} has other bytes"


def _whole(path: Path, dice: random.Random) -> str:
    """Put something else into a file as a whole."""
    what, data = dice.choice(
        (
            ("is empty", b""),
            ("is nested", b"[" * 100_000),
            ("is nested in names", b'{"a":' * 50_000),
            ("is no UTF-8", b"\xff" * 1000),
            ("is a line without end", b"x" * 5_000_000),
            ("is many lines", b'{"t":1,"role":"client","values":{}}\n' * 20_000),
            ("is NULs", b"\0" * 10_000),
            ("is null", b"null"),
            ("is a list", b"[1,2]"),
            ("is compressed", gzip.compress(b"\0" * 50_000_000)),
        )
    )
    path.write_bytes(data)
    return f"{path.name} {what}"


def _other(path: Path, dice: random.Random, victim: Path) -> str:
    """Put something that is no file in a file's place."""
    path.unlink()
    what = dice.choice(
        ("fifo", "loop", "zero", "directory", "socket", "sparse", "victim", "dangling")
    )
    if what == "fifo":
        os.mkfifo(path)
    elif what == "directory":
        path.mkdir()
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as made, suppress(OSError):
            made.bind(str(path))
    elif what == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        places = {"loop": path, "zero": Path("/dev/zero"), "victim": victim}
        path.symlink_to(places.get(what, Path("nowhere")))
    return f"{path.name} is a {what}"


def _outward(folder: Path, dice: random.Random, victim: Path) -> str:
    """Lay a link where a report will be written."""
    places = [path for path in folder.rglob("*") if path.is_dir()]
    if places and dice.random() < 0.4:
        place = dice.choice(places)
        shutil.rmtree(place)
        place.symlink_to(victim.parent)
        return f"{place.relative_to(folder)} leads outside"
    names = (
        PAGE,
        rundir.SUMMARY,
        "summary.md",
        "junit.xml",
        "comparison.json",
        LISTED,
        "ablation.json",
    )
    name = dice.choice((*names, "latency-before.hlog"))
    path = dice.choice([folder, *places]) / name
    path.unlink(missing_ok=True)
    path.symlink_to(victim)
    return f"{path.relative_to(folder)} leads outside"


def _mangleable(path: Path) -> bool:
    return path.is_file() and not path.is_symlink() and path.stat().st_size < _LARGE


def mangle(folder: Path, dice: random.Random, victim: Path) -> list[str]:
    """Do one to three things to a directory; return them in words."""
    done = []
    for _ in range(dice.choice((1, 1, 1, 2, 3))):
        files = sorted(path for path in folder.rglob("*") if _mangleable(path))
        if not files:
            break
        path = dice.choice(files)
        what = dice.random()
        with suppress(ValueError, IndexError, EOFError, OSError, RecursionError, zlib.error):
            if what < 0.60:
                done.append(_edit(path, dice))
            elif what < 0.68:
                done.append(_cut(path, dice))
            elif what < 0.76:
                done.append(_bytes(path, dice))
            elif what < 0.82:
                done.append(_whole(path, dice))
            elif what < 0.92:
                done.append(_other(path, dice, victim))
            else:
                done.append(_outward(folder, dice, victim))
    return done
