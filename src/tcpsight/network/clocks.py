"""Tell how two clocks differ from the delays between them: offset, drift, steps, and how far to trust each.

Theory of operation
-------------------
A segment that is seen at both points gives one difference: its time by the server-side clock less its time by the
client-side clock. With ``o(t)`` for what the server-side clock is ahead,

* towards the server the difference is ``o(t) + delay``, so ``o(t)`` lies below every one of them;
* towards the client it is ``o(t) - delay``, so ``o(t)`` lies above every one of them.

Both kinds together leave a strip. Of all straight lines, those of the true drift leave the widest strip, for the
shortest delays then lie along its edges from beginning to end: the drift is the slope of the widest strip (the linear
program of Moon, Skelly and Towsley, INFOCOM 1999, with both directions in it). The width of the strip is the shortest
round trip between the points, and the clocks' offset is its middle line: each way is taken to need half of that.

*Errors.* Nothing in the captures tells one way from the other, so the offset is known to half the width of the strip,
however many segments there are. The drift is known as far as the strip can be turned before it is narrower by what the
shortest delay of a short time typically lies above the shortest of all; a drift that this cannot tell from none is
none. Two clocks that are kept by NTP differ by at most 1,000 ppm (RFC 5905: 500 ppm each), and no more is looked for.

*Steps.* Where the widest strips of the time before and of the time after an instant are both wider, and by more than
chance makes them, a clock was set there, and each side of the instant has its own line. A path that becomes longer
widens one of them only, and is no step. Before and after are told apart in the order of either capture: the one in
which the strips come out clearer is the one whose clock was set.

What it cannot see
------------------
Which way is the longer one. A route that becomes longer one way and shorter the other by the same amount: it looks
like a step. A step that is smaller than what the shortest delays vary by.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tcpsight.network.strips import TOWARDS_SERVER, Extremes, Integers, Strip, taken

MOST_WINDOWS = 4096
"""So many windows keep their shortest delays: what is fitted does not grow with the capture."""

LEAST_OBSERVATIONS = 16
"""A piece has at least so many windows with a delay each way: fewer look like steps by chance."""

ROUGH_PARTS = 8
"""Parts of which the middle one tells about what the drift is."""

MOST_PIECES = 16
"""More steps than this are no steps but a clock that follows no line."""

SCALES = (1, 4, 16)
"""The whole, and how small the parts are in which a step is looked for."""

STEP_NOISE = 4.0
"""A step widens the strips by more than so many times what the shortest delays vary by."""

LEAST_STEP_NS = 50_000
"""And by more than a host takes to stamp a frame late."""

LEAST_STEP_FRACTION = 0.02
"""And by more than this of the strip: paths are no steadier."""


@dataclass(frozen=True, slots=True)
class ClockPiece:
    """How the clocks differ between two steps.

    Attributes
    ----------
    orders : tuple of tuple of int
        From where to where it is valid, in the client-side and in the server-side capture; ends included.
    set_side : int or None
        Which clock was set where it begins: 0 the client side's, 1 the server side's; None if that cannot be told, or
        if it is the first piece.
    start_ns, end_ns : int
        From when to when, by the client-side clock.
    offset_ns : int
        What the server-side clock is ahead in the middle of it.
    offset_error_ns : int
        Half the shortest round trip between the points: the offset is within that, whatever the path is like.
    drift_ppm : float
        What the server-side clock gains, in millionths.
    drift_error_ppm : float or None
        How far that can be off; None where the time is too short to tell, and no drift is assumed.
    round_trip_min_ns : int
        The shortest round trip between the points.
    """

    orders: tuple[tuple[int, int], tuple[int, int]]
    set_side: int | None
    start_ns: int
    end_ns: int
    offset_ns: int
    offset_error_ns: int
    drift_ppm: float
    drift_error_ppm: float | None
    round_trip_min_ns: int

    @property
    def is_consistent(self) -> bool:
        """Whether there is a line between the differences: if not, a clock was set too often to tell when."""
        return self.round_trip_min_ns >= -LEAST_STEP_NS

    @property
    def middle_ns(self) -> int:
        """The instant of `offset_ns`, by the client-side clock."""
        return (self.start_ns + self.end_ns) // 2

    def ahead_ns(self, time_ns: Integers) -> Integers:
        """Tell what the server-side clock is ahead at instants of the client-side clock, shape (n,)."""
        gained = (time_ns - self.middle_ns) * (self.drift_ppm * 1e-6)
        ahead: Integers = self.offset_ns + np.rint(gained).astype(np.int64)
        return ahead

    def at_client_side(self, time_ns: Integers) -> Integers:
        """Give instants of the server-side clock by the client-side clock, shape (n,)."""
        since = (time_ns - self.middle_ns - self.offset_ns).astype(np.float64)
        drift = self.drift_ppm * 1e-6
        there: Integers = time_ns - self.offset_ns - np.rint(since * (drift / (1 + drift))).astype(np.int64)
        return there

    def error_ns(self, time_ns: Integers) -> Integers:
        """Tell how far times of one clock by the other can be off at instants of the client-side clock, shape (n,)."""
        turned = np.abs(time_ns - self.middle_ns) * ((self.drift_error_ppm or 0.0) * 1e-6)
        error: Integers = self.offset_error_ns + np.ceil(turned).astype(np.int64)
        return error


def extremes(observed: Extremes, bounds: tuple[int, int], drift: float = 0.0) -> Extremes:
    """Keep of each window the tightest difference each way.

    Parameters
    ----------
    observed : Extremes
        Differences, in any order.
    bounds : tuple of int
        First and last place in the client-side capture: windows divide what lies between evenly.
    drift : float
        What the clocks are known to drift, so that a difference is not taken for tight because it came first.
    """
    if not len(observed):
        return observed
    first, last = bounds
    window = (observed.order - first) * MOST_WINDOWS // (last - first + 1)
    sign = np.where(observed.towards == TOWARDS_SERVER, 1.0, -1.0)
    since = (observed.time_ns - observed.time_ns.min()).astype(np.float64)
    tight = sign * ((observed.difference_ns - observed.difference_ns.min()).astype(np.float64) - drift * since)
    place = window * 2 + observed.towards
    rows = np.lexsort((tight, place))
    rows = rows[np.flatnonzero(np.diff(place[rows], prepend=-1))]
    return taken(observed, rows)


def clock_pieces(observed: Extremes) -> list[ClockPiece]:
    """Tell how two clocks differ.

    Parameters
    ----------
    observed : Extremes
        The tightest differences of each window.

    Returns
    -------
    list of ClockPiece
        One, or one more than there are steps, in the order of the client-side capture; none if there is a direction
        without a segment.
    """
    strip = Strip(observed)
    if not strip.has_both:
        return []
    everywhere = (np.iinfo(np.int64).min, np.iinfo(np.int64).max)
    return [_piece(part) for part in _parts(_Part(strip, (everywhere, everywhere), None))]


@dataclass(frozen=True, slots=True)
class _Part:
    """What lies between two steps."""

    strip: Strip
    orders: tuple[tuple[int, int], tuple[int, int]]
    set_side: int | None


def rough_drift(observed: Extremes) -> float:
    """Tell about what the clocks drift, steps or not: the median of parts of the capture."""
    strip = Strip(observed).sorted(0)
    edges = np.arange(ROUGH_PARTS + 1) * len(strip) // ROUGH_PARTS
    parts = [strip.part(int(low), int(high)) for low, high in pairwise(edges)]
    drifts = [part.widest()[0] for part in parts if part.least >= LEAST_OBSERVATIONS]
    return float(np.median(drifts)) if drifts else 0.0


def _parts(whole: _Part) -> list[_Part]:
    """Divide at steps, the clearest first."""
    parts, at = [whole], 0
    while at < len(parts) and len(parts) < MOST_PIECES:
        halves = _divided(parts[at])
        if halves is None:
            at += 1
        else:
            parts[at : at + 1] = halves
    return parts


def _divided(part: _Part) -> tuple[_Part, _Part] | None:
    """Divide a piece at its clearest step, if it has one.

    What is on its way when a clock is set is seen before by one capture and after by the other: only the order of the
    capture whose clock it was keeps before and after apart.
    """
    ordered = [part.strip.sorted(side) for side in (0, 1)]
    steps = [_step(strip) for strip in ordered]
    side = int(steps[1].gain > steps[0].gain)
    step, strip = steps[side], ordered[side]
    if not step.place:
        return None
    is_clear = step.gain - steps[1 - side].gain > LEAST_STEP_NS
    order = strip.order(side)
    before, after = [list(part.orders) for _ in range(2)]
    last = int(order[step.place - 1])
    before[side], after[side] = (part.orders[side][0], last), (last + 1, part.orders[side][1])
    left, right = strip.part(0, step.place), strip.part(step.place, len(strip))
    set_side = side if is_clear else None
    return _Part(left, (before[0], before[1]), part.set_side), _Part(right, (after[0], after[1]), set_side)


def _step(strip: Strip) -> _Step:
    """Find the clearest step in the whole, or else in parts of it.

    Where there are several steps, no place has only one between all that lies before it and all that lies behind.
    """
    best = _Step()
    for scale in SCALES:
        length = len(strip) // scale
        if best.place or length < 4 * LEAST_OBSERVATIONS:
            break
        for low in range(0, len(strip) - length + 1, max(length // 2, 1)):
            best = max(best, _step_within(strip, low, low + length))
    return best


class _Step(NamedTuple):
    """What dividing at a place widens."""

    gain: float = 0.0
    place: int = 0


def _step_within(strip: Strip, low: int, high: int) -> _Step:
    """Find where dividing rows [low, high) widens the narrower strip most, if by more than chance.

    With the place the strip before it only becomes narrower, and the one behind it only wider: the best place is where
    they are equal.
    """
    window = strip.part(low, high)
    if window.least < 2 * LEAST_OBSERVATIONS:
        return _Step()
    whole = window.widest()[1]
    first, last = low + 1, high - 1
    while first < last:
        place = (first + last) // 2
        if strip.part(low, place).width_or_all() > strip.part(place, high).width_or_all():
            first = place + 1
        else:
            last = place
    best = _Step()
    for place in range(max(first - 1, low + 1), min(first + 2, high)):
        left, right = strip.part(low, place), strip.part(place, high)
        if min(left.least, right.least) < LEAST_OBSERVATIONS:
            continue
        gain = min(left.widest()[1], right.widest()[1]) - whole
        chance = max(LEAST_STEP_NS, LEAST_STEP_FRACTION * abs(whole), STEP_NOISE * (left.unrest() + right.unrest()))
        if gain > max(best.gain, chance):
            best = _Step(gain, place)
    return best


def _piece(part: _Part) -> ClockPiece:
    strip = part.strip
    drift, width = strip.widest()
    # A stamp is no finer than 1 ns, and no two of them need to be off the same way.
    error = strip.drift_error(drift, strip.noise() + 2)
    if error is None or abs(drift) <= error:
        error = None if error is None else error + abs(drift)
        drift, width = 0.0, strip.width(0.0)
    lower, upper = strip.edges(drift)
    # A step that was not found leaves the strip narrower than round trips are, by as much as it was.
    unexplained = max(strip.nearby(drift) - width, 0.0)
    return ClockPiece(
        orders=part.orders,
        set_side=part.set_side,
        start_ns=strip.start_ns,
        end_ns=strip.end_ns,
        offset_ns=strip.base_ns + round((lower + upper) / 2),
        offset_error_ns=-(-abs(round(width)) // 2) + round(unexplained),
        drift_ppm=drift * 1e6,
        drift_error_ppm=None if error is None else error * 1e6,
        round_trip_min_ns=round(width),
    )
