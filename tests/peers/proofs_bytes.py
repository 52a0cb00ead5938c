"""Proofs about frames, payload lengths, connections and bytes, as tshark tells them."""

from __future__ import annotations

import itertools

from tcpsight.tables import DIRECTIONS
from tests.peers.case import Case, Difference, union
from tests.peers.ours import Segment
from tests.peers.proofs_kinds import is_unbelievable
from tests.peers.tshark import FIN, RST, SYN, Frame

NS_PER_S = 10**9
# Where the IPv6 length field is zero, for the packet is larger than it can tell (RFC 2675, Linux BIG TCP).
LARGEST = 65_535


def is_malformed(case: Case, d: Difference) -> bool:
    """tshark's dissection, or ours, ends inside a header that contradicts itself."""
    return d.ours == "malformed_tcp" or d.frame in case.unread


def is_short_of_a_trailer(case: Case, d: Difference) -> bool:
    """tshark takes the last four bytes of a FabricPath frame for its checksum, and so finds half a TCP header."""
    return d.ours == "TCP" and d.frame in case.unread and "cfp" in case.unread[d.frame].layers


def is_jumbo(case: Case, d: Difference) -> bool:
    return d.ours == "TCP" and case.ours[d.frame].payload > LARGEST


def ends_with_the_frame(case: Case, d: Difference) -> bool:
    """The IP header tells of more than the frame holds, though the frame says that nothing was cut."""
    theirs, ours = case.theirs[d.frame], case.ours[d.frame]
    return not theirs.is_cut and theirs.length == ours.captured < ours.payload


def is_length_confirmed(case: Case, d: Difference) -> bool:
    """The sender goes on, or the receiver acknowledges, exactly where the IP header says that payload, or FIN, ends."""
    ours = case.ours[d.frame]
    end = (ours.sequence + (ours.flags >> 1 & 1) + ours.payload) % 2**32
    ends = {end, (end + (ours.flags & FIN)) % 2**32}
    others = [s for s in case.segments(d.frame) if s.frame != d.frame]
    goes_on = any(s.sequence in ends for s in others if s.direction == ours.direction)
    is_acked = any(s.acknowledgment in ends for s in others if s.direction != ours.direction)
    return goes_on or is_acked


def timed_out(case: Case, d: Difference) -> bool:
    """tshark keeps a connection for ever; each of ours begins when the one before it had been silent for long."""
    frames = case.streams[d.connection]
    begins = [(last, n) for last, n in itertools.pairwise(frames) if case.connection_of(last) != case.connection_of(n)]
    return bool(begins) and all(_is_silence(case, frames, last, n) for last, n in begins)


def _is_silence(case: Case, frames: list[int], last: int, n: int) -> bool:
    before = [case.ours[k] for k in frames if k <= last]
    fins = {s.direction for s in before if s.flags & FIN}
    is_over = len(fins) == 2 or any(s.flags & RST for s in before)
    is_waiting = all(s.flags & SYN for s in before)
    limit_s = 60 if is_over else 130 if is_waiting else 7800
    return case.ours[n].time_ns - case.ours[last].time_ns > limit_s * NS_PER_S


def takes_other_paths(case: Case, d: Difference) -> bool:
    """tshark puts the same endpoints inside and outside of a tunnel together; each of ours has a path of its own."""
    paths: dict[int, set[tuple[str, ...]]] = {}
    for n in case.streams[d.connection]:
        layers = case.theirs[n].layers
        paths.setdefault(case.connection_of(n), set()).add(tuple(layers[: layers.index("tcp")]))
    return all(len(own) == 1 for own in paths.values()) and len(set.union(*paths.values())) == len(paths) > 1


def is_refused_before(case: Case, d: Difference) -> bool:
    """What precedes the SYN is a RST that acknowledges just this number: the answer to an earlier copy."""
    frames = [case.ours[n] for n in case.streams[d.connection]]
    later = [s for s in frames if case.connection_of(s.frame) != case.connection_of(d.frame)]
    numbers = {(s.sequence + 1) % 2**32 for s in later[:1] if s.flags & SYN}
    return all(s.flags & RST and s.acknowledgment in numbers for s in frames if s not in later)


def is_divided_by_malformed(case: Case, d: Difference) -> bool:
    """tshark took the SYN bit of a header that contradicts itself for the beginning of another connection."""
    mine = case.shared[case.connection_of(d.frame)]
    streams = {case.theirs[n].stream for n in mine}
    syns = [f.number for f in case.unread.values() if f.stream in streams and f.flags & SYN]
    return bool(syns) and min(mine) < min(syns) < max(mine)


def differ_by_length(case: Case, d: Difference) -> bool:
    """With the payload lengths that the IP headers give, tshark's sequence numbers give our bytes."""
    frames = _sent(case, d)
    pieces = [(f.beginning, s.payload) for f, s in frames if s.is_placed]
    return union(pieces) == int(d.ours) and any(f.length != s.payload for f, s in frames)


def differ_by_confirmed_length(case: Case, d: Difference) -> bool:
    """The same, and each of these lengths is confirmed by later frames."""
    others = [f.number for f, s in _sent(case, d) if f.length != s.payload]
    return differ_by_length(case, d) and all(is_length_confirmed(case, d._replace(frame=n)) for n in others)


def differ_by_unbelievable(case: Case, d: Difference) -> bool:
    """Without the segments that can't belong to the stream tshark's numbers give our bytes."""
    sent = _sent(case, d)
    left_out = [s.frame for _, s in sent if s.payload and not s.is_placed]
    is_proven = all(is_unbelievable(case, d._replace(frame=n)) for n in left_out)
    return is_proven and union([(f.beginning, s.payload) for f, s in sent if s.is_placed]) == int(d.ours)


def _sent(case: Case, d: Difference) -> list[tuple[Frame, Segment]]:
    direction = DIRECTIONS.index(d.what.split()[0])
    frames = [(case.theirs[n], case.ours[n]) for n in case.streams[d.connection]]
    return [(f, s) for f, s in frames if s.direction == direction and not s.flags & RST]


def differ_by_second_number(case: Case, d: Difference) -> bool:
    """Its SYN-ACKs have different numbers, tshark counts from the last; from the first, on the wire, come our bytes."""
    sent = _sent(case, d)
    numbers = [s.sequence for _, s in sent if s.flags & SYN]
    from_first = [((s.sequence + (s.flags >> 1 & 1) - numbers[0]) % 2**32, s.payload) for _, s in sent if s.is_placed]
    return len(set(numbers)) > 1 and union(from_first) == int(d.ours)
