"""tools/system-packages, with stubs in place of the system's programs."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "tools" / "system-packages"
# In /usr/bin on Debian and so out of the script's sight when PATH holds the stubs alone. Those that
# live in /usr/sbin would be found there, and cannot be made to be missing.
HIDEABLE = {"memcached": "memcached", "nsenter": "util-linux", "setpriv": "util-linux"}
ALWAYS = ("ip", "tc", "conntrack", "nft", "mktemp", "rm", "tail", "env")


class System:
    """A machine as the script sees it."""

    def __init__(self, directory: Path) -> None:
        self.bin = directory / "bin"
        self.bin.mkdir()
        self.log = directory / "log"
        self.log.touch()
        for name in (*HIDEABLE, *ALWAYS):
            self.stub(name)
        for name in ("mktemp", "rm", "tail", "env"):
            (self.bin / name).unlink()
            (self.bin / name).symlink_to(Path("/usr/bin", name))
        self.python(complete=True)

    def stub(self, name: str, body: str = "exit 0") -> None:
        path = self.bin / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >>{self.log}\n{body}\n')
        path.chmod(0o755)

    def python(self, *, complete: bool) -> None:
        """A python3 that has what venv needs, or lacks it."""
        path = self.bin / "python3"
        path.write_text(f"#!/bin/sh\nexit {0 if complete else 1}\n")
        path.chmod(0o755)

    def without(self, *names: str) -> None:
        for name in names:
            (self.bin / name).unlink()

    def user(self, uid: int) -> None:
        self.stub("id", f"echo {uid}")

    def run(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [SCRIPT],
            env={"PATH": str(self.bin)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    def calls(self, program: str) -> list[str]:
        lines = self.log.read_text().splitlines()
        return [line for line in lines if line.startswith(f"{program} ")]


@pytest.fixture
def system(tmp_path: Path) -> System:
    return System(tmp_path)


def test_nothing_missing_says_and_runs_nothing(system: System) -> None:
    done = system.run()
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert system.log.read_text() == ""


def test_root_installs_what_is_missing_and_only_that(system: System) -> None:
    system.user(0)
    system.stub("apt-get")
    system.without("memcached")
    done = system.run()
    assert done.returncode == 0, done.stderr
    assert system.calls("apt-get") == ["apt-get install -y -q --no-install-recommends memcached"]
    assert done.stderr == "installing system packages: memcached\n"


def test_a_package_is_named_once(system: System) -> None:
    system.user(0)
    system.stub("apt-get")
    system.without("nsenter", "setpriv")
    assert system.run().stderr == "installing system packages: util-linux\n"


@pytest.mark.parametrize("there", [True, False])
def test_a_python_that_cannot_make_environments_is_completed(
    system: System, *, there: bool
) -> None:
    system.user(0)
    system.stub("apt-get")
    system.python(complete=False)
    if not there:
        system.without("python3")
    assert system.run().stderr == "installing system packages: python3-venv\n"


def test_without_package_lists_they_are_fetched_first(system: System, tmp_path: Path) -> None:
    """On a fresh image the first attempt fails, and the one after `update` succeeds."""
    fetched = tmp_path / "fetched"
    system.user(0)
    system.stub("apt-get", f'[ "$1" = update ] && : >{fetched}; [ -e {fetched} ]')
    system.without("memcached")
    done = system.run()
    assert done.returncode == 0, done.stderr
    assert [call.split()[1] for call in system.calls("apt-get")] == ["install", "update", "install"]


def test_a_failed_installation_shows_apts_words_and_the_command(system: System) -> None:
    system.user(0)
    system.stub("apt-get", "echo no network; exit 100")
    system.without("memcached")
    done = system.run()
    assert done.returncode == 1
    assert "no network\n" in done.stderr
    assert done.stderr.endswith("sudo apt-get install -y memcached\n")


def test_an_ordinary_user_with_sudo_installs_through_it(system: System) -> None:
    system.user(1000)
    system.stub("apt-get")
    system.stub("sudo", '[ "$1" = -n ] && exit 0; exec "$@"')
    system.without("memcached")
    done = system.run()
    assert done.returncode == 0, done.stderr
    assert system.calls("sudo")[-1].endswith("--no-install-recommends memcached")
    assert len(system.calls("apt-get")) == 1


@pytest.mark.parametrize("sudo", [None, "exit 1"], ids=["no sudo", "sudo refuses"])
def test_an_ordinary_user_without_the_right_is_told_the_command(
    system: System, sudo: str | None
) -> None:
    system.user(1000)
    system.stub("apt-get")
    if sudo is not None:
        system.stub("sudo", sudo)
    system.without("memcached")
    done = system.run()
    assert done.returncode == 1
    assert done.stderr == ("missing system packages; run: sudo apt-get install -y memcached\n")
    assert system.calls("apt-get") == []


def test_another_distribution_is_told_the_packages(system: System) -> None:
    system.user(0)
    system.without("memcached")
    done = system.run()
    assert done.returncode == 1
    assert done.stderr.endswith("install memcached\n")
    assert done.stderr.count("\n") == 1


def test_it_runs_under_a_plain_posix_shell() -> None:
    """No word of bash: dash is /bin/sh on Debian and Ubuntu."""
    assert SCRIPT.read_text().startswith("#!/bin/sh\n")
    assert os.access(SCRIPT, os.X_OK)
    subprocess.run(["dash", "-n", SCRIPT], check=True)
