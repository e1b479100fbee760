"""Parsers of the kernel's text tables: bytes in, numbers out, no file touched.

All tables here are for programs and old; fields are added at the end or in the middle as kernels
go by, and a few are renamed. So fields are found by name wherever the table has names, and a field
that is not there is left out of the result, never made up. Sources: proc(5),
Documentation/networking/snmp_counter.rst, net/ipv4/proc.c, net/core/net-procfs.c,
net/netfilter/nf_conntrack_standalone.c.

Every function raises `ParseError`, and nothing else, when the text is not the table it should be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import NamedTuple

from loadgen.search import port_spans


class ParseError(ValueError):
    """A text that is not the table it should be. The message names the table."""


def integer(text: bytes, what: str = "value") -> int:
    """Return the one integer of a file such as those under /proc/sys."""
    try:
        return int(text)
    except ValueError as error:
        raise ParseError(f"{what}: {text[:40]!r} is not an integer") from error


def integers(text: bytes, what: str = "values") -> list[int]:
    """Return the integers of a file that holds several, such as tcp_mem."""
    try:
        return [int(word) for word in text.split()]
    except ValueError as error:
        raise ParseError(f"{what}: {text[:40]!r} are not integers") from error


def sockstat(text: bytes) -> dict[str, int]:
    """Return /proc/net/sockstat as `{"TCP_tw": 5, ...}`: protocol and field joined."""
    values: dict[str, int] = {}
    for line in text.splitlines():
        protocol, colon, rest = line.partition(b":")
        words = rest.split()
        if not colon or len(words) % 2:
            raise ParseError(f"sockstat: {line[:60]!r} is not pairs of name and number")
        try:
            prefix = protocol.decode("ascii")
            for name, value in zip(words[::2], words[1::2], strict=True):
                values[f"{prefix}_{name.decode('ascii')}"] = int(value)
        except ValueError as error:
            raise ParseError(f"sockstat: {line[:60]!r} is not pairs of name and number") from error
    return values


def paired(text: bytes) -> dict[str, int]:
    """Return all of /proc/net/snmp or /proc/net/netstat as `{"TcpExt_TW": 97, ...}`.

    Each table there is two lines: the names, then the values in the same order.
    """
    lines = text.splitlines()
    if len(lines) % 2:
        raise ParseError("snmp: a table without its second line")
    values: dict[str, int] = {}
    for names, numbers in zip(lines[::2], lines[1::2], strict=True):
        section, _, fields = names.partition(b": ")
        again, _, row = numbers.partition(b": ")
        if not section or section != again:
            raise ParseError(f"snmp: the line after {section[:20]!r} is not of the same table")
        try:
            prefix = section.decode("ascii")
            for name, number in zip(fields.split(), row.split(), strict=True):
                values[f"{prefix}_{name.decode('ascii')}"] = int(number)
        except ValueError as error:
            raise ParseError(f"snmp: the table {section[:20]!r} is damaged") from error
    return values


Layout = tuple[dict[str, int], set[int]]
"""The place of each wanted number among the words of a text, and the places of the words that must
stay the same for the numbers to be where they were."""


class Places:
    """Picks the wanted numbers out of a table whose layout stays the same while a kernel runs.

    A sampler's code runs ten times a second, on caches that the load has swept meanwhile: each
    line of Python costs several times what it costs in a loop. So the table is taken apart with
    names only once; from then on it is one split, one look at whether the names still stand where
    they stood, and one pick.
    """

    __slots__ = ("_learn", "_names", "_pick", "_signs", "_splits", "_width", "found")

    def __init__(self, learn: Callable[[list[bytes]], Layout]) -> None:
        """Use `learn`, which finds the wanted numbers among the words of a text."""
        self._learn = learn
        self._width = -1
        self._splits = -1
        """How often to split: no further than the last wanted number."""
        self._names: tuple[bytes, ...] = ()
        self._signs: Callable[[list[bytes]], tuple[bytes, ...]] = _nothing
        self._pick: Callable[[list[bytes]], tuple[bytes, ...]] = _nothing
        self.found: tuple[str, ...] = ()
        """The wanted numbers that the last text had."""

    def __call__(self, text: bytes) -> dict[str, int]:
        """Return the wanted numbers that the table has.

        Raises:
            ParseError: when the text is not the table it should be.
        """
        words = text.split(None, self._splits)
        if len(words) != self._width or self._signs(words) != self._names:
            self._width = -1
            words = text.split()
            places, signs = self._learn(words)
            self._signs = _getter(sorted(signs))
            self._pick = _getter(list(places.values()))
            self._names = self._signs(words)
            self._splits = max(places.values(), default=0) + 1
            self._width = min(len(words), self._splits + 1)
            self.found = tuple(places)
        try:
            return dict(zip(self.found, map(int, self._pick(words)), strict=True))
        except ValueError as error:
            raise ParseError(f"{text[:20]!r}...: a number is damaged") from error


def _nothing(words: list[bytes]) -> tuple[bytes, ...]:  # noqa: ARG001 - stands for an itemgetter
    return ()


def _getter(places: Sequence[int]) -> Callable[[list[bytes]], tuple[bytes, ...]]:
    """Return what picks the words at `places`, as a tuple even of one or none."""
    if len(places) > 1:
        return itemgetter(*places)
    return (lambda words: (words[places[0]],)) if places else _nothing


def sockstat_places(wanted: Mapping[str, str]) -> Places:
    """Return a fast `sockstat` for the fields `wanted`, such as `TCP_tw`; values are new names."""

    def learn(words: list[bytes]) -> Layout:
        places: dict[str, int] = {}
        protocol = ""
        for place, word in enumerate(words):
            if word.endswith(b":"):
                protocol = word[:-1].decode("ascii", "replace")
            elif not word.isdigit() and place + 1 < len(words):
                name = wanted.get(f"{protocol}_{word.decode('ascii', 'replace')}")
                if name is not None:
                    places[name] = place + 1
        if not protocol:
            raise ParseError("sockstat: no protocol in it")
        return places, {place - 1 for place in places.values()}

    return Places(learn)


def paired_places(wanted: Mapping[str, str]) -> Places:
    """Return a fast `paired` for the fields `wanted`, such as `TcpExt_TW`; values are new names.

    The names of a section's fields are fixed when a kernel is built. Only IcmpMsg, which lists the
    types seen so far, grows, and moves what comes after it: the section's own name, at the head of
    both its lines, is then no longer where it was.
    """

    def learn(words: list[bytes]) -> Layout:
        heads = [place for place, word in enumerate(words) if word.endswith(b":")]
        if not heads or len(heads) % 2:
            raise ParseError("snmp: a table without its second line")
        places: dict[str, int] = {}
        signs: set[int] = set()
        ends = [*heads[1:], len(words)]
        for first, second, end in zip(heads[::2], heads[1::2], ends[1::2], strict=True):
            section = words[first].decode("ascii", "replace")[:-1]
            if words[first] != words[second] or second - first != end - second:
                raise ParseError(f"snmp: the table {section!r} is damaged")
            for place in range(first + 1, second):
                name = wanted.get(f"{section}_{words[place].decode('ascii', 'replace')}")
                if name is not None:
                    places[name] = place + second - first
                    signs |= {first, second}
        return places, signs

    return Places(learn)


_CONNTRACK_RENAMED = {
    # The column keeps the place of a field that newer kernels no longer have (commit message of
    # "netfilter: conntrack: proc: rename stat column"); the names are ctnetlink's, as conntrack -S
    # shows them.
    b"clashres": "clash_resolve",
    b"chainlength": "chaintoolong",
    b"icmp_error": "error",
}


def conntrack_stat(text: bytes) -> dict[str, int]:
    """Return /proc/net/stat/nf_conntrack summed over the CPUs, by ctnetlink's field names.

    The values are hexadecimal. `entries` is left out: it is the size of the table, the same in
    every CPU's line.
    """
    lines = text.splitlines()
    if len(lines) < 2:
        raise ParseError("nf_conntrack: a table without a line of values")
    names = lines[0].split()
    totals = [0] * len(names)
    try:
        for line in lines[1:]:
            for place, (_, word) in enumerate(zip(names, line.split(), strict=True)):
                totals[place] += int(word, 16)
        return {
            _CONNTRACK_RENAMED.get(name) or name.decode("ascii"): total
            for name, total in zip(names, totals, strict=True)
            if name != b"entries"
        }
    except ValueError as error:
        raise ParseError("nf_conntrack: the table is damaged") from error


def softnet_stat(text: bytes) -> dict[str, int]:
    """Return processed, dropped and times_squeezed of /proc/net/softnet_stat, all CPUs added.

    The table has one line for each CPU and no names; the first three columns have kept their
    meaning since Linux 2.6, later ones have not.
    """
    processed = dropped = squeezed = 0
    lines = text.splitlines()
    if not lines:
        raise ParseError("softnet_stat: empty")
    try:
        for line in lines:
            columns = line.split(None, 3)
            processed += int(columns[0], 16)
            dropped += int(columns[1], 16)
            squeezed += int(columns[2], 16)
    except (ValueError, IndexError) as error:
        raise ParseError("softnet_stat: a line is damaged") from error
    return {"processed": processed, "dropped": dropped, "times_squeezed": squeezed}


CPU_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")


def cpu_stat(text: bytes) -> dict[str, tuple[int, ...]]:
    """Return the CPU lines of /proc/stat: `cpu` for all, `cpu0`, `cpu1`, ...

    Each has the clock ticks of `CPU_FIELDS`; guest time is part of user and nice already.
    """
    cpus: dict[str, tuple[int, ...]] = {}
    for line in text.splitlines():
        if not line.startswith(b"cpu"):
            break
        words = line.split()
        try:
            ticks = tuple(int(word) for word in words[1 : len(CPU_FIELDS) + 1])
            name = words[0].decode("ascii")
        except ValueError as error:
            raise ParseError(f"stat: {line[:40]!r} is damaged") from error
        if len(ticks) != len(CPU_FIELDS):
            raise ParseError(f"stat: {line[:40]!r} has too few fields")
        cpus[name] = ticks
    if "cpu" not in cpus:
        raise ParseError("stat: no line for all CPUs")
    return cpus


def device_drops(text: bytes) -> tuple[int, int]:
    """Return the packets that all devices but lo dropped, received and transmitted."""
    received = transmitted = 0
    for line in text.splitlines()[2:]:
        name, colon, rest = line.partition(b":")
        words = rest.split()
        if not colon or len(words) < 12:
            raise ParseError(f"dev: {line[:40]!r} is not a device's line")
        if name.strip() == b"lo":
            continue
        try:
            received += int(words[3])
            transmitted += int(words[11])
        except ValueError as error:
            raise ParseError(f"dev: {line[:40]!r} is damaged") from error
    return received, transmitted


class ProcessStat(NamedTuple):
    """What is read of /proc/PID/stat (proc_pid_stat(5))."""

    state: str
    parent: int
    ticks: int
    """Clock ticks of CPU, user and system, of all its threads."""
    started: int
    """Clock ticks from the machine's boot to its start."""


def process_stat(text: bytes) -> ProcessStat:
    """Return what /proc/PID/stat says of a process.

    The second field is the program's name in brackets and may itself hold brackets and blanks, so
    fields are counted from the last closing one.
    """
    words = text[text.rfind(b")") + 1 :].split()
    try:
        return ProcessStat(
            state=words[0].decode("ascii"),
            parent=int(words[1]),
            ticks=int(words[11]) + int(words[12]),
            started=int(words[19]),
        )
    except (ValueError, IndexError) as error:
        raise ParseError("stat of a process: damaged") from error


def open_files_limit(text: bytes) -> int | None:
    """Return the soft limit of open files in /proc/PID/limits, None when there is none."""
    for line in text.splitlines():
        if line.startswith(b"Max open files"):
            words = line.split()
            if len(words) < 4:
                break
            return None if words[3] == b"unlimited" else integer(words[3], "limits")
    raise ParseError("limits: no line 'Max open files'")


def port_range(text: bytes) -> tuple[int, int]:
    """Return the lowest and highest port of ip_local_port_range, both included."""
    ports = integers(text, "ip_local_port_range")
    if len(ports) != 2 or not 0 < ports[0] <= ports[1] <= 65535:
        raise ParseError(f"ip_local_port_range: {text[:40]!r} is not two ports in order")
    return ports[0], ports[1]


def port_list(text: bytes) -> tuple[tuple[int, int], ...]:
    """Return the spans of a list such as ip_local_reserved_ports: `8080,9000-9010`."""
    try:
        return port_spans(text.decode("ascii"))
    except ValueError as error:
        raise ParseError(f"ip_local_reserved_ports: {error}") from None
