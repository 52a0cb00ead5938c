"""What tcptrace said of a capture, and a model of the rules by which it came to say so.

tcptrace prints sums per connection and no frame numbers. The model applies its rules, as its documentation and
behaviour show them, to the headers of the capture; where the model's sums are tcptrace's to the last byte, what the
model says of a single frame is what tcptrace made of it, and a difference has a place to look at.

The rules that matter here: another connection begins after 4 minutes of silence, or at a SYN beyond the window after
a FIN or RST, or at a third SYN with another number. SYN and FIN take up a byte of the stream. Data on a RST counts.
While the receiver offers no window everything is a probe. A segment with any old byte is a retransmission. An
acknowledgment that ends where a run of numbers ends gives a round trip, if it is the first of that run, none of the run
was sent again, and nothing below it was sent later; a time that runs backwards is 0. Which acknowledgments it counts as
duplicates the model does not tell.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.peers.ours import Segment
from tests.peers.tshark import ACK, FIN, RST, SYN, Endpoint, normal

IDLE_NS = 240 * 10**9
QUADRANT = 2**30

PATTERNS = {
    "samples": r"RTT samples:\s+(\d+)\s+RTT samples:\s+(\d+)",
    "duplicate_acks": r"duplicate acks:\s+(\d+)\s+duplicate acks:\s+(\d+)",
    "segments": r"total packets:\s+(\d+)\s+total packets:\s+(\d+)",
    "unique": r"unique bytes sent:\s+(\d+)\s+unique bytes sent:\s+(\d+)",
    "retransmissions": r"rexmt data pkts:\s+(\d+)\s+rexmt data pkts:\s+(\d+)",
    "out_of_order": r"outoforder pkts:\s+(\d+)\s+outoforder pkts:\s+(\d+)",
    "probes": r"zwnd probe pkts:\s+(\d+)\s+zwnd probe pkts:\s+(\d+)",
    "shortest": r"RTT min:\s+(\S+) ms\s+RTT min:\s+(\S+) ms",
    "longest": r"RTT max:\s+(\S+) ms\s+RTT max:\s+(\S+) ms",
}


@dataclass
class Sums:
    """What is printed of one direction."""

    segments: int = 0
    unique: int = 0
    retransmissions: int = 0
    out_of_order: int = 0
    probes: int = 0


@dataclass
class Times:
    """What is printed of the round trips of one direction's data; durations in milliseconds."""

    samples: int = 0
    shortest: str = "0.0"
    longest: str = "0.0"


@dataclass
class Verdict:
    """What was made of one frame; `round_trip_us` is that of its acknowledgment, −1 if it gave none."""

    unique: int = 0
    kind: str = "new"
    round_trip_us: int = -1


@dataclass
class Conversation:
    """One connection as tcptrace has it: the side that was seen first, the other, and their sums."""

    number: int
    ends: tuple[Endpoint, Endpoint]
    sums: tuple[Sums, Sums] = field(default_factory=lambda: (Sums(), Sums()))
    times: tuple[Times, Times] = field(default_factory=lambda: (Times(), Times()))
    duplicate_acks: list[int] = field(default_factory=lambda: [0, 0])
    frames: dict[int, Verdict] = field(default_factory=dict)


def is_finished(output: str) -> bool:
    """Tell whether tcptrace came to the end of the capture."""
    return " packets seen, " in output


def conversations_of(output: str) -> Iterator[Conversation]:
    """Give the connections that tcptrace printed, in its order."""
    for part in re.split(r"^TCP connection (?=\d+:)", output, flags=re.M)[1:]:
        hosts = re.findall(r"host \S+\s+(\S+):(\d+)\s*$", part, flags=re.M)[:2]
        if len(hosts) < 2:
            continue
        one, other = ((normal(address), int(port)) for address, port in hosts)
        conversation = Conversation(int(part.split(":", 1)[0]), (one, other))
        for name, pattern in PATTERNS.items():
            found = re.search(pattern, part)
            for which, value in enumerate(found.groups() if found else ()):
                _set(conversation, which, name, value)
        yield conversation


def _set(conversation: Conversation, which: int, name: str, value: str) -> None:
    """Keep a printed number."""
    if name in ("shortest", "longest"):
        setattr(conversation.times[which], name, value)
    elif name == "samples":
        conversation.times[which].samples = int(value)
    elif name == "duplicate_acks":
        conversation.duplicate_acks[which] = int(value)
    else:
        setattr(conversation.sums[which], name, int(value))


# --- the model


@dataclass
class Piece:
    """A run of numbers that were sent together: when last, how often acknowledged, whether any of it was sent again."""

    begin: int
    end: int
    time_us: int
    acked: int = 0
    is_again: bool = False


@dataclass
class Direction:
    """What tcptrace remembers of one sender."""

    syns: int = 0
    fins: int = 0
    resets: int = 0
    syn: int = 0
    window_end: int = 0
    last_window: int | None = None
    segments: int = 0
    scale: int = -1
    quadrants: dict[int, list[Piece]] = field(default_factory=dict)
    round_trips_us: list[int] = field(default_factory=list)

    def times(self) -> Times:
        """What is printed: a minimum of 0 gives way to whatever comes later."""
        shortest = 0
        for each in self.round_trips_us:
            shortest = each if shortest == 0 or each < shortest else shortest
        longest = max(self.round_trips_us, default=0)
        return Times(len(self.round_trips_us), f"{shortest / 1000:.1f}", f"{longest / 1000:.1f}")


@dataclass
class State:
    """A connection of the model."""

    conversation: Conversation
    last_ns: int
    sides: tuple[Direction, Direction] = field(default_factory=lambda: (Direction(), Direction()))


def modelled(segments: Iterable[Segment]) -> list[Conversation]:
    """Give the connections that tcptrace makes of these segments."""
    conversations: list[Conversation] = []
    open_ones: dict[frozenset[Endpoint], State] = {}
    for s in segments:
        key = frozenset((s.source, s.destination))
        state = open_ones.get(key)
        if state is None or _is_another(state, s):
            state = State(Conversation(len(conversations) + 1, (s.source, s.destination)), s.time_ns)
            conversations.append(state.conversation)
            open_ones[key] = state
        _take(state, s)
        state.conversation.times = (state.sides[0].times(), state.sides[1].times())
    return conversations


def _sides(state: State, s: Segment) -> tuple[int, Direction, Direction]:
    which = 0 if (s.source, s.destination) == state.conversation.ends else 1
    return which, state.sides[which], state.sides[1 - which]


def _is_another(state: State, s: Segment) -> bool:
    _, this, other = _sides(state, s)
    if s.time_ns - state.last_ns > IDLE_NS:
        return True
    if not s.flags & SYN:
        return False
    is_over = this.fins + other.fins + this.resets + other.resets > 0
    # Not modulo 2³²: on machines with 64-bit longs its comparison of numbers does not wrap.
    is_outside = s.sequence > other.window_end or s.sequence < this.syn
    return (is_over and is_outside) or (this.syns > 1 and this.syn != s.sequence)


def _take(state: State, s: Segment) -> None:
    which, this, other = _sides(state, s)
    sums, verdict = state.conversation.sums[which], Verdict()
    state.conversation.frames[s.frame] = verdict
    state.last_ns = s.time_ns
    sums.segments += 1
    window = _begin(this, other, s)
    if s.payload or s.flags & (SYN | FIN):
        _take_data(this, other, s, sums, verdict)
    if s.flags & ACK:
        _take_acknowledgment(other, s, verdict)
    if not s.flags & RST:
        this.last_window = window


def _begin(this: Direction, other: Direction, s: Segment) -> int:
    """Count flags, follow the window; give the window that it offers."""
    this.segments += 1
    this.syns += s.flags & SYN > 0
    this.fins += s.flags & FIN > 0
    this.resets += s.flags & RST > 0
    window = s.window if s.flags & (ACK | SYN) else 0
    if this.scale >= 0 and other.scale >= 0 and not s.flags & SYN:
        window <<= this.scale
    if s.flags & SYN:
        this.syn = s.sequence
    if s.flags & ACK:
        this.window_end = s.acknowledgment + window
    if s.scale >= 0:
        this.scale = s.scale
    return window


def _take_data(this: Direction, other: Direction, s: Segment, sums: Sums, verdict: Verdict) -> None:
    if other.last_window == 0:
        verdict.kind = "zero_window_probe"
        sums.probes += 1
        return
    is_syn, is_fin = s.flags & SYN > 0, s.flags & FIN > 0
    again, is_early = _place(this, s.sequence, s.payload + is_syn + is_fin, s.time_ns // 1000)
    sums.out_of_order += is_early
    sums.retransmissions += again > 0
    verdict.kind = "retransmission" if again else "out_of_order" if is_early else "new"
    # SYN and FIN are no data, unless they are the first of their kind at a place that was seen before.
    again -= (is_syn and this.syns > 1) + (is_fin and this.fins > 1)
    verdict.unique = max(0, s.payload - again)
    sums.unique += verdict.unique


def _place(this: Direction, sequence: int, length: int, now: int) -> tuple[int, bool]:
    """Note a piece of the stream; give how much of it was there, and whether it begins before something noted."""
    again, is_early = 0, False
    while length > 0:
        part = min(length, QUADRANT - sequence % QUADRANT)
        more, early = _place_in(_quadrant(this, sequence // QUADRANT), sequence, sequence + part, now)
        again, is_early = again + more, early
        sequence, length = (sequence + part) % 2**32, length - part
    return again, is_early


def _quadrant(this: Direction, index: int) -> list[Piece]:
    """The pieces in a quarter of the sequence space; the opposite quarter is forgotten when a new one is entered."""
    near = ((index - 1) % 4, index, (index + 1) % 4)
    if not all(k in this.quadrants for k in near):
        this.quadrants.pop((index + 2) % 4, None)
        for k in near:
            this.quadrants.setdefault(k, [])
    return this.quadrants[index]


def _place_in(pieces: list[Piece], begin: int, end: int, now: int) -> tuple[int, bool]:
    """Note a piece within a quarter; `pieces` is sorted and disjoint."""
    again, is_early, is_split = 0, False, False
    fresh = []
    for piece in pieces:
        if begin >= end:
            break
        if begin >= piece.end:
            continue
        if begin < piece.begin:
            is_early = is_early or end < piece.end
            fresh.append(Piece(begin, min(end, piece.begin), now))
            begin = fresh[-1].end
        if begin < end and begin >= piece.begin:
            piece.is_again = True
            piece.time_us = piece.time_us if is_split else now
            is_split = end > piece.end
            again += min(end, piece.end) - begin
            begin = min(end, piece.end)
    if begin < end:
        fresh.append(Piece(begin, end, now))
    pieces += fresh
    pieces.sort(key=lambda piece: piece.begin)
    return again, is_early


def _take_acknowledgment(other: Direction, s: Segment, verdict: Verdict) -> None:
    """Look what it covers; the time of the piece that ends there is a sample unless something was sent again."""
    index = s.acknowledgment // QUADRANT
    pieces = _quadrant(other, index)
    before = other.quadrants[(index - 1) % 4]
    newest = max((piece.time_us for piece in before if not piece.acked), default=0)
    for piece in before:
        piece.acked = piece.acked or 1
    _merge(before)
    for piece in pieces:
        if s.acknowledgment <= piece.begin:
            break
        newest = max(newest, piece.time_us)
        piece.acked += 1
        is_first = piece.acked == 1 and s.acknowledgment == piece.end
        if is_first and newest <= piece.time_us and not piece.is_again:
            verdict.round_trip_us = max(0, s.time_ns // 1000 - piece.time_us)
            other.round_trips_us.append(verdict.round_trip_us)
    _merge(pieces)


def _merge(pieces: list[Piece]) -> None:
    """Put acknowledged pieces that follow each other together, up to the first that was not acknowledged."""
    i = 0
    while i + 1 < len(pieces) and pieces[i].acked:
        one, next_one = pieces[i], pieces[i + 1]
        if next_one.acked and one.end == next_one.begin:
            one.end, one.acked, one.time_us = next_one.end, next_one.acked, max(one.time_us, next_one.time_us)
            del pieces[i + 1]
        else:
            i += 1
