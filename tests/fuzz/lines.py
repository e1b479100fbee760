"""Command lines that nobody in their right mind types, drawn from click's own tree of verbs and options.

Line `number` of a seed is always the same, so that one line of 50,000 can be tried again alone. The
values are those that a well-behaved option takes, values that break parsers (numbers beyond what a
clock or a C integer holds, digits that are no ASCII, names that are too long or no text, control
characters), and well-behaved ones with a wound. No value names a pipe: one
waits for its other end, as it does in any program.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import click

SANE: Final[dict[str, tuple[str, ...]]] = {
    "duration": ("1s", "250ms", "0.5", "1m30s", "0"),
    "rate": ("100", "20000", "max", "auto", "0.001"),
    "low-high": ("32768-60999", "1024-65535", "40000-40010"),
    "i/n": ("1/1", "2/3", "1/2"),
    "cidr": ("10.0.0.0/8", "fe80::/10", "198.18.0.1"),
    "auto|n": ("auto", "2"),
    "host:port": (":0", "127.0.0.1:0", "[::1]:0", "127.0.0.1:19101"),
    "key=value": ("net.ipv4.tcp_tw_reuse=1", "net.core.somaxconn=4096"),
    "size": ("1M", "64M", "500K"),
    "room": ("auto", "all", "1000"),
    "version": ("5.10", "6.18.3"),
    "share": ("5%", "0.05"),
}
"""By the name of a parameter's type."""
NAMED: Final[dict[str, tuple[str, ...]]] = {
    "targets": ("127.0.0.1:11211", "[::1]:11211", "redis://127.0.0.1", "tcp://127.0.0.1:9", "https://127.0.0.1/x?y#z", "8.8.8.8", "localhost"),
    "target": ("127.0.0.1:11211", "redis://127.0.0.1:6379"),
    "schedule": ("constant", "poisson", "ramp:10-100", "steps:10,20,30"),
    "op": ("get", "set", "mix:90/10", "mg", "ping", "head"),
    "thresholds": ("failed: rate == 0", "latency_total: p(99) < 5ms", "client.sockstat_TCP_tw: max < 10"),
    "threshold": ("failed: rate == 0", "latency_total: p(99) <= +5% vs before"),
    "namespaces": ("1", "server=1", "router=1", "self"),
    "netns": ("1", "/proc/self/ns/net"),
    "start_at": ("2999-01-01T00:00:00Z", "2030-01-31", "99999999999"),
    "source_addresses": ("127.0.0.1", "127.0.0.2", "::1"),
    "send": ("PING\\r\\n", "@file", "\\x00"),
    "expect": ("+PONG", "@empty"),
    "before": ("kernel-default", "article", "recommended", "./good.conf", "client=article,server=./good.conf"),
    "after": ("article", "./good.conf", "./bad.conf", "client=article"),
    "tunings": ("article", "./good.conf"),
    "tuning": ("article", "this-host", "./good.conf", "recommended"),
    "only": ("tw-reuse-client", "net.ipv4.tcp_tw_reuse"),
    "fault": ("kill server-1 at 2s", "pause server-1 at 1s"),
    "server": ("memcached", "redis", "sleep {address} {port}"),
    "server_url": ("http://{address}:{port}/health", "tcp://{address}:{port}"),
    "kernel": ("6.1", "./vmlinuz"),
    "kernels": ("here", "./vmlinuz"),
    "memory": ("4G", "512M"),
    "first": ("experiment", "experiment:before", "empty", "file"),
    "second": ("experiment:after", "empty", "missing"),
    "directory": ("empty", "experiment", "file", "missing"),
    "name": ("article", "./good.conf", "churnlab-fleet"),
    "namespace": ("default",),
    "seat": ("0", "node-1"),
    "image": ("churnlab", "registry.example/churnlab:1"),
    "http_host": ("example.com",),
    "status_path": ("/nginx_status",),
    "tls_name": ("example.com",),
    "verb": ("plan", "run", "--rate", "100", "tunings", "show", "article"),
}  # fmt: skip
"""By a parameter's name, where its type says too little."""
FILES: Final = ("file", "empty", "missing", "out", "deep/er", "loop", "-", "out.json")
HUGE: Final = (
    *("9" * 30, "9" * 400, "18446744073709551616", "-9223372036854775809", "1e308", "1e400"),
    *(
        "nan",
        "inf",
        "-inf",
        "0",
        "-1",
        "-0",
        "0.0",
        "5e-324",
        "1_000",
        "0x10",
        "1e-9",
        "4294967296",
    ),
    *("٣", "１２", "²", "½", "1" + "0" * 5000, "65536", "99999999"),
)
"""Numbers that are none, and numbers beyond what anything holds."""
NASTY: Final = (
    *("", " ", "\t", "\n", "a\nb", "a\r\nerror: b", "\x1b]0;X\x07\x1b[2J", "\x00", "a\x00b", "\x7f"),
    *("\udcff", "x\udc80.conf", "é" * 200, "😀" * 90, "\u202e", "\u2028", "\ufeff", "\x85"),
    *("x" * 256, "x" * 5000, "./" + "x" * 300 + "/y", "./" + "d/" * 3000, "./" + "x" * 300 + ".conf"),
    *("..", ".", "../..", "./..", "...", "a..b:1", "a..b", ".a:1", "./loop", "./loop/x"),
    *("/proc/x", "/proc/x/y", "/dev/full", "/dev/zero", "/dev/null/x", "/proc/self/mem", "@/dev/zero"),
    *("~nosuchuser/x", "~/x", "@", "@missing", "@\x00", "@" + "x" * 300, "'", '"', "\\", "\\x"),
    *(":", "::", ":1", ":²", ":65536", "[", "[]", "[]:1", "[::1", "[::1%lo]:1", "[:1", "]:1", "1.2.3.4.5:1"),
    *("=", "a=", "=b", "a=b=c", ",", ",,", "client=", "client=,server=", "client=article,client=article"),
    *("%", "%s", "%n", "{}", "{0}", "{address", "{address.__class__}", "{port!r:>99999999}", "${HOME}"),
    *("--", "-", "---", "-x", "--no-such", "(", "(" * 5000, "a" * 100_000, "," * 50_000, " " * 50_000),
    *("1/0", "0/0", "1/", "/1", "²/²", "1-0", "0-65535", "1-65536", "-", "ramp:", "ramp:0-0", "ramp:-1--1"),
    *("ramp:1e308-1e308", "steps:", "steps:nan", "steps:" + "1," * 9999, "steps:1e308,1e308", "mix:0/0"),
    *("mix:²/1", "mix:1/" + "9" * 5000, "failed: rate == ²", "failed:\nrate == 0", "failed: rate ==\x1b[1m 0"),
    *("p(99)", "latency_total: p(²) < 1", "server.x: max < 1", "client-9999999999999.sockstat_TCP_tw: max < 1"),
    *("ok: count >" + "9" * 5000, "kill server-² at 2s", "kill server-" + "9" * 5000 + " at 2s"),
    *("kill server-1 at 1e308s", "debian:²", "debian:" + "9" * 5000, "2030-13-45", "0001-01-01T00:00:00+23:59"),
    *("9999-12-31T23:59:59-23:59", "http://[", "http://[::1%25lo]/", "redis://%00:%ff@127.0.0.1", "x://y"),
    *("http://127.0.0.1/\n", "memcached://" + "a." * 200 + ":1", "unix:/x", "tcp://:²", "1.2.3.0/0.0.0.255"),
)  # fmt: skip
"""Texts that break something somewhere."""


def commands(roots: Sequence[tuple[str, click.Group]]) -> dict[tuple[str, ...], click.Command]:
    """Return every verb of these commands, down to the verbs of verbs, by its words."""

    def below(
        words: tuple[str, ...], command: click.Command
    ) -> Iterator[tuple[tuple[str, ...], click.Command]]:
        yield words, command
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                found = command.get_command(context, name)
                assert found is not None
                yield from below((*words, name), found)

    return dict(pair for name, group in roots for pair in below((name,), group))


class Lines:
    """The lines of one seed.

    Args:
        known: verbs by their words.
        seed: which lines they are.
    """

    def __init__(self, known: dict[tuple[str, ...], click.Command], seed: int) -> None:
        self._known = known
        self._seed = seed
        # A verb with many options has more that can be wrong.
        self._weights = [2 + len(command.params) for command in known.values()]

    def line(self, number: int) -> list[str]:
        """Return the words of line `number`."""
        dice = random.Random(f"{self._seed}/{number}")
        (words,) = dice.choices(list(self._known), self._weights)
        command = self._known[words]
        options = [one for one in command.params if isinstance(one, click.Option)]
        arguments = [one for one in command.params if isinstance(one, click.Argument)]
        wanted = [one for one in options if one.required and dice.random() < 0.9]
        wanted += dice.choices(options, k=dice.choice((0, 1, 1, 2, 3, 6))) if options else []
        # Half of the lines have one thing wrong, so that what comes after the parser is reached.
        bad = dice.choice((0.0, 0.2, 0.2, 0.6))
        found = list(words)
        for option in wanted:
            flag = dice.choice([*option.opts, *option.secondary_opts])
            if option.is_flag:
                found.append(flag)
            else:
                value = _value(dice, option, bad)
                found += (
                    [f"{flag}={value}"]
                    if flag.startswith("--") and dice.random() < 0.5
                    else [flag, value]
                )
        for argument in arguments:
            count = 1 if argument.nargs == 1 else dice.choice((0, 1, 1, 2))
            found += [_value(dice, argument, bad) for _ in range(count)]
        if isinstance(command, click.Group) and dice.random() < 0.5:
            found.append(dice.choice(NASTY))
        return found


def _value(dice: random.Random, parameter: click.Parameter, bad: float) -> str:
    """Return a value, with this chance of being a bad one."""
    sane = _sane(dice, parameter)
    if dice.random() >= bad:
        return sane
    spoil: Callable[[random.Random, str], str] = dice.choice((_huge, _nasty, _nasty, _wound))
    return spoil(dice, sane)


def _sane(dice: random.Random, parameter: click.Parameter) -> str:
    kind = parameter.type
    if isinstance(kind, click.Choice):
        return str(dice.choice(tuple(kind.choices)))
    if isinstance(kind, click.IntRange):
        return str(dice.choice((kind.min or 0, kind.max or 7, 1)))
    if kind.name in SANE:
        return dice.choice(SANE[kind.name])
    return dice.choice(NAMED.get(parameter.name or "", FILES))


def _huge(dice: random.Random, sane: str) -> str:
    """Return a number as a value of its own, or in the place of one inside a sane value."""
    number = dice.choice(HUGE)
    digits = [place for place, sign in enumerate(sane) if sign.isdigit()]
    if not digits or dice.random() < 0.5:
        return number
    place = dice.choice(digits)
    return sane[:place] + number + sane[place + 1 :]


def _nasty(dice: random.Random, _: str) -> str:
    return dice.choice(NASTY)


def _wound(dice: random.Random, sane: str) -> str:
    """Return the value with something cut out, doubled, or put in."""
    first, last = sorted(dice.randint(0, len(sane)) for _ in range(2))
    middle = dice.choice(("", sane[first:last] * 2, dice.choice(NASTY)[:300]))
    return sane[:first] + middle + sane[last:]
