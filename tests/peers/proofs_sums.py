"""Proofs about captures as a whole, and about the sums that tcptrace prints."""

from __future__ import annotations

import ipaddress
import itertools

from tests.peers.case import Case, Difference
from tests.peers.ours import Segment
from tests.peers.proofs_bytes import LARGEST
from tests.peers.tcptrace import IDLE_NS, Conversation, modelled
from tests.peers.tshark import ACK, FIN, SYN, Endpoint, Frame

TABLE_SIZE = 4099
LABELS = {"mpls", "cfp", "pppoes"}
EXTENSIONS = ("ipv6.hopopts", "ipv6.routing", "ipv6.dstopts", "ipv6.fraghdr")


# --- captures


def is_no_capture(case: Case, d: Difference) -> bool:
    """Nobody finds a frame in it."""
    return d.theirs == "0 TCP frames" and case.reading.frames == 0


def gave_up(case: Case, d: Difference) -> bool:
    """tcptrace ended before it had printed anything."""
    return d.theirs == "no output" and bool(case.ours)


# --- connections of the model, which gives tcptrace's sums


def _begins(case: Case, d: Difference) -> list[tuple[int, int]]:
    """Where tcptrace divides what we take for one connection: the last frame before, the first frame after."""
    frames = list(case.conversations[d.connection].frames)
    mine = case.by_connection[case.connection_of(frames[0])]
    edges = [(last, n) for last, n in itertools.pairwise(mine) if (last in frames) != (n in frames)]
    is_divided = len({case.connection_of(n) for n in frames}) == 1
    return edges if is_divided else []


def is_divided_by_silence(case: Case, d: Difference) -> bool:
    """4 minutes of silence, and what comes after them is no SYN-ACK, nor a SYN with another number."""
    edges = _begins(case, d)
    return bool(edges) and all(_is_silence(case, last, n) for last, n in edges)


def _is_silence(case: Case, last: int, n: int) -> bool:
    s, f = case.ours[n], case.facts(n)
    return s.time_ns - case.ours[last].time_ns > IDLE_NS and (not s.flags & SYN or f.syn == f.begin - 1)


def is_divided_by_answer(case: Case, d: Difference) -> bool:
    """The segment that begins the next connection is the SYN-ACK that acknowledges the SYN of this one."""
    edges = _begins(case, d)
    return bool(edges) and all(_is_answer(case, case.ours[n]) for _, n in edges)


def _is_answer(case: Case, s: Segment) -> bool:
    before = [other for other in case.segments(s.frame) if other.frame < s.frame and other.direction != s.direction]
    numbers = {(other.sequence + (other.flags >> 1 & 1)) % 2**32 for other in before}
    return s.flags & (SYN | ACK) == SYN | ACK and s.acknowledgment in numbers


def holds_another_syn(case: Case, d: Difference) -> bool:
    """It holds SYNs of one side with different numbers: those of different connections (RFC 9293 §3.4.1)."""
    frames = list(case.conversations[d.connection].frames)
    syns = {(s.source, s.sequence) for s in map(case.ours.__getitem__, frames) if s.flags & (SYN | ACK) == SYN}
    begun = {case.connection_of(n) for n in frames}
    return len(begun) > 1 and len(syns) > len({source for source, _ in syns})


def was_sent_before_the_silence(case: Case, d: Difference) -> bool:
    """tcptrace forgot what had been sent before 4 minutes of silence; every byte, or the SYN, had been."""
    f, s = case.facts(d.frame), case.ours[d.frame]
    first = next(iter(case.conversations[d.connection].frames))
    is_all_old = f.old == s.payload > 0 or (s.flags & SYN > 0 and f.syn == f.begin - 1)
    return s.kind == "retransmission" and is_all_old and first > case.connection_of(d.frame)


def begins_a_conversation(case: Case, d: Difference) -> bool:
    """The SYN-ACK had been captured before, in what is another connection for tcptrace."""
    first = next(iter(case.conversations[d.connection].frames))
    s = case.ours[d.frame]
    same = [
        o for o in case.segments(d.frame) if (o.direction, o.sequence, o.flags) == (s.direction, s.sequence, s.flags)
    ]
    return d.frame == first and s.flags & (SYN | ACK) == SYN | ACK and same[0].frame < d.frame


# --- bytes


def is_more_than_sent(case: Case, d: Difference) -> bool:
    """More than the segment holds: tcptrace takes a SYN or FIN off twice, or counts one as a byte."""
    s = case.ours[d.frame]
    return int(d.theirs) > s.payload and s.flags & (SYN | FIN) > 0


def holds_the_number_of_a_fin(case: Case, d: Difference) -> bool:
    """Its sender goes on at, or behind, the number of its own FIN, which is a byte of the stream for tcptrace."""
    f = case.facts(d.frame)
    return f.fin is not None and f.begin <= f.fin < f.end and int(d.ours) - int(d.theirs) == 1


def lies_below_beginning(case: Case, d: Difference) -> bool:
    f = case.facts(d.frame)
    is_below = f.first is not None and f.begin < f.first
    return is_below and int(d.theirs) == f.end - f.begin - f.old > int(d.ours)


# --- sums that the model does not give


def _ends(case: Case, d: Difference) -> set[Endpoint]:
    return set(case.printed[d.connection].ends)


def _fates(case: Case, d: Difference) -> list[str]:
    """What became of the frames between these ends of which we have no segment."""
    lost = (case.theirs | case.unread).items()
    return [
        case.fates.get(n, "") for n, f in lost if n not in case.ours and {f.source, f.destination} == _ends(case, d)
    ]


def has_whole_fragments(case: Case, d: Difference) -> bool:
    """Among its frames is one that, in tshark's words too, completes a segment that came in fragments."""
    return any(s.frame in case.theirs and case.theirs[s.frame].is_fragment for s in _segments(case, d))


def has_lost_fragments(case: Case, d: Difference) -> bool:
    return "fragment" in _fates(case, d)


def has_malformed(case: Case, d: Difference) -> bool:
    """Among its frames is one whose header contradicts itself."""
    return "malformed_tcp" in _fates(case, d)


def has_extension_headers(case: Case, d: Difference) -> bool:
    """tcptrace takes IPv6 extension headers for payload, or reads ports in them: there are no such ends."""
    frames = [f for f in case.theirs.values() if {f.source, f.destination} == _ends(case, d)]
    addresses = {address for address, _ in _ends(case, d)}
    between = frames or [f for f in case.theirs.values() if {f.source[0], f.destination[0]} == addresses]
    return any(layer in EXTENSIONS for f in between for layer in f.layers)


def _segments(case: Case, d: Difference) -> list[Segment]:
    return [s for s in case.ours.values() if {s.source, s.destination} == _ends(case, d)]


def has_jumbo(case: Case, d: Difference) -> bool:
    return any(s.payload > LARGEST for s in _segments(case, d))


def has_other_times(case: Case, d: Difference) -> bool:
    """A timestamp with a fraction of a second or more, which nobody reads alike."""
    return any(s.frame in case.theirs and s.time_ns != case.theirs[s.frame].time_ns for s in _segments(case, d))


def is_stamped_otherwise(case: Case, d: Difference) -> bool:
    """The same, in its capture: tcptrace carries the excess on."""
    return any(n in case.theirs and s.time_ns != case.theirs[n].time_ns for n, s in case.ours.items())


def has_labels(case: Case, d: Difference) -> bool:
    """Without the frames with labels, tunnels or more than one VLAN tag the model gives tcptrace's sums."""
    segments = _segments(case, d)
    plain = [s for s in segments if s.frame in case.theirs and _is_plain(case.theirs[s.frame])]
    return len(plain) < len(segments) and _is_sum_of(case, d, plain)


def _is_plain(frame: Frame) -> bool:
    before = frame.layers[: frame.layers.index("tcp")]
    return before.count("vlan") < 2 and before.count("ip") + before.count("ipv6") < 2 and not LABELS & set(before)


def leaves_one_out(case: Case, d: Difference) -> bool:
    """Without one frame the model gives tcptrace's sums; and the receiver acknowledged just that frame."""
    segments = _segments(case, d)
    return any(
        _is_sum_of(case, d, [s for s in segments if s is not one]) for one in segments if _is_acked(one, segments)
    )


def _is_acked(one: Segment, segments: list[Segment]) -> bool:
    end = (one.sequence + one.payload) % 2**32
    return any(s.acknowledgment == end for s in segments if s.direction != one.direction and s.frame > one.frame)


def _is_sum_of(case: Case, d: Difference, segments: list[Segment]) -> bool:
    printed: Conversation = case.printed[d.connection]
    return [(c.ends, c.sums) for c in modelled(segments)] == [(printed.ends, printed.sums)]


def is_lost_in_table(case: Case, d: Difference) -> bool:
    """Another pair of ends has the same place in tcptrace's table, and each side of this one became a connection."""
    ends = _ends(case, d)
    others = {frozenset((s.source, s.destination)) for s in case.ours.values()} - {frozenset(ends)}
    halves = [c for c in case.printed.values() if set(c.ends) == ends]
    is_halved = len(halves) == 2 and all(c.sums[1].segments == 0 for c in halves)
    return is_halved and any(_place(set(other)) == _place(ends) for other in others)


def _place(ends: set[Endpoint]) -> int:
    """The hash of both ends: the sum of ports and of the bytes of addresses."""
    return sum(port + sum(ipaddress.ip_address(address).packed) for address, port in ends) % TABLE_SIZE
