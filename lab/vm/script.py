"""What the guest does, as a shell script: Python takes ten times as long to start in an emulation.

Host and guest talk by files in one directory, the guest's end through 9p:

    up, beat        touched by the guest: it lives (`beat` twice a second)
    host            touched by the host: it lives; when it is old, the guest goes
    stop            made by the host: interrupt the verb
    stdout, stderr  what the verb prints
    code            its exit code, when it is over

Touching needs no space, so a full disk does not look like a dead guest. Pure.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

UP, BEAT, HOST, STOP, STDOUT, STDERR, CODE = (
    "up", "beat", "host", "stop", "stdout", "stderr", "code",
)  # fmt: skip
MODULES: Final = (
    *("nf_conntrack", "nf_conntrack_netlink", "nf_tables", "nft_ct"),
    *("tcp_diag", "veth", "sch_netem"),
)
"""What a server has loaded and a guest just booted has not."""
OPEN_FILES: Final = 131_072
ORPHANED: Final = 60
"""Seconds without a sign of the host after which the guest stops."""

_SCRIPT: Final = """\
job={job}
ulimit -n {files} 2>/dev/null
modprobe -aq {modules} 2>/dev/null
ip link set lo up 2>/dev/null
{environment}
cd {directory} || exit 1
touch "$job/up"
(
    silent=0 last=
    while :; do
        touch -c "$job/beat"
        now=$(stat -c %Y "$job/host")
        if [ "$now" = "$last" ]; then silent=$((silent + 1)); else silent=0; last=$now; fi
        if [ "$silent" -gt {patience} ]; then poweroff -f; fi
        if [ -e "$job/stop" ]; then kill -INT "$(cat "$job/verb")"; break; fi
        sleep 0.5
    done
    while :; do touch -c "$job/beat"; sleep 0.5; done
) &
sh -c 'echo $$ >"$0/verb"; exec "$@"' "$job" {command} </dev/null >>"$job/stdout" 2>>"$job/stderr"
code=$?
sync
echo "$code" >"$job/code"
"""


def script(
    *,
    job: Path,
    directory: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    modules: Sequence[str] = MODULES,
) -> str:
    """Return the script.

    Args:
        job: the directory that host and guest share.
        directory: where the command runs.
        command: the verb.
        environment: set for it.
        modules: loaded before, where the kernel has them.
    """
    return _SCRIPT.format(
        job=shlex.quote(str(job)),
        files=OPEN_FILES,
        modules=shlex.join(modules),
        environment="\n".join(
            f"export {name}={shlex.quote(value)}" for name, value in environment.items()
        ),
        directory=shlex.quote(str(directory)),
        patience=2 * ORPHANED,
        command=shlex.join(command),
    )
