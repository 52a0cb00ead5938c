"""Handshakes that their client left at a single SYN: kept until it is known whether it was merely slow, or a flood.

Theory of operation
-------------------
Handshakes that their client left at a single SYN are kept, for all services together: whether a client was merely
slow is known when the capture has ended. When there are `MOST_LONE` of them, those that lie close enough to others of
their service to be part of a flood are counted (`Crowd`), and only the latest stay: no flood is lost in others.

Memory: 40 B for each of at most `MOST_LONE` handshakes, twice that while they are sorted.

What it cannot see: of a flood the first handshakes, fewer than `FLOOD_HANDSHAKES`, if others are counted just then;
which addresses came again in handshakes that were counted at different times.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcpsight.model.finding_shapes import HANDSHAKING, SECOND, UNANSWERED, Array, Bools
from tcpsight.tables import Connections

MOST_LONE = 1 << 18
"""Handshakes left at a single SYN that are kept, of all services together."""

FLOOD_HANDSHAKES = 100
FLOOD_NS = 10 * SECOND
"""So many within this are a crowd: no service is left waiting so often by its clients."""

LATEST_NS = FLOOD_NS + 5 * SECOND
"""Handshakes of the last so long stay when others are counted: more may come to theirs."""

LONE = np.dtype(
    [
        ("service", np.int32),
        ("is_answered", np.bool_),
        ("start_ns", np.int64),
        ("connection_id", np.int64),
        ("client_address", "V16"),
    ]
)
"""A handshake that its client left at one SYN."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Handshakes of a service that lie close together in time, `FLOOD_HANDSHAKES` or more in each `FLOOD_NS`.

    Attributes
    ----------
    count, answered : int
        How many, and how many of them had an answer.
    addresses : int
        From how many addresses; those of two crowds that were added up count twice.
    start_ns, end_ns : int
        The first and the last SYN.
    shortest_ns : int
        The shortest time in which `FLOOD_HANDSHAKES` began.
    connection_id : int
        The first.
    """

    count: int
    answered: int
    addresses: int
    start_ns: int
    end_ns: int
    shortest_ns: int
    connection_id: int

    def __add__(self, other: Crowd) -> Crowd:
        return Crowd(
            self.count + other.count,
            self.answered + other.answered,
            self.addresses + other.addresses,
            min(self.start_ns, other.start_ns),
            max(self.end_ns, other.end_ns),
            min(self.shortest_ns, other.shortest_ns),
            self.connection_id,
        )


def crowd_of(rows: Array, before: Crowd | None = None) -> Crowd | None:
    """Find those of a service's lone handshakes that are part of a crowd, and add them to the one `before`."""
    rows = rows[np.argsort(rows["start_ns"], kind="stable")]
    times = rows["start_ns"]
    spans = times[FLOOD_HANDSHAKES - 1 :] - times[: max(len(times) - FLOOD_HANDSHAKES + 1, 0)]
    begins = np.flatnonzero(spans <= FLOOD_NS)
    change = np.zeros(len(rows) + FLOOD_HANDSHAKES, np.int64)
    np.add.at(change, begins, 1)
    np.add.at(change, begins + FLOOD_HANDSHAKES, -1)
    is_part = np.cumsum(change[: len(rows)]) > 0
    if before is not None:
        is_part |= (times >= before.start_ns) & (times <= before.end_ns + FLOOD_NS)
    rows = rows[is_part]
    if not len(rows):
        return before
    crowd = Crowd(
        len(rows),
        int(rows["is_answered"].sum()),
        len(np.unique(rows["client_address"])),
        int(rows["start_ns"][0]),
        int(rows["start_ns"][-1]),
        int(spans[begins].min(initial=FLOOD_NS)),
        int(rows["connection_id"][0]),
    )
    return crowd if before is None else before + crowd


class LoneHandshakes:
    """Keep them.

    Attributes
    ----------
    crowds : dict of int to Crowd
        Those that were counted, by the number of their service.
    """

    def __init__(self) -> None:
        self.crowds: dict[int, Crowd] = {}
        self._kept: list[Array] = []
        self._count = 0

    def by_service(self, services: int) -> tuple[Array, Array]:
        """Give the others sorted by service, and where those of each begin and end, shape (services + 1,)."""
        rows = np.concatenate([np.zeros(0, LONE), *self._kept])
        rows = rows[np.argsort(rows["service"], kind="stable")]
        return rows, np.searchsorted(rows["service"], np.arange(services + 1))

    def keep(self, place_of: Array, c: Connections) -> None:
        """Keep those of these connections, at services with these numbers (−1: not wanted)."""
        which = np.flatnonzero(is_lone(c) & (place_of >= 0))
        if not len(which):
            return
        rows = np.zeros(len(which), LONE)
        rows["service"] = place_of[which]
        rows["is_answered"] = c.state[which] == HANDSHAKING
        rows["start_ns"] = c.start_ns[which]
        rows["connection_id"] = c.connection_id[which]
        rows["client_address"] = np.ascontiguousarray(c.client_address[which]).view("V16").ravel()
        self._kept.append(rows)
        self._count += len(rows)
        if self._count >= MOST_LONE:
            self._count_crowds()

    def _count_crowds(self) -> None:
        """Count those that are part of a flood, and keep the latest only."""
        rows = np.concatenate(self._kept)
        is_latest = rows["start_ns"] > int(rows["start_ns"].max()) - LATEST_NS
        if is_latest.sum() > MOST_LONE // 2:  # a flood as large as that shows without its latest
            is_latest = np.zeros(len(rows), np.bool_)
            is_latest[-MOST_LONE // 8 :] = True
        past = rows[~is_latest]
        past = past[np.argsort(past["service"], kind="stable")]
        starts = np.flatnonzero(np.diff(past["service"], prepend=-1))
        for of_service in np.split(past, starts[1:]) if len(past) else ():
            place = int(of_service["service"][0])
            crowd = crowd_of(of_service, self.crowds.get(place))
            if crowd is not None:
                self.crowds[place] = crowd
        self._kept = [rows[is_latest]]
        self._count = len(self._kept[0])


def is_lone(c: Connections) -> Bools:
    """Tell where the client sent one SYN and nothing else."""
    is_lone: Bools = (
        ((c.state == UNANSWERED) | (c.state == HANDSHAKING)) & (c.connect_attempts == 1) & (c.client_segments == 1)
    )
    return is_lone
