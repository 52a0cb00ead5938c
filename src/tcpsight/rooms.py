"""The rooms that keep state of connections: from headers and their segments to what is final of all of it.

One `Rooms` follows all connections of a capture, or those of some shares of them: nothing in it knows of others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from tcpsight.batches import Options
from tcpsight.connections import ConnectionTracking, Tracked
from tcpsight.connections.tracking import Among, Slots
from tcpsight.network import (
    Accounted,
    NetworkMeasuring,
    Placing,
    RequestMatching,
    TimeAccounting,
    agree_on_times,
    fill,
    see_from_there,
)
from tcpsight.requests import Paired, RequestPairing
from tcpsight.selection import without
from tcpsight.tables import (
    ConnectionAccounts,
    Connections,
    Headers,
    Network,
    Policed,
    RequestAccounts,
    RequestCounts,
    Requests,
    Unanswered,
    UnseenCounter,
)

if TYPE_CHECKING:
    from tcpsight.network.policing import PolicingDetection


NOTHING_PAIRED = Paired(Requests(), Unanswered(), RequestCounts())
"""What is given where requests are not wanted."""


class Made(NamedTuple):
    """What became final; each table is valid until the next call."""

    requests: Requests
    unanswered: Unanswered
    connections: Connections
    network: Network
    policed: Policed


class Rooms:
    """Track connections, pair their requests, measure their network.

    Parameters
    ----------
    options : Options
        What is wanted.
    hash_seed, blocks : int
        See `ConnectionTracking`.

    Attributes
    ----------
    tracking, pairing, measuring
        Rooms that may be asked for what is still open; `measuring` is None where the network is not wanted.
    """

    def __init__(self, options: Options, hash_seed: int, *, blocks: int = 1) -> None:
        self.tracking = ConnectionTracking(
            options.selection.servers,
            options.timeouts,
            most=options.most_connections,
            hash_seed=hash_seed,
            blocks=blocks,
        )
        self.pairing = RequestPairing(options.start, options.end, by=options.by, given_at=options.given_at)
        self.measuring = NetworkMeasuring() if options.with_network else None
        self._options = options
        self._policing = _policing_detection() if options.with_policing else None
        self._accounting = (
            Placing() if options.account == "places" else TimeAccounting(with_requests=options.account == "requests")
        )
        self._matching = RequestMatching()

    @property
    def unseen(self) -> tuple[UnseenCounter, ...]:
        """What was not understood so far, room by room."""
        return self.tracking.unseen, self.pairing.unseen

    @property
    def waiting_accounts(self) -> RequestAccounts:
        """Accounts of requests that have not come yet."""
        return self._matching.waiting

    def take_waiting_accounts(self, rows: RequestAccounts) -> None:
        """Take what `waiting_accounts` gave."""
        self._matching.waiting = rows

    def carried(self, slots: Slots) -> list[bytes]:
        """Give what all rooms know of the connections in some slots of `ConnectionTracking.slots`, room by room."""
        assert isinstance(self._accounting, TimeAccounting)
        return [
            self.tracking.carried(slots),
            self.pairing.carried(slots),
            *self._accounting.carried(slots),
            b"" if self.measuring is None else self.measuring.carried(slots),
            b"" if self._policing is None else self._policing.carried(slots),
        ]

    def restore(self, carried: list[bytes], count: int, most_id: int, first: int) -> None:
        """Let so many connections be open as `carried` gave them, in the next slots, of which this is the first.

        Raises
        ------
        ValueError
            Something is wrong with them, or a number is above `most_id`: these rooms are of no use any more.
        """
        assert isinstance(self._accounting, TimeAccounting)
        tracked, paired, slots, turns, measured, logged = carried
        numbers = self.tracking.restore(tracked, count, most_id)
        self.pairing.restore(paired, numbers, first)
        self._accounting.restore((slots, turns), numbers, first)
        if self.measuring is not None:
            self.measuring.restore(measured, numbers)
        if self._policing is not None:
            self._policing.restore(logged, numbers)

    def feed(self, headers: Headers, among: Among | None = None) -> Iterator[tuple[Headers, Tracked]]:
        """Track the next headers; give them with what they became, in as many parts as tracking makes of it.

        `make` must be given each part before the next is asked for.
        """
        yield from self._parts(headers, self.tracking.feed(headers, among))

    def finish(self) -> Iterator[tuple[Headers, Tracked]]:
        """End every connection; parts as of `feed`."""
        yield from self._parts(Headers(), self.tracking.finish())

    def _parts(self, headers: Headers, tracked: Tracked) -> Iterator[tuple[Headers, Tracked]]:
        begin = 0
        while True:
            end = begin + len(tracked.segments)
            yield headers[begin:end], tracked
            if tracked.is_whole:
                return
            begin, tracked = end, self.tracking.more()

    def make(self, headers: Headers, tracked: Tracked) -> Made:
        """Push the next segments through the rooms behind tracking."""
        return self.put_together(headers, tracked, *self.measure(headers, tracked))

    def measure(self, headers: Headers, tracked: Tracked) -> tuple[Network, Policed]:
        """Push the next segments through the rooms of the network; nothing else knows what they know."""
        network, policed = Network(), Policed()
        if self.measuring is not None:
            network = self.measuring.feed(tracked.segments, headers, tracked.boundaries, tracked.steps)
        if self._policing is not None:
            policed = self._policing.feed(tracked.segments, headers, tracked.boundaries)
        return network, policed

    def put_together(self, headers: Headers, tracked: Tracked, network: Network, policed: Policed) -> Made:
        """Push the next segments through the other rooms, and complete what was measured of the network."""
        paired = NOTHING_PAIRED
        if self._options.with_requests:
            paired = self.pairing.feed(tracked.segments, tracked.boundaries, headers)
        connections = tracked.connections
        accounted = self._accounted(headers, tracked)
        if self._options.account == "requests":
            paired = paired._replace(requests=self._matching.feed(paired.requests, accounted))
        if self._options.leave_out:
            paired = without(paired, self._options.leave_out)
        if len(connections):
            complete(connections, paired, accounted.connections)
        if len(network):
            agree_on_times(network, connections)
            see_from_there(network, connections)
        return Made(paired.requests, paired.unanswered, connections, network, policed)

    def _accounted(self, headers: Headers, tracked: Tracked) -> Accounted:
        if self._options.account == "none":
            return Accounted(ConnectionAccounts(), RequestAccounts())
        return self._accounting.feed(tracked.segments, headers, tracked.boundaries, tracked.connections)


def complete(connections: Connections, paired: Paired, accounts: ConnectionAccounts) -> None:
    """Fill the columns of ended connections that later rooms counted; no account: its columns are null."""
    counts = paired.counts
    for name in ("requests", "unanswered", "unsolicited_bytes", "is_farewell") if len(counts) else ():
        connections.rows[name] = counts.rows[name]
    fill(connections, accounts)


def _policing_detection() -> PolicingDetection:
    """Import it where it is wanted: it is larger than all else here."""
    from tcpsight.network.policing import PolicingDetection

    return PolicingDetection()
