"""Starts a role: `python -m lab.compose ROLE …`; see the package's description."""

from __future__ import annotations

import sys

from lab.compose.trials import role

if __name__ == "__main__":
    try:
        sys.exit(role(sys.argv[1:]))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
