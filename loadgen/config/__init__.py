"""What a run is to do: its options as they are asked for and carried out, and the law of arrivals."""

from __future__ import annotations

from loadgen.config.options import (
    ClientKind,
    CloseMode,
    LoadOptions,
    RunConfig,
    TlsOptions,
    parse_mix,
)

__all__ = ["ClientKind", "CloseMode", "LoadOptions", "RunConfig", "TlsOptions", "parse_mix"]
