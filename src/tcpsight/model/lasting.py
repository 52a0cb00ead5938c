"""Services that got slower and stayed so: from some instant on requests take longer than before, to the end.

Theory of operation
-------------------
What goes on for most of a capture is what is usual there, and no slowdown beside it. So the time is cut in two: slices
of one scale, `SLICES` or fewer, have a mean time in the system each (concurrency by throughput, Little's law), and the
instant is looked for at which those after it are above those before most clearly. Ranks decide (the U of Mann and
Whitney, Annals of Mathematical Statistics 18, 1947), so that stalls and slow requests here and there do not matter: U
as a number of standard deviations, less where slices that follow each other are alike (the effective number of
observations of a first-order autoregression, Bayley and Hammersley 1946). It is told if that is less likely by chance
than once in a million captures, for all instants together; if the median rose by half or more; and if nearly all slices
(`CLEAR`) after are above those before. What gets slower step by step is cut somewhere in the middle.

What it cannot see: why. More load makes requests take longer, too: throughput and concurrency before and after are
told beside it. What got slower in the first or last `LEAST_PART` of the time; what became faster again.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.model.count_scales import CountScales, Scale

CHANCE = 1e-6
"""A false alarm is expected once in so many captures whose slices are random."""

SLICES = 256
LEAST_SLICES = 24
LEAST_PART = 0.1
"""Either part has so much of the slices, and 8 at least."""

LEAST_TAIL = 3
"""So many last slices, or a tenth of those after, are slow still."""

LEAST_RISE = 1.5
CLEAR = 0.9
"""Share of the pairs of a slice before and one after in which the later one is slower."""

LEAST_ANSWERS = 4.0
"""Answers in most slices: with fewer a mean is one request's."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(slots=True)
class Lasting:
    """What got slower, and when.

    Attributes
    ----------
    start_ns, end_ns : int
        From when on, and the end of the last slice.
    residence_before_ns, residence_ns : float
        Median of the slices' mean times in the system, before and after.
    throughput_before_per_s, throughput_per_s, concurrency_before, concurrency : float
        Means over the slices before and after.
    slices : int
        How many have an answer.
    surprise : float
        −log of the chance that slices without any order look like it.
    """

    start_ns: int
    end_ns: int
    residence_before_ns: float
    residence_ns: float
    throughput_before_per_s: float
    throughput_per_s: float
    concurrency_before: float
    concurrency: float
    slices: int
    surprise: float

    @property
    def is_loaded_more(self) -> bool:
        """Whether more was answered than before, so that load explains at least some of it."""
        return self.throughput_per_s > 1.1 * self.throughput_before_per_s


def lasting_slowdown(counts: CountScales) -> Lasting | None:
    """Tell from when on a service was slower to the end; None if it was not.

    Parameters
    ----------
    counts : CountScales
        What is known of the service.
    """
    scale = next((each for each in counts.scales() if _is_coarse(each)), None)
    if scale is None:
        return None
    places = np.flatnonzero((scale.completions > 0) & (scale.concurrency > 0))
    k = len(places)
    least = max(math.ceil(LEAST_PART * k), 8)
    if k < LEAST_SLICES or k < 2 * least:
        return None
    logs = np.log(scale.concurrency[places] / scale.completions[places])
    cut, clear, deviations = _clearest(logs, least)
    before, after = logs[:cut], logs[cut:]
    rise = float(np.exp(np.median(after) - np.median(before)))
    deviations *= _fewer_deviations(before)
    surprise = -_log_tail(deviations) - math.log(k)
    if surprise < -math.log(CHANCE) or rise < LEAST_RISE or clear < CLEAR:
        return None
    half_way = (np.median(before) + np.median(after)) / 2
    if np.median(after[-max(len(after) // 10, LEAST_TAIL) :]) < half_way:
        return None  # it was over before the end
    start = int(places[cut])
    first, last = slice(0, start), slice(start, int(places[-1]) + 1)
    return Lasting(
        start_ns=counts.origin_ns + start * scale.length_ns,
        end_ns=counts.origin_ns + last.stop * scale.length_ns,
        residence_before_ns=float(np.exp(np.median(before))) * scale.length_ns,
        residence_ns=float(np.exp(np.median(after))) * scale.length_ns,
        throughput_before_per_s=float(scale.completions[first].mean()) / scale.length_ns * 1e9,
        throughput_per_s=float(scale.completions[last].mean()) / scale.length_ns * 1e9,
        concurrency_before=float(scale.concurrency[first].mean()),
        concurrency=float(scale.concurrency[last].mean()),
        slices=k,
        surprise=surprise,
    )


def _is_coarse(scale: Scale) -> bool:
    return len(scale.completions) <= SLICES and float(np.median(scale.completions)) >= LEAST_ANSWERS


def _clearest(values: Floats, least: int) -> tuple[int, float, float]:
    """Give where to cut, in how many pairs the later one is above, and how many deviations that is beyond half."""
    k = len(values)
    above = (values[None, :] > values[:, None]) + 0.5 * (values[None, :] == values[:, None])
    # Pairs of one before and one at or after each cut: sums of a rectangle.
    sums = np.zeros((k + 1, k + 1))
    sums[1:, 1:] = above.cumsum(axis=0).cumsum(axis=1)
    cuts = np.arange(least, k - least + 1)
    pairs = cuts * (k - cuts)
    u = sums[cuts, k] - sums[cuts, cuts]
    deviations = (u - pairs / 2) / np.sqrt(pairs * (k + 1) / 12)
    best = int(np.argmax(deviations))
    return int(cuts[best]), float(u[best] / pairs[best]), float(deviations[best])


def _fewer_deviations(before: Floats) -> float:
    """Give by what deviations shrink where slices are alike from one to the next, about a line."""
    time = np.linspace(-1.0, 1.0, len(before))
    rest = before - before.mean()
    rest -= time * float(time @ rest) / float(time @ time)
    total = float(rest @ rest)
    alike = float(rest[1:] @ rest[:-1]) / total if total > 0 else 0.0
    alike = min(max(alike, 0.0), 0.95)
    return math.sqrt((1 - alike) / (1 + alike))


def _log_tail(deviations: float) -> float:
    """Give the logarithm of the chance of a standard normal number above; far out by its asymptote."""
    if deviations < 30:
        return math.log(max(math.erfc(deviations / math.sqrt(2)) / 2, 1e-300))
    return -(deviations**2) / 2 - math.log(deviations * math.sqrt(2 * math.pi))
