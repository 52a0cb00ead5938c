"""The slow twin of the log of exchanges, without SACK, and of the bucket that losses empty."""

from __future__ import annotations

from dataclasses import dataclass

REORDERING_NS = 3_000_000
SEGMENT = 1460


@dataclass
class Sent:
    """One segment on the wire."""

    time_ns: int
    start: int
    payload: int
    is_original: bool = True
    is_missed: bool = False
    is_lost: bool = False
    is_spurious: bool = False
    shown_ns: int = 0
    acked_ns: int | None = None
    told_ns: int | None = None
    """When a duplicate ACK told that something like it had arrived."""

    @property
    def end(self) -> int:
        return self.start + self.payload

    @property
    def delivered_ns(self) -> int | None:
        return self.acked_ns if self.told_ns is None or self.acked_ns is None else self.told_ns

    def has(self, byte: int) -> bool:
        return self.start <= byte < self.end


class LogTwin:
    """One direction of an exchange, by the rules as they are told."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []
        self.acked = -1
        self.told_up_to = 0
        self.waits: list[int] = []
        """Of originals that had not been sent again when they were acknowledged, in microseconds."""

    def data(self, now: int, start: int, payload: int) -> None:
        """Take captured data, one segment on the wire."""
        top = max((s.end for s in self.sent), default=0)
        if start > top:
            self._miss(now, top, start)
        if start + payload > top:
            self.sent.append(Sent(now, start, payload))
            return
        holders = [s for s in self.sent if s.has(start)]
        original = next((s for s in holders if s.is_original), None)
        if original is None:
            return
        if original.is_missed and len(holders) == 1 and now - original.shown_ns < REORDERING_NS:
            original.is_missed = False
            return
        copies = [s for s in holders if not s.is_original and s.start == start]
        if original.acked_ns is None:
            (copies[-1] if copies else original).is_lost = True
        self.sent.append(Sent(now, start, payload, is_original=False))

    def _miss(self, now: int, begin: int, end: int) -> None:
        before = self.sent[-1].time_ns if self.sent else now
        pieces = -(-(end - begin) // SEGMENT)
        step = (now - before) // (pieces + 1)
        if len(self.sent) > 1:
            step = min(step, before - self.sent[-2].time_ns)
        for i in range(pieces):
            at = begin + i * SEGMENT
            placed = before + step * (i + 1)
            self.sent.append(Sent(placed, at, min(SEGMENT, end - at), is_missed=True, shown_ns=now))

    def acknowledge(self, now: int, acked: int) -> None:
        """Take a cumulative acknowledgment: it measures originals and their latest copies."""
        is_duplicate = acked == self.acked and any(s.end > acked for s in self.sent)
        self.acked = acked
        for original in [s for s in self.sent if s.is_original and s.end <= acked and s.acked_ns is None]:
            chain = [original, *(s for s in self.sent if not s.is_original and s.start == original.start)]
            original.acked_ns = chain[-1].acked_ns = now
            if len(chain) > 1:
                self._excuse(chain, now)
            elif not original.is_missed:
                self.waits.append(max(1, (now - original.time_ns) // 1000))
        if is_duplicate:
            self._tell(now)

    def _excuse(self, chain: list[Sent], now: int) -> None:
        """What is acknowledged sooner than any round trip (less an eighth) was not called out by its latest copy."""
        least = min(self.waits, default=0) * 1000
        for copy, before in zip(chain[:0:-1], chain[-2::-1], strict=True):
            if now - copy.time_ns >= least - (least + 7) // 8 or before.is_missed:
                return
            before.is_spurious |= before.is_lost

    def _tell(self, now: int) -> None:
        """Something behind the first hole has arrived: the next in order that is not known to have."""
        first = next(i for i, s in enumerate(self.sent) if s.is_original and s.end > self.acked)
        for i in range(max(first + 1, self.told_up_to), len(self.sent)):
            self.told_up_to = i + 1
            one = self.sent[i]
            if one.is_original and one.acked_ns is None and not one.is_missed:
                one.told_ns = now
                return


def explain(
    sent: list[tuple[int, int, bool]], rate: float, size: float, limits: tuple[float, float], *, fills: bool
) -> tuple[int, int]:
    """Count the losses with too many tokens and the passes with too few; (time in ns, payload, lost), a loss first.

    Each loss empties the bucket; where it `fills` in a run of losses, only the first of the run does.
    """
    tokens, before = 0.0, sent[0][0]
    losses = passes = 0
    for i, (now, payload, is_lost) in enumerate(sent):
        tokens = min(size, tokens + rate * (now - before))
        before = now
        if is_lost:
            losses += i > 0 and tokens > limits[0]
            tokens = tokens if fills and i and sent[i - 1][2] else 0.0
        else:
            passes += tokens < limits[1]
            tokens -= payload
    return losses, passes


def misfit(sent: list[tuple[int, int, bool, bool]], rate: float, size: float, segment: float, *, fills: bool) -> float:
    """Add up the segments of tokens too many at losses and too few at passes; (ns, payload, lost, hole), a loss first.

    A loss empties the bucket but for a segment, unless it has more than three too many: then it was none. What was
    missed was lost when the one before it came; if it was not lost, its lack of tokens tells nothing.
    """
    tokens = total = 0.0
    before, was_lost = sent[0][0], False
    for now, payload, is_lost, is_hole in sent:
        filled = min(size, tokens + rate * (now - before))
        if not is_lost:
            tokens = filled - payload
            total += 0 if is_hole else min(max(-tokens, 0), 3 * segment)
            tokens = max(tokens, 0)
        else:
            tokens = tokens if is_hole else filled
            if not (was_lost and fills):
                beyond = max(tokens - segment, 0)
                total += min(beyond, 3 * segment)
                tokens = min(tokens, segment) if beyond <= 3 * segment else tokens - (0 if is_hole else payload)
            if is_hole:
                tokens = min(size, tokens + rate * (now - before))
        before, was_lost = now, is_lost
    return total / segment
