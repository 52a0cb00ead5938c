"""Times in which nothing at all was captured, of no connection and no other protocol.

Theory of operation
-------------------
Somebody who waits does not wait silently for long. TCP asks again within seconds if what it sent was not acknowledged;
keep-alives, health checks and clients that give up speak within a minute (nginx gives its upstream 60 s, InnoDB a lock
50 s, most HTTP clients 30 s). So a minute or more without a single frame may say that nobody was listening, or that the
clock was set: `LEAST_NS`. But where requests were acknowledged, keep-alives come after hours and nobody gives up, as
with clients of a database that wait for a lock, it is a stall. Both are possible, and both are told. A shorter one is
what a stall looks like from outside, where all clients of a captured service wait.

One frame far in the future does not move the clock: a second one has to confirm it, the first of all, too. Frames come
in order of capture, in batches; only those are looked into whose latest instant is so far ahead, so it costs nothing
where there is traffic. Memory: the longest `MOST_SILENCES`.

What it cannot see: a clock that was set by less than a minute (`clock_leaps` does where hosts stamp segments); one that
was set back (the frames until it has caught up are no silence).
"""

from __future__ import annotations

from bisect import bisect_right
from heapq import heappush, heappushpop
from itertools import accumulate
from typing import Any

import numpy as np

LEAST_NS = 60_000_000_000
"""So long somebody speaks, whoever waits."""

MOST_SILENCES = 1000

Instants = np.ndarray[Any, np.dtype[np.int64]]


class Silences:
    """Collect the times without a frame.

    Feed instants in the order of capture. How they are cut never changes the result.
    """

    def __init__(self) -> None:
        self._clock_ns: int | None = None
        self._candidate_ns: int | None = None
        self._is_first = True
        # The shortest on top; of equal ones the latest.
        self._longest: list[tuple[int, int]] = []
        self._ordered: _Ordered | None = None

    @property
    def spans(self) -> list[tuple[int, int]]:
        """When each of the longest began and ended, in nanoseconds; in order of time, none overlapping another."""
        return sorted((-back, length - back) for length, back in self._longest)

    def feed(self, instants_ns: Instants) -> None:
        """Take when the next frames were captured, shape (n,)."""
        if self._clock_ns is None and len(instants_ns):
            self._clock_ns, instants_ns = int(instants_ns[0]), instants_ns[1:]
        if not len(instants_ns):
            return
        assert self._clock_ns is not None
        if self._is_first:
            self._is_first = False
            if self._clock_ns - int(instants_ns[0]) >= LEAST_NS:
                # The first frame of all was the one in the future.
                self._clock_ns = int(instants_ns[0])
        latest_ns = int(instants_ns.max())
        if self._candidate_ns is None and latest_ns - self._clock_ns < LEAST_NS:
            self._clock_ns = max(self._clock_ns, latest_ns)
            return
        clock = np.maximum.accumulate(np.concatenate([[self._clock_ns], instants_ns]))
        if self._candidate_ns is None and (np.diff(clock).view(np.uint64) < LEAST_NS).all():
            self._clock_ns = int(clock[-1])
            return
        for instant_ns in instants_ns.tolist():
            self._advance(instant_ns)

    def _advance(self, instant_ns: int) -> None:
        clock_ns, candidate_ns = self._clock_ns, self._candidate_ns
        assert clock_ns is not None
        self._candidate_ns = None
        if candidate_ns is not None and instant_ns - clock_ns >= LEAST_NS:
            begin_ns, clock_ns = clock_ns, min(candidate_ns, instant_ns)
            self._keep(begin_ns, clock_ns)
        if instant_ns - clock_ns >= LEAST_NS:
            self._candidate_ns = instant_ns
        else:
            clock_ns = max(clock_ns, instant_ns)
        self._clock_ns = clock_ns

    def _keep(self, begin_ns: int, end_ns: int) -> None:
        self._ordered = None
        span = end_ns - begin_ns, -begin_ns
        if len(self._longest) < MOST_SILENCES:
            heappush(self._longest, span)
        else:
            heappushpop(self._longest, span)

    def keep(self, spans: list[tuple[int, int]]) -> None:
        """Take times without a frame that are known already, none of which overlaps another."""
        for begin_ns, end_ns in spans:
            self._keep(begin_ns, end_ns)

    def carried(self) -> list[int | bool | None]:
        """Give what is remembered of the frames so far, without the times that were found."""
        return [self._clock_ns, self._candidate_ns, self._is_first]

    def go_on(self, carried: list[int | bool | None]) -> None:
        """Go on behind the frames of which `carried` was given."""
        clock_ns, candidate_ns, is_first = carried
        self._clock_ns, self._candidate_ns, self._is_first = _instant(clock_ns), _instant(candidate_ns), bool(is_first)

    def within(self, start_ns: int, end_ns: int) -> int:
        """Tell how much of a time was silent, in nanoseconds."""
        if not self._longest:
            return 0
        if self._ordered is None:
            self._ordered = _Ordered(self.spans)
        return max(self._ordered.before(end_ns) - self._ordered.before(start_ns), 0)


def _instant(value: int | None) -> int | None:
    return None if value is None else int(value)


class _Ordered:
    """Spans in order of time, none overlapping another, with their sums."""

    def __init__(self, spans: list[tuple[int, int]]) -> None:
        self._begins, self._ends = zip(*spans, strict=True)
        self._sums = [0, *accumulate(end - begin for begin, end in spans)]

    def before(self, instant_ns: int) -> int:
        """Tell how much of the time before an instant is in a span."""
        count = bisect_right(self._begins, instant_ns)
        beyond = max(self._ends[count - 1] - instant_ns, 0) if count else 0
        return self._sums[count] - beyond
