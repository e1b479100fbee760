"""Servers that misbehave from SIGUSR1 on: `python servers.py ADDRESS PORT MANNER [BACKLOG ARGUMENT]`."""

from __future__ import annotations

import signal
import socket
import struct
import sys
import time

MISS = b"END\r\n"
RESET = struct.pack("ii", 1, 0)
BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"


class Temper:
    """Good until the signal comes."""

    bad = False

    def turn(self, *_: object) -> None:
        """Turn bad."""
        self.bad = True


def serve(listener: socket.socket, temper: Temper, manner: str, argument: str) -> None:
    """Answer one connection after the other, once bad in the manner asked for."""
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.settimeout(2)
                request = connection.recv(65536)
                if request.startswith(b"set "):  # the load's seed: store nothing, say so politely
                    while request:
                        connection.sendall(b"STORED\r\n" * request.count(b"set "))
                        request = connection.recv(65536)
                    continue
                if not temper.bad:
                    connection.sendall(MISS)
                elif manner == "resets":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                elif manner == "babbles":
                    connection.sendall(b"hello, who is there?\r\n")
                elif manner == "serves_http":
                    connection.sendall(BAD_REQUEST)
                elif manner == "truncates":
                    connection.sendall(MISS[:3])
                elif manner == "errs":
                    connection.sendall(b"SERVER_ERROR out of memory storing object\r\n")
                elif manner == "dawdles":
                    time.sleep(float(argument))
                    connection.sendall(MISS)
                else:
                    raise SystemExit(f"no such manner: {manner}")
            except OSError:
                continue


def main() -> None:
    """Listen with the backlog asked for and serve for ever."""
    address, port, manner, backlog, argument = (*sys.argv[1:], "", "", "")[:5]
    temper = Temper()
    signal.signal(signal.SIGUSR1, temper.turn)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, int(port)))
    listener.listen(int(backlog or 1024))
    serve(listener, temper, manner, argument)


if __name__ == "__main__":
    main()
