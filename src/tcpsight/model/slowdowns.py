"""Times when throughput fell while concurrency rose: a server that slows down without stopping.

Theory of operation
-------------------
More requests in progress should be answered faster, or as fast; where they are answered slower, something else is in
the way: a collector, a checkpoint, a disk, a cache that was emptied, contention. At each of several scales, every one
twice the one before, slices of time are compared with the `AROUND` slices around them, by their median and by the
median of deviations from it, so that slowdowns spoil no baseline. Counts are taken as 2√(count + 3/8), whose spread
is 1 for random ones (Anscombe, Biometrika 35, 1948), so the square of the spread is how many times as much they vary
here.

It is a slowdown if so few completions as in a slice, where so many are usual, are less likely than chance lets happen
once in a million requests (Chernoff's bound of the Poisson distribution, its exponent divided by how many times as much
counts vary here, or by how many completions come together, if they are more: what answers in batches has slices without
one), and concurrency is higher than usual, or grows. The time of stalls is taken out: it counts as if
as much as usual had been answered in it. A slowdown lasts as long as throughput is below, and concurrency above what is
usual. What is found at several scales is one; the scale that has it least likely tells of it.

What it cannot see: slowdowns that last for most of `AROUND` slices at every scale, or most of the capture: they are
what is usual here. Those of an idle server, that needs no more than the time between requests: throughput doesn't fall.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.model.count_scales import CountScales, Scale

CHANCE = 1e-6
"""A false alarm is expected once in so many requests, at most."""

MARGIN = 0.3
"""Of that, for what servers do more often than random counts: slow requests come together. Measured, not derived."""

AROUND = 65
"""Slices that say what is usual, one in the middle."""

LEAST_COUNT = 32.0
"""With fewer completions in a slice what is rare enough is hardly more than none: a halt."""

HIGHER = 3.0
"""So many times its usual spread concurrency, or its growth, is above what is usual."""

EDGE = 1.0
"""A slowdown lasts while throughput is so many times its spread below what is usual, and concurrency above."""

LEAST_SPREAD = 0.02
"""Of the logarithm of concurrency: clients that all wait all the time keep it constant."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(slots=True)
class Slowdown:
    """A time when throughput fell while concurrency rose.

    Attributes
    ----------
    start_ns, end_ns : int
        When.
    scale_ns : int
        Length of the slices that tell it best.
    throughput_per_s, usual_throughput_per_s : float
        Completions in it, and around it.
    concurrency, usual_concurrency : float
        Requests resident in it, on average, and around it.
    completions : int
        Requests that were answered in it.
    missing : int
        Requests that would have been answered, too.
    surprise : float
        −log of the chance that a slice has so few completions by accident.
    """

    start_ns: int
    end_ns: int
    scale_ns: int
    throughput_per_s: float
    usual_throughput_per_s: float
    concurrency: float
    usual_concurrency: float
    completions: int
    missing: int
    surprise: float

    @property
    def duration_ns(self) -> int:
        """How long it lasted."""
        return self.end_ns - self.start_ns


def slowdowns_in(counts: CountScales, stalls: Sequence[tuple[int, int]]) -> list[Slowdown]:
    """Find slowdowns beside the stalls, in order of time.

    Parameters
    ----------
    counts : CountScales
        What is known of the service.
    stalls : sequence of (int, int)
        When it stalled, until what waited was answered; none overlapping another.
    """
    every = counts.scales()
    scales = [each for each in every if float(np.median(each.completions)) >= LEAST_COUNT]
    if not scales:
        return []
    clumps = _clumps(every, counts.origin_ns, stalls)
    found: list[Slowdown] = []
    for scale in scales:
        found += _Compared(scale, counts.origin_ns, stalls).slowdowns(len(scales), clumps)
    kept: list[Slowdown] = []
    for each in sorted(found, key=lambda each: -each.surprise):
        # What is kept never overlaps, so its ends are in the order of its starts.
        place = bisect_right(kept, each.start_ns, key=lambda other: other.end_ns)
        if place == len(kept) or kept[place].start_ns >= each.end_ns:
            kept.insert(place, each)
    return kept


def _clumps(scales: list[Scale], origin_ns: int, stalls: Sequence[tuple[int, int]]) -> float:
    """Give how many completions come together: variance by mean where a slice has one or so, stalls left out."""
    scale = next((each for each in scales if each.completions.mean() >= 1), scales[-1])
    counts = scale.completions[_shares(stalls, origin_ns, scale) == 0]
    return max(float(counts.var() / counts.mean()), 1.0) if counts.any() else 1.0


class _Compared:
    """Slices of one scale, compared with those around them."""

    def __init__(self, scale: Scale, origin_ns: int, stalls: Sequence[tuple[int, int]]) -> None:
        self._scale = scale
        self._origin_ns = origin_ns
        roots = 2 * np.sqrt(scale.completions + 0.375)
        usual, spread = _around(roots)
        self._expected = np.maximum((usual / 2) ** 2 - 0.375, 0.0)
        stalled = _shares(stalls, origin_ns, scale)
        self._answered = scale.completions + stalled * self._expected
        self._fewer = (usual - 2 * np.sqrt(self._answered + 0.375)) / np.maximum(spread, 1.0)
        self._variation = spread**2
        logs = np.log(np.maximum(scale.concurrency, 1e-9))
        self._resident, spread = _around(logs)
        self._more = (logs - self._resident) / np.maximum(spread, LEAST_SPREAD)
        growth = 2 * np.sqrt(scale.arrivals + 0.375) - roots
        usual, spread = _around(growth)
        self._growth = (growth - usual) / np.maximum(spread, 1.0)

    def slowdowns(self, scales: int, clumps: float) -> list[Slowdown]:
        """Give those of this scale, of so many; `clumps` completions come together."""
        least = math.log(scales / (MARGIN * CHANCE * float(np.median(self._scale.completions))))
        self._surprise = _fewness(self._answered, self._expected) / np.maximum(self._variation, clumps)
        is_alarm = (self._surprise >= least) & (np.maximum(self._more, self._growth) >= HIGHER) & (self._more > 0)
        is_part = ((self._fewer >= EDGE) & (self._more >= EDGE)) | is_alarm
        return [self._slowdown(slice(*run)) for run in _runs(is_part) if is_alarm[slice(*run)].any()]

    def _slowdown(self, part: slice) -> Slowdown:
        scale = self._scale
        expected, answered = float(self._expected[part].sum()), float(self._answered[part].sum())
        duration_s = (part.stop - part.start) * scale.length_ns / 1e9
        completions = int(scale.completions[part].sum())
        return Slowdown(
            start_ns=self._origin_ns + part.start * scale.length_ns,
            end_ns=self._origin_ns + part.stop * scale.length_ns,
            scale_ns=scale.length_ns,
            throughput_per_s=completions / duration_s,
            usual_throughput_per_s=expected / duration_s,
            concurrency=float(scale.concurrency[part].mean()),
            usual_concurrency=float(np.exp(self._resident[part].mean())),
            completions=completions,
            missing=max(round(expected - answered), 0),
            surprise=float(self._surprise[part].max()),
        )


def _fewness(counts: Floats, expected: Floats) -> Floats:
    """Give −log of Chernoff's bound of the chance of so few; 0 where there are not fewer."""
    few = np.minimum(counts, expected)
    ratios = np.divide(few, expected, out=np.ones_like(few), where=expected > 0)
    found: Floats = expected - few + few * np.log(np.maximum(ratios, 1e-300))
    return np.maximum(found, 0.0)


def _shares(stalls: Sequence[tuple[int, int]], origin_ns: int, scale: Scale) -> Floats:
    """Give the share of each slice that is part of a stall."""
    if not len(stalls):
        return np.zeros(len(scale.completions))
    edges = np.array([at - origin_ns for stall in stalls for at in stall], np.float64) / scale.length_ns
    # A stall that began before the one before ended counts from there.
    edges = np.maximum.accumulate(edges)
    # The time of stalls before each instant: it grows within them.
    grown = np.repeat(np.cumsum(edges[1::2] - edges[::2]), 2)
    grown[::2] -= edges[1::2] - edges[::2]
    borders = np.arange(len(scale.completions) + 1)
    return np.diff(np.interp(borders, edges, grown))


def _around(values: Floats) -> tuple[Floats, Floats]:
    """Give what is usual around each value, and its usual spread."""
    around = min(AROUND, len(values))
    windows = np.lib.stride_tricks.sliding_window_view(values, around)
    middle = np.median(windows, axis=1)
    spread = 1.4826 * np.median(np.abs(windows - middle[:, None]), axis=1)
    place = np.clip(np.arange(len(values)) - around // 2, 0, len(middle) - 1)
    return middle[place], spread[place]


def _runs(mask: Any) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
