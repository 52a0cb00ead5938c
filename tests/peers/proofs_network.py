"""Proofs about what acknowledgments tell: duplicates, windows, round trips, and why a segment was sent again."""

from __future__ import annotations

import itertools

from tests.peers.case import Case, Difference
from tests.peers.exchanges import Answer, Sending, answer_of, earlier
from tests.peers.ours import Segment
from tests.peers.tshark import ACK, FIN, RST, SYN

MS = 1_000_000
HOUR_NS = 3_600_000 * MS
DUPLICATES_OF_LOSS = 3


# --- duplicate acknowledgments


def leaves_nothing_outstanding(case: Case, d: Difference) -> bool:
    """RFC 5681 §2 (a): the other side had no data on its way, as far as they were captured."""
    return d.theirs == "True" and answer_of(case, d.frame).outstanding <= 0


def _meets_all_conditions(case: Case, frame: int) -> bool:
    """All five conditions of RFC 5681 §2."""
    s, a = case.ours[frame], answer_of(case, frame)
    is_bare = s.payload == 0 and not s.flags & (SYN | FIN | RST)
    return is_bare and a.outstanding > 0 and a.acks is not None and a.acks == a.acked and a.window_before == s.window


def is_not_at_its_own_end(case: Case, d: Difference) -> bool:
    """All five conditions hold; tshark also wants the highest number of its sender, or the same ACK just before."""
    f = case.facts(d.frame)
    is_behind = f.reach is not None and f.begin != f.reach
    return d.ours == "True" and (is_behind or _follows_another(case, d.frame)) and _meets_all_conditions(case, d.frame)


def has_cut_options(case: Case, d: Difference) -> bool:
    """All five conditions hold; the capture cut its options, and tshark looks no further."""
    return d.ours == "True" and case.ours[d.frame].is_cut and _meets_all_conditions(case, d.frame)


def repeats_whatever_is_outstanding(case: Case, d: Difference) -> bool:
    """tcptrace counts what repeats an acknowledgment, if it knows of data that end there.

    What repeats one of its sender without data is as much as it can count beyond what RFC 5681 §2 does. It may leave
    out what repeats an acknowledgment of a SYN alone, one that it has in another conversation, or one but the last;
    what follows a RST; and what acknowledges up to where no segment ends that was captured.
    """
    frames = case.conversations[d.connection].frames
    repeats = _repeats(case, [n for n in frames if case.ours[n].direction == case.ours[d.frame].direction])
    ours = {n for n in repeats if _is_ours(case, n)}
    foreign = {n for n in _all_repeats(case, d) if n in frames and n not in repeats and _is_ours(case, n)}
    left_out = {n for n in ours if _is_unknown_to_tcptrace(case, n)} | foreign
    is_whole = len(ours | foreign) == int(d.ours)
    return is_whole and int(d.ours) - len(left_out) <= int(d.theirs) <= int(d.ours) + len(repeats - ours)


def _is_ours(case: Case, frame: int) -> bool:
    return case.ours[frame].kind == "new" and _meets_all_conditions(case, frame)


def _all_repeats(case: Case, d: Difference) -> set[int]:
    mine = [s.frame for s in case.segments(d.frame) if s.direction == case.ours[d.frame].direction]
    return _repeats(case, mine)


def _repeats(case: Case, frames: list[int]) -> set[int]:
    """Those without data whose acknowledgment number one of them had before."""
    seen: set[int] = set()
    found = set()
    for s in map(case.ours.__getitem__, frames):
        if s.flags & ACK and s.acknowledgment in seen and s.payload == 0:
            found.add(s.frame)
        seen |= {s.acknowledgment} if s.flags & ACK else set()
    return found


def _is_unknown_to_tcptrace(case: Case, frame: int) -> bool:
    a = answer_of(case, frame)
    ending = [x for x in a.sendings if x.end == a.acks]
    is_bare_syn = bool(ending) and all(x.segment.flags & SYN and x.end - x.start == 1 for x in ending)
    is_after_reset = any(s.flags & RST for s in earlier(case, frame))
    return not ending or is_bare_syn or is_after_reset or _follows_another(case, frame)


def _follows_another(case: Case, frame: int) -> bool:
    """The segment that its sender sent before it acknowledged something else."""
    this = case.ours[frame]
    mine = [s for s in earlier(case, frame) if s.direction == this.direction and s.flags & ACK]
    return bool(mine) and mine[-1].acknowledgment != this.acknowledgment


# --- windows


def goes_beyond_window(case: Case, d: Difference) -> bool:
    """It ends beyond the window that its receiver offered."""
    f, s = case.facts(d.frame), case.ours[d.frame]
    shakes = [o for o in earlier(case, d.frame) if o.flags & SYN]
    scales = {o.direction: o.scale for o in shakes}
    scale = scales.get(1 - s.direction, 0) if min(scales.values(), default=-1) >= 0 and len(scales) == 2 else 0
    is_beyond = f.acked is not None and f.peer_window is not None and f.end - f.acked > f.peer_window << scale
    return d.ours == "True" and is_beyond


def adds_nothing(case: Case, d: Difference) -> bool:
    """It fills a hole, or repeats: it ends no higher than what had been sent, and adds nothing to what is in flight."""
    f = case.facts(d.frame)
    return d.theirs == "True" and f.reach is not None and f.end <= f.reach


# --- round trips


def _asked(case: Case, d: Difference) -> Segment | None:
    """What tshark measures from; of tcptrace, what ends where the acknowledgment does, the first time."""
    if d.peer == "tshark":
        return case.ours.get(case.theirs[d.frame].acks_frame)
    a = answer_of(case, d.frame)
    exact = [x.segment for x in a.sendings if x.end == a.acks]
    return exact[0] if exact else None


def _sendings_asked(case: Case, d: Difference, a: Answer) -> list[Sending]:
    asked = _asked(case, d)
    return [x for x in a.sendings if asked is not None and x.segment.frame == asked.frame]


def is_copied(case: Case, d: Difference) -> bool:
    """The acknowledgment, or what tshark measures from, is a copy that only the capture made."""
    asked = _asked(case, d) if d.theirs != "-1" else None
    frames = [d.frame, *([] if asked is None else [asked.frame])]
    return any(case.ours[n].kind == "duplicate" and case.facts(n).copy_of > 0 for n in frames)


def covers_copied(case: Case, d: Difference) -> bool:
    """Of something that it covers the capture made a copy, which tcptrace takes for a repetition."""
    covered = {x.segment.frame for x in answer_of(case, d.frame).covered}
    copies = [s.frame for s in case.segments(d.frame) if s.frame < d.frame and s.kind == "duplicate"]
    return d.theirs == "-1" and any(case.facts(n).copy_of in covered for n in copies)


def was_covered_in_part(case: Case, d: Difference) -> bool:
    """An earlier acknowledgment ended within the segment; tcptrace takes that for the end of it."""
    a, s = answer_of(case, d.frame), case.ours[d.frame]
    acks = [case.facts(o.frame).acks for o in earlier(case, d.frame) if o.direction == s.direction]
    last = [x for x in a.covered if x.end == a.acks]
    return d.theirs == "-1" and any(ack is not None and x.start < ack < x.end for x in last for ack in acks)


def was_forgotten(case: Case, d: Difference) -> bool:
    """tcptrace has what it covers in another conversation, which ended by 4 minutes of silence."""
    last = [x for x in answer_of(case, d.frame).covered if x.segment.frame in _ends_of(case, d)]
    frames = case.conversations[d.connection].frames
    return d.theirs == "-1" and bool(last) and all(x.segment.frame not in frames for x in last)


def _ends_of(case: Case, d: Difference) -> set[int]:
    a = answer_of(case, d.frame)
    return {x.segment.frame for x in a.covered if x.end == a.acks}


def follows_lower_repetition(case: Case, d: Difference) -> bool:
    """After what it covers, something below that was sent again; tcptrace takes no time then."""
    a = answer_of(case, d.frame)
    last = [x for x in a.covered if x.end == a.acks]
    return d.theirs == "-1" and any(
        y.start < x.start and y.segment.frame > x.segment.frame for x in last for y in a.sendings
    )


def is_at_a_quarter(case: Case, d: Difference) -> bool:
    """Its number begins a quarter of the space of numbers: for tcptrace what ends there lies in another one."""
    return d.theirs == "-1" and case.ours[d.frame].acknowledgment % 2**30 == 0


def is_told_by_reset(case: Case, d: Difference) -> bool:
    """A RST acknowledges: whatever sent it, no receiver of data did."""
    return d.ours == "-1" and case.ours[d.frame].flags & RST > 0


def is_apart(case: Case, d: Difference) -> bool:
    """What tshark measures from is in another connection, or could not be believed when it came."""
    asked = _asked(case, d)
    if d.ours != "-1" or asked is None:
        return d.ours == "-1" and not case.ours[d.frame].is_placed
    is_other = case.connection_of(asked.frame) != case.connection_of(d.frame)
    return is_other or not asked.is_placed or not case.ours[d.frame].is_placed


def has_been_told_by_another(case: Case, d: Difference) -> bool:
    """Between data and acknowledgment lies one that could not be believed, and from which tshark measured."""
    s, a = case.ours[d.frame], answer_of(case, d.frame)
    since = min((x.segment.frame for x in a.covered), default=d.frame)
    return d.theirs == "-1" and any(
        o.direction == s.direction and o.frame > since and not o.is_placed and not _is_bare_reset(o)
        for o in earlier(case, d.frame)
    )


def _is_bare_reset(s: Segment) -> bool:
    return s.flags & (RST | ACK) == RST


def crosses_a_step(case: Case, d: Difference) -> bool:
    """The clock was set back by more than 1 ms, or leapt, between data and acknowledgment; or was, by their stamps."""
    s, asked = case.ours[d.frame], _asked(case, d)
    if d.ours != "-1" or asked is None:
        return False
    times = [o.time_ns for o in case.segments(d.frame) if o.frame <= d.frame]
    here = [o.time_ns for o in case.segments(d.frame) if asked.frame <= o.frame <= d.frame]
    clock = [max(times[: i + 1]) for i in range(len(times))][-len(here) :]
    is_back = any(at < so_far - MS for at, so_far in zip(here, clock, strict=True))
    is_leap = any(after - before > HOUR_NS for before, after in itertools.pairwise(clock))
    return s.time_ns < asked.time_ns or is_back or is_leap


def _again(a: Answer, x: Sending) -> bool:
    return any(y is not x and y.meets(x.start, x.end) for y in a.sendings)


def covers_repetition(case: Case, d: Difference) -> bool:
    """Something that it covers, or that tshark measures from, was sent more than once (Karn's rule, RFC 6298 §3)."""
    a = answer_of(case, d.frame)
    asked = _sendings_asked(case, d, a)
    is_ambiguous = any(_again(a, x) for x in (*a.covered, *asked))
    times = {str(case.ours[d.frame].time_ns - x.segment.time_ns) for x in a.covered}
    return is_ambiguous and (d.ours == "-1" or d.ours in times)


def was_acknowledged_before(case: Case, d: Difference) -> bool:
    """What tshark measures from had been acknowledged by an earlier segment; this one says nothing new of it."""
    a = answer_of(case, d.frame)
    asked = _sendings_asked(case, d, a)
    return d.ours == "-1" and bool(asked) and a.acked is not None and all(x.end <= a.acked for x in asked)


def was_held_back(case: Case, d: Difference) -> bool:
    """What it covers came around a hole, or lay below blocks that its sender had acknowledged selectively."""
    a = answer_of(case, d.frame)
    if d.ours != "-1" or a.acks is None:
        return False
    reach, is_missing = a.before, False
    for x in sorted(a.covered, key=lambda x: x.start):
        is_missing |= x.start > reach
        reach = max(reach, x.end)
    is_selective = a.sacked is not None and a.sacked > a.before
    is_held = any(x.is_filling or x.is_above_hole for x in a.covered)
    return is_missing or reach < a.acks or is_selective or is_held


def has_other_length(case: Case, d: Difference) -> bool:
    """What tshark measures from has another length for it."""
    asked = _asked(case, d)
    return asked is not None and asked.frame in case.theirs and case.theirs[asked.frame].length != asked.payload


def answers_a_probe(case: Case, d: Difference) -> bool:
    """What tshark measures from is a keep-alive, or a probe of a closed window: nothing that was to arrive."""
    asked = _asked(case, d)
    return d.ours == "-1" and asked is not None and asked.kind in ("keep_alive", "zero_window_probe")


def has_same_stamp(case: Case, d: Difference) -> bool:
    """Both segments carry the same time: 0 here, nothing there."""
    return d.theirs == "-1" and d.ours == "0"


def is_exact_and_alone(case: Case, d: Difference) -> bool:
    """It ends where one segment ends that was sent once and not acknowledged before; tshark gives no time."""
    a = answer_of(case, d.frame)
    exact = [x for x in a.covered if x.end == a.acks and not _again(a, x)]
    return d.theirs == "-1" and d.ours in {str(case.ours[d.frame].time_ns - x.segment.time_ns) for x in exact}


# --- causes


def had_been_acknowledged(case: Case, d: Difference) -> bool:
    """All of it had been acknowledged when it was sent again."""
    f, s = case.facts(d.frame), case.ours[d.frame]
    return d.ours == "spurious" and f.acked is not None and f.acked >= f.end + (s.flags & FIN > 0)


def was_acknowledged_by_reset(case: Case, d: Difference) -> bool:
    """Only a RST had acknowledged all of it."""
    f, s = case.facts(d.frame), case.ours[d.frame]
    resets = [o for o in earlier(case, d.frame) if o.flags & RST and o.direction != s.direction]
    acks = [case.facts(o.frame).acks for o in resets]
    end = f.end + (s.flags & FIN > 0)
    is_told = f.acked is not None and f.acked >= end
    return d.theirs == "spurious" and not is_told and any(ack is not None and ack >= end for ack in acks)


def turns_out_needless(case: Case, d: Difference) -> bool:
    """Its receiver tells of it: a D-SACK block covers it (RFC 2883), or the echo names the copy before (RFC 3522)."""
    f, s = case.facts(d.frame), case.ours[d.frame]
    later = [o for o in case.segments(d.frame) if o.frame > d.frame and o.direction != s.direction and o.flags & ACK]
    answers = [o for o in later if o.is_placed and (case.facts(o.frame).acks or f.begin) >= f.end]
    is_told = any(_tells_twice(s, f.end - f.begin, o) for o in later)
    return d.ours == "spurious" and (is_told or any(_echoes_older(s, o) for o in answers[:1]))


def _tells_twice(s: Segment, length: int, o: Segment) -> bool:
    """Its first block lies below its acknowledgment, or inside its second, and holds the segment."""
    if len(o.sack) < 2:
        return False
    at = [(edge - o.acknowledgment + 2**31) % 2**32 - 2**31 for edge in (*o.sack[:4], s.sequence)]
    is_inside = len(at) == 5 and at[2] <= at[0] and at[1] <= at[3]
    return (at[0] < 0 or is_inside) and at[0] <= at[-1] and at[-1] + length <= at[1] + 1


def _echoes_older(s: Segment, o: Segment) -> bool:
    return bool(s.stamps and o.stamps) and (o.stamps[1] - s.stamps[0] + 2**31) % 2**32 < 2**31


def was_told_of_loss(case: Case, d: Difference) -> bool:
    """Blocks above it, or three duplicates, or a repetition under way, told its sender that it was lost."""
    return d.ours == "fast" and _is_told(case, d.frame)


def was_told_too_little(case: Case, d: Difference) -> bool:
    """Fewer than three duplicates by RFC 5681, no blocks above it; or a time-out had begun to repeat everything."""
    is_repeating = any(not _is_told(case, o.frame) for o in _repetitions_under_way(case, d.frame))
    return d.theirs == "fast" and d.ours == "other" and (is_repeating or not _is_told(case, d.frame))


def _is_told(case: Case, frame: int) -> bool:
    """Whether a repetition followed three duplicates, blocks above it, or a repetition that did and is not over."""
    f, s = case.facts(frame), case.ours[frame]
    acked = f.acked if f.acked is not None else f.begin
    duplicates = 0
    for o in earlier(case, frame):
        if o.direction == s.direction or not o.flags & ACK or not o.is_placed or o.flags & RST:
            continue
        of = case.facts(o.frame)
        blocks = [(edge - o.acknowledgment + 2**31) % 2**32 - 2**31 for edge in o.sack[1::2]]
        if of.acks is not None and any(of.acks + right >= f.end for right in blocks):
            return True
        duplicates += of.acks == acked and _meets_all_conditions(case, o.frame)
    return duplicates >= DUPLICATES_OF_LOSS or any(_is_told(case, o.frame) for o in _repetitions_under_way(case, frame))


def _repetitions_under_way(case: Case, frame: int) -> list[Segment]:
    """Repetitions before this one, while what had been sent by then was not acknowledged."""
    f, s = case.facts(frame), case.ours[frame]
    acked = f.acked if f.acked is not None else f.begin
    mine = [(o, case.facts(o.frame)) for o in earlier(case, frame) if o.direction == s.direction and o.payload]
    return [o for o, of in mine if of.old == o.payload and of.reach is not None and of.reach > acked]
