"""Slices of time while time goes on: a row per slice and service as soon as it can be told.

Theory of operation
-------------------
A slice is given when every request that arrived in it has been answered, or when capture time has passed its end by
`lateness_ns`. Whoever drives this looks at instants of capture time that are fixed beforehand (`due_ns`): the end of
the oldest slice that was not given, and then every quarter of the lateness. Nothing here depends on when that happened
by any clock, or on how rows were cut into batches, so a replay gives the rows that were given live.

The rows are those of `KeyedIntervalSeries` and `IntervalSeries`, made for one slice from the requests that were in it.
What makes them differ from the rows of a whole capture is what cannot be known yet:

* A request without an answer counts as unanswered, with its residence, until it is answered.
* One that is answered after the slice of its arrival was given is a straggler: the slice of its completion counts it
  in `late` and in `completions`, and it is resident in the slices given from then on. No slice has it among its
  arrivals, or its response time among its percentiles; totals and histograms have both.
* Where the capture ends on a boundary, what happens at that instant is one more slice, of 1 ns.

What it cannot see: requests before their first data was captured, and anything that `requests` cannot see.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.model.intervals import IntervalSeries
from tcpsight.model.keys import KeyedIntervalSeries
from tcpsight.model.service_places import MOST_SERVICES, Codes, ServicePlaces
from tcpsight.tables import Intervals, KeyedIntervals, Requests, Unanswered

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOKS = 4
"""How often a slice whose requests are not all answered is looked at while it is late."""

_NOWHERE: Codes = np.zeros(0, np.int32)
_NOBODY = Requests()


@dataclass(frozen=True, slots=True)
class ClosedSlice:
    """One slice of time that was given.

    Attributes
    ----------
    start_ns, end_ns : int
        [start, end), aligned to the epoch but for the first and the last.
    services : KeyedIntervals
        A row for each service, in the order of their first requests, then one for the others.
    total : Intervals
        One row over all of them.
    arrived : Requests
        The answered requests that arrived in it, in order of arrival.
    places : ndarray of int32
        Which row of `services` each of them belongs to.
    """

    start_ns: int
    end_ns: int
    services: KeyedIntervals
    total: Intervals
    arrived: Requests
    places: Codes


class LiveSlices:
    """Cut time that goes on into slices.

    Parameters
    ----------
    interval_ns : int
        Length of a slice.
    lateness_ns : int
        How long after its end a slice waits for answers to requests that arrived in it.
    most_services : int
        How many services have rows of their own.

    Attributes
    ----------
    places : ServicePlaces
        Which services have rows of their own.
    due_ns : int
        At which instant `look` is to be called next; without meaning before `begin`.
    start_ns : int or None
        Where the oldest slice begins that was not given; None before `begin`.
    """

    def __init__(self, interval_ns: int, lateness_ns: int, *, most_services: int = MOST_SERVICES) -> None:
        self.places = ServicePlaces(most_services)
        self.due_ns = 0
        self.start_ns: int | None = None
        self._interval_ns = interval_ns
        self._lateness_ns = lateness_ns
        # Those answered since the last look, and the others; joined when they are looked at.
        self._taken: list[Requests] = []
        self._answered = Requests()
        self._is_late = np.zeros(0, np.bool_)
        self._unanswered = Unanswered()

    @property
    def is_quiet(self) -> bool:
        """Whether nobody is known who was there after the last slice that was given."""
        return not self._taken and len(self._answered) == 0 and len(self._unanswered) == 0

    def begin(self, first_ns: int) -> None:
        """Let the first slice begin with the first segment."""
        self.start_ns = first_ns
        self.due_ns = self._end_ns(first_ns)

    def take(self, answered: Requests, unanswered: Unanswered) -> None:
        """Take requests that were answered, or lost their connection; the rows are kept."""
        start_ns = self.start_ns
        if start_ns is None:
            return
        if len(answered) or len(unanswered):
            self.places.admit(answered, unanswered)
        if len(answered):
            self._taken.append(answered)
        if len(unanswered):
            self._unanswered = Unanswered.concatenate([self._unanswered, unanswered])

    def look(self, now_ns: int, waiting: Unanswered) -> Iterator[ClosedSlice]:
        """Give the slices that can be told at `now_ns`, an instant that was due.

        Parameters
        ----------
        now_ns : int
            How far capture time has come.
        waiting : Unanswered
            Requests that wait for an answer now; they end at `now_ns` or later.
        """
        if len(waiting):
            self.places.admit(_NOBODY, waiting)
        self._join()
        start_ns = self.start_ns
        while start_ns is not None:
            end_ns = self._end_ns(start_ns)
            if end_ns > now_ns or self._is_awaited(end_ns, now_ns, waiting):
                break
            yield self._closed(start_ns, end_ns, waiting)
            self.start_ns = start_ns = end_ns
            self._forget(end_ns)
        self._set_due(now_ns)

    def skip(self, until_ns: int) -> Iterator[ClosedSlice]:
        """Give the slices up to `until_ns`, an instant later than what was due, in which nothing happened or was there.

        Over 100,000 of them become one, which is marked as a gap.
        """
        start_ns = self.start_ns
        if start_ns is None:
            return
        end_ns = until_ns - until_ns % self._interval_ns
        if end_ns > start_ns:
            yield from self._empty(start_ns, end_ns)
            self.start_ns = end_ns
        self._set_due(until_ns)

    def finish(self, last_ns: int, waiting: Unanswered) -> Iterator[ClosedSlice]:
        """Give the slices that are left when time ends with the last segment."""
        if self.start_ns is None:
            return
        if len(waiting):
            self.places.admit(_NOBODY, waiting)
        self._join()
        start_ns = self.start_ns
        last_ns = max(last_ns, start_ns)
        while (end_ns := self._end_ns(start_ns)) < last_ns:
            yield self._closed(start_ns, end_ns, waiting)
            self._forget(end_ns)
            self.start_ns = start_ns = end_ns
        yield self._closed(start_ns, last_ns, waiting, is_last=True)
        self.start_ns = None
        self._answered, self._is_late, self._unanswered = Requests(), np.zeros(0, np.bool_), Unanswered()

    # -------------------------------------------------------------------------------------------------- parts

    def _join(self) -> None:
        """Put those answered since the last look to the others; whoever arrived in a slice that was given is late."""
        if self._taken and self.start_ns is not None:
            before = len(self._answered)
            self._answered = Requests.concatenate([self._answered, *self._taken])
            self._taken = []
            # What was stamped by a clock that stepped back completes where time stands.
            taken = self._answered[before:]
            taken.arrival_ns[:] = np.minimum(taken.arrival_ns, taken.completion_ns)
            taken.completion_ns[:] = np.maximum(taken.completion_ns, self.start_ns)
            self._is_late = np.concatenate([self._is_late, taken.arrival_ns < self.start_ns])

    def _end_ns(self, start_ns: int) -> int:
        return start_ns - start_ns % self._interval_ns + self._interval_ns

    def _is_awaited(self, end_ns: int, now_ns: int, waiting: Unanswered) -> bool:
        """Tell whether a slice is still to wait for answers."""
        if now_ns >= end_ns + self._lateness_ns or self.start_ns is None:
            return False
        return bool(((waiting.arrival_ns >= self.start_ns) & (waiting.arrival_ns < end_ns)).any())

    def _set_due(self, now_ns: int) -> None:
        if self.start_ns is None:
            return
        end_ns = self._end_ns(self.start_ns)
        if now_ns >= end_ns:
            step_ns = max(self._lateness_ns // LOOKS, 1)
            end_ns = min(now_ns + step_ns - (now_ns - end_ns) % step_ns, end_ns + self._lateness_ns)
        self.due_ns = end_ns

    def _closed(self, start_ns: int, end_ns: int, waiting: Unanswered, *, is_last: bool = False) -> ClosedSlice:
        """Make the rows of a slice from those who were in it."""
        # The instant after the end is one more slice, which is left out, so that what happens there is not in this one.
        last_ns = end_ns if is_last else end_ns + 1
        latest_ns = end_ns if is_last else end_ns - 1
        answered = _by_arrival(self._answered, latest_ns)
        unanswered = _by_arrival(Unanswered.concatenate([self._unanswered, waiting]), latest_ns)
        keyed = KeyedIntervalSeries(
            "service", self.places.keys(), self._interval_ns, first_ns=start_ns, last_ns=last_ns
        )
        total = IntervalSeries(self._interval_ns, first_ns=start_ns, last_ns=last_ns)
        rows = _first_slice(keyed, answered, unanswered, len(self.places) + 1)
        whole = _first_slice(total, answered, unanswered, 1)
        self._count_late(rows, whole, last_ns)
        arrived = answered[int(np.searchsorted(answered.arrival_ns, start_ns)) :]
        return ClosedSlice(start_ns, end_ns, rows, whole, arrived, self.places.codes(arrived))

    def _count_late(self, rows: KeyedIntervals, whole: Intervals, last_ns: int) -> None:
        """Count stragglers where they completed. All that completed before this slice was forgotten."""
        if not self._is_late.any():
            return
        late = self._answered[self._is_late]
        late = late[late.completion_ns < last_ns]
        rows.rows["late"] = np.bincount(self.places.codes(late), minlength=len(rows))
        whole.rows["late"] = len(late)

    def _forget(self, end_ns: int) -> None:
        """Let go of those who left before the next slice."""
        if len(self._answered):
            stays = self._answered.completion_ns >= end_ns
            self._answered, self._is_late = self._answered[stays], self._is_late[stays]
        if len(self._unanswered):
            self._unanswered = self._unanswered[self._unanswered.end_ns >= end_ns]

    def _empty(self, start_ns: int, end_ns: int) -> Iterator[ClosedSlice]:
        n = len(self.places) + 1
        keyed = KeyedIntervalSeries("service", self.places.keys(), self._interval_ns, first_ns=start_ns, last_ns=end_ns)
        total = IntervalSeries(self._interval_ns, first_ns=start_ns, last_ns=end_ns)
        # Blocks of both hold the same slices.
        for rows, whole in zip(keyed.last_blocks(), total.last_blocks(), strict=True):
            for i in range(len(whole)):
                begin_ns = int(whole.start_ns[i])
                services = rows[i * n : (i + 1) * n].copy()
                length_ns = int(whole.length_ns[i])
                yield ClosedSlice(
                    begin_ns, begin_ns + length_ns, services, whole[i : i + 1].copy(), Requests(), _NOWHERE
                )


def _by_arrival(rows: Requests, latest_ns: int) -> Any:
    """Give the requests that arrived by an instant, in order of arrival."""
    order = np.argsort(rows.arrival_ns, kind="stable")
    arrivals = rows.arrival_ns[order]
    return rows[order[: np.searchsorted(arrivals, latest_ns, "right")]]


def _first_slice(series: Any, answered: Requests, unanswered: Unanswered, n: int) -> Any:
    """Give the rows of a series' first slice."""
    first = None
    for blocks in (series.blocks(Requests(), unanswered), series.blocks(answered), series.last_blocks()):
        for block in blocks:
            if first is None:
                first = block[:n].copy()
    return first
