"""Ctrl-C as a cancellation: what runs is stopped where it awaits, and cleans up after itself.

A KeyboardInterrupt may strike between any two instructions, half-way into a context manager too.
Here the signal cancels the work instead, as a deadline would.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import trio


def run(work: Callable[[], Awaitable[object]]) -> bool:
    """Run `work` under trio until it ends, or until SIGINT or SIGTERM; a second one kills.

    Returns:
        Whether it ended by itself.

    Raises:
        Exception: what `work` raises.
    """
    return trio.run(_until_interrupted, work)


async def _until_interrupted(work: Callable[[], Awaitable[object]]) -> bool:
    finished = False
    failures: list[Exception] = []
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                async for number in signals:
                    signal.signal(number, signal.SIG_DFL)
                    nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            try:
                await work()
                finished = True
            except Exception as error:  # noqa: BLE001 - raised below, outside of the nursery's group
                failures.append(error)
            nursery.cancel_scope.cancel()
    if failures:
        raise failures[0]
    return finished
