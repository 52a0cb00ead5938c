"""The strip that the delays of both directions leave for the line between two clocks; `clocks.py` has the theory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

TOWARDS_SERVER, TOWARDS_CLIENT = 0, 1

MOST_DRIFT = 1e-3
"""Two clocks, each within the 500 ppm of NTP's discipline (RFC 5905 §11.3)."""

NOISE_WINDOWS = 16
"""So many windows of a piece tell what its shortest delays vary by."""

_NAMES = ("order", "server_order", "time_ns", "difference_ns", "towards")
_TURNS = 32


@dataclass(frozen=True, slots=True)
class Extremes:
    """The tightest differences of each window, in the order of the client-side capture.

    Attributes
    ----------
    order, server_order : ndarray of int64, shape (n,)
        Where in the client-side, and in the server-side, capture each was seen.
    time_ns : ndarray of int64, shape (n,)
        When, by the client-side clock.
    difference_ns : ndarray of int64, shape (n,)
        Server-side time less client-side time.
    towards : ndarray of int64, shape (n,)
        `TOWARDS_SERVER` or `TOWARDS_CLIENT`.
    """

    order: Integers
    server_order: Integers
    time_ns: Integers
    difference_ns: Integers
    towards: Integers

    def __len__(self) -> int:
        return len(self.order)


def taken(observed: Extremes, rows: Integers) -> Extremes:
    """Give some of the differences."""
    return Extremes(*(getattr(observed, name)[rows] for name in _NAMES))


def joined(parts: list[Extremes]) -> Extremes:
    """Put differences together."""
    none = np.zeros(0, np.int64)
    return Extremes(*(np.concatenate([none, *(getattr(part, name) for part in parts)]) for name in _NAMES))


class Strip:
    """The strip between the differences of both directions, over a piece of the capture."""

    def __init__(self, observed: Extremes) -> None:
        self.observed = observed
        times = observed.time_ns if len(observed) else np.zeros(1, np.int64)
        self.start_ns, self.end_ns = int(times.min()), int(times.max())
        self.middle_ns = (self.start_ns + self.end_ns) // 2
        self.base_ns = int(observed.difference_ns[0]) if len(observed) else 0
        since = (observed.time_ns - self.middle_ns).astype(np.float64)
        above = (observed.difference_ns - self.base_ns).astype(np.float64)
        is_up = observed.towards == TOWARDS_SERVER
        self._up, self._down = (since[is_up], above[is_up]), (since[~is_up], above[~is_up])
        self._widest: tuple[float, float] | None = None
        self._noise: float | None = None
        self._unrest: float | None = None

    def __len__(self) -> int:
        return len(self.observed)

    @property
    def least(self) -> int:
        """How many windows there are of the direction with fewer."""
        return min(len(self._up[0]), len(self._down[0]))

    @property
    def has_both(self) -> bool:
        """Whether there is a difference each way."""
        return self.least > 0

    def order(self, side: int) -> Integers:
        """Give where each row is in one of the captures."""
        return self.observed.server_order if side else self.observed.order

    def sorted(self, side: int) -> Strip:
        """Give the same in the order of one of the captures."""
        return Strip(taken(self.observed, np.argsort(self.order(side), kind="stable")))

    def part(self, low: int, high: int) -> Strip:
        """Give the rows [low, high), at least one."""
        return Strip(taken(self.observed, np.arange(low, high)))

    def edges(self, drift: float) -> tuple[float, float]:
        """Give the lower edge, and the upper edge, of the strip of a slope, in the middle of the piece."""
        lower = float((self._down[1] - drift * self._down[0]).max())
        upper = float((self._up[1] - drift * self._up[0]).min())
        return lower, upper

    def width(self, drift: float) -> float:
        """Give the width of the strip of a slope; negative if no line lies between."""
        lower, upper = self.edges(drift)
        return upper - lower

    def widest(self) -> tuple[float, float]:
        """Give the slope of the widest strip, and its width: the width is concave in the slope."""
        if self._widest is None:
            low, high = -MOST_DRIFT, MOST_DRIFT
            (up_since, up_above), (down_since, down_above) = self._up, self._down
            for _ in range(_TURNS):
                drift = (low + high) / 2
                # How the width grows with the slope: by where the two edges are touched.
                touched = up_since[np.argmin(up_above - drift * up_since)]
                if down_since[np.argmax(down_above - drift * down_since)] > touched:
                    low = drift
                else:
                    high = drift
            # Halving never comes to exactly none, which over years makes a difference.
            found = (low + high) / 2
            drift = found if self.width(found) > self.width(0.0) else 0.0
            self._widest = drift, self.width(drift)
        return self._widest

    def width_or_all(self) -> float:
        """Give the width of the widest strip; without a difference each way nothing bounds it."""
        return self.widest()[1] if self.has_both else np.inf

    def nearby(self, drift: float) -> float:
        """Tell the shortest round trip of neighbours, one each way: a step spoils only those that it lies between.

        In the order of the capture whose clock was set that is one pair: the second shortest is spoilt by no step.
        """
        return max(self._nearby(drift, side) for side in (0, 1))

    def _nearby(self, drift: float, side: int) -> float:
        observed = taken(self.observed, np.argsort(self.order(side), kind="stable"))
        level = (observed.difference_ns - self.base_ns) - drift * (observed.time_ns - self.middle_ns)
        turns = np.flatnonzero(np.diff(observed.towards))
        apart = level[turns] - level[turns + 1]
        needed = np.sort(np.where(observed.towards[turns] == TOWARDS_SERVER, apart, -apart))
        return float(needed[min(1, len(needed) - 1)])

    def noise(self) -> float:
        """Tell what the shortest delay of a window lies above the shortest of all, both ways together, typically."""
        if self._noise is None:
            drift = self.widest()[0]
            self._noise = sum(
                _above_least(sign * (above - drift * since))
                for sign, (since, above) in ((1, self._up), (-1, self._down))
            )
        return self._noise

    def unrest(self) -> float:
        """Tell what the shortest delays of windows beside each other typically differ by: a step shows only once."""
        if self._unrest is None:
            drift = self.widest()[0]
            self._unrest = sum(
                float(np.median(np.abs(np.diff(_shortest(sign * (above - drift * since))))))
                for sign, (since, above) in ((1, self._up), (-1, self._down))
                if len(since) > 1
            )
        return self._unrest

    def drift_error(self, drift: float, loss: float) -> float | None:
        """Tell how far the strip can be turned before it is narrower by `loss`; None if further than clocks drift."""
        bound = self.width(drift) - loss
        errors = [_turned(self, drift, sign, bound) for sign in (-1, 1)]
        return None if None in errors else max(error for error in errors if error is not None)


def _turned(strip: Strip, drift: float, sign: int, bound: float) -> float | None:
    """Find by bisection where, turned one way, the strip becomes narrower than a bound."""
    low, high = 0.0, 2 * MOST_DRIFT
    if strip.width(drift + sign * high) >= bound:
        return None
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if strip.width(drift + sign * middle) >= bound else (low, middle)
    return high


def _above_least(delays: Floats) -> float:
    """Tell what the shortest delay of a window typically lies above the shortest of all."""
    return float(np.median(_shortest(delays)) - delays.min())


def _shortest(delays: Floats) -> Floats:
    """Give the shortest delay of each window of a piece."""
    windows = min(NOISE_WINDOWS, len(delays))
    shortest: Floats = np.minimum.reduceat(delays, np.arange(windows) * len(delays) // windows)
    return shortest
