"""Proofs about single segments: what one is, by what was captured before it."""

from __future__ import annotations

from tests.peers.case import Case, Difference
from tests.peers.tshark import ACK, FIN, RST, SYN

# A segment farther than this from its stream needs another one that confirms it.
IN_PLACE = 2**20


def follows_other_length(case: Case, d: Difference) -> bool:
    """This frame of the connection, or one before it, was read with another payload length."""
    return any(
        s.frame in case.theirs and case.theirs[s.frame].length != s.payload and s.frame <= d.frame
        for s in case.segments(d.frame)
    )


def is_copy(case: Case, d: Difference) -> bool:
    """The same headers were captured before, on another interface or within 1 ms."""
    return "duplicate" in (d.ours, case.ours[d.frame].kind) and case.facts(d.frame).copy_of > 0


def is_unbelievable(case: Case, d: Difference) -> bool:
    """Its number lies outside everything that its connection could hold, or is that of another SYN."""
    f, s = case.facts(d.frame), case.ours[d.frame]
    is_other_syn = s.flags & SYN > 0 and case.side(d.frame).syn not in (None, f.begin - 1)
    is_far = f.reach is None or abs(f.begin - f.reach) > IN_PLACE
    return not s.is_placed and not s.flags & RST and (is_other_syn or is_far)


def fills_a_hole(case: Case, d: Difference) -> bool:
    """Some of its bytes had not been captured before, and later ones had."""
    f = case.facts(d.frame)
    return d.ours == "out_of_order" and f.old < f.end - f.begin and f.reach is not None and f.begin < f.reach


def brings_new_bytes(case: Case, d: Difference) -> bool:
    """It ends beyond everything sent before it."""
    f = case.facts(d.frame)
    return d.ours == "new" and f.end > f.begin and (f.reach is None or f.end > f.reach)


def is_impossible_fin(case: Case, d: Difference) -> bool:
    """A stream ends once: not before it began, not below bytes that were sent, and not at two places."""
    f = case.facts(d.frame)
    is_early = f.end < f.data_end or (f.first is not None and f.end < f.first)
    return case.ours[d.frame].flags & FIN > 0 and (is_early or f.fin not in (None, f.end))


def follows_impossible_fin(case: Case, d: Difference) -> bool:
    """Its sender sent FINs at several places."""
    mine = (s for s in case.segments(d.frame) if s.direction == case.ours[d.frame].direction)
    ends = {case.facts(s.frame).end for s in mine if s.flags & FIN}
    return d.theirs == "keep_alive" and d.ours == "new" and len(ends) > 1


def is_second_fin(case: Case, d: Difference) -> bool:
    """A FIN without data whose number was that of a FIN before."""
    f = case.facts(d.frame)
    return d.ours == "retransmission" and case.ours[d.frame].flags & FIN > 0 and f.fin == f.end == f.begin


def is_simultaneous_open(case: Case, d: Difference) -> bool:
    """The SYN-ACK of a simultaneous open repeats the number of the SYN, and acknowledges for the first time."""
    before = [s for s in case.segments(d.frame) if s.frame < d.frame]
    askers = {s.direction for s in before if s.flags & (SYN | ACK) == SYN}
    return d.ours == "new" and case.ours[d.frame].flags & (SYN | ACK) == SYN | ACK and len(askers) == 2


def is_first_fin(case: Case, d: Difference) -> bool:
    """No FIN of its sender was captured before."""
    return d.ours == "new" and case.ours[d.frame].flags & FIN > 0 and case.facts(d.frame).fin is None


def is_first_syn(case: Case, d: Difference) -> bool:
    """No SYN of its sender was captured before in this connection."""
    return d.ours == "new" and case.ours[d.frame].flags & SYN > 0 and case.facts(d.frame).syn is None


def is_all_old(case: Case, d: Difference) -> bool:
    """Every byte of it had been captured before."""
    f = case.facts(d.frame)
    return d.ours == "retransmission" and f.end > f.begin and f.old == f.end - f.begin


def is_second_syn(case: Case, d: Difference) -> bool:
    """Its SYN had been captured before."""
    f = case.facts(d.frame)
    return d.ours == "retransmission" and case.ours[d.frame].flags & SYN > 0 and f.syn == f.begin - 1


def is_before_beginning(case: Case, d: Difference) -> bool:
    """Its bytes that had not been captured before lie below the first byte of the stream."""
    f = case.facts(d.frame)
    return d.ours == "retransmission" and f.first is not None and f.begin < f.first and f.end <= f.first + f.old


def is_bare_ack_below_fin(case: Case, d: Difference) -> bool:
    """The number that seems to be repeated is that of the FIN: an ACK sent before it, and captured after it."""
    f = case.facts(d.frame)
    return d.theirs == "keep_alive" and d.ours == "new" and f.end == f.begin == f.fin


def is_probe(case: Case, d: Difference) -> bool:
    """At most a byte, while its receiver offered no window."""
    f = case.facts(d.frame)
    return d.ours == "zero_window_probe" and f.peer_window == 0 and f.end - f.begin <= 1


def is_keep_alive(case: Case, d: Difference) -> bool:
    """One below the end of the stream, nothing in it but what its receiver had acknowledged (RFC 9293 §3.8.4)."""
    f = case.facts(d.frame)
    return d.ours == "keep_alive" and f.acked is not None and f.begin + 1 == f.acked == f.reach and f.end <= f.acked


def is_data_on_reset(case: Case, d: Difference) -> bool:
    """What a RST carries is a message to people, not part of the stream (RFC 9293 §3.5.3)."""
    s = case.ours[d.frame]
    return s.flags & RST > 0 and (d.what == "kind" or int(d.theirs) == s.payload > 0 == int(d.ours))
