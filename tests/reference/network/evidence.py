"""What findings are made from, the slow way: lists of instants and samples, looked at when a connection has ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from math import sqrt
from typing import Any

Row = dict[str, Any]

MS = 1_000_000
BURST_LIMIT = 2**32 - 1


@dataclass
class Run:
    """The same bytes, sent again and again."""

    offset: int
    start_ns: int
    peer_before: int
    end_ns: int = 0
    count: int = 0
    payload: int = 0
    is_over: bool = False
    peer_meanwhile: int = 0


@dataclass
class Evidence:
    """Of one direction."""

    flights: list[tuple[int, int]] = field(default_factory=list)  # bytes in flight, clean round trip
    high: list[int] = field(default_factory=list)
    echo_high: list[int] = field(default_factory=list)
    nagle: list[int] = field(default_factory=list)
    restarts: list[int] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    is_in_run: bool = False
    delayed_ns: int | None = None
    sent_ns: int | None = None
    bursts: list[int] = field(default_factory=lambda: [0])  # bytes, the one under way last
    is_after_pause: bool = False
    peer_bytes: int = 0
    closings: int = 0
    acked_payloads: list[int] = field(default_factory=list)
    needless_syn_acks: int = 0

    def take_clean(self, in_flight: int, round_trip: int, shortest: int, now: int) -> None:
        self.flights.append((in_flight, round_trip))
        if round_trip - shortest >= 100 * MS and round_trip >= 2 * shortest:
            self.high.append(now)

    def take_sending(self, now: int, payload: int, peer: Evidence, path: Row) -> None:
        """New data are sent.

        `path` has what is known of it: `round_trip`, `peer_round_trip`, `full`, `is_idle`, `peer_bytes`, `closings`,
        `is_closed`.
        """
        if self.delayed_ns is not None:
            within = MS + path["peer_round_trip"] + path["peer_round_trip"] // 4
            if now - self.delayed_ns <= within and (peer.sent_ns is None or peer.sent_ns <= self.delayed_ns):
                self.nagle.append(now)
            self.delayed_ns = None
        if path["round_trip"] and self.sent_ns is not None and now - self.sent_ns > path["round_trip"] // 2:
            self.take_gap(now, path)
        self.bursts[-1] = min(self.bursts[-1] + payload, BURST_LIMIT)
        self.sent_ns = now
        self.closings = path["closings"]

    def take_gap(self, now: int, path: Row) -> None:
        """One burst has ended, the next one begins."""
        assert self.sent_ns is not None
        gap, round_trip, full = now - self.sent_ns, path["round_trip"], path["full"]
        is_small = bool(full) and 2 * full <= self.bursts[-1] <= max(self.bursts) // 2
        if self.is_after_pause and gap <= 2 * round_trip and self.peer_bytes == path["peer_bytes"] and is_small:
            self.restarts.append(now)
        is_free = path["is_idle"] and path["closings"] == self.closings and not path["is_closed"]
        self.is_after_pause = gap > 200 * MS + round_trip and is_free
        self.peer_bytes = path["peer_bytes"]
        self.bursts.append(0)

    def take_again(self, offset: int, payload: int, first_ns: int, now: int, peer_segments: int) -> None:
        """The lowest bytes that are not acknowledged were sent again."""
        if not self.is_in_run or self.runs[-1].offset != offset:
            self.end_run(peer_segments)
            self.runs.append(Run(offset, first_ns, peer_segments))
            self.is_in_run = True
        run = self.runs[-1]
        run.count += 1
        run.end_ns, run.payload = now, payload

    def end_run(self, peer_segments: int, *, answered_ns: int | None = None) -> None:
        if not self.is_in_run:
            return
        self.is_in_run = False
        run = self.runs[-1]
        run.peer_meanwhile = peer_segments - run.peer_before
        if answered_ns is not None:
            run.end_ns, run.is_over = answered_ns, True

    def take_back(self, leap: int, was: int) -> None:
        """What seemed to happen at `leap` happened at `was`."""

        def moved(instant: int) -> int:
            return was if instant == leap else instant

        for instants in (self.high, self.echo_high, self.nagle, self.restarts):
            instants[:] = map(moved, instants)
        for run in self.runs:
            run.start_ns, run.end_ns = moved(run.start_ns), moved(run.end_ns)
        self.delayed_ns = None if self.delayed_ns is None else moved(self.delayed_ns)
        self.sent_ns = None if self.sent_ns is None else moved(self.sent_ns)

    def row(self, peer_segments: int, closed: list[list[int]], now: int) -> Row:
        """Give the columns; `closed` are the spans of a closed window, the last one perhaps open."""
        self.end_run(peer_segments)
        row: Row = {"rising_samples": len(self.flights), "rising_correlation": correlation(self.flights)}
        patterns = {"high": self.high, "echo_high": self.echo_high, "nagle": self.nagle, "restart": self.restarts}
        for name, instants in patterns.items():
            row[name + ("_samples" if "high" in name else "_count")] = len(instants)
            row |= {f"{name}_first_ns": min(instants, default=0), f"{name}_last_ns": max(instants, default=0)}
        longest = max(self.runs, key=lambda run: run.count, default=Run(0, 0, 0))
        row |= {"stall_start_ns": longest.start_ns, "stall_end_ns": longest.end_ns, "stall_offset": longest.offset}
        row |= {"stall_retransmissions": longest.count, "stall_peer_segments": longest.peer_meanwhile}
        row |= {"stall_payload_bytes": longest.payload, "stall_is_over": int(longest.is_over)}
        row |= {"payload_acked_max_bytes": max(self.acked_payloads, default=0)}
        row |= {"needless_syn_acks": self.needless_syn_acks}
        spans = [(*span, now)[:2] for span in closed]
        begin, end = max(spans, key=lambda span: span[1] - span[0], default=(0, 0))
        row["zero_window_longest_ns"] = end - begin
        row["zero_window_longest_start_ns"] = begin if end > begin else 0
        return row


def correlation(samples: list[tuple[int, int]]) -> float | None:
    """Pearson's, exactly; 0 where one of the two does not vary, None where it varies by less than doubles can tell."""
    n = len(samples)
    if n == 0:
        return 0.0
    mean_x, mean_y = (Fraction(sum(values), n) for values in zip(*samples, strict=True))
    xx = sum((x - mean_x) ** 2 for x, _ in samples)
    yy = sum((y - mean_y) ** 2 for _, y in samples)
    for spread, mean in ((xx, mean_x), (yy, mean_y)):
        if spread <= Fraction(1, 10**6) * n * mean**2:
            return 0.0 if spread == 0 and mean == 0 else None
    xy = sum((x - mean_x) * (y - mean_y) for x, y in samples)
    return float(xy) / (sqrt(xx) * sqrt(yy))
