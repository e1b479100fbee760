"""What keeps a fleet from running, as one line each."""

from __future__ import annotations

from loadgen.errors import ChurnlabError, Exit


class FleetError(ChurnlabError):
    """A fleet that cannot run."""

    code = Exit.UNEXPECTED


class NoEngineError(FleetError):
    """Nothing answers where the Docker engine is looked for, or it may not be used."""
