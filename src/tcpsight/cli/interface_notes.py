"""Say while a watch or a recording goes on that interfaces are silent, went down, or are up again.

An idle service and an interface that is gone look alike in rows of zeros, and before the first frame there are none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
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
    down : sequence of str
        Which of them are known to be down already.

    Attributes
    ----------
    standing : list of str
        What is the case since the last look.
    """

    def __init__(self, names: Sequence[str], down: Sequence[str] = ()) -> None:
        self.standing: list[str] = []
        self._names = list(names)
        self._down = set(down)
        self._looks = 0
        # Whether a frame has come, or that none did was told.
        self._is_settled = False
        self._is_silent = False

    def look(self, down: Sequence[str], frames: int) -> list[str]:
        """Give what is news, when these are down or away and so many frames have come."""
        told = [_gone(name) for name in down if name not in self._down]
        told += [f"{name} is up again" for name in self._names if name in self._down and name not in down]
        self._down = set(down)
        self._looks += 1
        self._is_settled |= frames > 0
        self._is_silent &= frames == 0
        if not self._is_settled and self._looks * LOOK_S >= SILENT_S and not told:
            self._is_settled = self._is_silent = True
            told.append(self._silent())
        self.standing = [_gone(name) for name in down] or ([self._silent()] if self._is_silent else [])
        return told

    def _silent(self) -> str:
        where = " and ".join(self._names)
        return f"nothing has come by {where} yet: is it the right interface, and does the filter let it through?"


def _gone(name: str) -> str:
    return f"{name} is down, or away: nothing comes by it until it is up again"


class Looks:
    """Look at the interfaces of a watch or a recording now and then, and say what is news.

    Parameters
    ----------
    names : sequence of str
        What is listened to.
    capture : LiveCapture
        What listens.
    frames : callable
        Tells how many frames have come.
    down : sequence of str
        Which interfaces are known to be down already.
    """

    def __init__(self, names: Sequence[str], capture: Any, frames: Callable[[], int], down: Sequence[str] = ()) -> None:
        self._notes = InterfaceNotes(names, down)
        self._capture = capture
        self._frames = frames
        self._next_s = 0.0

    @property
    def standing(self) -> list[str]:
        """What is the case of the interfaces, as it was found by the last look."""
        return self._notes.standing

    def look(self) -> list[str]:
        """Give what is news, if it is time to look."""
        if time.monotonic() < self._next_s:
            return []
        self._next_s = time.monotonic() + LOOK_S
        return self._notes.look(getattr(self._capture, "down", []), self._frames())
