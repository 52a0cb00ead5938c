"""Slices of a capture that goes on: what a file, a pipe or an interface gives, told as time passes.

Theory of operation
-------------------
Frames are cut at instants of capture time that are fixed beforehand (`LiveSlices.due_ns`). When the first frame comes
that is stamped with such an instant or later, or silence has lasted until then, the rooms are told that time has come
so far, and slices that can be told are given, before that frame is looked at. So the rows depend on the frames alone,
and a replay of what was recorded gives the rows that were given live.

A frame that is stamped more than an hour ahead moves nothing by itself; if the next one is too, time has gone on. Where
the clock was set back, and stays back, by more than a few slices, what is there is given and slices begin anew at
the earlier time.

What it cannot see: frames that are given after silence was taken to have lasted longer, which a source of frames that
is slow does; they count where they are still new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.errors import CaptureError
from tcpsight.model.live_slices import ClosedSlice, LiveSlices
from tcpsight.model.live_totals import LiveTotals
from tcpsight.model.service_places import MOST_SERVICES
from tcpsight.output.feeds.lines import told_services
from tcpsight.tables import IPV4_PREFIX, Findings, Frames, KeyedIntervals, Requests, ServiceTotals, Unanswered

if TYPE_CHECKING:
    from tcpsight.capture.tags import TagSurvey
    from tcpsight.live_findings import LiveFindings
    from tcpsight.pipeline import Batch, Pipeline
    from tcpsight.recalling import Recall

JUMP_NS = 3_600_000_000_000
"""A step of time that needs to be confirmed by the next frame."""

STEP_BACK_NS = 10_000_000_000
"""A clock that was set back by more than this, and more than the slices that are open, lets slices begin anew."""


Times = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True)
class Slice(ClosedSlice):
    """One slice of time, and what is known at its end; see `ClosedSlice`.

    Attributes
    ----------
    totals : ServiceTotals
        What was counted since the watch began; empty unless asked for.
    histogram : ndarray of int64, shape (services + 1, bounds + 1)
        Response times since then, by service and bucket of `RESPONSE_TIME_BOUNDS_NS`, row for row with `totals`.
    findings : Findings
        What was found since the slice before, the worst first; empty unless asked for.
    """

    totals: ServiceTotals
    histogram: np.ndarray[Any, np.dtype[np.int64]]
    findings: Findings

    def arrived_by_service(self) -> Iterator[Requests]:
        """Give the answered requests that arrived at each service of `rows`."""
        for place in range(len(self.rows)):
            yield self.arrived[self.places == place]

    def names(self) -> list[str]:
        """Name the services of `rows`."""
        from tcpsight.output.addresses import endpoint_text

        return [
            "other"
            if row["is_other"]
            else endpoint_text(address := row["server_address"].tobytes(), int(row["server_port"]), version_of(address))
            for row in self.rows
        ]

    @property
    def rows(self) -> KeyedIntervals:
        """Rows of all services, and of the others where they had requests; of nobody where there is no service yet."""
        return told_services(self.services)


def version_of(address: bytes) -> int:
    """Tell IPv4 addresses, which are written as ``::ffff:a.b.c.d``, from others."""
    return 4 if address.startswith(IPV4_PREFIX) else 6


@dataclass(frozen=True, slots=True)
class Watched:
    """How a capture is watched.

    Attributes
    ----------
    interval_ns, lateness_ns : int
        Length of a slice, and how long after its end it waits for answers.
    most_services : int
        How many services have rows of their own.
    with_totals : bool
        Whether slices carry `totals` and `histogram`.
    recall_ns, recall_bytes : int
        For how long the headers of frames are kept, and in how much memory; not at all by default.
    """

    interval_ns: int
    lateness_ns: int
    most_services: int = MOST_SERVICES
    with_totals: bool = False
    recall_ns: int = 0
    recall_bytes: int = 0


class Watch:
    """Give slice after slice of a capture; iterate it once.

    Parameters
    ----------
    capture : iterable of Frames
        Where frames come from, with a list of its `interfaces` if they are to be recalled. A batch without rows whose
        `until_ns` is known tells that nothing earlier is still to come.
    pipeline : Pipeline
        What frames go through; it gives requests at their answer.
    how : Watched
        How time is cut, and what slices carry.
    tags : TagSurvey, optional
        What was seen between link headers and IP; with it slices carry `findings`.

    Attributes
    ----------
    on_batch : callable or None
        Is told every batch of rows that became final, before the slices that they are part of.
    on_look : callable or None
        Is called after every batch of frames, an empty one of silence too
        (before the first segment there are no slices).
    recall : Recall or None
        The last minutes, to save what was found.
    """

    def __init__(self, capture: Any, pipeline: Pipeline, how: Watched, *, tags: TagSurvey | None = None) -> None:
        self.pipeline = pipeline
        self.on_batch: Callable[[Batch], None] | None = None
        self.on_look: Callable[[], None] | None = None
        self.recall: Recall | None = None
        self._is_stopped = False
        self._source = self._capture = capture
        if how.recall_ns:
            from tcpsight.recalling import Recall

            self._capture = self.recall = Recall(capture, keep_ns=how.recall_ns, most_bytes=how.recall_bytes)
        self._interval_ns = how.interval_ns
        self._back_ns = max(STEP_BACK_NS, 2 * how.interval_ns + how.lateness_ns)
        self._slices = LiveSlices(how.interval_ns, how.lateness_ns, most_services=how.most_services)
        self._totals = LiveTotals(self._slices.places) if how.with_totals else None
        self._findings: LiveFindings | None = None
        if tags is not None:
            from tcpsight.live_findings import LiveFindings

            self._findings = LiveFindings(pipeline, self._slices.places, tags)
        # Before the first segment: the end of the slice that the first frame lies in.
        self._first_due_ns: int | None = None
        self._was_ahead = self._was_behind = False
        # The latest segment since the clock was set back, and whether that was.
        self._last_ns = 0
        self._has_stepped = False
        # How far silence was told to have lasted; and when the last frame came, where it may have been the last of all.
        self._until_ns: int | None = None
        self._heard_ns: int | None = None
        self._may_have_ended = getattr(capture, "may_have_ended", False)

    def __iter__(self) -> Iterator[Slice]:
        try:
            for frames in self._capture:
                yield from self._take(frames)
                if self.on_look is not None:
                    self.on_look()
                if self._is_stopped:
                    break
        except CaptureError as error:
            self.pipeline.broken = error.with_traceback(None)
        yield from self._finish()

    def stop(self) -> None:
        """Let the next batch of frames be the last, and give what there is by then; safe from another thread."""
        self._is_stopped = True

    @property
    def unheard(self) -> tuple[int, int] | None:
        """The silence at the end of what may have been written no more, from the last frame on; None elsewhere."""
        if not self._may_have_ended or self._heard_ns is None or (self._until_ns or 0) <= self._heard_ns:
            return None
        return self._heard_ns, self._until_ns or 0

    # -------------------------------------------------------------------------------------------------- frames

    def _take(self, frames: Frames) -> Iterator[Slice]:
        times = frames.time_ns
        at, n = 0, len(frames)
        while at < n:
            due_ns = self._due_ns(int(times[at]))
            end = self._cut(times, at, due_ns)
            if end > at:
                self._feed(Frames(frames.rows[at:end], data=frames.data, origin=frames.origin))
            if end < n:
                yield from self._reach(int(times[end]))
            at = end
        if frames.until_ns is not None:
            self._until_ns = frames.until_ns
            yield from self._reach(frames.until_ns)

    def _due_ns(self, time_ns: int) -> int:
        """Tell which instant comes next."""
        if self._slices.start_ns is not None:
            return self._slices.due_ns
        if self._first_due_ns is None:
            self._first_due_ns = time_ns - time_ns % self._interval_ns + self._interval_ns
        return self._first_due_ns

    def _cut(self, times: Times, at: int, due_ns: int) -> int:
        """Find the first frame from `at` on that tells that the instant has come, or that time was set back."""
        rest = times[at:]
        low_ns = self._low_ns(due_ns)
        if int(rest.max()) < due_ns and int(rest.min()) >= low_ns:
            self._was_ahead = self._was_behind = False
            return len(times)
        unusual = np.flatnonzero((rest >= due_ns) | (rest < low_ns))
        previous = -1
        for i in unusual.tolist():
            if i != previous + 1:
                self._was_ahead = self._was_behind = False
            previous = i
            is_ahead, is_behind = bool(rest[i] >= due_ns + JUMP_NS), bool(rest[i] < low_ns)
            if not is_ahead and not is_behind:
                return at + i
            if (is_ahead and self._was_ahead) or (is_behind and self._was_behind):
                return at + i
            self._was_ahead, self._was_behind = is_ahead, is_behind
        if previous != len(rest) - 1:
            self._was_ahead = self._was_behind = False
        return len(times)

    def _low_ns(self, due_ns: int) -> int:
        """Tell what is so early that the clock was set back, if the next frame is, too."""
        return due_ns - self._interval_ns - self._back_ns

    def _feed(self, frames: Frames) -> None:
        if self._may_have_ended and len(frames):
            self._heard_ns = max(self._heard_ns or 0, int(frames.time_ns.max()))
        for batch in self.pipeline.feed(frames):
            self._keep(batch)

    def _keep(self, batch: Batch) -> None:
        """Count what became known."""
        slices, totals = self._slices, self._totals
        if len(batch.headers):
            times = batch.headers.time_ns
            if slices.start_ns is None:
                slices.begin(int(times[0]))
                self._last_ns = int(times[0])
            # What is stamped far ahead, or back, does not count before it is confirmed.
            self._last_ns = max(self._last_ns, int(times[times < slices.due_ns].max(initial=self._last_ns)))
        if len(batch.requests) or len(batch.unanswered):
            # Copied once for all who keep them.
            batch = batch._replace(requests=batch.requests.copy(), unanswered=batch.unanswered.copy())
            slices.take(batch.requests, batch.unanswered)
            if totals is not None:
                totals.take(batch.requests, batch.unanswered, slices.start_ns or 0)
        if totals is not None:
            totals.end(batch.connections)
        if self._findings is not None:
            self._findings.add(batch)
        if self.on_batch is not None:
            self.on_batch(batch)

    # -------------------------------------------------------------------------------------------------- time

    def _reach(self, time_ns: int) -> Iterator[Slice]:
        """Let time pass up to here."""
        slices = self._slices
        if slices.start_ns is None:
            self._first_due_ns = None
            return
        if self._was_behind and time_ns < self._low_ns(slices.due_ns):
            yield from self._begin_anew(time_ns)
            return
        while (due_ns := slices.due_ns) <= time_ns:
            self._feed(Frames(until_ns=due_ns))
            if slices.is_quiet and self.pipeline.open_count == 0:
                yield from self._told(slices.skip(time_ns), time_ns, Unanswered())
            else:
                waiting = self.pipeline.waiting(due_ns)
                yield from self._told(slices.look(due_ns, waiting), due_ns, waiting)

    def _begin_anew(self, time_ns: int) -> Iterator[Slice]:
        """Give what there is, and go on at an earlier time."""
        slices, last_ns = self._slices, self._last_ns
        waiting = self.pipeline.waiting(last_ns)
        yield from self._told(slices.finish(last_ns, waiting), last_ns, waiting)
        if self._findings is not None:
            self._findings.begin_anew()
        slices.begin(time_ns)
        self._last_ns = time_ns
        self._until_ns = None
        self._heard_ns = time_ns
        self._has_stepped = True
        self._was_ahead = self._was_behind = False

    def _finish(self) -> Iterator[Slice]:
        """Give the slices that are left when the capture ends: with the last segment, or as far as silence was told."""
        ended_ns = self._ended_ns()
        if ended_ns is not None:
            # Short of it: a slice that ends with the capture is the last one, which there is to be.
            yield from self._reach(ended_ns - 1)
        waiting = Unanswered() if ended_ns is None else self.pipeline.waiting(ended_ns)
        for batch in self.pipeline.finish():
            self._keep(batch if ended_ns is None else _waiting_until(batch, waiting, ended_ns))
        last_ns = self._last_ns if self._has_stepped else self.pipeline.last_ns
        if last_ns is not None:
            last_ns = max(last_ns, ended_ns or last_ns)
            nobody = Unanswered()
            yield from self._told(self._slices.finish(last_ns, nobody), last_ns, nobody, is_last=True)

    def _ended_ns(self) -> int | None:
        """Tell how far time had come when the capture ended, beyond its last segment; None where that alone tells."""
        told = [each.ended_ns for each in getattr(self._source, "files", ())]
        known = [each for each in (self._until_ns, *told) if each is not None]
        # An instant that is far ahead, and that no frame confirms, is nonsense rather than silence.
        ended_ns = max((each for each in known if each < self._slices.due_ns + JUMP_NS), default=None)
        return None if ended_ns is None or ended_ns <= self._last_ns else ended_ns

    def _told(
        self, closed: Iterable[ClosedSlice], now_ns: int, waiting: Unanswered, *, is_last: bool = False
    ) -> Iterator[Slice]:
        """Give slices with what is known at their end, looked up once for all that end together."""
        known: tuple[ServiceTotals, np.ndarray[Any, np.dtype[np.int64]]] | None = None
        for each in closed:
            if known is None:
                known = self._known(now_ns, waiting)
            findings = Findings()
            if self._findings is not None:
                findings = self._findings.look(each.end_ns, is_last=is_last, unheard=self.unheard)
            yield Slice(
                each.start_ns, each.end_ns, each.services, each.total, each.arrived, each.places, *known, findings
            )

    def _known(self, now_ns: int, waiting: Unanswered) -> tuple[ServiceTotals, np.ndarray[Any, np.dtype[np.int64]]]:
        if self._totals is None:
            return ServiceTotals(), np.zeros((0, 0), np.int64)
        table = self._totals.table(self.pipeline.open_connections(now_ns), waiting)
        return table, self._totals.histogram.copy()


def _waiting_until(batch: Batch, waiting: Unanswered, ended_ns: int) -> Batch:
    """Let requests that nobody answered wait until the capture ended, not until the last segment there was."""
    if not len(batch.unanswered):
        return batch
    rows = batch.unanswered.copy()
    is_waiting = np.isin(rows.connection_id, waiting.connection_id)
    rows.rows["end_ns"][is_waiting] = np.maximum(rows.end_ns[is_waiting], ended_ns)
    return batch._replace(unanswered=rows)
