"""Do in a thread, some items ahead, what somebody else iterates over; and let threads take turns quickly."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

WAIT_S = 0.05
"""So often a thread that waits for room looks whether anybody still wants what it makes."""

PATIENCE_S = 5
"""A thread that waits longer than this for its next item is left to end with the process."""

SWITCH_S = 20e-6
"""A thread that comes out of a kernel waits no longer than this for the interpreter. Python's usual 5 ms are longer
than most kernels take."""


class Switching:
    """Let threads switch quickly until this is closed."""

    def __init__(self) -> None:
        self._usual_s = sys.getswitchinterval()
        sys.setswitchinterval(SWITCH_S)

    def close(self) -> None:
        """Let them switch as before."""
        sys.setswitchinterval(self._usual_s)


class Ahead(Generic[Item]):
    """An iterable that a thread goes through, while its items are used one after the other.

    Parameters
    ----------
    items : iterable
        What raises in it is raised where the next item is asked for.
    depth : int
        So many items wait at most; one more is being made.
    """

    def __init__(self, items: Iterable[Item], depth: int) -> None:
        self._items = items
        self._made: queue.Queue[tuple[Item] | BaseException | None] = queue.Queue(depth)
        self._is_given_up = False
        self._thread = threading.Thread(target=self._go_through, name="tcpsight-ahead", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        while (made := self._made.get()) is not None:
            if isinstance(made, BaseException):
                raise made
            yield made[0]

    def close(self) -> None:
        """Let the thread end before the next item, and wait for that; not for ever: a server may have fallen silent."""
        self._is_given_up = True
        self._thread.join(PATIENCE_S)

    def _go_through(self) -> None:
        try:
            for item in self._items:
                self._give((item,))
                if self._is_given_up:
                    return
            self._give(None)
        except BaseException as error:
            self._give(error)

    def _give(self, made: tuple[Item] | BaseException | None) -> None:
        while not self._is_given_up:
            try:
                self._made.put(made, timeout=WAIT_S)
            except queue.Full:
                continue
            return
