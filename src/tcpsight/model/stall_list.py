"""Stalls of a service: the worst one by one, all others added up, so that there are never too many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

MOST_STALLS = 1000
"""Stalls that are kept one by one, those at which most was waited; up to twice as many for a time."""

CAUSES = ("request", "either", "server", "unseen", "alone", "unheard")
"""What a wait was for: one request; a request, or the server as a whole; the server as a whole; nothing that is seen
here, or it is not over; nobody knows, as only one waited where there is only ever one; nobody knows, as nothing was
captured meanwhile."""


@dataclass(slots=True)
class Stall:
    """A time when a service let requests wait.

    Attributes
    ----------
    kind : str
        `stall`: nobody was answered, for half of the time at least; `pile_up`: others were.
    start_ns, end_ns : int
        When the wait began, and when it ended: the first completion of those that waited, or the end of the capture.
    silent_ns : int
        The longest time between these without a completion.
    is_over : bool
        Whether it ended before the capture did.
    requests, unanswered : int
        How many waited at its end, or gave up before; and how many of them were never answered.
    connections : int
        On how many connections.
    waited_ns : int
        How long they waited between start and end, together.
    longest_wait_ns : int
        How long the one that came first had waited at its end, or when it was given up.
    drained_ns : int
        When nine of ten of those that were answered had been.
    answered_meanwhile : int
        Requests that came before the end and were answered during the wait.
    surprise : float
        −log of the chance that it is an accident.
    cause : str
        One of `CAUSES`: what the others waited for, as far as their order tells.
    blocker : ndarray of `ROW` or None
        The request that the others probably waited for, if it was one.
    spoke_again : ndarray of `ROW` or None
        The request with which a connection broke its silence just before the end: it may have held a lock.
    example : ndarray of `ROW`
        The request that waited longest at its end.
    examples : list of int
        Some of the connections.
    median_ns : int
        Median response time of the last requests before it.
    unheard_ns : int
        For how long nothing at all was captured in it, where that makes it doubtful; else 0.
    """

    kind: str
    start_ns: int
    end_ns: int
    silent_ns: int
    is_over: bool
    requests: int
    unanswered: int
    connections: int
    waited_ns: int
    longest_wait_ns: int
    drained_ns: int
    answered_meanwhile: int
    surprise: float
    cause: str
    blocker: Any
    spoke_again: Any
    example: Any
    examples: list[int]
    median_ns: int
    unheard_ns: int = 0

    @property
    def duration_ns(self) -> int:
        """How long it lasted."""
        return self.end_ns - self.start_ns


ADDED = ("requests", "waited_ns", "duration_ns", "unheard_ns")
"""What is added up of stalls that are not told one by one."""


@dataclass(slots=True)
class StallSum:
    """Stalls added up.

    Attributes
    ----------
    stalls, requests, waited_ns, duration_ns, unheard_ns : int
        How many, and the sums of what each has.
    connections : int
        Of the stall that had the most: which were in several is not known.
    longest_ns : int
        The longest one.
    longest_ratio : float
        How many median response times the longest took.
    start_ns, end_ns : int
        From the first to the last.
    examples : list of int
        Connections of the first that was added.
    """

    stalls: int = 0
    requests: int = 0
    connections: int = 0
    waited_ns: int = 0
    duration_ns: int = 0
    unheard_ns: int = 0
    longest_ns: int = 0
    longest_ratio: float = 0.0
    start_ns: int = 2**63 - 1
    end_ns: int = -(2**63)
    examples: list[int] = field(default_factory=list)

    def add(self, stall: Stall) -> None:
        """Add one."""
        self.stalls += 1
        for name in ADDED:
            setattr(self, name, getattr(self, name) + getattr(stall, name))
        self.connections = max(self.connections, stall.connections)
        self.longest_ns = max(self.longest_ns, stall.duration_ns)
        self.longest_ratio = max(self.longest_ratio, stall.duration_ns / max(stall.median_ns, 1))
        self.start_ns, self.end_ns = min(self.start_ns, stall.start_ns), max(self.end_ns, stall.end_ns)
        self.examples = self.examples or stall.examples

    def join(self, other: StallSum) -> None:
        """Add what others added up to."""
        for name in ("stalls", *ADDED):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.connections = max(self.connections, other.connections)
        self.longest_ns = max(self.longest_ns, other.longest_ns)
        self.longest_ratio = max(self.longest_ratio, other.longest_ratio)
        self.start_ns, self.end_ns = min(self.start_ns, other.start_ns), max(self.end_ns, other.end_ns)
        self.examples = self.examples or other.examples


class StallList:
    """Collect the stalls of a service in order of their ends.

    Attributes
    ----------
    last_ns : int
        When the last one ended.
    rest : StallSum
        Those that are not kept one by one.
    """

    def __init__(self) -> None:
        self.last_ns = -(2**63)
        self.rest = StallSum()
        self._kept: list[Stall] = []

    def __len__(self) -> int:
        return len(self._kept) + self.rest.stalls

    def __iter__(self) -> Iterator[Stall]:
        return iter(self._kept)

    def add(self, stall: Stall) -> None:
        """Take the next one."""
        self.last_ns = stall.end_ns
        self._kept.append(stall)
        if len(self._kept) >= 2 * MOST_STALLS:
            self._kept, self.rest = self.worst(MOST_STALLS)
            self._kept.sort(key=lambda each: each.end_ns)

    def worst(self, most: int) -> tuple[list[Stall], StallSum]:
        """Give so many at which most was waited, one that is not over first, and the others added up; once."""
        ranked = sorted(self._kept, key=lambda stall: (stall.is_over, -stall.waited_ns, stall.start_ns))
        for stall in ranked[most:]:
            self.rest.add(stall)
        return ranked[:most], self.rest


class StallLists:
    """The stalls of a service by what is known of them; none takes room from those of another list.

    Parameters
    ----------
    is_wanted : callable, optional
        Tells which stalls are; all by default.
    unheard_ns : callable, optional
        Tells for how long nothing at all was captured in a stall, where that makes it doubtful; else 0, as by default.

    Attributes
    ----------
    found, doubted, elsewhere : StallList
        Those that are wanted, without and with a doubt, and those that are not.
    """

    def __init__(
        self, is_wanted: Callable[[Stall], bool] = lambda _: True, unheard_ns: Callable[[Stall], int] = lambda _: 0
    ) -> None:
        self.found, self.doubted, self.elsewhere = StallList(), StallList(), StallList()
        self._is_wanted, self._unheard_ns = is_wanted, unheard_ns

    def __iter__(self) -> Iterator[Stall]:
        return chain(self.found, self.doubted, self.elsewhere)

    @property
    def last_ns(self) -> int:
        """When the last one ended."""
        return max(each.last_ns for each in (self.found, self.doubted, self.elsewhere))

    def add(self, stall: Stall) -> None:
        """Take the next one."""
        stall.unheard_ns = self._unheard_ns(stall)
        if not self._is_wanted(stall):
            self.elsewhere.add(stall)
        else:
            (self.doubted if stall.unheard_ns else self.found).add(stall)
