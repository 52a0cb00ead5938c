"""The order: frames → headers → segments → requests. The only place that knows which room follows which.

Theory of operation
-------------------
`Pipeline` pulls batches of frames from a capture, pushes each through the rooms, and yields what became final, as
views that are valid until the next batch. When the capture ends, or breaks, it ends every room and yields the
rest; a break is kept in `broken` for the caller to report after the rows before it have been used.

Rows are selected here, after the rooms: state is built from all frames whatever the selection.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tcpsight.batches import NOWHERE, Batch, Keep, Options, Positions
from tcpsight.connections import Server, Tracked
from tcpsight.connections.stream_index import StreamIndexing
from tcpsight.decode import Decoding
from tcpsight.errors import CaptureError
from tcpsight.model.clock_leaps import ClockLeaps
from tcpsight.model.clock_steps import ClockSteps
from tcpsight.model.silences import Silences
from tcpsight.model.turn_sample import TurnSample
from tcpsight.network import agree_on_times, see_from_there
from tcpsight.requests import Paired
from tcpsight.rooms import Made, Rooms, complete
from tcpsight.segment_details import details
from tcpsight.selection import of_ports
from tcpsight.tables import (
    BOUNDARIES,
    ConnectionAccounts,
    Connections,
    Frames,
    Headers,
    Network,
    Pieces,
    Requests,
    SegmentDetails,
    Streams,
    Unanswered,
    UnseenCounter,
)

if TYPE_CHECKING:
    from tcpsight.capture.link_offset import Passing
    from tcpsight.workers import Workers

__all__ = ["Batch", "Keep", "Options", "Pipeline"]

NO_CONNECTION = np.iinfo(np.int64).max

LEAST_SHARED = 4
"""With so many workers connections are shared out; with fewer, whole rooms are, which costs less: `docs/scale.md`."""

BLOCKS_OF_THREADS = 5
"""See `side_by_side`: of tracked parts so many may be there at once."""

SERVICES_LEFT_OUT = 6
"""So many services are remembered of those that a selection leaves out."""


class Pipeline:
    """Everything that one pass over a capture gives.

    Parameters
    ----------
    capture : iterable of Frames
        Has an attribute `unseen` (UnseenCounter). May raise CaptureError at its end.
    options : Options
        What is wanted.
    frame_filter : FrameFilter, optional
        Frames it does not let through never reach a room.
    keep : callable, optional
        Takes care of payload; with it, batches carry the index of streams.

    Attributes
    ----------
    frames, segments : int
        How many were read so far.
    selected : int
        How many connections the selection let through so far.
    services_left_out : dict of Server
        Some services whose connections were looked at while the selection had let none through.
    first_ns, last_ns : int or None
        First and last TCP segment so far, over the connections that ended.
    broken : CaptureError or None
        Why the capture ended early.
    clock_steps, clock_leaps : ClockSteps, ClockLeaps
        Where the clock that stamps frames was set back, and forward.
    silences : Silences
        When nothing at all was captured.
    turn_sample : TurnSample
        Which services take no turns.
    needs_one_worker : bool
        Whether those who go through it look at what several workers do not give.
    """

    needs_one_worker: ClassVar[bool] = False

    def __init__(
        self,
        capture: Iterable[Frames],
        options: Options | None = None,
        frame_filter: Passing | None = None,
        keep: Keep | None = None,
    ) -> None:
        self.options = options or Options()
        self.frames = 0
        self.segments = 0
        self.selected = 0
        self.services_left_out: dict[Server, None] = {}
        self.first_ns: int | None = None
        self.last_ns: int | None = None
        self.broken: CaptureError | None = None
        self.silences = Silences()
        self.clock_steps = ClockSteps()
        self.clock_leaps = ClockLeaps()
        self.turn_sample = TurnSample()
        self._capture = capture
        self._open_services: set[int] = set()
        self._filter = frame_filter
        self._keep = keep
        self._indexing = StreamIndexing()
        blocks = 1 if self.options.workers == 1 else BLOCKS_OF_THREADS
        self._decoding = Decoding(self.options.pairs, blocks=blocks)
        self._rooms = Rooms(self.options, seed(), blocks=blocks)
        # Who counts what tracking did not understand.
        self._counted: Rooms | Workers = self._rooms

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last segment of the capture, cut to the wanted time; None where that is empty."""
        if self.first_ns is None or self.last_ns is None:
            return None
        return self.options.selection.span(self.first_ns, self.last_ns)

    @property
    def elapsed_ns(self) -> int:
        """How long the wanted part of the capture took: its span, less or more where the clock was set."""
        first_ns, last_ns = self.span or (0, 0)
        is_cut = self.options.selection.since_ns is not None or self.options.selection.until_ns is not None
        passed_ns, back_ns = last_ns - first_ns, self.clock_steps.back_ns
        if back_ns and not is_cut:
            # After a step back the last frame is not the latest.
            passed_ns = self.clock_steps.passed_ns or passed_ns + back_ns
        return max(passed_ns - self.clock_leaps.within(first_ns, last_ns), 0)

    @property
    def opened(self) -> int:
        """How many requests, answered or not, have begun so far."""
        return self._rooms.pairing.opened

    def open_network(self, connections: Connections) -> Iterator[tuple[Connections, Network]]:
        """Give open connections with what the network did so far to each direction, two rows for each, part by part.

        Parameters
        ----------
        connections : Connections
            Some of `open_connections`, in any order; nothing is given where the network is not measured.

        Yields
        ------
        tuple of (Connections, Network)
            Rows of one part.
        """
        if self._rooms.measuring is None:
            return
        order = np.argsort(connections.connection_id)
        numbers = np.append(connections.connection_id[order], NO_CONNECTION)
        for network in self._rooms.measuring.snapshots():
            its_own = network.connection_id[::2]
            places = np.searchsorted(numbers, its_own)
            is_wanted = numbers[places] == its_own
            part, own = connections[order[places[is_wanted]]], network[np.repeat(is_wanted, 2)]
            agree_on_times(own, part)
            see_from_there(own, part)
            yield part, own

    @property
    def open_count(self) -> int:
        """How many connections are open now."""
        return self._rooms.tracking.open_connections

    @property
    def joined_fragments(self) -> int:
        """How many frames gave no segment of their own, but are part of one that came in fragments."""
        return self._decoding.joined_fragments

    def note_fragments(self) -> None:
        """Be ready to tell `frames_of_fragments`; to be called before anything is read."""
        self._decoding.note_fragments()

    def frames_of_fragments(self) -> Positions:
        """Tell of each frame with a part of a segment in IP fragments which frame has the segment, shape (n, 2)."""
        return self._decoding.frames_of_fragments()

    @property
    def unseen(self) -> UnseenCounter:
        """What was not understood so far, by all rooms."""
        total = UnseenCounter()
        for counted in (self._capture.unseen, self._decoding.unseen, *self._counted.unseen):  # type: ignore[attr-defined]
            total.merge(counted)
        return total

    def __iter__(self) -> Iterator[Batch]:
        if self.options.workers == 1:
            yield from self._one_by_one()
        elif self.options.workers < LEAST_SHARED:
            from tcpsight.side_by_side import SideBySide

            made = SideBySide(self._tracked(), self._rooms)
            with closing(made):
                yield from map(self._selected, made)
        else:
            from tcpsight.workers import Workers

            with closing(Workers(self.options, seed())) as workers:
                yield from map(self._selected, self._shared(workers))

    def _one_by_one(self) -> Iterator[Batch]:
        for captured in self._captured():
            yield from self.feed(captured)
        yield from self.finish()

    def _tracked(self) -> Iterator[tuple[Headers, Tracked]]:
        """Read, decode and track everything."""
        for captured in self._captured():
            yield from self._rooms.feed(self._decoded(captured)[0])
        self._decoding.finish()
        yield from self._rooms.finish()

    def _shared(self, workers: Workers) -> Iterator[Made]:
        """Read and decode everything, and share it out."""
        self._counted = workers
        for captured in self._captured():
            yield from workers.feed(self._decoded(captured)[0])
        self._decoding.finish()
        yield from workers.finish()

    def _captured(self) -> Iterator[Frames]:
        """Give the capture's frames; where it breaks, that is noted, and they end."""
        try:
            yield from self._capture
        except CaptureError as error:
            # Without the frames that it passed through: they would keep their buffers.
            self.broken = error.with_traceback(None)

    def feed(self, captured: Frames) -> Iterator[Batch]:
        """Push the next frames through the rooms; give what became final, which must be taken to its end."""
        headers, kept = self._decoded(captured)
        yield from self._batches(self._rooms.feed(headers), kept)

    def finish(self) -> Iterator[Batch]:
        """End every room; give the rest."""
        self._decoding.finish()
        yield from self._batches(self._rooms.finish(), NOWHERE)

    def _decoded(self, captured: Frames) -> tuple[Headers, Positions]:
        """Give the segments in the next frames, and where their payload is kept."""
        frames = captured if self._filter is None else self._filter.apply(captured)
        headers = self._decoding.feed(frames)
        if self.options.ports:
            headers = headers[of_ports(headers, self.options.ports)]
        kept = NOWHERE
        if self._keep is not None:
            kept = self._keep(frames, headers, self._decoding.payload_positions(frames, headers))
        # Nothing looks at the frames' bytes from here on: what was read of them may be believed now, or never.
        whole = captured.whole()
        if len(whole) < len(captured):
            sound = int(np.count_nonzero(headers.frame_number < captured.frame_number[len(whole)]))
            headers, kept = headers[:sound], kept[:sound]
        self.frames += len(whole)
        self.segments += len(headers)
        # Side by side once: each look at a column of rows costs as much as copying it.
        instants_ns = np.ascontiguousarray(whole.time_ns)
        self.silences.feed(instants_ns)
        self.clock_steps.feed(instants_ns)
        self.clock_leaps.feed(instants_ns, headers)
        return headers, kept

    def waiting(self, until_ns: int) -> Unanswered:
        """Give the requests that wait for their answer now, as if the capture ended at `until_ns`, by slot."""
        waiting = self._rooms.pairing.waiting(until_ns)
        return waiting[self.options.selection.of_services(waiting)]

    def open_connections(self, until_ns: int) -> Connections:
        """Give the connections that are open now as they would be if the capture ended at `until_ns`, by slot.

        Columns of the time account are null, and so is the Community ID.
        """
        connections = self._rooms.tracking.snapshot()
        waiting, counts = self._rooms.pairing.open_counts(until_ns)
        complete(connections, Paired(Requests(), waiting, counts), ConnectionAccounts())
        return connections[self.options.selection.of_services(connections)]

    def _batches(self, parts: Iterable[tuple[Headers, Tracked]], kept: Positions) -> Iterator[Batch]:
        """Give what headers became, in as many parts as tracking makes of it."""
        begin = 0
        for headers, tracked in parts:
            end = begin + len(headers)
            yield self._batch(headers, tracked, kept[begin:end])
            begin = end

    def _batch(self, headers: Headers, tracked: Tracked, kept: Positions) -> Batch:
        made = self._rooms.make(headers, tracked)
        segments = details(headers, tracked) if self.options.with_segments else SegmentDetails()
        index: tuple[Pieces, Streams] = (Pieces(), Streams())
        if self._keep is not None:
            index = self._indexing.feed(headers, tracked, kept)
        batch = self._selected(made, self._selected_segments(segments, tracked))
        return batch._replace(headers=headers, kept=kept, pieces=index[0], streams=index[1])

    def _selected(self, made: Made, segments: SegmentDetails | None = None) -> Batch:
        """Give a batch of what is wanted of the rows that were made."""
        segments = segments or SegmentDetails()
        requests, unanswered, connections, network, policed = made
        bare = Headers(), NOWHERE
        index = Pieces(), Streams()
        if len(connections):
            first, last = int(connections.start_ns.min()), int(connections.end_ns.max())
            self.first_ns = first if self.first_ns is None else min(self.first_ns, first)
            self.last_ns = last if self.last_ns is None else max(self.last_ns, last)
        selection = self.options.selection
        arrived = requests if selection.is_everything else requests[selection.of_arrivals(requests)]
        self.turn_sample.feed(arrived)
        if selection.is_everything:
            self.selected += len(connections)
            whole = requests, unanswered
            return Batch(*whole, connections, segments, *whole, *bare, *index, network, policed, *whole)
        if self.selected == 0:
            self._remember_services(connections)
        is_wanted = selection.of_services(connections) & selection.of_time(connections.start_ns, connections.end_ns)
        connections = connections[is_wanted]
        self.selected += len(connections)
        return Batch(
            arrived,
            unanswered[selection.of_arrivals(unanswered)],
            connections,
            segments,
            requests[selection.of_residents(requests, requests.completion_ns)],
            unanswered[selection.of_residents(unanswered, unanswered.end_ns)],
            *bare,
            *index,
            # Two rows for each connection, in the same order.
            network[np.repeat(is_wanted, 2)] if len(network) else network,
            policed[selection.of_services(policed) & selection.of_time(policed.start_ns, policed.end_ns)],
            requests[selection.of_services(requests)],
            unanswered[selection.of_services(unanswered)],
        )

    def _remember_services(self, connections: Connections) -> None:
        """Keep a few services for a message, should the selection choose nothing."""
        for row in connections.rows:
            if len(self.services_left_out) >= SERVICES_LEFT_OUT:
                return
            address = row["server_address"].tobytes()
            self.services_left_out[Server(address, int(row["server_port"]), int(row["ip_version"]))] = None

    def _selected_segments(self, segments: SegmentDetails, tracked: Tracked) -> SegmentDetails:
        if not self.options.with_segments or self.options.selection.is_everything:
            return segments
        selection, boundaries = self.options.selection, tracked.boundaries
        wanted = selection.of_time(segments.time_ns, segments.time_ns)
        if selection.servers:
            opened = boundaries[boundaries.boundary == BOUNDARIES.index("opened")]
            self._open_services.update(opened.connection_id[selection.of_services(opened)].tolist())
            wanted &= np.isin(segments.connection_id, np.fromiter(self._open_services, np.int64))
            self._open_services.difference_update(tracked.connections.connection_id.tolist())
        return segments[wanted]


def seed() -> int:
    """Give a number that nobody knows beforehand."""
    return int.from_bytes(os.urandom(8))
