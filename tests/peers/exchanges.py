"""What the frames before an acknowledgment prove of it: what was outstanding, what it covers, and how that was sent.

Like `tests.peers.history`, on which it rests: from the headers alone, slow and obvious, and nothing shared with the
room that it judges.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.peers.history import Facts
from tests.peers.ours import Segment
from tests.peers.tshark import ACK, FIN, RST, SYN

if TYPE_CHECKING:
    from tests.peers.case import Case


@dataclass(frozen=True, slots=True)
class Sending:
    """A segment that took numbers: [start, end), SYN and FIN included.

    `is_filling`: it starts below what had been sent; `is_above_hole`: something below it had not been captured.
    """

    segment: Segment
    start: int
    end: int
    is_filling: bool
    is_above_hole: bool

    def meets(self, start: int, end: int) -> bool:
        """Whether it holds any of these numbers."""
        return max(self.start, start) < min(self.end, end)


@dataclass(slots=True)
class Answer:
    """An acknowledgment, and what was known when it came.

    Attributes
    ----------
    acks : int or None
        What it acknowledges; None if it does not.
    acked : int or None
        What its sender had acknowledged before.
    sendings : list of Sending
        What the other side had sent.
    outstanding : int
        Data of the other side beyond `acked`.
    window_before : int or None
        The window that its sender had offered last, unscaled.
    sacked : int or None
        The highest number of the other side that its sender had acknowledged selectively.
    """

    acks: int | None
    acked: int | None
    window_before: int | None
    sendings: list[Sending] = field(default_factory=list)
    sacked: int | None = None

    @property
    def outstanding(self) -> int:
        """Data of the other side beyond what had been acknowledged."""
        data = [x.end - (x.segment.flags & FIN > 0) for x in self.sendings]
        return max(data) - self.acked if data and self.acked is not None else 0

    @property
    def covered(self) -> list[Sending]:
        """The sendings that it acknowledges, wholly or in part, and that were not acknowledged before."""
        return [x for x in self.sendings if self.acks is not None and x.end > self.before and x.start < self.acks]

    @property
    def before(self) -> int:
        """Where what it acknowledges begins."""
        return self.acked if self.acked is not None else min((x.start for x in self.sendings), default=0)


def earlier(case: Case, frame: int) -> list[Segment]:
    """The segments of its connection that came before this one, copies left out."""
    whole = case.without_copies(frame)
    return whole[: bisect_left(whole, frame, key=lambda s: s.frame)]


def answer_of(case: Case, frame: int) -> Answer:
    """Tell what the frames before this one prove of its acknowledgment."""
    if frame not in case.answers:
        case.answers[frame] = _look(case, frame)
    return case.answers[frame]


def _look(case: Case, frame: int) -> Answer:
    this = case.ours[frame]
    answer = Answer(_acks(this, case.facts(frame)), None, None)
    stream = _Stream()
    for s in earlier(case, frame):
        if s.flags & RST or not s.is_placed:
            continue
        if s.direction == this.direction:
            _note(answer, s, _acks(s, case.facts(s.frame)), stream)
        elif s.kind not in ("keep_alive", "zero_window_probe"):
            f = case.facts(s.frame)
            start, end = f.begin - (s.flags & SYN > 0), f.end + (s.flags & FIN > 0)
            if end > start:
                answer.sendings.append(Sending(s, start, end, stream.is_below(start), stream.is_above_hole(start)))
                stream.add(start, end)
    return answer


def _note(answer: Answer, s: Segment, acks: int | None, stream: _Stream) -> None:
    """Note an earlier acknowledgment of the same sender."""
    answer.window_before = s.window
    if acks is None:
        return
    edges = [acks + (edge - s.acknowledgment + 2**31) % 2**32 - 2**31 for edge in s.sack[1::2]]
    answer.sacked = max([*edges, *([] if answer.sacked is None else [answer.sacked])], default=None)
    answer.acked = acks if answer.acked is None else max(acks, answer.acked)
    stream.add_acknowledged(acks)


class _Stream:
    """What was captured of a stream: how far it reaches, and how far without a hole."""

    def __init__(self) -> None:
        self.reach: int | None = None
        self.whole: int | None = None
        self.beyond: list[tuple[int, int]] = []

    def is_below(self, start: int) -> bool:
        return self.reach is not None and start < self.reach

    def is_above_hole(self, start: int) -> bool:
        return self.whole is not None and start > self.whole

    def add_acknowledged(self, acks: int) -> None:
        self.whole = acks if self.whole is None else max(acks, self.whole)
        self.reach = acks if self.reach is None else max(acks, self.reach)
        self._join()

    def add(self, start: int, end: int) -> None:
        self.reach = end if self.reach is None else max(end, self.reach)
        self.whole = start if self.whole is None else self.whole
        self.beyond.append((start, end))
        self.beyond.sort()
        self._join()

    def _join(self) -> None:
        while self.beyond and self.whole is not None and self.beyond[0][0] <= self.whole:
            self.whole = max(self.whole, self.beyond.pop(0)[1])


def _acks(s: Segment, f: Facts) -> int | None:
    return f.acks if s.flags & ACK and not s.flags & RST and s.is_placed else None
