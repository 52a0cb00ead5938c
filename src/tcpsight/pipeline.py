"""The order: frames → headers → segments → requests. The only place that knows which room follows which.

Theory of operation
-------------------
`Pipeline` pulls batches of frames from a capture, pushes each through the rooms, and yields what became final, as
views that are valid until the next batch. When the capture ends, or breaks, it ends every room and yields the
rest; a break is kept in `broken` for the caller to report after the rows before it have been used.

Rows are selected here, after the rooms: state is built from all frames whatever the selection.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from tcpsight.batches import NOWHERE, Batch, Keep, Options, Positions
from tcpsight.connections import ConnectionTracking, Server, Tracked
from tcpsight.connections.stream_index import StreamIndexing
from tcpsight.decode import Decoding
from tcpsight.errors import CaptureError
from tcpsight.model.silences import Silences
from tcpsight.network import (
    Accounted,
    NetworkMeasuring,
    PolicingDetection,
    RequestMatching,
    TimeAccounting,
    agree_on_times,
    fill,
    forget_unseen,
)
from tcpsight.requests import Paired, RequestPairing
from tcpsight.segment_details import details
from tcpsight.selection import of_ports, without
from tcpsight.tables import (
    BOUNDARIES,
    ConnectionAccounts,
    Connections,
    Frames,
    Headers,
    Network,
    Pieces,
    Policed,
    RequestAccounts,
    Requests,
    SegmentDetails,
    Streams,
    Unanswered,
    UnseenCounter,
)

if TYPE_CHECKING:
    from tcpsight.capture.link_offset import Passing

__all__ = ["Batch", "Keep", "Options", "Pipeline"]

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
    silences : Silences
        When nothing at all was captured; kept where `Network` is wanted.
    """

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
        self._capture = capture
        self._open_services: set[int] = set()
        self._filter = frame_filter
        self._keep = keep
        self._indexing = StreamIndexing()
        self._decoding = Decoding(self.options.pairs)
        self._tracking = ConnectionTracking(
            self.options.selection.servers,
            self.options.timeouts,
            most=self.options.most_connections,
            hash_seed=secrets.randbits(64),
        )
        self._measuring = NetworkMeasuring() if self.options.with_network else None
        self._policing = PolicingDetection() if self.options.with_policing else None
        self._pairing = RequestPairing(
            self.options.start, self.options.end, by=self.options.by, given_at=self.options.given_at
        )
        self._accounting = TimeAccounting(with_requests=self.options.account == "requests")
        self._matching = RequestMatching()

    @property
    def span(self) -> tuple[int, int] | None:
        """First and last segment of the capture, cut to the wanted time; None where that is empty."""
        if self.first_ns is None or self.last_ns is None:
            return None
        return self.options.selection.span(self.first_ns, self.last_ns)

    @property
    def opened(self) -> int:
        """How many requests, answered or not, have begun so far."""
        return self._pairing.opened

    def open_network(self, connections: Connections) -> Network:
        """Give what the network did so far to each direction of open connections, two rows for each.

        Parameters
        ----------
        connections : Connections
            Some of `open_connections`, in their order; empty tables where the network is not measured.
        """
        if self._measuring is None:
            return Network()
        network = self._measuring.snapshot()
        network = network[np.isin(network.connection_id, connections.connection_id)]
        agree_on_times(network, connections)
        forget_unseen(network, connections)
        return network

    @property
    def open_count(self) -> int:
        """How many connections are open now."""
        return self._tracking.open_connections

    @property
    def joined_fragments(self) -> int:
        """How many frames gave no segment of their own, but are part of one that came in fragments."""
        return self._decoding.joined_fragments

    @property
    def unseen(self) -> UnseenCounter:
        """What was not understood so far, by all rooms."""
        total = UnseenCounter()
        for room in (self._capture, self._decoding, self._tracking, self._pairing):
            total.merge(room.unseen)  # type: ignore[union-attr]
        return total

    def __iter__(self) -> Iterator[Batch]:
        try:
            for captured in self._capture:
                yield from self.feed(captured)
        except CaptureError as error:
            # Without the frames that it passed through: they would keep their buffers.
            self.broken = error.with_traceback(None)
        yield from self.finish()

    def feed(self, captured: Frames) -> Iterator[Batch]:
        """Push the next frames through the rooms; give what became final, which must be taken to its end."""
        self.frames += len(captured)
        if self.options.with_network:
            self.silences.feed(captured.time_ns)
        frames = captured if self._filter is None else self._filter.apply(captured)
        headers = self._decoding.feed(frames)
        if self.options.ports:
            headers = headers[of_ports(headers, self.options.ports)]
        self.segments += len(headers)
        kept = NOWHERE
        if self._keep is not None:
            kept = self._keep(frames, headers, self._decoding.payload_positions(frames, headers))
        yield from self._batches(headers, self._tracking.feed(headers), kept)

    def finish(self) -> Iterator[Batch]:
        """End every room; give the rest."""
        self._decoding.finish()
        yield from self._batches(Headers(), self._tracking.finish(), NOWHERE)

    def waiting(self, until_ns: int) -> Unanswered:
        """Give the requests that wait for their answer now, as if the capture ended at `until_ns`, by slot."""
        waiting = self._pairing.waiting(until_ns)[0]
        return waiting[self.options.selection.of_services(waiting)]

    def open_connections(self, until_ns: int) -> Connections:
        """Give the connections that are open now as they would be if the capture ended at `until_ns`, by slot.

        Columns of the time account are null, and so is the Community ID.
        """
        connections = self._tracking.snapshot()
        waiting, counts = self._pairing.waiting(until_ns)
        _complete(connections, Paired(Requests(), waiting, counts), ConnectionAccounts())
        return connections[self.options.selection.of_services(connections)]

    def _batches(self, headers: Headers, tracked: Tracked, kept: Positions) -> Iterator[Batch]:
        """Give what headers became, in as many parts as tracking makes of it."""
        begin = 0
        while True:
            end = begin + len(tracked.segments)
            yield self._batch(headers[begin:end], tracked, kept[begin:end])
            if tracked.is_whole:
                return
            begin, tracked = end, self._tracking.more()

    def _batch(self, headers: Headers, tracked: Tracked, kept: Positions) -> Batch:
        paired = self._pairing.feed(tracked.segments, tracked.boundaries, headers)
        connections = tracked.connections
        accounted = self._accounted(headers, tracked)
        if self.options.account == "requests":
            paired = paired._replace(requests=self._matching.feed(paired.requests, accounted))
        if self.options.leave_out:
            paired = without(paired, self.options.leave_out)
        if len(connections):
            _complete(connections, paired, accounted.connections)
            first, last = int(connections.start_ns.min()), int(connections.end_ns.max())
            self.first_ns = first if self.first_ns is None else min(self.first_ns, first)
            self.last_ns = last if self.last_ns is None else max(self.last_ns, last)
        segments = details(headers, tracked) if self.options.with_segments else SegmentDetails()
        network, policed = Network(), Policed()
        if self._measuring is not None:
            network = self._measuring.feed(tracked.segments, headers, tracked.boundaries)
            agree_on_times(network, connections)
            forget_unseen(network, connections)
        if self._policing is not None:
            policed = self._policing.feed(tracked.segments, headers, tracked.boundaries)
        index: tuple[Pieces, Streams] = (Pieces(), Streams())
        if self._keep is not None:
            index = self._indexing.feed(headers, tracked, kept)
        if self.options.selection.is_everything:
            self.selected += len(connections)
            whole = paired.requests, paired.unanswered
            return Batch(*whole, connections, segments, *whole, headers, kept, *index, network, policed, *whole)
        return self._selected(paired, tracked, (network, policed), segments)._replace(
            headers=headers, kept=kept, pieces=index[0], streams=index[1]
        )

    def _accounted(self, headers: Headers, tracked: Tracked) -> Accounted:
        if self.options.account == "none":
            return Accounted(ConnectionAccounts(), RequestAccounts())
        return self._accounting.feed(tracked.segments, headers, tracked.boundaries, tracked.connections)

    def _selected(
        self, paired: Paired, tracked: Tracked, measured: tuple[Network, Policed], segments: SegmentDetails
    ) -> Batch:
        selection = self.options.selection
        requests, unanswered, connections = paired.requests, paired.unanswered, tracked.connections
        network, policed = measured
        if self.selected == 0:
            self._remember_services(connections)
        is_wanted = selection.of_services(connections) & selection.of_time(connections.start_ns, connections.end_ns)
        connections = connections[is_wanted]
        self.selected += len(connections)
        return Batch(
            requests[selection.of_arrivals(requests)],
            unanswered[selection.of_arrivals(unanswered)],
            connections,
            self._selected_segments(segments, tracked),
            requests[selection.of_residents(requests, requests.completion_ns)],
            unanswered[selection.of_residents(unanswered, unanswered.end_ns)],
            Headers(),
            NOWHERE,
            Pieces(),
            Streams(),
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
        if not self.options.with_segments:
            return segments
        selection, boundaries = self.options.selection, tracked.boundaries
        wanted = selection.of_time(segments.time_ns, segments.time_ns)
        if selection.servers:
            opened = boundaries[boundaries.boundary == BOUNDARIES.index("opened")]
            self._open_services.update(opened.connection_id[selection.of_services(opened)].tolist())
            wanted &= np.isin(segments.connection_id, np.fromiter(self._open_services, np.int64))
            self._open_services.difference_update(tracked.connections.connection_id.tolist())
        return segments[wanted]


def _complete(connections: Connections, paired: Paired, accounts: ConnectionAccounts) -> None:
    """Fill the columns of ended connections that later rooms counted; no account: its columns are null."""
    counts = paired.counts
    for name in ("requests", "unanswered", "unsolicited_bytes", "is_farewell"):
        connections.rows[name] = counts.rows[name]
    fill(connections, accounts)
