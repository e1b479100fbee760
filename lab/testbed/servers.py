"""The servers that arms run against: memcached, Redis, nginx, or any command of the user's own.

A tuning is about the kernel's side of short connections, and shows the same whatever answers; but
nobody has to take that on trust. Each kind is a row of one table: its command, where it listens, how
loadgen calls it, and what tells that it is ready. Servers keep nothing, and listen with a backlog that
leaves the length of the accept queue to net.core.somaxconn.

All of them stay who started them, so that they keep their request to die with the lab
(`lab.testbed.processes`). nginx therefore runs as one process without a master, whose workers would
outlive it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Final

import trio

from lab.testbed.base import SitePlan, TestbedError
from lab.testbed.processes import Child, spawn, tool
from loadgen.protocols.sockets import RESET_ON_CLOSE
from loadgen.sampling.namespace import run_inside
from loadgen.target import parse_target

BACKLOG: Final = 4096
"""As high as somaxconn's default since Linux 5.4, so that the sysctl and not the server's own default
(memcached's is 1,024, Redis' and nginx' 511) decides how long the accept queue is."""
READY_WITHIN: Final = 10.0
"""Seconds a server may take until it answers."""
COMMAND_PORT: Final = 8080
"""Where a command of the user's own listens."""
STATUS_PATH: Final[Mapping[str, str]] = MappingProxyType({"nginx": "/nginx_status"})
"""Where a server shows its own figures, for loadgen's --status-path, by kind."""
_COMMAND_URL = "tcp://{address}:{port}"


@dataclass(frozen=True, slots=True)
class Kind:
    """One row of the table."""

    name: str
    """As messages have it."""
    port: int
    url: str
    """How loadgen calls it; {address} and {port} are put in."""
    command: Callable[[SitePlan, str, ExitStack], list[str]]
    """Return its command, given the address; `stack` removes what was made for its start."""
    question: bytes = b""
    """What tells that it is ready; to be connected is enough if empty."""
    answer: bytes = b""
    """What its answer begins with."""
    needs: str = ""
    """The program that has to be there."""

    def target(self, address: str) -> str:
        """Return how loadgen calls the server at this address."""
        return _filled(self.url, address, self.port)


def _filled(text: str, address: str, port: int) -> str:
    return text.replace("{address}", address).replace("{port}", str(port))


def self_signed() -> str:
    """Return a key of 256 bits (P-256) and a certificate of its own, in PEM.

    Raises:
        TestbedError: when OpenSSL's program is not installed.
    """
    words = ["req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    words += ["-days", "2", "-subj", "/CN=churnlab", "-keyout", "-", "-out", "-"]
    done = subprocess.run([tool("openssl"), *words], capture_output=True, check=False)
    if done.returncode:
        raise TestbedError(f"openssl cannot make a certificate: {said_by(done.stderr)}")
    return done.stdout.decode()


def _directory(stack: ExitStack) -> str:
    """Return a directory that is removed with `stack`."""
    directory = tempfile.mkdtemp(prefix="churnlab-server-")
    stack.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _written(text: str, directory: str, name: str) -> str:
    path = os.path.join(directory, name)  # noqa: PTH118 - a string for a command line
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123 - as above
        file.write(text)
    return path


def _certificate(plan: SitePlan, stack: ExitStack) -> str:
    """Return the file that has the plan's key and certificate; empty without TLS."""
    if not plan.certificate:
        return ""
    return _written(plan.certificate, _directory(stack), "certificate.pem")


def memcached_tls(plan: SitePlan, stack: ExitStack) -> list[str]:
    """Return memcached's options of TLS; none without."""
    file = _certificate(plan, stack)
    return ["-Z", "-o", f"ssl_chain_cert={file},ssl_key={file}"] if file else []


def _memcached(plan: SitePlan, address: str, stack: ExitStack) -> list[str]:
    return [
        tool("memcached"),
        *("-l", address, "-p", str(MEMCACHED.port), "-U", "0", "-b", str(BACKLOG)),
        *("-t", str(plan.memcached_threads), "-c", str(plan.memcached_connections)),
        # Root insists on being told whom to become, and as root of a user namespace it could become
        # nobody else anyway. Only the other namespace can reach it.
        *("-u", "root"),
        *memcached_tls(plan, stack),
        *plan.memcached_options,
    ]


def _redis(plan: SitePlan, address: str, stack: ExitStack) -> list[str]:
    listen = ["--port", str(REDIS.port)]
    if file := _certificate(plan, stack):
        listen = ["--port", "0", "--tls-port", str(REDIS.port), "--tls-auth-clients", "no"]
        listen += ["--tls-cert-file", file, "--tls-key-file", file, "--tls-ca-cert-file", file]
    return [
        tool("redis-server"),
        *("--bind", address, *listen, "--protected-mode", "no"),
        *("--tcp-backlog", str(BACKLOG), "--maxclients", str(plan.memcached_connections)),
        *("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning"),
    ]


_NGINX = """
user root; daemon off; master_process off; pid {directory}/pid; error_log stderr crit;
events {{ worker_connections {connections}; }}
http {{
    {certificate}
    access_log off; client_body_temp_path {directory}; proxy_temp_path {directory};
    fastcgi_temp_path {directory}; uwsgi_temp_path {directory}; scgi_temp_path {directory};
    server {{
        listen {address}:{port} {tls} backlog={backlog};
        location / {{ return 200 "hello"; }}
        location = {status} {{ stub_status; }}
    }}
}}
"""


def _nginx(plan: SitePlan, address: str, stack: ExitStack) -> list[str]:
    directory = _directory(stack)
    file = _certificate(plan, stack)
    text = _NGINX.format(
        directory=directory,
        connections=plan.memcached_connections,
        address=address,
        port=NGINX.port,
        status=STATUS_PATH["nginx"],
        backlog=BACKLOG,
        tls="ssl" if file else "",
        certificate=f"ssl_certificate {file}; ssl_certificate_key {file};" if file else "",
    )
    return [tool("nginx"), "-c", _written(text, directory, "nginx.conf")]


def _own(words: list[str], plan: SitePlan, address: str, stack: ExitStack) -> list[str]:
    file = _certificate(plan, stack)
    return [_filled(word, address, COMMAND_PORT).replace("{certificate}", file) for word in words]


MEMCACHED: Final = Kind(
    name="memcached",
    port=11211,
    url="{address}:{port}",
    command=_memcached,
    question=b"version\r\n",
    answer=b"VERSION ",
    needs="memcached",
)
REDIS: Final = Kind(
    name="redis",
    port=6379,
    url="redis://{address}:{port}",
    command=_redis,
    question=b"PING\r\n",
    answer=b"+PONG",
    needs="redis-server",
)
NGINX: Final = Kind(
    name="nginx",
    port=80,
    url="http://{address}:{port}",
    command=_nginx,
    question=b"HEAD / HTTP/1.1\r\nHost: lab\r\n\r\n",
    answer=b"HTTP/1.1 200 ",
    needs="nginx",
)
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {kind.name: kind for kind in (MEMCACHED, REDIS, NGINX)}
)


def kind_of(plan: SitePlan) -> Kind:
    """Return what the plan's servers are.

    Raises:
        TestbedError: when they are neither a kind of the table nor a command. Whether its program is
            there is another question, see `require`.
    """
    known = KINDS.get(plan.server)
    if known is not None:
        if plan.server_url:
            raise TestbedError("--server-url is for a --server COMMAND; the others have their own")
        return (
            replace(known, url=known.url.replace("http:", "https:")) if plan.certificate else known
        )
    if "{port}" not in plan.server:
        raise TestbedError(
            f"--server {plan.server[:80]!r} is none of {', '.join(KINDS)}; a command of your own "
            "says where it listens: 'my-server --bind {address} --port {port}'"
        )
    try:
        words = shlex.split(plan.server)
    except ValueError as error:
        raise TestbedError(f"--server {plan.server[:80]!r}: {error}") from None
    url = plan.server_url or _COMMAND_URL
    try:
        parse_target(_filled(url, "198.19.0.1", COMMAND_PORT))
    except ValueError as error:
        raise TestbedError(f"--server-url: {error}") from None
    return Kind(
        name=words[0],
        port=COMMAND_PORT,
        url=url,
        command=partial(_own, words),
        needs=words[0],
    )


def require(kind: Kind) -> None:
    """Make sure that the program of a kind is on this machine, or in this container.

    Raises:
        TestbedError: when it is not.
    """
    if kind.name in KINDS:
        tool(kind.needs)
    elif shutil.which(kind.needs) is None:
        raise TestbedError(f"--server: there is no command {kind.needs!r}")


def said_by(output: bytes) -> str:
    """Return what a program had to say, on one line and not too long."""
    return "; ".join(output.decode(errors="replace").split("\n"))[:500].strip("; ") or "no message"


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


@dataclass(slots=True)
class Running:
    """One running server. Its words are kept in memory: they matter only when it fails."""

    kind: Kind
    child: Child
    address: str
    output: int
    started: ExitStack
    """Removes what it needed for its start."""
    tls: bool
    expected_to_end: bool = False
    """A fault killed it."""

    @property
    def place(self) -> str:
        """Its kind, address and port, for messages."""
        return f"{self.kind.name} at {self.address}:{self.kind.port}"

    def said(self) -> str:
        """Return what it had to say."""
        return said_by(os.pread(self.output, 4096, 0))

    def close(self) -> None:
        """End it."""
        self.child.kill()
        self.started.close()
        os.close(self.output)

    async def _answers(self, namespace: int) -> bool:
        """Ask something, over a connection that takes no port of the client's."""
        inner = run_inside(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
        with trio.socket.from_stdlib_socket(inner) as connection:
            try:
                await connection.connect((self.address, self.kind.port))
                if not self.kind.question:
                    return True  # and a plain FIN: who knows what a RST does to somebody's server
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
                stream: trio.abc.Stream = trio.SocketStream(connection)
                if self.tls:
                    stream = trio.SSLStream(stream, _unverified(), https_compatible=True)
                await stream.send_all(self.kind.question)
                return (await stream.receive_some(64)).startswith(self.kind.answer)
            except (OSError, trio.BrokenResourceError):
                return False

    async def ready(self, namespace: int) -> None:
        """Wait until it answers.

        Raises:
            TestbedError: when it ends instead, or takes too long.
        """
        with trio.move_on_after(READY_WITHIN):
            while self.child.returncode is None:
                if await self._answers(namespace):
                    # One that only took the connection, as its kernel does for it, may still be
                    # reading what it needs.
                    if self.kind.question:
                        self.started.close()
                    return
                await trio.sleep(0.002)
        code = self.child.returncode
        how = f"did not answer within {READY_WITHIN:g} s" if code is None else f"ended with {code}"
        raise TestbedError(f"{self.place} {how}: {self.said()}")

    def restart(self, namespace: int, plan: SitePlan) -> None:
        """Kill it and start it anew; it is not waited for."""
        self.child.kill()
        self.started.close()
        again = start(namespace, self.address, plan)
        os.close(self.output)
        self.child, self.output, self.started = again.child, again.output, again.started


def start(namespace: int, address: str, plan: SitePlan) -> Running:
    """Start one of the plan's servers in the namespace.

    Raises:
        TestbedError: when it is not installed.
    """
    kind = kind_of(plan)
    output = os.memfd_create("server-output")
    started = ExitStack()
    try:
        command = kind.command(plan, address, started)
        child = spawn(command, namespace=namespace, output=output)
    except BaseException:
        started.close()
        os.close(output)
        raise
    return Running(kind, child, address, output, started, tls=bool(plan.certificate))
