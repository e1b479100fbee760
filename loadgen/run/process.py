"""One worker's process, and the two pipes that lead to it."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress

import trio

from loadgen.accounting import messages
from loadgen.accounting.messages import Done


class WorkerProcess:
    """One worker process, as the coordinator sees it."""

    def __init__(self, number: int) -> None:
        self.number = number
        # A session of its own keeps the terminal's Ctrl-C away from it.
        self.process = subprocess.Popen(
            [sys.executable, "-m", "loadgen.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._output = trio.lowlevel.FdStream(os.dup(self.process.stdout.fileno()))
        self._buffer = bytearray()
        self.done: Done | None = None

    def send(self, message: messages.ToWorker) -> None:
        """Send a message; a worker that is gone is noticed where its output ends."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(messages.encode(message))
            self.process.stdin.flush()

    async def receive(self) -> messages.FromWorker | None:
        """Return the next message, or None when the worker has ended."""
        while (end := self._buffer.find(b"\n")) < 0:
            data = await self._output.receive_some(65_536)
            if not data:
                return None
            self._buffer += data
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message: messages.FromWorker = messages.from_worker.decode(line)
        return message

    def close(self) -> None:
        """End the process if it has not ended, and reap it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):
                    pipe.close()
        if self.process.poll() is None and self.done is None:
            self.process.kill()
        self.process.wait()
