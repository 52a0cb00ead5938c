"""Proofs about the round trips of a handshake, as tshark tells them."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from tests.peers.case import Case, Difference
from tests.peers.ours import Segment
from tests.peers.tshark import ACK, RST, SYN


@dataclass(frozen=True)
class Handshake:
    """The segments of a connection that may belong to its handshake."""

    syns: list[Segment]
    syn_acks: list[Segment]
    opener_acks: list[Segment]
    others: list[Segment]


def _handshake(case: Case, d: Difference) -> Handshake:
    segments = case.segments(d.frame)
    syns = [s for s in segments if s.flags & (SYN | ACK) == SYN]
    syn_acks = [s for s in segments if s.flags & (SYN | ACK) == SYN | ACK]
    opener = syns[0].direction if syns else 1 - syn_acks[0].direction if syn_acks else 0
    opener_acks = [s for s in segments if s.flags & (SYN | ACK | RST) == ACK and s.direction == opener]
    others = [s for s in segments if not s.flags & SYN and s.direction != opener]
    return Handshake(syns, syn_acks, opener_acks, others)


def _durations(starts: list[Segment], ends: list[Segment]) -> set[int]:
    return {end.time_ns - start.time_ns for start in starts for end in ends}


def _question_and_answers(h: Handshake, what: str) -> tuple[list[Segment], list[Segment]]:
    return {
        "connect": (h.syns, h.opener_acks),
        "server round trip": (h.syns, h.syn_acks),
        "client round trip": (h.syn_acks, h.opener_acks),
    }[what]


def begins_at_epoch_zero(case: Case, d: Difference) -> bool:
    """The SYN is stamped 1970-01-01 00:00, which tshark takes for no time at all."""
    asked, answers = _question_and_answers(_handshake(case, d), d.what)
    return d.theirs == "-1" and any(s.time_ns == 0 for s in asked) and int(d.ours) in _durations(asked, answers)


def ends_at_reset(case: Case, d: Difference) -> bool:
    """tshark takes the RST that refuses a SYN for the end of a handshake."""
    h = _handshake(case, d)
    return int(d.theirs) in _durations(h.syns, [s for s in h.others if s.flags & RST])


def ends_at_no_answer(case: Case, d: Difference) -> bool:
    """tshark ends at a segment that does not acknowledge the SYN; there was no handshake."""
    h = _handshake(case, d)
    numbers = {(s.sequence + 1 + extra) % 2**32 for s in h.syns for extra in (0, s.payload)}
    strangers = [s for s in h.others + h.opener_acks if s.acknowledgment not in numbers]
    is_answered = any(s.acknowledgment in numbers for s in h.syn_acks)
    return d.ours == "-1" and int(d.theirs) in _durations(h.syns, strangers) and not is_answered


def times_do_not_advance(case: Case, d: Difference) -> bool:
    """The two segments carry the same time, or times that run backwards: 0 here, none or another segment's there."""
    asked, answers = _question_and_answers(_handshake(case, d), d.what)
    return d.ours == "0" and bool(asked and answers) and answers[0].time_ns <= asked[0].time_ns


def outlasts_its_connection(case: Case, d: Difference) -> bool:
    """The clock was set while they shook hands: by its stamps the connection is shorter than this part of it."""
    times = [s.time_ns for s in case.segments(d.frame)]
    is_set_back = any(later < before for before, later in pairwise(times))
    return d.ours == "-1" and is_set_back and int(d.theirs) > max(times) - times[0]


def misses_bytes(case: Case, d: Difference) -> bool:
    """At the opener's first ACK bytes of either side had not been captured, or a RST had gone before it."""
    h = _handshake(case, d)
    answered = [s.sequence for s in h.syn_acks]
    acks = [s for s in h.opener_acks if all(0 < (s.acknowledgment - n) % 2**32 < 2**31 for n in answered)]
    if d.ours != "-1" or d.what == "server round trip" or not acks:
        return False
    ack = acks[0]
    is_reset = any(s.flags & RST and s.frame < ack.frame for s in case.segments(d.frame))
    sent = [s for s in case.segments(d.frame) if s.frame <= ack.frame and not s.flags & RST]
    return is_reset or any(_misses(sent, ack, direction) for direction in (0, 1))


def _misses(sent: list[Segment], ack: Segment, direction: int) -> bool:
    """Whether this side's bytes up to where it, or the ACK, says that it was are not all captured."""
    mine = [s for s in sent if s.direction == direction]
    if not mine:
        return False
    base = (mine[0].sequence + (mine[0].flags >> 1 & 1)) % 2**32
    begins = [(s.sequence + (s.flags >> 1 & 1) - base + 2**31) % 2**32 - 2**31 for s in mine]
    reach = [begin + s.payload for begin, s in zip(begins, mine, strict=True)]
    acked = (ack.acknowledgment - base + 2**31) % 2**32 - 2**31 if ack.direction != direction else 0
    captured = {n for begin, end in zip(begins, reach, strict=True) for n in range(begin, end)}
    return any(n not in captured for n in range(max(*reach, *begins, acked)))


def is_from_last_syn(case: Case, d: Difference) -> bool:
    """A SYN was captured several times: tshark starts at the last one, we at the first."""
    h = _handshake(case, d)
    is_theirs = int(d.theirs) in _durations(h.syns[1:], h.opener_acks + h.others)
    return is_theirs and int(d.ours) in _durations(h.syns[:1], h.opener_acks)


def is_simultaneous(case: Case, d: Difference) -> bool:
    """Both sides sent a SYN: complete here when both are acknowledged."""
    h = _handshake(case, d)
    ends = h.opener_acks + h.others + h.syn_acks
    return len({s.direction for s in h.syns}) == 2 and int(d.ours) in _durations(h.syns[:1], ends)


def ends_at_the_server(case: Case, d: Difference) -> bool:
    """tshark takes the first segment of either side behind the SYN-ACK, we the first ACK of the side that opened."""
    h = _handshake(case, d)
    is_theirs = int(d.theirs) in _durations(h.syns[:1], [s for s in h.others if not s.flags & RST])
    return is_theirs and int(d.ours) in _durations(h.syns[:1], h.opener_acks[:1])


def is_ambiguous(case: Case, d: Difference) -> bool:
    """The segment that was answered had been sent several times (Karn's rule): unknown here unless timestamps tell."""
    asked, answers = _question_and_answers(_handshake(case, d), d.what)
    return len(asked) > 1 and (d.ours == "-1" or int(d.ours) in _durations(asked, answers))


def has_no_exact_ack(case: Case, d: Difference) -> bool:
    """tshark wants an ACK of exactly the segment's last number; we take the first one that covers the SYN."""
    asked, answers = _question_and_answers(_handshake(case, d), d.what)
    exact = {(s.sequence + 1 + s.payload) % 2**32 for s in asked}
    ours = [s for s in answers if any(s.time_ns - q.time_ns == int(d.ours) for q in asked)]
    return d.theirs == "-1" and any(s.acknowledgment not in exact for s in ours)


def has_exact_ack(case: Case, d: Difference) -> bool:
    """One question, and an answer that acknowledges exactly it; tshark gives no time, whatever its reason."""
    asked, answers = _question_and_answers(_handshake(case, d), d.what)
    exact = [s for s in answers if [s.acknowledgment] == [(q.sequence + 1 + q.payload) % 2**32 for q in asked]]
    return d.theirs == "-1" and int(d.ours) in _durations(asked, exact)


def is_refused_first(case: Case, d: Difference) -> bool:
    """A RST acknowledged the SYN before the SYN-ACK did; the opener did not believe it, as its ACK shows."""
    h = _handshake(case, d)
    resets = [s for s in h.others if s.flags & RST and h.syn_acks and s.frame < h.syn_acks[0].frame]
    numbers = {(s.sequence + 1) % 2**32 for s in h.syn_acks}
    is_taken = any(s.acknowledgment in numbers for s in h.opener_acks)
    return bool(resets) and is_taken and int(d.ours) in _durations(h.syns, h.syn_acks)


def has_late_syn(case: Case, d: Difference) -> bool:
    """The SYN was captured behind its SYN-ACK, and tshark forgets the SYN-ACK at the SYN."""
    h = _handshake(case, d)
    is_late = bool(h.syns and h.syn_acks) and h.syns[0].frame > h.syn_acks[0].frame
    return is_late and d.theirs == "-1" and int(d.ours) in _durations(h.syn_acks, h.opener_acks)
