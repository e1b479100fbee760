"""An ordinary user's namespaces."""

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.testbed.userns import ensure_privileges, forbidden, has_privileges

ROOT = Path(__file__).parents[3]
NOBODY = 65534
EVERY_USER = ["0", "0", "4294967295"]
IS_HOST_ROOT = os.getuid() == 0 and Path("/proc/self/uid_map").read_text().split() == EVERY_USER


def proc(**files: str) -> dict[str, str]:
    """A /proc in which nothing forbids anything, but for what `files` says."""
    return {
        "/proc/self/uid_map": "0 0 4294967295\n",
        "/proc/sys/user/max_user_namespaces": "96365\n",
        "/proc/thread-self/status": "Name:\tlab\nSeccomp:\t0\n",
        **{f"/proc/{name.replace('__', '/')}": text for name, text in files.items()},
    }


@pytest.mark.parametrize(
    ("files", "named"),
    [
        (proc(sys__user__max_user_namespaces="0\n"), "user.max_user_namespaces=0 forbids"),
        (proc(sys__kernel__unprivileged_userns_clone="0\n"), "kernel.unprivileged_userns_clone=0"),
        (
            proc(sys__kernel__apparmor_restrict_unprivileged_userns="1\n"),
            "kernel.apparmor_restrict_unprivileged_userns=1",
        ),
        ({"/proc/thread-self/status": "Seccomp:\t0\n"}, "CONFIG_USER_NS"),
        (proc(**{"thread-self__status": "Seccomp:\t2\n"}), "seccomp"),
        (
            proc(
                sys__kernel__unprivileged_userns_clone="1\n",
                sys__kernel__apparmor_restrict_unprivileged_userns="0\n",
            ),
            "Operation not permitted",
        ),
    ],
)
def test_the_forbidding_setting_is_named_in_one_line(files: dict[str, str], named: str) -> None:
    message = str(forbidden(errno.EPERM, files.get))
    assert named in message
    assert "root" in message or "--privileged" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("uid", "capabilities", "enough"),
    [
        ("0\t0\t0\t0", "000001ffffffffff", True),
        ("0\t0\t0\t0", "0000000000201000", True),
        ("0\t0\t0\t0", "00000000a80425fb", False),  # root in a Docker container
        ("0\t0\t0\t0", "0000000000001000", False),
        ("1000\t1000\t1000\t1000", "0000000000201000", False),
        ("1000\t1000\t1000\t1000", "0000000000000000", False),
        ("1000\t0\t0\t0", "000001ffffffffff", True),
    ],
)
def test_root_with_two_capabilities_has_privileges(
    uid: str, capabilities: str, enough: bool
) -> None:
    status = f"Uid:\t{uid}\nCapEff:\t{capabilities}\n"
    assert has_privileges({"/proc/thread-self/status": status}.get) is enough


@pytest.mark.kernel
def test_who_has_privileges_keeps_them() -> None:
    assert has_privileges()
    before = Path("/proc/self/ns/user").readlink()
    assert ensure_privileges() is False
    assert Path("/proc/self/ns/user").readlink() == before


TRIAL = f"""
import sys
from pathlib import Path
from lab.testbed.userns import ensure_privileges
assert ensure_privileges()
assert not ensure_privileges()
import trio
from lab.testbed.base import SitePlan
from lab.testbed.netns import NetnsTestbed
from loadgen.sampling.namespace import run_inside

def prepare(client, server):
    sysctl = Path("/proc/sys/net/ipv4/tcp_tw_reuse")
    run_inside(client, lambda: sysctl.write_text("1"))
    assert run_inside(client, sysctl.read_text) == "1\\n"

async def main():
    testbed = NetnsTestbed([sys.executable, "-I", {str(ROOT / "tests/lab/testbed/stand_in.py")!r}])
    testbed.check()
    async with testbed.site(SitePlan(servers=2), prepare) as site:
        return await site.loadgen(site.targets, Path(sys.argv[1]))

sys.exit(trio.run(main))
"""


@pytest.fixture
def outside() -> Iterator[Path]:
    """A directory that belongs to nobody, the user."""
    with tempfile.TemporaryDirectory() as name:
        os.chown(name, NOBODY, NOBODY)
        yield Path(name)


def python_for_nobody() -> list[str]:
    """The command of an ordinary user and an interpreter that such a user may run."""
    user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    packages = [str(ROOT), *(path for path in sys.path if path.endswith("-packages"))]
    environment = ["env", f"PYTHONPATH={os.pathsep.join(packages)}", "PYTHONDONTWRITEBYTECODE=1"]
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for interpreter in (sys.executable, f"/usr/bin/{version}"):
        command = [*user, *environment, interpreter]
        can = subprocess.run([*command, "-c", "import lab, trio"], capture_output=True, check=False)
        if can.returncode == 0:
            return command
    pytest.skip("an ordinary user may run no interpreter here that has the project's packages")


@pytest.mark.kernel
@pytest.mark.skipif(not IS_HOST_ROOT, reason="only the host's root may become another user")
def test_an_ordinary_user_runs_a_trial(outside: Path) -> None:
    """Without any right on the host, and the files written belong to that user."""
    log = outside / "log"
    command = [*python_for_nobody(), "-W", "error", "-c", TRIAL, str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 0, done.stderr + (log.read_text() if log.exists() else "")
    assert done.stderr == ""
    assert log.stat().st_uid == NOBODY


REFUSED = """
import sys
from lab.testbed.base import TestbedError
from lab.testbed.userns import ensure_privileges
try:
    ensure_privileges()
except TestbedError as error:
    sys.exit(str(error))
"""


@pytest.mark.kernel
def test_a_real_kernel_that_forbids_it_is_understood() -> None:
    """The limit is set to 0 in a user namespace made for this, so it holds there only."""
    program = 'echo 0 >/proc/sys/user/max_user_namespaces; exec setpriv --bounding-set=-all "$@"'
    done = subprocess.run(
        [
            *("unshare", "--user", "--map-root-user", "--"),
            *("sh", "-c", program, "sh", sys.executable, "-c", REFUSED),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "user.max_user_namespaces=0 forbids it here" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.returncode == 1


@pytest.mark.kernel
def test_it_must_come_before_any_thread() -> None:
    """The kernel says EINVAL to a process with threads; that is ours to avoid, not the user's."""
    program = (
        "import threading\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "from lab.testbed.userns import ensure_privileges\n"
        "ensure_privileges()\n"
    )
    done = subprocess.run(
        ["setpriv", "--bounding-set=-all", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "RuntimeError: a user namespace can only be entered before threads" in done.stderr
