"""What tcpsight's network room says of a capture, frame by frame.

The room gives sums of each direction. Its slow twin keeps whatever it says of each segment, and its rows must be the
room's for each connection: so what the twin says of a frame is what the room's sums are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tcpsight.connections import Tracked
from tcpsight.network import NetworkMeasuring
from tcpsight.tables import Headers
from tests.reference.network.measuring import Conversation, Row, Side, Twin
from tests.reference.network.test_measuring import compare, events_of


@dataclass(slots=True)
class Mark:
    """What one segment is, or does, in the eyes of the room.

    Attributes
    ----------
    is_duplicate_ack, fills_window, is_zero_window : bool
        Whether it counts in these columns.
    round_trip_ns : int
        The round trip that its acknowledgment gives; −1 if none.
    cause : str
        Why it was sent again; empty if it was not.
    """

    is_duplicate_ack: bool = False
    fills_window: bool = False
    is_zero_window: bool = False
    round_trip_ns: int = -1
    cause: str = ""


COUNTS = {"duplicate_acks": "is_duplicate_ack", "window_full": "fills_window", "zero_windows": "is_zero_window"}


class Watched(Conversation):
    """A conversation of the twin that says of each frame what it counts for."""

    def __init__(self, opened: Row) -> None:
        super().__init__(opened)
        self.marks: dict[int, Mark] = {}
        self.sent_again: tuple[list[int], list[int]] = ([], [])
        """Frames, in the order of `Side.causes`."""

    def take(self, s: Row) -> None:
        """Take a segment, and see what it changes."""
        own, peer = self.sides[s["direction"]], self.sides[1 - s["direction"]]
        before = {name: own.counts.get(name, 0) for name in (*COUNTS, "retransmissions")}
        timed = len(peer.clean), len(peer.delayed)
        super().take(s)
        mark = self.marks[s["frame_number"]] = Mark()
        for name, attribute in COUNTS.items():
            setattr(mark, attribute, own.counts.get(name, 0) > before[name])
        mark.round_trip_ns = _newest(peer, timed)
        if own.counts.get("retransmissions", 0) > before["retransmissions"]:
            self.sent_again[s["direction"]].append(s["frame_number"])

    def rows(self) -> list[Row]:
        """Give the rows; by now it is known which retransmissions were needed."""
        for side, frames in zip(self.sides, self.sent_again, strict=True):
            for frame, cause in zip(frames, side.causes, strict=True):
                self.marks[frame].cause = cause
        return super().rows()


def _newest(side: Side, timed: tuple[int, int]) -> int:
    both = zip((side.clean, side.delayed), timed, strict=True)
    return next((values[-1] for values, n in both if len(values) > n), -1)


class Watching:
    """Measures a capture, and watches the twin do so."""

    def __init__(self) -> None:
        self.measuring = NetworkMeasuring()
        self.marks: dict[int, Mark] = {}
        self.rows: dict[tuple[int, int], Any] = {}
        self._twin = Twin(Watched)

    def take(self, tracked: Tracked, headers: Headers) -> None:
        """Take a batch: what became of these headers."""
        segments, boundaries = tracked.segments, tracked.boundaries
        network = self.measuring.feed(segments, headers, boundaries).copy()
        self.rows |= {(int(row["connection_id"]), int(row["direction"])): row for row in network.rows}
        open_ones = self._twin.open
        for event in events_of(segments, headers, boundaries):
            ended = open_ones.get(event["connection_id"]) if "boundary" in event else None
            self._twin.take([event])
            if isinstance(ended, Watched):
                self.marks |= ended.marks
        compare(network, self._twin.network)
        self._twin.network.clear()
