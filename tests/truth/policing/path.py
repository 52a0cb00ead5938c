"""What data meets on its way from a sender to a receiver: a policer, a shaper, a slow link, chance.

Each answers one question: when does a packet of so many bytes that comes at this instant leave? None: it is dropped.
Times in seconds, rates in bits per second of whole packets.
"""

from __future__ import annotations

from collections import deque
from random import Random
from typing import Protocol


class Element(Protocol):
    """One thing on the way."""

    def leave(self, now: float, size: int) -> float | None: ...


class Policer:
    """A token bucket that drops what it has no tokens for."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate, self.burst = rate, burst
        self._tokens, self._at = float(burst), 0.0

    def leave(self, now: float, size: int) -> float | None:
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate / 8)
        self._at = now
        if self._tokens < size:
            return None
        self._tokens -= size
        return now


class Shaper:
    """A token bucket that delays, in front of it a queue of so many bytes; without a bucket it is a slow link."""

    def __init__(self, rate: float, burst: int, queue: int) -> None:
        self.rate, self.burst, self.queue = rate, burst, queue
        self._tokens, self._at = float(burst), 0.0
        self._waiting: deque[tuple[float, int]] = deque()
        self._queued = 0

    def leave(self, now: float, size: int) -> float | None:
        while self._waiting and self._waiting[0][0] <= now:
            self._queued -= self._waiting.popleft()[1]
        if self._queued + size > self.queue:
            return None
        begin = max(now, self._at)
        self._tokens = min(self.burst, self._tokens + (begin - self._at) * self.rate / 8)
        if self._tokens < size:
            begin += (size - self._tokens) * 8 / self.rate
            self._tokens = float(size)
        self._tokens -= size
        self._at = begin
        self._waiting.append((begin, size))
        self._queued += size
        return begin


class VaryingLink:
    """A slow link whose rate others take a share of, another one every now and then."""

    def __init__(self, rate: float, queue: int, random: Random) -> None:
        self.rate, self.queue, self._random = rate, queue, random
        self._free, self._share, self._until = 0.0, 1.0, 0.0

    def leave(self, now: float, size: int) -> float | None:
        if now >= self._until:
            self._share = self._random.uniform(0.25, 1.0)
            self._until = now + self._random.uniform(0.1, 0.4)
        rate = self.rate * self._share
        if (self._free - now) * rate / 8 > self.queue:
            return None
        self._free = max(self._free, now) + size * 8 / rate
        return self._free


class Chance:
    """Drops this share of packets."""

    def __init__(self, share: float, random: Random) -> None:
        self.share, self._random = share, random

    def leave(self, now: float, size: int) -> float | None:
        return None if self._random.random() < self.share else now


def through(elements: list[Element], now: float, size: int) -> float | None:
    """Pass one after the other."""
    at: float | None = now
    for element in elements:
        if at is None:
            return None
        at = element.leave(at, size)
    return at
