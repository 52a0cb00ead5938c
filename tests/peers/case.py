"""A capture, as a peer and as tcpsight read it, and the differences between the two."""

from __future__ import annotations

from collections import defaultdict
from functools import cached_property
from typing import Any, NamedTuple

from tcpsight.tables import DIRECTIONS
from tests.peers.exchanges import Answer
from tests.peers.history import Facts, Side, facts_of
from tests.peers.network import Mark
from tests.peers.ours import Reading, Segment
from tests.peers.tcptrace import Conversation
from tests.peers.tshark import ACK, RST, SYN, Frame

# What tshark says in more words.
SAME_KIND = {"spurious": "retransmission", "fast": "retransmission"}
CAUSES_TOLD = {"spurious": "spurious", "fast": "fast", "retransmission": "other"}
# What tcpsight says in more words.
SAME_CAUSE = {"spurious": "spurious", "fast": "fast", "timeout": "other", "tail_loss_probe": "other"}


class Difference(NamedTuple):
    """One thing that a peer and tcpsight say differently.

    `connection` is the peer's number of it and `frame` where to look; 0 where there is none.
    """

    capture: str
    peer: str
    what: str
    connection: int
    frame: int
    theirs: str
    ours: str


class Case:
    """A capture with tshark's words on it and ours."""

    def __init__(self, name: str, theirs: dict[int, Frame], unread: dict[int, Frame], reading: Reading) -> None:
        self.name = name
        self.theirs = theirs
        self.unread = unread
        self.reading = reading
        self.ours = reading.segments
        self.fates: dict[int, str] = {}
        self.conversations: dict[int, Conversation] = {}
        self.printed: dict[int, Conversation] = {}
        self.answers: dict[int, Answer] = {}
        self._segments: dict[int, list[Segment]] = {}
        self._originals: dict[int, list[Segment]] = {}
        self._histories: dict[int, tuple[dict[int, Facts], tuple[Side, Side]]] = {}

    def connection_of(self, frame: int) -> int:
        """The number of the connection that counts this frame.

        A SYN that was held opens a connection with its own number, whatever was known when its row was given.
        """
        return frame if frame in self.reading.connections else self.ours[frame].connection

    @cached_property
    def streams(self) -> dict[int, list[int]]:
        """tshark's connections: the frames that both have, by its stream number."""
        return _grouped((frame.stream, number) for number, frame in self.theirs.items() if number in self.ours)

    @cached_property
    def by_connection(self) -> dict[int, list[int]]:
        """Our connections: all their frames."""
        return _grouped((self.connection_of(number), number) for number in self.ours)

    @cached_property
    def shared(self) -> dict[int, list[int]]:
        """Our connections: the frames that both have."""
        return _grouped((self.connection_of(n), n) for n in self.ours if n in self.theirs)

    def mark(self, frame: int) -> Mark:
        """What this frame counts for in Network."""
        return self.reading.marks.get(frame, Mark())

    def facts(self, frame: int) -> Facts:
        """What the frames of its connection prove of this one."""
        return self._history(self.connection_of(frame))[0][frame]

    def side(self, frame: int) -> Side:
        """What is known at the end of the connection about this frame's sender."""
        return self._history(self.connection_of(frame))[1][self.ours[frame].direction]

    def segments(self, frame: int) -> list[Segment]:
        """The segments of this frame's connection."""
        connection = self.connection_of(frame)
        if connection not in self._segments:
            self._segments[connection] = [self.ours[n] for n in self.by_connection[connection]]
        return self._segments[connection]

    def without_copies(self, frame: int) -> list[Segment]:
        """The segments of this frame's connection that are no copies of earlier ones."""
        connection = self.connection_of(frame)
        if connection not in self._originals:
            self._originals[connection] = [s for s in self.segments(frame) if not self.facts(s.frame).copy_of]
        return self._originals[connection]

    def _history(self, connection: int) -> tuple[dict[int, Facts], tuple[Side, Side]]:
        if connection not in self._histories:
            self._histories[connection] = facts_of(self.ours[n] for n in self.by_connection[connection])
        return self._histories[connection]


def _grouped(pairs: Any) -> dict[int, list[int]]:
    grouped: dict[int, list[int]] = defaultdict(list)
    for key, number in pairs:
        grouped[key].append(number)
    return grouped


def differences_with_tshark(case: Case) -> list[Difference]:
    """Compare everything that tshark says of a capture."""
    if case.reading.stopped and not case.reading.frames:
        found = f"{len(case.theirs)} TCP frames"
        return [Difference(case.name, "tshark", "capture", 0, 0, found, "refused")]
    return [
        *_frames(case),
        *_endpoints(case),
        *_lengths(case),
        *_connections(case),
        *_bytes(case),
        *_handshakes(case),
        *_kinds(case),
        *_marks(case),
        *_causes(case),
    ]


def _differ(case: Case, what: str, frame: int, theirs: object, ours: object) -> Difference:
    stream = case.theirs[frame].stream if frame in case.theirs else 0
    return Difference(case.name, "tshark", what, stream, frame, str(theirs), str(ours))


def _frames(case: Case) -> list[Difference]:
    """Frames with TCP."""
    missing = [
        _differ(case, "frame", n, "TCP", case.fates.get(n, "not read")) for n in case.theirs if n not in case.ours
    ]
    extra = [_differ(case, "frame", n, "no TCP", "TCP") for n in case.ours if n not in case.theirs]
    return missing + extra


def _endpoints(case: Case) -> list[Difference]:
    """Addresses and ports."""
    return [
        _differ(case, "endpoints", n, _ends(case.theirs[n]), _ends(case.ours[n]))
        for n in _both(case)
        if _ends(case.theirs[n]) != _ends(case.ours[n])
    ]


def _ends(one: Frame | Segment) -> str:
    return "{}:{} > {}:{}".format(*one.source, *one.destination)


def _both(case: Case) -> list[int]:
    return [n for n in case.theirs if n in case.ours]


def _lengths(case: Case) -> list[Difference]:
    """Payload, by the IP header."""
    return [
        _differ(case, "payload", n, case.theirs[n].length, case.ours[n].payload)
        for n in _both(case)
        if case.theirs[n].length != case.ours[n].payload
    ]


def _connections(case: Case) -> list[Difference]:
    """The set of connections: which frames belong together."""
    found = []
    for frames in case.streams.values():
        mine: dict[int, int] = defaultdict(int)
        for n in frames:
            mine[case.connection_of(n)] += 1
        if len(mine) > 1 or len(case.shared[case.connection_of(frames[0])]) != len(frames):
            ours = "+".join(f"{count} of {len(case.shared[key])}" for key, count in mine.items())
            found.append(_differ(case, "connection", frames[0], f"{len(frames)} frames", f"{ours} frames"))
    return found


def same_connections(case: Case) -> list[tuple[list[int], Any]]:
    """The connections of which both have the same frames: those frames, and our row."""
    return [
        (frames, case.reading.connections[case.connection_of(frames[0])])
        for frames in case.streams.values()
        if frames == case.shared[case.connection_of(frames[0])]
    ]


def _bytes(case: Case) -> list[Difference]:
    """Bytes of each stream that were captured, once each."""
    found = []
    for frames, row in same_connections(case):
        pieces: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for n in frames:
            theirs = case.theirs[n]
            if theirs.kind not in ("keep_alive", "zero_window_probe") and not theirs.flags & RST:
                pieces[case.ours[n].direction].append((theirs.beginning, theirs.length))
        for direction, who in enumerate(DIRECTIONS):
            theirs_bytes = union(pieces[direction])
            ours_bytes = captured_bytes(case, frames, row, direction)
            if theirs_bytes != ours_bytes:
                found.append(_differ(case, f"{who} bytes", frames[0], theirs_bytes, ours_bytes))
    return found


def captured_bytes(case: Case, frames: list[int], row: Any, direction: int) -> int:
    """Give our bytes of a stream less those that were never captured; nothing tells these after a gap beyond 2 GiB."""
    who = DIRECTIONS[direction]
    if row[f"{who}_gap_bytes"] >= 0:
        return int(row[f"{who}_bytes"]) - int(row[f"{who}_gap_bytes"])
    return sum(case.ours[n].new_bytes for n in frames if case.ours[n].direction == direction)


def union(pieces: list[tuple[int, int]]) -> int:
    """Count the bytes of tshark's ranges (where they begin modulo 2³², length) from the first byte of its stream on."""
    spans: list[tuple[int, int]] = []
    near = pieces[0][0] if pieces else 0
    for start, length in pieces:
        near += (start - near + 2**31) % 2**32 - 2**31
        if near + length > 1:
            spans.append((max(near, 1), near + length))
    total, reach = 0, None
    for start, stop in sorted(spans):
        total += stop - start if reach is None or start > reach else max(0, stop - reach)
        reach = stop if reach is None else max(reach, stop)
    return total


def _handshakes(case: Case) -> list[Difference]:
    """Round trips of the handshake."""
    found = []
    for frames, row in same_connections(case):
        theirs = [case.theirs[n] for n in frames]
        syn_acks = {f.number for f in theirs if f.flags & (SYN | ACK | RST) == SYN | ACK}
        connect = next((f.initial_rtt_ns for f in theirs if f.initial_rtt_ns >= 0), -1)
        server = next((f.ack_rtt_ns for f in theirs if f.number in syn_acks and f.ack_rtt_ns >= 0), -1)
        client = next((f.ack_rtt_ns for f in theirs if f.acks_frame in syn_acks and f.ack_rtt_ns >= 0), -1)
        pairs = {
            "connect": (connect, int(row["connect_ns"])),
            "server round trip": (server, int(row["server_handshake_rtt_ns"])),
            "client round trip": (client, int(row["client_handshake_rtt_ns"])),
        }
        found += [_differ(case, what, frames[0], *pair) for what, pair in pairs.items() if pair[0] != pair[1]]
    return found


def _kinds(case: Case) -> list[Difference]:
    """What each segment is."""
    found = []
    for n in _both(case):
        theirs, ours = case.theirs[n], case.ours[n]
        if SAME_KIND.get(theirs.kind, theirs.kind) != ours.kind:
            found.append(_differ(case, "kind", n, theirs.kind, ours.kind))
    return found


def _marks(case: Case) -> list[Difference]:
    """What each segment counts for, and the round trip that its acknowledgment gives; −1 if none."""
    found = []
    for n in _both(case):
        theirs, ours = case.theirs[n], case.mark(n)
        pairs = {
            "zero window": (theirs.is_zero_window, ours.is_zero_window),
            "window full": (theirs.fills_window, ours.fills_window),
            "duplicate ack": (theirs.is_duplicate_ack, ours.is_duplicate_ack),
            "round trip": (theirs.ack_rtt_ns, ours.round_trip_ns),
        }
        found += [_differ(case, what, n, *pair) for what, pair in pairs.items() if pair[0] != pair[1]]
    return found


def is_caused(case: Case, frame: int) -> bool:
    """Whether both say that it was sent again, and so why."""
    return case.theirs[frame].kind in CAUSES_TOLD and case.ours[frame].kind == "retransmission"


def _causes(case: Case) -> list[Difference]:
    """Why a segment was sent again."""
    found = []
    for n in _both(case):
        if is_caused(case, n):
            theirs, ours = CAUSES_TOLD[case.theirs[n].kind], SAME_CAUSE[case.mark(n).cause]
            if theirs != ours:
                found.append(_differ(case, "cause", n, theirs, ours))
    return found
