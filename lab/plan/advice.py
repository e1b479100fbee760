"""What the application can do instead of settings, or beside them: often the right answer. Pure."""

from __future__ import annotations

import math
from dataclasses import replace

from lab.analysis.text import count, memory, plural, seconds
from lab.capacity import Situation, forecast, pools


def program_advice(situation: Situation) -> list[str]:
    """Return what the application can do, the most thorough remedy first: one paragraph each.

    Args:
        situation: the load under the settings that a plan ends with.
    """
    load = situation.load
    advice = [_keep_open(situation)]
    if load.close != "client":
        return advice
    advice.append(_server_closes(situation))
    if situation.kernel.socket_range_in_order and load.local_port_range is None:
        advice.append(_search_in_order(situation))
    advice.append(_more_addresses(situation))
    return advice


def _keep_open(situation: Situation) -> str:
    load = situation.load
    busy = max(1, math.ceil(load.rate * (load.rtt + load.service)))
    return (
        f"Keep connections open. {count(load.rate)} requests/s that take "
        f"{seconds(load.rtt + load.service)} each keep about {plural(busy, 'connection')} busy; a "
        "pool of twice as many needs none of the settings here, and 4 packets a request instead "
        "of 10."
    )


def _server_closes(situation: Situation) -> str:
    load = situation.load
    server = forecast(replace(situation, load=replace(load, close="server"))).time_wait
    return (
        "Let the server close: TIME_WAIT is then the server's "
        f"({count(server.sockets)} sockets, {memory(server.bytes)}), and no port of the client "
        "is held. memcached closes when it reads `quit`; that is one packet more, and the client "
        "has to wait for the server's FIN before it closes."
    )


def _search_in_order(situation: Situation) -> str:
    load, (low, high) = situation.load, situation.settings.ports
    better = forecast(replace(situation, load=replace(load, local_port_range=(low, high))))
    now = forecast(situation)
    rates = _rate(now.sustainable_rate), _rate(better.sustainable_rate)
    gain = f" These settings then sustain {rates[1]} instead of {rates[0]}."
    return (
        "Set the socket option IP_LOCAL_PORT_RANGE (51, level IPPROTO_IP, value "
        f"{high} << 16 | {low}) before connect(): ports are then searched in order and all of them "
        f"are found quickly.{gain if rates[0] != rates[1] else ''}"
    )


def _more_addresses(situation: Situation) -> str:
    load = situation.load
    one = pools(replace(situation, load=replace(load, sources=1, destinations=1)))
    early = "" if load.bind_early else " (with IP_BIND_ADDRESS_NO_PORT before bind())"
    server = "" if load.bind_early else ", and each further server address or port,"
    return (
        f"Use more addresses: each further client address{early}{server} adds "
        f"{count(one.quick_rate)}/s."
    )


def _rate(value: float | None) -> str:
    return "any rate" if value is None else f"{count(value)}/s"
