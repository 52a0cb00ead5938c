"""Requests, in order of arrival, become one row per slice of capture time.

Theory of operation
-------------------
Every request is resident from its arrival to its completion. Operational analysis (Denning and Buzen, 1978)
needs no more than that: counting arrivals and completions, and adding up the time with at least one resident
(busy) and the time weighted by the number of residents, gives throughput, utilisation and concurrency of
any stretch of time, whatever the distribution of anything, and Little's law N = X·R holds for the sums by
construction.

*Slices* are half-open, [start, end), and their boundaries are multiples of the interval since the epoch, so
the same instant is cut in the same way in every capture. What happens exactly at a boundary, arrival or
completion, belongs to the slice that starts there. The first slice starts at the first segment and the last
one ends at the last segment; as nothing comes after it, the last slice holds the events of its final instant
too. So when the capture ends on a boundary no further slice opens, and no slice is shorter than 1 ns: a
capture of a single instant gives one row of 1 ns.

*Response times* belong to the slice where the request arrived, whole, even if it completes slices later.

*Uneventful runs.* Over `longest_run` consecutive slices without any arrival or completion (of never-answered
requests: without one that came or stopped waiting) become one row that is marked as a gap. In such a run the
number of residents does not change, so the row's averages hold for each of its slices; usually it is zero.

*Residents at the edges.* A request that was given with an arrival before the capture's first instant, or that
completes after its last, counts with the part of its residence that lies inside.

What it cannot see: requests that were open before the capture began (their arrival was never seen, so there
is no row); whether residents were served or queued; anything inside a slice.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from tcpsight.model._kernel import Sweep
from tcpsight.tables import Intervals, Requests, Unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator

EXACT_LIMIT = 100_000
"""Up to how many requests a slice's percentiles are exact; beyond, within 1 %."""

LONGEST_RUN = 100_000
"""How many uneventful slices in a row get rows of their own; more become one row."""

BLOCK_SLICES = 1024
"""Slices per block of output rows."""

Codes = np.ndarray[Any, np.dtype[np.int32]]

_ALL_IN_ONE: Codes = np.zeros(0, np.int32)


Rows = TypeVar("Rows", bound=Intervals)


class Slicing(ABC, Generic[Rows]):
    """What all series of intervals do; which table they give is up to the subclass."""

    _series = 1

    def __init__(
        self,
        interval_ns: int,
        *,
        first_ns: int,
        last_ns: int | None = None,
        exact_limit: int = EXACT_LIMIT,
        longest_run: int = LONGEST_RUN,
    ) -> None:
        self.interval_ns = interval_ns
        self.first_ns = first_ns
        self._sweep = Sweep(self._series, interval_ns, first_ns, exact_limit, longest_run)
        self._block: Rows = self._allocate(BLOCK_SLICES * self._series)
        self._last_ns: int | None = None
        if last_ns is not None:
            self.last_ns = last_ns

    @property
    def last_ns(self) -> int | None:
        """When the capture ends; None while it is not known."""
        return self._last_ns

    @last_ns.setter
    def last_ns(self, last_ns: int | None) -> None:
        if last_ns is not None:
            self._sweep.end_at(last_ns)
        self._last_ns = last_ns

    @property
    def outside(self) -> int:
        """How many of the requests that were given arrived outside of the capture; complete after `finish`."""
        return self._sweep.outside

    def feed(self, requests: Requests, unanswered: Unanswered | None = None) -> Rows:
        """Take the next requests, give the slices that are complete.

        Parameters
        ----------
        requests : Requests
            Answered requests in order of `arrival_ns`, through all calls.
        unanswered : Unanswered, optional
            Requests never answered, in order of `arrival_ns`. They may run ahead of `requests` (and wait here,
            16 bytes each), but not behind: time comes as far as the last answered request.

        Returns
        -------
        Intervals
            Rows in order of time; valid until the next call. A block of requests that are far apart completes
            many slices; `blocks` gives them in blocks of bounded size.

        Raises
        ------
        ValueError
            If rows are not in order of arrival.
        """
        return self._gathered(self.blocks(requests, unanswered))

    def finish(self) -> Rows:
        """End the capture; give the slices that are left, as `feed` does."""
        return self._gathered(self.last_blocks())

    def blocks(
        self, requests: Requests, unanswered: Unanswered | None = None, codes: Codes | None = None
    ) -> Iterator[Rows]:
        """Do what `feed` does, block by block; each is valid until the next is asked for.

        `codes` are the series of the requests, where somebody has looked already.
        """
        if unanswered is not None and len(unanswered):
            self._take(unanswered, self._codes(unanswered))
        if len(requests):
            self._take(requests, self._codes(requests) if codes is None else codes)
        yield from self._drain(is_over=False)

    def last_blocks(self) -> Iterator[Rows]:
        """Do what `finish` does, block by block; each is valid until the next is asked for."""
        yield from self._drain(is_over=True)

    def _drain(self, *, is_over: bool) -> Iterator[Rows]:
        out = self._block.rows.view(np.uint8).reshape(len(self._block), -1)
        n = len(self._block)
        while n == len(self._block):
            n = self._sweep.sweep(out, is_over=is_over)
            if n:
                yield self._labelled(self._block[:n])

    def _gathered(self, blocks: Iterator[Rows]) -> Rows:
        first = next(blocks, None)
        if first is None:
            return self._block[:0]
        if len(first) < len(self._block):
            return first  # the only one
        return type(first).concatenate([first.copy(), *(block.copy() for block in blocks)])

    def _take(self, rows: Requests, codes: Codes) -> None:
        self._sweep.take(rows.packed(), rows.dtype.itemsize, codes, is_unanswered=isinstance(rows, Unanswered))

    def _codes(self, rows: Requests) -> Codes:
        """Say to which series each row belongs; an empty array puts all into the first."""
        return _ALL_IN_ONE

    def _labelled(self, block: Rows) -> Rows:
        """Add what the kernel does not write."""
        return block

    @abstractmethod
    def _allocate(self, n: int) -> Rows:
        """Make a block of n rows."""


class IntervalSeries(Slicing[Intervals]):
    """Cut time into slices and tell how many requests came, left and stayed in each.

    Feed rows in order of arrival. How they are cut into batches never changes the rows that come out.

    Parameters
    ----------
    interval_ns : int
        Length of a slice.
    first_ns : int
        The capture's first segment; with several files the earliest.
    last_ns : int, optional
        The capture's last segment. Where it is not known yet, set the attribute before `finish`; otherwise the
        series ends at the latest instant among the rows.
    exact_limit : int
        Up to how many requests a slice's percentiles are exact.
    longest_run : int
        How many uneventful slices in a row get rows of their own.

    Raises
    ------
    ValueError
        If the interval is not positive or the capture ends before it begins.

    Notes
    -----
    Instants more than 2**62 ns away from the epoch (before 1823 or after 2116) are taken for that limit.
    """

    def _allocate(self, n: int) -> Intervals:
        return Intervals.allocate(n)
