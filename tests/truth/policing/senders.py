"""How fast a sender sends: by losses (like cubic), or by the rate it measures (like BBR). Windows in segments."""

from __future__ import annotations

from collections import deque


class ByLosses:
    """Slow start, then a cubic curve; three tenths less after each round trip with a loss (RFC 9438)."""

    def __init__(self) -> None:
        self.window, self._threshold = 10.0, 1e9
        self._highest, self._since = 0.0, 0.0

    def interval(self, now: float) -> float:
        """Seconds between two segments; 0: no pacing."""
        return 0.0

    def acknowledged(self, now: float, count: int, round_trip: float, rate: float) -> None:
        if self.window < self._threshold:
            self.window += count
            return
        elapsed = now - self._since + round_trip
        turning = (self._highest * 0.3 / 0.4) ** (1 / 3)
        target = 0.4 * (elapsed - turning) ** 3 + self._highest
        slow = count / self.window / 2
        self.window += min(count / 2, max(slow, (target - self.window) / self.window * count))

    def lost(self, now: float) -> None:
        self._highest, self._since = self.window, now
        self.window = max(2.0, self.window * 0.7)
        self._threshold = self.window

    def timed_out(self, now: float) -> None:
        self.lost(now)
        self.window = 1.0


class ByRate:
    """Paces at what was delivered at best in ten round trips, a quarter more in one of eight; losses do not count."""

    def __init__(self) -> None:
        self._rates: deque[tuple[float, float]] = deque()
        self._shortest, self._is_starting, self._best, self._rounds = 1.0, True, 0.0, 0
        self._next_round, self._segments = 0.0, 10.0

    @property
    def window(self) -> float:
        if self._is_starting:
            return max(10.0, 2.89 * self._bottleneck * self._shortest)
        return max(4.0, 2.0 * self._bottleneck * self._shortest)

    @property
    def _bottleneck(self) -> float:
        return max(1.0, max((rate for _, rate in self._rates), default=0.0))

    def interval(self, now: float) -> float:
        if not self._rates:
            return 0.001
        gain = 2.89 if self._is_starting else (1.25, 0.75, 1, 1, 1, 1, 1, 1)[self._rounds % 8]
        return 1 / (gain * self._bottleneck)

    def acknowledged(self, now: float, count: int, round_trip: float, rate: float) -> None:
        self._shortest = min(self._shortest, round_trip)
        if rate > 0:
            self._rates.append((now, rate))
        while len(self._rates) > 1 and self._rates[0][0] < now - 10 * self._shortest:
            self._rates.popleft()
        if now < self._next_round:
            return
        self._next_round = now + self._shortest
        self._rounds += 1
        if self._is_starting and self._rounds % 3 == 0:
            self._is_starting = self._bottleneck > 1.25 * self._best
            self._best = self._bottleneck

    def lost(self, now: float) -> None:
        """Nothing: that is the point of it."""

    def timed_out(self, now: float) -> None:
        """Nothing."""
