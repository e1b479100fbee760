"""The Docker testbed: a network and containers of their own for every trial, by the engine's API.

    client container ── bridge network of 198.18.0.0/15 ── server containers
    198.18.0.3 …                                           198.18.0.2 …
          host container: only looks, in the namespace of the engine's host, where the bridge is

The containers of a trial share a volume; the client's run directory and what the others sampled are
copied out of it afterwards, so the engine may be on another machine. Times need no synchronising:
all containers of a machine have one CLOCK_MONOTONIC.

Bridged packets may be tracked twice: in the container, where the nat rules of Docker's own DNS turn
connection tracking on, and on the host, where br_netfilter hands them to iptables. The roles
`client` and `server` of a run are the containers' own tables, `host` is the host's.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Final

import msgspec
import trio

from lab.sysctl.apply import Applied
from lab.testbed.base import ROLES, SitePlan, TestbedError, Tuned
from lab.testbed.docker import orders
from lab.testbed.docker import tuning as docker_tuning
from lab.testbed.docker.engine import IMAGE, Container, Engine, Network, Spec
from lab.testbed.docker.errors import EngineError
from lab.testbed.docker.orders import Seen, Serve
from lab.testbed.docker.site import DockerSite, Ordered, ServerContainer, in_thread
from lab.testbed.host.settings import host_wide
from lab.testbed.servers import Kind, kind_of
from loadgen.fleet.owner import boot_id
from loadgen.sample import ROLE_HOST, ROLE_SERVER

MAX_SERVERS: Final = 200
"""Containers that one site takes: a bridge has 1,023 ports, and each container a few processes."""
READY_WITHIN: Final = 30
"""Seconds a server may take until it answers."""
_FIRST: Final = 2  # the gateway is number 1 of a network
_AT_ONCE: Final = 4


class DockerTestbed:
    """Makes sites of containers.

    Args:
        image: what they are made of, see the Dockerfile.

    Raises:
        TestbedError: when no engine answers, or one that is too old.
    """

    name = "docker"
    driver = "bridge"
    """Of the network between client and servers."""
    watches = True
    """Whether the kernels on the servers' side are sampled."""

    def __init__(self, image: str = IMAGE) -> None:
        self._engine = Engine(image)
        self._seen: dict[tuple[str, ...], Seen] = {}

    def close(self) -> None:
        """Close the connection to the engine."""
        self._engine.close()

    def check(self) -> None:
        """See `Testbed.check`."""
        self._engine.check_image()

    def on_this_machine(self) -> bool:
        """Whether the engine's kernel is this one: what is the host's there is the host's here."""
        return self._fresh(None).boot == boot_id()

    def rehearse(self, tuned: Tuned) -> Applied:
        """See `Testbed.rehearse`. Starts a container under the tuning that only looks."""
        ordered = self._order(tuned)
        try:
            seen = self._look(ordered.keys, sysctls=ordered.sysctls)
        except EngineError as error:
            refusal = docker_tuning.refused(tuned.tuning, error.reason)
            if refusal is None:
                raise
            raise docker_tuning.error(tuned.tuning, tuned.arm, [refusal]) from error
        if wrong := docker_tuning.not_held(tuned.tuning, ordered.sysctls, seen.values):
            raise docker_tuning.error(tuned.tuning, tuned.arm, wrong)
        return Applied(dict(seen.values), dict(ordered.skipped))

    def _look(
        self, keys: Iterable[str], *, host: bool = False, sysctls: Mapping[str, str] | None = None
    ) -> Seen:
        """Return what a container shows that does nothing else."""
        spec = Spec(
            name=self._engine.name("look"),
            command=["look", *keys],
            host=host,
            sysctls=sysctls or {},
        )
        container = self._engine.start(spec)
        try:
            code, said = container.wait(), container.logs()
        finally:
            container.remove()
        if code != 0:
            raise TestbedError(f"docker: {spec.name} ended with {code}: {said.strip()[-500:]}")
        return msgspec.json.decode(said, type=Seen)

    def _fresh(self, tuned: Tuned | None, where: str = "inside") -> Seen:
        """Return what a container without any setting shows, `inside` it or of the `host`.

        Looked at once for all trials, but for tunings with lines of the host's: whatever changes the
        host does it for these tunings only, and what it shows then holds for them alone.
        """
        keys = {*tuned.tuning.values, *tuned.baseline} if tuned else set()
        lines = host_wide(tuned.tuning) if tuned else []
        place = (where, *(f"{line.key}={line.value}" for line in lines))
        known = self._seen.get(place)
        if known is None or not keys <= set(known.asked):
            keys |= set(known.asked) if known else set()
            self._seen[place] = known = self._look(sorted(keys), host=where == "host")
        return known

    def _order(self, tuned: Tuned | None) -> Ordered:
        """Return what to ask the engine for.

        Raises:
            TuningError: for lines that cannot hold.
        """
        if tuned is None:
            return Ordered(None, {}, {}, ())
        keys = (*tuned.tuning.values, *tuned.baseline)
        found = docker_tuning.order(
            tuned.tuning, inside=self._fresh(tuned), host=self._fresh(tuned, "host")
        )
        if found.errors:
            raise docker_tuning.error(tuned.tuning, tuned.arm, found.errors)
        return Ordered(tuned, found.sysctls, found.skipped, tuple(dict.fromkeys(keys)))

    @asynccontextmanager
    async def site(
        self, plan: SitePlan, *, tuned: Tuned | None = None
    ) -> AsyncIterator[DockerSite]:
        """See `Testbed.site`."""
        check_plan(plan)
        with ExitStack() as stack:
            try:
                site = await in_thread(partial(self._make, plan, tuned, stack))
                yield site
                await in_thread(site.check_servers)
            finally:
                with trio.CancelScope(shield=True):
                    await in_thread(stack.close)

    def _make(self, plan: SitePlan, tuned: Tuned | None, stack: ExitStack) -> DockerSite:
        """Make everything but the client; whatever was made, `stack` removes."""
        engine = self._engine
        kind = kind_of(plan)
        ordered = self._order(tuned)
        network = engine.create_network(plan.servers + plan.source_addresses, self.driver)
        stack.callback(self._remove_network, network)
        volume = engine.create_volume()
        stack.callback(engine.remove_volume, volume)
        addresses = network.addresses(_FIRST, plan.servers)
        host = Spec(
            name=engine.name(ROLE_HOST),
            command=["watch", ROLE_HOST, str(orders.watched(ROLE_HOST))],
            host=True,
            volume=volume,
            sysctls={},
        )
        specs = [
            Spec(
                name=engine.name(f"{ROLE_SERVER}-{number}"),
                command=[ROLE_SERVER, _serve(plan, ordered, watch=self.watches and number == 1)],
                network=network,
                address=address,
                volume=volume,
                sysctls=ordered.sysctls,
            )
            for number, address in enumerate(addresses, start=1)
        ]
        containers = _start(engine, [*specs, *([host] * self.watches)], stack)[: len(specs)]
        _each(partial(_wait_until_ready, kind, bool(plan.certificate)), containers)
        site = self._site(
            DockerSite(
                engine=engine,
                network=network,
                volume=volume,
                targets=tuple(map(kind.target, addresses)),
                sources=network.addresses(_FIRST + plan.servers, plan.source_addresses),
                ordered=ordered,
                baseline=self._baseline(tuned),
                notes=(orders.CONNTRACK_NOTE,),
                running=[
                    ServerContainer(container, address, kind.name)
                    for container, address in zip(containers, addresses, strict=True)
                ],
            )
        )
        stack.callback(site.remove_client)
        return site

    def _remove_network(self, network: Network) -> None:
        self._engine.remove_network(network)

    def _site(self, site: DockerSite) -> DockerSite:
        """Return the site as this kind of testbed has it."""
        return site

    def _baseline(self, tuned: Tuned | None) -> dict[str, dict[str, str]]:
        wanted = tuned.baseline if tuned is not None else ()
        values = self._fresh(tuned).values if wanted else {}
        one = {key: values[key] for key in wanted if key in values}
        return {role: dict(one) for role in ROLES}


def check_plan(plan: SitePlan) -> None:
    """Make sure that a site can be made of containers, before any is.

    Raises:
        TestbedError: when it cannot.
    """
    if plan.servers > MAX_SERVERS:
        raise TestbedError(
            f"servers: {plan.servers} containers are too many for one network",
            f"at most {MAX_SERVERS}, or use --testbed netns",
        )
    kind_of(plan)
    if plan.rtt > 0:
        raise TestbedError("rtt: containers have no emulated round trip", "use --testbed netns")


def _serve(plan: SitePlan, ordered: Ordered, *, watch: bool) -> str:
    """Return a server's order.

    Of several only the first is watched: counters of different namespaces do not add up.
    """
    order = Serve(
        server=plan.server,
        certificate=plan.certificate,
        watch=watch,
        threads=plan.memcached_threads,
        connections=plan.memcached_connections,
        options=plan.memcached_options,
        keys=ordered.keys,
    )
    return msgspec.json.encode(order).decode()


def _each(call: Callable[[Container], None], containers: Iterable[Container]) -> None:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(call, containers))


def _start(engine: Engine, specs: list[Spec], stack: ExitStack) -> list[Container]:
    """Start containers, a few at once; `stack` removes those that came up."""

    def start(spec: Spec) -> Container:
        container = engine.start(spec)
        stack.callback(container.remove)
        return container

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(start, specs))


def _ready(kind: Kind, *, tls: bool) -> str:
    """Return a script that ends when a server of this kind answers in its container.

    In bash, for starting Python takes the CPU of a thousand connections. Bash does not speak TLS: there
    it is enough that the server listens.
    """
    ask = f"exec 3<>/dev/tcp/127.0.0.1/{kind.port}"
    if kind.question and not tls:
        question = shlex.quote(kind.question.decode().encode("unicode_escape").decode())
        answer = shlex.quote(kind.answer.decode())
        ask += f" && printf {question} >&3 && read -t 2 -r line <&3 && [[ $line == {answer}* ]]"
    return f"ask() {{ {ask}; }}; until (ask) 2>/dev/null; do sleep 0.02; done"


def _wait_until_ready(kind: Kind, tls: bool, container: Container) -> None:  # noqa: FBT001 - for partial
    """Wait until a server answers.

    Raises:
        TestbedError: when it ends instead, or takes too long.
    """
    began = time.monotonic()
    try:
        container.ask(["timeout", str(READY_WITHIN), "bash", "-c", _ready(kind, tls=tls)])
    except TestbedError:
        late = time.monotonic() - began >= READY_WITHIN
        how = f"did not answer within {READY_WITHIN} s" if late else "ended"
        raise TestbedError(f"{kind.name} in {container.name} {how}: {container.said()}") from None
