"""mk-tcp-model's second step: lists of requests become one line per interval.

Theory of operation
-------------------
What comes in is the text of the first step, not a capture: instants are decimal seconds, held as doubles. Of 1.3e9
seconds a double holds steps of 2.4e-7, so the sums that the old tool printed to a millionth depend on the order in
which it added. A script that compares its output sees that; so these lines are worked out in doubles, in that order,
and `tcpsight intervals` is where exact integers are. The rules that differ from `tcpsight.model`:

1. An arrival at the instant of a completion goes first. Completions wait, the next first, until an arrival passes them.
2. Where no event falls into an interval no line is printed: the line before it covers the gap.
3. Throughput counts arrivals. A quantile is the element at the rounded rank; rank 0 gives the largest, a negative one
   counts back from it, and where there is no such rank it is 0.
4. The first line starts at the first arrival and carries the boundary before it; the last ends at the last event.

What it cannot see: whether its input is sorted. Out of order, time runs backwards and lines are wrong, as they always
were.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from functools import reduce
from heapq import heappop, heappush
from operator import add

COLUMNS = 4
"""Fields that a line must have: id, start, end, elapsed; the client is not looked at."""


FURTHEST = 1e15
"""Instants beyond this many seconds are no times."""


class LineError(Exception):
    """A line is no request."""


class RequestSlices:
    """Lines of intervals from lines of requests; what is pending stays from file to file.

    Parameters
    ----------
    interval : float
        Seconds; not 0.
    quantile : float
        Which response time the column before the last tells.
    """

    def __init__(self, interval: float, quantile: float) -> None:
        self._interval = interval
        self._quantile = quantile
        self._ends: list[float] = []
        self._resident = 0
        self._start: float | None = None  # of the open interval
        self._now = 0.0  # the last event, or the boundary behind it
        self._busy = self._weighted = 0.0
        self._completions = 0
        self._last = (0.0, 0.0, 0)  # what the three were at the end of the interval before
        self._times: list[float] = []

    def feed(self, lines: Iterable[str]) -> Iterator[str]:
        """Take the lines of a file; give the intervals that are complete.

        Raises
        ------
        LineError
            A line is no request.
        """
        for number, line in enumerate(lines, 1):
            start, end, elapsed = _fields(line, number)
            heappush(self._ends, end)
            while self._ends and self._ends[0] < start:
                yield from self._complete()
            yield from self._reach(start)
            self._resident += 1
            self._times.append(elapsed)

    def finish(self) -> Iterator[str]:
        """End a file: complete what is pending, give the interval that is open, if it has a length."""
        while self._ends:
            yield from self._complete()
        if self._start is not None and self._start < self._now:
            yield self._line(self._start, self._now)

    def _complete(self) -> Iterator[str]:
        end = heappop(self._ends)
        yield from self._reach(end)
        self._resident -= 1
        self._completions += 1

    def _reach(self, instant: float) -> Iterator[str]:
        """Let time pass up to an event; give the interval that it closes."""
        boundary = int(instant / self._interval) * self._interval
        if self._start is None:
            self._start = instant
        if boundary > self._start:
            self._add_up_to(boundary)
            yield self._line(self._start, boundary)
        self._add_up_to(instant)
        self._now = instant

    def _add_up_to(self, instant: float) -> None:
        if self._resident:
            self._busy += instant - self._now
            self._weighted += (instant - self._now) * self._resident

    def _line(self, start: float, end: float) -> str:
        """Write the interval [start, end) and begin the next."""
        times = sorted(self._times)
        arrivals = len(times)
        total = reduce(add, times, 0.0)
        mean = total / (arrivals or 1)
        variance = reduce(add, [(time - mean) ** 2 for time in times], 0.0) / (arrivals or 1)
        busy, weighted, completions = self._last
        length = end - start
        # Rounded to a millionth before it is rounded to what the column shows.
        concurrency = float(f"{(self._weighted - weighted) / length:.6f}")
        throughput = float(f"{arrivals / length:.6f}")
        line = (
            f"{int(self._now / self._interval) * self._interval:.15g} {concurrency:5.2f} {throughput:9.3f} "
            f"{arrivals:5d} {self._completions - completions:5d} "
            f"{self._busy - busy:.6f} {self._weighted - weighted:.6f} {total:.6f} "
            f"{variance / (mean or 1):.6f} {_element(times, self._quantile):.6f} {length:.6f}"
        )
        self._start = self._now = end
        self._last = (self._busy, self._weighted, self._completions)
        self._times = []
        return line


def _element(times: list[float], quantile: float) -> float:
    """Give the element at the rounded rank."""
    place = float(f"{len(times) * quantile:.0f}") - 1
    return times[int(place)] if -len(times) <= place < len(times) else 0.0


def _fields(line: str, number: int) -> tuple[float, float, float]:
    words = line.split(maxsplit=COLUMNS)
    try:
        start, end, elapsed = (float(word) for word in words[1:COLUMNS])
    except ValueError:
        start = end = elapsed = math.nan
    if not (abs(start) < FURTHEST and abs(end) < FURTHEST and abs(elapsed) < FURTHEST):  # so is no nan
        raise LineError(f"line {number} is no request: 'id start end elapsed client' is wanted")
    return start, end, elapsed
