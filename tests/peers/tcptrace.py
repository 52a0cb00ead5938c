"""What tcptrace said of a capture, and a model of the rules by which it came to say so.

tcptrace prints sums per connection and no frame numbers. The model applies its rules, as its documentation and
behaviour show them, to the headers of the capture; where the model's sums are tcptrace's to the last byte, what the
model says of a single frame is what tcptrace made of it, and a difference has a place to look at.

The rules that matter here: another connection begins after 4 minutes of silence, or at a SYN beyond the window after
a FIN or RST, or at a third SYN with another number. SYN and FIN take up a byte of the stream. Data on a RST counts.
While the receiver offers no window everything is a probe. A segment with any old byte is a retransmission.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from tests.peers.ours import Segment
from tests.peers.tshark import ACK, FIN, RST, SYN, Endpoint, normal

IDLE_NS = 240 * 10**9
QUADRANT = 2**30

NUMBERS = {
    "segments": r"total packets:\s+(\d+)\s+total packets:\s+(\d+)",
    "unique": r"unique bytes sent:\s+(\d+)\s+unique bytes sent:\s+(\d+)",
    "retransmissions": r"rexmt data pkts:\s+(\d+)\s+rexmt data pkts:\s+(\d+)",
    "out_of_order": r"outoforder pkts:\s+(\d+)\s+outoforder pkts:\s+(\d+)",
    "probes": r"zwnd probe pkts:\s+(\d+)\s+zwnd probe pkts:\s+(\d+)",
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
class Verdict:
    """What was made of one frame."""

    unique: int = 0
    kind: str = "new"


@dataclass
class Conversation:
    """One connection as tcptrace has it: the side that was seen first, the other, and their sums."""

    number: int
    ends: tuple[Endpoint, Endpoint]
    sums: tuple[Sums, Sums] = field(default_factory=lambda: (Sums(), Sums()))
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
        for name, pattern in NUMBERS.items():
            found = re.search(pattern, part)
            for sums, value in zip(conversation.sums, found.groups() if found else (), strict=False):
                setattr(sums, name, int(value))
        yield conversation


# --- the model


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
    quadrants: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


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
    again, is_early = _place(this, s.sequence, s.payload + is_syn + is_fin)
    sums.out_of_order += is_early
    sums.retransmissions += again > 0
    verdict.kind = "retransmission" if again else "out_of_order" if is_early else "new"
    # SYN and FIN are no data, unless they are the first of their kind at a place that was seen before.
    again -= (is_syn and this.syns > 1) + (is_fin and this.fins > 1)
    verdict.unique = max(0, s.payload - again)
    sums.unique += verdict.unique


def _place(this: Direction, sequence: int, length: int) -> tuple[int, bool]:
    """Note a piece of the stream; give how much of it was there, and whether it begins before something noted."""
    again, is_early = 0, False
    while length > 0:
        part = min(length, QUADRANT - sequence % QUADRANT)
        more, early = _place_in(_quadrant(this, sequence // QUADRANT), sequence, sequence + part)
        again, is_early = again + more, early
        sequence, length = (sequence + part) % 2**32, length - part
    return again, is_early


def _quadrant(this: Direction, index: int) -> list[tuple[int, int]]:
    """The pieces in a quarter of the sequence space; the opposite quarter is forgotten when a new one is entered."""
    near = ((index - 1) % 4, index, (index + 1) % 4)
    if not all(k in this.quadrants for k in near):
        this.quadrants.pop((index + 2) % 4, None)
        for k in near:
            this.quadrants.setdefault(k, [])
    return this.quadrants[index]


def _place_in(pieces: list[tuple[int, int]], begin: int, end: int) -> tuple[int, bool]:
    """Note a piece within a quarter; `pieces` is sorted and disjoint."""
    again, is_early = 0, False
    fresh = []
    for start, stop in pieces[max(0, bisect_left(pieces, (begin, begin)) - 1) :]:
        if begin >= stop:
            continue
        if begin < start:
            is_early = is_early or end < stop
            if end <= start:
                fresh.append((begin, end))
                begin = end
                break
            fresh.append((begin, start))
            begin = start
        again += min(end, stop) - begin
        begin = min(end, stop)
        if begin == end:
            break
    if begin < end:
        fresh.append((begin, end))
    pieces += fresh
    pieces.sort()
    return again, is_early
