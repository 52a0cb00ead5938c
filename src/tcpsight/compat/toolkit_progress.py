"""Progress reports as the Maatkit and Percona Toolkit tools write them to standard error."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence

WORDS = ("percentage", "time", "iterations")
MOST_DIGITS = 18


def fault_of(parts: Sequence[str]) -> str | None:
    """Say what is wrong with a ``--progress``; None where nothing is."""
    if len(parts) != 2:
        return "wants a value of two parts: what to count by, and how often to report"
    if parts[0] not in WORDS:
        return f"wants one of {', '.join(WORDS)} for its first part"
    if not (parts[1].isascii() and parts[1].isdigit()):
        return "wants an integer for its second part"
    if len(parts[1]) > MOST_DIGITS:
        return f"wants an integer of at most {MOST_DIGITS} digits for its second part"
    if int(parts[1]) == 0 and parts[0] != "time":
        return "wants an integer above 0 for its second part"
    return None


class ToolkitProgress:
    """Report how far a file has been read, as lines are printed.

    Parameters
    ----------
    name : str
        The file.
    size : int
        Its bytes.
    position : callable
        Gives how many of them were read.
    parts : pair of str
        What to count by, and how often to report.
    """

    def __init__(self, name: str, size: int, position: Callable[[], int], parts: Sequence[str]) -> None:
        self._name = name
        self._size = size
        self._position = position
        self._by, self._step = parts[0], int(parts[1])
        self._start = self._reported = time.monotonic()
        self._lines = 0
        self._fraction = 0.0

    def update(self, count: int = 1) -> None:
        """Take note that `count` more lines were printed."""
        now = time.monotonic()
        before = self._lines
        self._lines += count
        if self._by == "time" and now - self._reported < self._step:
            return
        # The first line, and every one that completes a step after it.
        if self._by == "iterations" and (self._lines - 1) // self._step == (before - 1) // self._step:
            return
        self._reported = now
        done = self._position()
        if done > self._size:
            return
        before_fraction, self._fraction = self._fraction, done / self._size if self._size else 0.0
        if self._by == "percentage" and self._stepped(before_fraction) >= self._stepped(self._fraction):
            return
        elapsed = now - self._start
        left = (self._size - done) * elapsed / done if done > 0 and elapsed > 0 else 0.0
        print(f"{self._name}: {math.floor(self._fraction * 100):3d}% {_clock(left)} remain", file=sys.stderr)

    def _stepped(self, fraction: float) -> int:
        return int(fraction * 100 / self._step) * self._step


def _clock(seconds: float) -> str:
    """Write a duration: MM:SS, HH:MM:SS from an hour on, D+HH:MM:SS from a day on."""
    whole = int(seconds)
    minutes = f"{whole % 3600 // 60:02d}:{whole % 60:02d}"
    if whole < 3600:
        return minutes
    if whole < 86_400:
        return f"{whole // 3600:02d}:{minutes}"
    return f"{whole // 86_400}+{whole % 86_400 // 3600:02d}:{minutes}"
