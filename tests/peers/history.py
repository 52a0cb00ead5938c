"""What the frames of a connection prove of each other, worked out the slow and obvious way.

Here stand the facts that explanations rest on: which of a segment's bytes had been captured before, how far its sender
had come, what its receiver had acknowledged. They come from the headers alone and share nothing with the room that
they judge, except which frames form a connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.peers.ours import Segment
from tests.peers.tshark import ACK, FIN, RST, SYN

NS_PER_MS = 1_000_000


@dataclass
class Side:
    """What is known of one sender so far; positions are unwrapped sequence numbers."""

    near: int | None = None
    first: int | None = None
    reach: int | None = None
    acked: int | None = None
    fin: int | None = None
    syn: int | None = None
    window: int | None = None
    ranges: list[tuple[int, int]] = field(default_factory=list)
    earlier: list[Segment] = field(default_factory=list)
    has_copies: bool = False


@dataclass(slots=True)
class Facts:
    """What the frames before it say of one segment.

    Attributes
    ----------
    copy_of : int
        An earlier frame with the same headers, within 1 ms, or within 100 ms on another interface, with an
        identification, or as a SYN or the only answer to one, which nobody sends again so soon; 0 if there is none.
    begin, end : int
        Its payload.
    old : int
        How many of its bytes had been captured before.
    first, reach : int or None
        Where its sender's stream begins, and how far it had come: sent or acknowledged.
    data_end : int
        Where the last byte captured so far ends.
    acked : int or None
        How far its receiver had acknowledged.
    acks : int or None
        What it acknowledges of the other side's stream.
    fin, syn : int or None
        Where its sender's FIN and SYN had been captured before.
    peer_window : int or None
        The window its receiver offered last, unscaled.
    """

    copy_of: int
    begin: int
    end: int
    old: int
    first: int | None
    reach: int | None
    data_end: int
    acked: int | None
    acks: int | None
    fin: int | None
    syn: int | None
    peer_window: int | None


def facts_of(segments: Iterable[Segment]) -> tuple[dict[int, Facts], tuple[Side, Side]]:
    """Give the facts of each segment of one connection, by frame number, and what is known of both sides at its end."""
    sides = (Side(), Side())
    facts: dict[int, Facts] = {}
    for s in segments:
        facts[s.frame] = _look(sides[s.direction], sides[1 - s.direction], s)
        if not facts[s.frame].copy_of:
            _note(sides[s.direction], sides[1 - s.direction], s, facts[s.frame])
        sides[s.direction].has_copies |= facts[s.frame].copy_of > 0
    return facts, sides


def _look(side: Side, peer: Side, s: Segment) -> Facts:
    begin = _near(side, s.sequence + (s.flags >> 1 & 1))
    end = begin + s.payload
    return Facts(
        copy_of=_copy_of(side, peer, s),
        begin=begin,
        end=end,
        old=s.payload - sum(stop - start for start, stop in _missing(side.ranges, begin, end)),
        first=side.first,
        reach=side.reach,
        data_end=max([stop for _, stop in side.ranges], default=begin),
        acked=side.acked,
        acks=_near(peer, s.acknowledgment) if s.flags & ACK else None,
        fin=side.fin,
        syn=side.syn,
        peer_window=peer.window,
    )


def _note(side: Side, peer: Side, s: Segment, facts: Facts) -> None:
    side.earlier.append(s)
    if s.flags & RST or not s.is_placed:
        return
    side.near = facts.begin
    if s.flags & SYN and side.syn is None:
        side.syn = facts.begin - 1
        side.first = facts.begin
    if side.first is None:
        side.first = facts.begin
    side.reach = facts.end if side.reach is None else max(side.reach, facts.end)
    if s.payload and s.kind not in ("keep_alive", "zero_window_probe"):
        side.ranges += _missing(side.ranges, facts.begin, facts.end)
    if s.flags & FIN and side.fin is None and facts.end >= max(facts.data_end, side.first):
        side.fin = facts.end
    side.window = s.window
    if s.flags & ACK:
        acked = _near(peer, s.acknowledgment)
        peer.near = acked if peer.near is None else peer.near
        peer.first = acked if peer.first is None else peer.first
        peer.acked = acked if peer.acked is None else max(peer.acked, acked)
        peer.reach = acked if peer.reach is None else max(peer.reach, acked)


def _near(side: Side, number: int) -> int:
    """Unwrap a sequence number near those seen before."""
    if side.near is None:
        return number
    return side.near + (number - side.near + 2**31) % 2**32 - 2**31


def _missing(ranges: list[tuple[int, int]], begin: int, end: int) -> list[tuple[int, int]]:
    """The parts of [begin, end) that lie in none of the ranges."""
    parts = [(begin, end)] if end > begin else []
    for start, stop in ranges:
        parts = [
            piece
            for left, right in parts
            for piece in ((left, min(right, start)), (max(left, stop), right))
            if piece[0] < piece[1]
        ]
    return parts


def _copy_of(side: Side, peer: Side, s: Segment) -> int:
    is_only = sum(o.flags & SYN for o in peer.earlier) <= SYN or side.has_copies or peer.has_copies
    for other in reversed(side.earlier):
        same = (other.sequence, other.acknowledgment, other.flags, other.window, other.payload, other.marks) == (
            s.sequence, s.acknowledgment, s.flags, s.window, s.payload, s.marks
        )  # fmt: skip
        apart = abs(s.time_ns - other.time_ns)
        is_itself = s.interface != other.interface or s.marks[0] or (s.flags & SYN and is_only)
        if same and (apart <= NS_PER_MS or (is_itself and apart <= 100 * NS_PER_MS)):
            return other.frame
    return 0
