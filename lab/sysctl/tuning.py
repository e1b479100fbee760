"""Tunings: sysctl.d files, read as sysctl.d(5) and sysctl(8) read them.

A tuning is the text of a sysctl.d file, so that what was proved in the lab is the very file that
goes to /etc/sysctl.d. The rules are those of systemd-sysctl and procps, which agree on them:

- A line whose first character is `#` or `;` is a comment. There are no comments after a value.
- `key = value`; blanks around both are dropped. `-key = value` may fail without stopping the rest.
- Either `.` or `/` separates the parts of a key, whichever comes first. After a `/` the dots are
  part of names, after a `.` the slashes stand for dots: `net/ipv4/conf/eth0.100/rp_filter` and
  `net.ipv4.conf.eth0/100.rp_filter` are one key.
- The last assignment of a key wins, and takes the place of the last one in the order of writing.

Two of their features are not carried out, because an experiment must know which keys it sets: globs
and exclusions (`-key` without a value), which only serve globs. A glob over network devices
(`net.ipv4.conf.*.rp_filter`), as distributions ship them, decides no connect: it is read, and left
out with its reason when the tuning is applied. Any other glob is refused.

One thing is ours: a comment that starts with `#:` keeps the line of published advice that the next
setting stands for, in its own old names. Other readers see a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from lab.sysctl.catalogue import CATALOGUE
from lab.sysctl.names import device_of, obsolete, to_key
from lab.sysctl.values import integers, unfit_value
from loadgen.errors import ChurnlabError
from loadgen.sample import ROLE_CLIENT, ROLE_SERVER
from loadgen.units import spaced

_GLOB: Final = frozenset("*?[")
_DEVICE_GLOB: Final = re.compile(r"net/ipv[46]/(conf|neigh)/[^/]+/[^/*?\[]+")
_INLINE_COMMENT: Final = re.compile(r"\s+[#;].*$")
_BLANKS: Final = " \t\r\n\v\f"
"""What C's isspace() strips; Python's own strip() would take a no-break space too."""


class TuningError(ChurnlabError):
    """A tuning that cannot be read, or does not hold. Each problem is one line with its remedy."""

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        more = len(problems) - 1
        tail = f" (and {more} more such line{'s' if more > 1 else ''})" if more else ""
        super().__init__(problems[0] + tail)
        self.args = problems


@dataclass(frozen=True, slots=True)
class Setting:
    """One assignment."""

    key: str
    """Dotted and canonical, whichever way the file wrote it."""
    value: str
    """Blanks inside it are single spaces."""
    line: int
    """From 1."""
    may_fail: bool
    """Written `-key`: when it cannot hold, it is left out with a reason."""
    was: str = ""
    """The line of advice it stands for (`#:` comment), in its author's names."""


@dataclass(frozen=True, slots=True)
class Tuning:
    """A named set of sysctls."""

    name: str
    source: str
    """The file it came from, or `built-in`."""
    text: str
    """The file as it was."""
    settings: tuple[Setting, ...]
    """In the order in which they are written to the kernel; each key once."""
    notes: tuple[str, ...]
    """What a reader should know: old names and what they became, lines that have no effect."""
    parts: tuple[tuple[str, Tuning], ...] = ()
    """Where each role has a tuning of its own (`client=FILE,nat=FILE2`): role and tuning. The
    settings are then those of all of them."""

    def of(self, role: str) -> Tuning:
        """Return what is to be put in force in the namespace of a role.

        A tuning that names no role is for the two ends, the client and the servers; a box between
        them keeps what its kernel gives it.
        """
        if self.parts:
            return dict(self.parts).get(role, NOTHING)
        return self if role in _ENDS else NOTHING

    @property
    def values(self) -> dict[str, str]:
        """What the file sets, by dotted key."""
        return {setting.key: setting.value for setting in self.settings}


_ENDS: Final = (ROLE_CLIENT, ROLE_SERVER)
NOTHING: Final = Tuning("nothing", "built-in", "", (), ())
"""The tuning that sets nothing."""


def combine(parts: Mapping[str, Tuning]) -> Tuning:
    """Return one tuning that gives each role its own.

    Args:
        parts: tunings by role.
    """
    settings = {one.key: one for tuning in parts.values() for one in tuning.settings}
    return Tuning(
        name=", ".join(f"{role}={tuning.name}" for role, tuning in parts.items()),
        source=", ".join(f"{role}={tuning.source}" for role, tuning in parts.items()),
        text="\n".join(f"# {role}: {one.name}\n{one.text}" for role, one in parts.items()),
        settings=tuple(settings.values()),
        notes=tuple(f"{role}: {note}" for role, one in parts.items() for note in one.notes),
        parts=tuple(parts.items()),
    )


def where(tuning: Tuning, line: int) -> str:
    """Return the name of a line for messages: `./90-memcached.conf:12`."""
    return place(tuning.name, tuning.source, line)


def place(name: str, source: str, line: int) -> str:
    """Return the name of a line of a file that is being read, as `where` does."""
    file = f"built-in tuning {name}" if source == "built-in" else source
    return f"{file}:{line}"


def is_glob(key: str) -> bool:
    """Return whether a key is a pattern for several."""
    return not _GLOB.isdisjoint(key)


def canonical_key(written: str) -> str:
    """Return the dotted form of a key as a file writes it.

    Raises:
        ValueError: when it is neither a plain key nor a glob over devices; the message says why and
            what to write instead.
    """
    if not written:
        raise ValueError("no key before '='; write key = value")
    if any(blank in written for blank in _BLANKS):
        words = written.split()
        if words[0] in {"sysctl", "sudo", "echo"}:
            raise ValueError("this is a shell command; keep only key = value")
        raise ValueError(f"blank inside the key {written!r}; write key = value")
    for character in written:
        if not character.isascii() or not character.isprintable():
            raise ValueError(
                f"character U+{ord(character):04X} in the key {written!r}; type the key anew"
            )
    path = _to_path(written).removeprefix("/")
    if is_glob(written) and not _DEVICE_GLOB.fullmatch(path):
        raise ValueError(
            f"glob {written!r} refused, since an experiment must know which keys it sets; "
            "write one line for each key"
        )
    if path.startswith("proc/sys/"):
        raise ValueError(f"key {written!r} is relative to /proc/sys; omit that part")
    parts = path.split("/")
    if ".." in parts or "." in parts or "" in parts:
        raise ValueError(f"key {written!r} has an empty part or '..'; write it as a.b.c")
    return to_key(path)


def _to_path(written: str) -> str:
    """Return the path under /proc/sys: the first separator decides what the others mean."""
    first = next((character for character in written if character in "./"), "/")
    return to_key(written) if first == "." else written  # the swap is its own inverse


def _value(key: str, written: str) -> tuple[str, str]:
    """Return the value with blanks normalised, and a note (or an empty string).

    Raises:
        ValueError: for a character that no sysctl value can hold.
    """
    for character in written:
        if not character.isprintable() and character not in _BLANKS:
            raise ValueError(
                f"character U+{ord(character):04X} in the value of {key}; type the line anew"
            )
    value = spaced(written)
    bare = _INLINE_COMMENT.sub("", value)
    entry = CATALOGUE.get(key)
    numeric = entry is None or entry.kind in {"integer", "integers"}
    if bare != value and numeric and integers(bare) is not None:
        # The tools hand the whole text to the kernel, whose number parser stops at the comment.
        return bare, (
            f"sysctl.d has no comments after a value; the kernel reads {bare!r} and ignores the rest"
        )
    if entry is not None and entry.kind == "integer":
        numbers = value.split()
        if len(numbers) > 1 and integers(value) is not None:
            return numbers[0], f"the kernel reads {numbers[0]!r} and ignores the rest of {value!r}"
    return value, ""


def _excluded(text: str) -> str | None:
    """Return the key that an exclusion takes out of a glob over devices; None when it is no exclusion."""
    if not text.startswith("-") or "=" in text:
        return None
    try:
        key = canonical_key(text.removeprefix("-").strip(_BLANKS))
    except ValueError:
        return None
    return key if device_of(key) is not None else None


def _assignment(text: str) -> tuple[str, str, bool, str]:
    """Return key, value, may_fail and a note of one line that is no comment.

    Raises:
        ValueError: what is wrong and what to write instead.
    """
    left, equals, right = text.partition("=")
    may_fail = left.startswith("-")
    left = left.removeprefix("-").strip(_BLANKS)
    if not equals:
        if may_fail:
            raise ValueError(
                f"exclusion {text!r} refused, since it only serves globs; delete the line, "
                f"or give it a value: -{left} = VALUE"
            )
        raise ValueError(f"no '=' in {text!r}; write key = value, or # before a comment")
    key = canonical_key(left)
    value, note = _value(key, right.strip(_BLANKS))
    unfit = unfit_value(key, value)
    if unfit and not may_fail:
        raise ValueError(f"{key} = {value}: {unfit}, or put '-' before the key to run without it")
    if may_fail and _begins_apart(text):
        note = note or "sysctl(8) takes the blank after '-' for a part of the key; systemd does not"
    return key, value, may_fail, unfit or note


def _begins_apart(text: str) -> bool:
    """Whether a blank follows the `-` of a line: `- key = value`."""
    return text[1:2] in set(_BLANKS)


def parse(text: str, *, name: str, source: str) -> Tuning:
    """Read the text of a sysctl.d file.

    Args:
        text: the file's content.
        name: what the tuning is called in reports.
        source: the file's path as the user gave it, or `built-in`.

    Raises:
        TuningError: naming source, line, offender and remedy, for the first invalid line
            of sysctl.d's or uses a feature that is refused here; `problems` has them all.
    """
    return read_lines(enumerate(text.split("\n"), start=1), text=text, name=name, source=source)


def read_lines(
    lines: Iterable[tuple[int, str]],
    *,
    text: str,
    name: str,
    source: str,
    notes: Iterable[str] = (),
) -> Tuning:
    """Read numbered lines of a sysctl.d file; see `parse`.

    Args:
        lines: number and content of each; the numbers are those of the file that they came from.
        text: what the tuning keeps as its file.
        name: what the tuning is called in reports.
        source: the file's path as the user gave it, or `built-in`.
        notes: what was found out about the file already.
    """
    settings: dict[str, Setting] = {}
    said: list[str] = list(notes)
    problems: list[str] = []
    was = ""
    for number, raw in lines:
        line = raw.strip(_BLANKS)
        if line.startswith("#:"):
            was = line.removeprefix("#:").strip()
        if not line or line[0] in "#;":
            continue
        excluded = _excluded(line)
        if excluded is not None:
            said.append(
                f"line {number}: {excluded}: exclusion from a glob, which is left out itself"
            )
            continue
        try:
            key, value, may_fail, note = _assignment(line)
        except ValueError as error:
            problems.append(f"{place(name, source, number)}: {error}")
            continue
        setting = Setting(key, value, number, may_fail, was)
        was = ""
        earlier = settings.pop(key, None)
        if earlier is not None and earlier.value == value:
            # systemd keeps the place of the first of two equal lines, and the laxer prefix.
            setting = replace(earlier, may_fail=earlier.may_fail or may_fail)
            settings = _put_back(settings, setting)
        else:
            settings[key] = setting
        said.extend(f"line {number}: {told}" for told in _notes(setting, earlier, note))
    if problems:
        raise TuningError(*problems)
    return Tuning(name, source, text, tuple(settings.values()), tuple(said))


def _put_back(settings: dict[str, Setting], setting: Setting) -> dict[str, Setting]:
    """Return `settings` with `setting` in its place by line."""
    every = sorted([*settings.values(), setting], key=lambda one: one.line)
    return {one.key: one for one in every}


def _notes(setting: Setting, earlier: Setting | None, note: str) -> list[str]:
    notes = []
    if earlier is not None:
        same = earlier.value == setting.value
        fate = "repeats" if same else f"replaces {earlier.value!r} of"
        notes.append(f"{setting.key}: {fate} line {earlier.line}")
    if note:
        notes.append(f"{setting.key}: {note}")
    past = obsolete(setting.key)
    if past is not None:
        today = f"; today's name is {past.became}" if past.became else ""
        notes.append(f"{setting.key} {past.why}{today}")
    if setting.was and setting.was != _plain(setting):
        notes.append(f"{_plain(setting)} stands for '{setting.was}'")
    return notes


def _plain(setting: Setting) -> str:
    return f"{setting.key} = {setting.value}"


def to_text(settings: Iterable[Setting], *, header: str = "") -> str:
    """Write settings as a sysctl.d file that `parse` reads back; lines of `header` become comments."""
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    for setting in settings:
        if setting.was:
            lines.append(f"#: {setting.was}")
        lines.append(f"{'-' if setting.may_fail else ''}{_plain(setting)}".rstrip())
    return "".join(f"{line}\n" for line in lines)
