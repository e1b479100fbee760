"""The settings of a compose experiment: environment variables in, one record out. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar, get_args

import msgspec

from lab.analysis.records import AFTER, BEFORE, ExperimentConfig
from lab.sysctl.tuning import Setting, to_text
from loadgen.config import CloseMode, LoadOptions, parse_mix
from loadgen.units import parse_duration, spaced, whole

MAX_TRIALS: Final = 50
"""Of each arm: every trial is a container, and a Docker network has some 250 addresses to give."""
_T = TypeVar("_T")


class ComposeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What compose.yaml's variables say, checked. Kept as `settings.json` with the experiment."""

    name: str
    """The experiment's folder."""
    rate: float
    duration: float
    """Seconds."""
    trials: int
    servers: int
    close: CloseMode
    op: str
    timeout: float
    """Seconds."""
    max_lateness: float
    """Seconds after which an overdue arrival is dropped."""
    workers: int
    """0 for half of the CPUs: the servers need the others."""
    memcached_threads: int
    memcached_connections: int
    """0 for as many as the limit on open files allows."""
    memcached_memory: int
    """MiB of each server."""
    memcached_options: list[str]
    names: dict[str, str]
    """By arm, what the user calls its tuning; empty for what its settings are."""

    def load(self) -> LoadOptions:
        """Return what is asked of `loadgen run` in every trial; targets and workers are its own."""
        return LoadOptions(
            rate=self.rate,
            duration=self.duration,
            close=self.close,
            op=self.op,
            timeout=self.timeout,
            max_lateness=self.max_lateness,
        )

    def record(self) -> ExperimentConfig:
        """Return how the experiment is made, for its record."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__}
        return ExperimentConfig(**fields, loadgen=self.load().arguments())


def read(environment: Mapping[str, str], *, name: str) -> ComposeSettings:
    """Return the settings that the variables describe.

    Raises:
        ValueError: naming the variable, its value and what it may be.
    """

    def get(variable: str, parse: Callable[[str], _T]) -> _T:
        text = environment.get(variable, "").strip()
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError(f"{variable}={text}: {error}") from None

    return ComposeSettings(
        name=name,
        rate=get("RATE", lambda text: _number(text, 1, 1_000_000)),
        duration=get("DURATION", lambda text: _seconds(text, 600)),
        trials=get("TRIALS", lambda text: _count(text, 1, MAX_TRIALS)),
        servers=get("SERVERS", lambda text: _count(text, 1, 50)),
        close=get("CLOSE", _close),
        op=get("OP", _operation),
        timeout=get("TIMEOUT", lambda text: _seconds(text, 60)),
        max_lateness=get("MAX_LATENESS", lambda text: _seconds(text, 60)),
        workers=get("WORKERS", lambda text: 0 if text == "auto" else _count(text, 1, 1024)),
        memcached_threads=get("MEMCACHED_THREADS", lambda text: _count(text, 1, 1024)),
        memcached_connections=get("MEMCACHED_CONNECTIONS", lambda text: _count(text, 0, 2**31 - 1)),
        memcached_memory=get("MEMCACHED_MEMORY", lambda text: _count(text, 1, 1 << 20)),
        memcached_options=get("MEMCACHED_OPTIONS", str.split),
        names={arm: environment.get(f"{arm.upper()}_NAME", "") for arm in (BEFORE, AFTER)},
    )


def _number(text: str, low: float, high: float) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"not a number from {low:g} to {high:g}") from None
    if not low <= value <= high:
        raise ValueError(f"not between {low:g} and {high:g}")
    return value


def _count(text: str, low: int, high: int) -> int:
    number = whole(text)
    if number is None or not low <= number <= high:
        raise ValueError(f"not a whole number from {low} to {high}")
    return number


def _seconds(text: str, most: float) -> float:
    value = parse_duration(text)
    if not 0 < value <= most:
        raise ValueError(f"not above 0 and at most {most:g} s")
    return value


def _close(text: str) -> CloseMode:
    modes: tuple[CloseMode, ...] = get_args(CloseMode)
    for mode in modes:
        if text == mode:
            return mode
    raise ValueError(f"not one of {', '.join(modes)}")


def _operation(text: str) -> str:
    parse_mix(text)
    return text


def asked(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the sysctls of a container's arm, by dotted key.

    compose.yaml gives each container the list of its arm twice: to the engine as `sysctls`, and as
    environment variables, whose names may have dots. So a container knows what was asked for. An
    empty value asks for nothing.
    """
    return {
        key: spaced(value)
        for key, value in environment.items()
        if key.startswith("net.") and value.strip()
    }


def tuning_text(settings: Mapping[str, str]) -> str:
    """Return an arm's settings as a sysctl.d file."""
    lines = [
        Setting(key=key, value=value, line=0, may_fail=False) for key, value in settings.items()
    ]
    return to_text(lines, header="as compose.yaml set it")


def arm_names(arms: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return what to call each arm: the settings in which they differ, or the arm's own name.

    An arm that sets nothing is called what the lab's empty tuning is called.
    """
    keys = dict.fromkeys(key for settings in arms.values() for key in settings)
    differing = [key for key in keys if len({settings.get(key) for settings in arms.values()}) > 1]
    return {
        arm: ", ".join(
            f"{key.rpartition('.')[2]}={settings[key]}" for key in differing if key in settings
        )
        or (arm if settings else "kernel-default")
        for arm, settings in arms.items()
    }
