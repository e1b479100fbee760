"""Names for addresses and ports, for who asks for them: DNS and /etc/services.

A lookup may take seconds, and the one that is asked may be the very server that is in trouble. So
they are made in a thread of their own, one after the other, each address once; until a name has come
the number is shown.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from loadgen.target import bracketed
from loadgen.watch.who import Who, endpoints

_MOST: Final = 1000
"""Addresses that are looked up at most."""
_NAME: Final = 60


class Names:
    """Looks names up in the background."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, int], str] = {}
        """By address and port; port 0 is the address alone."""
        self._hosts: dict[str, str] = {}
        self._asked: set[str] = set()
        self._queue: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._look_up, name="names", daemon=True).start()

    def of(self, who: Who) -> Mapping[tuple[str, int], str]:
        """Return the names that are known by now, and have the others looked up."""
        found: dict[tuple[str, int], str] = {}
        for host, port in endpoints(who):
            if host not in self._asked and len(self._asked) < _MOST:
                self._asked.add(host)
                self._queue.put(host)
            name, service = self._hosts.get(host), _service(port)
            if name is not None or service:
                shown = name or bracketed(host)
                found[host, port] = f"{shown}:{service or port}" if port else shown
        self.known = found
        return found

    def _look_up(self) -> None:
        while True:
            host = self._queue.get()
            with suppress(OSError, UnicodeError):
                name = socket.getnameinfo((host, 0), socket.NI_NAMEREQD)[0]
                # What a name server says is foreign text.
                if name.isprintable():
                    self._hosts[host] = name[:_NAME]


def _service(port: int) -> str:
    with suppress(OSError, OverflowError):
        return socket.getservbyport(port, "tcp") if port else ""
    return ""
