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
    shown_ns: int = 0
    acked_ns: int | None = None

    @property
    def end(self) -> int:
        return self.start + self.payload

    def has(self, byte: int) -> bool:
        return self.start <= byte < self.end


class LogTwin:
    """One direction of an exchange, by the rules as they are told."""

    def __init__(self) -> None:
        self.sent: list[Sent] = []

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
        for original in [s for s in self.sent if s.is_original and s.end <= acked and s.acked_ns is None]:
            original.acked_ns = now
            copies = [s for s in self.sent if not s.is_original and s.start == original.start]
            if copies:
                copies[-1].acked_ns = now


def explain(
    sent: list[tuple[int, int, bool]], rate: float, size: float, limits: tuple[float, float]
) -> tuple[int, int]:
    """Count the losses with too many tokens and the passes with too few; (time in ns, payload, lost), a loss first."""
    tokens, before = 0.0, sent[0][0]
    losses = passes = 0
    for i, (now, payload, is_lost) in enumerate(sent):
        tokens = min(size, tokens + rate * (now - before))
        before = now
        if is_lost:
            losses += i > 0 and tokens > limits[0]
            tokens = 0.0
        else:
            passes += tokens < limits[1]
            tokens -= payload
    return losses, passes
