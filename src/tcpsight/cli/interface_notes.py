"""Say while a watch goes on that nothing comes by its interfaces: that they are silent, went down, or are up again.

An idle service and an interface that is gone look alike in rows of zeros, and before the first frame there are none.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

LOOK_S = 1.0
"""How often interfaces are looked at: who is down for less may not be noticed."""

SILENT_S = 5.0
"""For how long nothing comes at first until that is told."""


class InterfaceNotes:
    """What is to be told of interfaces, from one look to the next.

    Parameters
    ----------
    names : sequence of str
        What is listened to.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)
        self._down: set[str] = set()
        self._looks = 0
        # Whether a frame has come, or that none did was told.
        self._is_settled = False

    def look(self, down: Sequence[str], frames: int) -> list[str]:
        """Give what is news, when these are down or away and so many frames have come."""
        gone = [name for name in down if name not in self._down]
        told = [f"{name} is down, or away: nothing comes by it until it is up again" for name in gone]
        told += [f"{name} is up again" for name in self._names if name in self._down and name not in down]
        self._down = set(down)
        self._looks += 1
        self._is_settled |= frames > 0
        if not self._is_settled and self._looks * LOOK_S >= SILENT_S and not told:
            self._is_settled = True
            where = " and ".join(self._names)
            told.append(
                f"nothing has come by {where} yet: is it the right interface, and does the filter let it through?"
            )
        return told


@contextmanager
def noting(names: Sequence[str], run: Any, say: Callable[[str], None]) -> Iterator[None]:
    """Look at interfaces again and again, and say what is news."""
    if not names:
        yield
        return
    notes, is_over = InterfaceNotes(names), threading.Event()

    def look() -> None:
        while not is_over.wait(LOOK_S):
            for text in notes.look(getattr(run.capture, "down", []), run.pipeline.frames):
                say(text)

    thread = threading.Thread(target=look, name="interfaces", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
