"""Services that were slower for a large part of a capture, most often from some instant on to its end.

Theory of operation
-------------------
What goes on for a third of a capture or more is usual there, and no slowdown beside it. So the time is parted in two:
slices of one scale, `SLICES` or fewer, have a mean time in the system each (concurrency by throughput, Little's law),
and the stretch is looked for that is most clearly above all others: first among those that reach to the end, then
among all; then the clearest of what is left is taken out as well, up to `MOST_STRETCHES`. Ranks decide (the U of Mann
and Whitney, Annals of Mathematical Statistics 18, 1947), so that stalls and slow requests here and there do not
matter: U as a number of standard deviations, less where slices that follow each other are alike (effective
observations of a first-order autoregression, Bayley and Hammersley 1946). It is told if that is less likely by chance
than once in a million captures, for all stretches together; if the median rose by half or more; and if nearly all
slices (`CLEAR`) in it are above those outside. What gets slower step by step is cut somewhere in the middle.

What it cannot see: why. More load makes requests take longer, too: throughput and concurrency in it and outside are
told beside it. What lasts for less than `LEAST_PART` of the time, or all of it but that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
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

MOST_STRETCHES = 4
LEAST_USUAL = 1 / 3
"""Beside several stretches so much of the slices is left, to say what is usual."""

LEAST_TAIL = 3
"""What reaches to the end is slow still in so many last slices, or a tenth of its own."""

LEAST_RISE = 1.5
CLEAR = 0.9
"""Share of the pairs of a slice outside and one in the stretch in which the latter is slower."""

LEAST_ANSWERS = 4.0
"""Answers in most slices: with fewer a mean is one request's."""

Floats = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.int64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(slots=True)
class Lasting:
    """What was slower, and when.

    Attributes
    ----------
    start_ns, end_ns : int
        From when on, and until when: of the clearest stretch, if there are several.
    stretches, together_ns : int
        How many there are, and how long they took.
    has_before, has_after : bool
        Whether there are slices before it, and after it.
    residence_ns, usual_residence_ns : float
        Median of the slices' mean times in the system, in it and outside.
    throughput_per_s, usual_throughput_per_s, concurrency, usual_concurrency : float
        Means over the slices in it and outside, without those over which the clock was set.
    slices : int
        How many have an answer.
    surprise : float
        −log of the chance that slices without any order look like it.
    """

    start_ns: int
    end_ns: int
    stretches: int
    together_ns: int
    has_before: bool
    has_after: bool
    residence_ns: float
    usual_residence_ns: float
    throughput_per_s: float
    usual_throughput_per_s: float
    concurrency: float
    usual_concurrency: float
    slices: int
    surprise: float

    @property
    def is_loaded_more(self) -> bool:
        """Whether more was answered than otherwise, so that load explains at least some of it."""
        return self.throughput_per_s > 1.1 * self.usual_throughput_per_s

    def is_told_by(self, others: Iterable[tuple[int, int]]) -> bool:
        """Whether it ended, and half of it or more are times that are told for themselves; these may overlap."""
        told_ns, until_ns = 0, self.start_ns
        for start_ns, end_ns in sorted(others):
            begin_ns = max(start_ns, until_ns)
            until_ns = max(until_ns, min(end_ns, self.end_ns))
            told_ns += max(until_ns - begin_ns, 0)
        return self.has_after and 2 * told_ns >= self.end_ns - self.start_ns


def lasting_slowdown(counts: CountScales, leapt_ns: Callable[[int, int], int] = lambda *_: 0) -> Lasting | None:
    """Tell when a service was slower for a large part of the time, rather to the end; None if it was not.

    Parameters
    ----------
    counts : CountScales
        What is known of the service.
    leapt_ns : callable
        Tells by how much the clock was set forward between two instants, in ns.
    """
    scale = next((each for each in counts.scales() if _is_coarse(each)), None)
    if scale is None:
        return None
    places = np.flatnonzero((scale.completions > 0) & (scale.concurrency > 0))
    k = len(places)
    least = max(math.ceil(LEAST_PART * k), 8)
    if k < LEAST_SLICES or k < 2 * least:
        return None
    logs = _logs(scale, places)
    for within, searched in _stretches(logs, least):
        surprise = _surprise(logs, within, searched)
        if surprise is not None:
            begins = counts.origin_ns + scale.length_ns * np.arange(int(places[-1]) + 1)
            is_lived = np.array([2 * leapt_ns(at, at + scale.length_ns) < scale.length_ns for at in begins.tolist()])
            is_lived[places] = True
            return _told(scale, counts.origin_ns, places, within, is_lived, surprise)
    return None


def _stretches(logs: Floats, least: int) -> Iterator[tuple[list[Places], float]]:
    """Give stretches that may be slow together, as the places of their slices; and the log of how many were tried."""
    k = len(logs)
    starts, ends = _to_the_end(k, least)
    start, end = _clearest(logs, starts, ends)
    yield [np.arange(start, end)], math.log(len(starts))
    rest, cuts, found, searched = np.arange(k), list[int](), list[Places](), 0.0
    while len(found) < MOST_STRETCHES and (not found or len(rest) - least >= k * LEAST_USUAL):
        starts, ends = _anywhere(len(rest), least)
        for cut in cuts:  # what lies on both sides of a stretch that was taken out is none
            is_one = (ends <= cut) | (starts >= cut)
            starts, ends = starts[is_one], ends[is_one]
        if not len(starts):
            return
        start, end = _clearest(logs[rest], starts, ends)
        searched += math.log(len(starts))
        found.append(rest[start:end])
        cuts = [*(cut if cut <= start else cut - (end - start) for cut in cuts), start]
        rest = np.delete(rest, slice(start, end))
        yield found, searched


def _surprise(logs: Floats, stretches: list[Places], searched: float) -> float | None:
    """Give −log of the chance of what is least clear of some stretches, beside all other slices; None: not slow."""
    outside = np.delete(logs, np.concatenate(stretches))
    fewer = _fewer_deviations(outside)
    surprises: list[float] = []
    for stretch in stretches:
        within = logs[stretch]
        clear, deviations = _clearness(within, outside)
        surprises.append(-_log_tail(deviations * fewer) - searched)
        usual, slow = float(np.median(outside)), float(np.median(within))
        is_last = int(stretch[-1]) == len(logs) - 1
        if clear < CLEAR or slow - usual < math.log(LEAST_RISE):
            return None
        if is_last and np.median(within[-max(len(within) // 10, LEAST_TAIL) :]) < (usual + slow) / 2:
            return None  # it was over before the end
    least = min(surprises)
    return least if least >= -math.log(CHANCE) else None


def _told(
    scale: Scale, origin_ns: int, places: Places, stretches: list[Places], is_lived: Bools, surprise: float
) -> Lasting:
    """Describe stretches; slices over which the clock was set, as nobody lived them, are no part of means."""
    logs = _logs(scale, places)
    is_within, is_slow = np.zeros(len(is_lived), bool), np.zeros(len(logs), bool)
    edges = []
    for stretch in stretches:
        start, end = int(stretch[0]), int(stretch[-1]) + 1
        edges.append((int(places[start]) if start else 0, int(places[end - 1]) + 1))
        is_within[slice(*edges[-1])] = is_slow[start:end] = True
    first, last = edges[0]
    is_within, is_outside = is_within & is_lived, ~is_within & is_lived
    completions, concurrency = scale.completions[: len(is_lived)], scale.concurrency[: len(is_lived)]
    per_s = 1e9 / scale.length_ns
    return Lasting(
        start_ns=origin_ns + first * scale.length_ns,
        end_ns=origin_ns + last * scale.length_ns,
        stretches=len(stretches),
        together_ns=int(is_within.sum()) * scale.length_ns,
        has_before=int(stretches[0][0]) > 0,
        has_after=int(stretches[0][-1]) + 1 < len(places),
        residence_ns=float(np.exp(np.median(logs[is_slow]))) * scale.length_ns,
        usual_residence_ns=float(np.exp(np.median(logs[~is_slow]))) * scale.length_ns,
        throughput_per_s=float(completions[is_within].mean()) * per_s,
        usual_throughput_per_s=float(completions[is_outside].mean()) * per_s,
        concurrency=float(concurrency[is_within].mean()),
        usual_concurrency=float(concurrency[is_outside].mean()),
        slices=len(places),
        surprise=surprise,
    )


def _logs(scale: Scale, places: Places) -> Floats:
    """Give the logarithms of mean times in the system, in slices."""
    logs: Floats = np.log(scale.concurrency[places] / scale.completions[places])
    return logs


def _is_coarse(scale: Scale) -> bool:
    return len(scale.completions) <= SLICES and float(np.median(scale.completions)) >= LEAST_ANSWERS


def _to_the_end(k: int, least: int) -> tuple[Places, Places]:
    starts = np.arange(least, k - least + 1)
    return starts, np.full(len(starts), k)


def _anywhere(k: int, least: int) -> tuple[Places, Places]:
    starts, ends = np.triu_indices(k + 1, least)
    is_one = ends - starts <= k - least
    return starts[is_one], ends[is_one]


def _clearest(values: Floats, starts: Places, ends: Places) -> tuple[int, int]:
    """Give the clearest of stretches, as `_clearness` counts deviations of each."""
    k = len(values)
    # Pairs of any slice and one of the stretch, less those of two in it: sums of rectangles.
    sums = np.zeros((k + 1, k + 1))
    sums[1:, 1:] = _above(values).cumsum(axis=0).cumsum(axis=1)
    inner = sums[ends, ends] - sums[starts, ends] - sums[ends, starts] + sums[starts, starts]
    u = sums[k, ends] - sums[k, starts] - inner
    pairs = (ends - starts) * (k - (ends - starts))
    deviations = (u - pairs / 2) / np.sqrt(pairs * (k + 1) / 12)
    best = int(np.argmax(deviations))
    return int(starts[best]), int(ends[best])


def _clearness(within: Floats, outside: Floats) -> tuple[float, float]:
    """Give in what share of pairs a slice within is above one outside, and how many deviations U is beyond half."""
    pairs, ranked = len(within) * len(outside), np.sort(outside)
    u = sum(float(np.searchsorted(ranked, within, side).sum()) for side in ("left", "right")) / 2
    return u / pairs, (u - pairs / 2) / math.sqrt(pairs * (len(within) + len(outside) + 1) / 12)


def _fewer_deviations(outside: Floats) -> float:
    """Give by what deviations shrink where the ranks of slices are alike from one to the next, about a line."""
    ranks = _above(outside).sum(axis=0)
    time = np.linspace(-1.0, 1.0, len(ranks))
    rest = ranks - ranks.mean()
    rest -= time * float(time @ rest) / float(time @ time)
    total = float(rest @ rest)
    alike = float(rest[1:] @ rest[:-1]) / total if total > 0 else 0.0
    alike = min(max(alike, 0.0), 0.95)
    return math.sqrt((1 - alike) / (1 + alike))


def _above(values: Floats) -> Floats:
    """Tell of each pair whether the second is above the first; half where they are equal."""
    found: Floats = (values[None, :] > values[:, None]) + 0.5 * (values[None, :] == values[:, None])
    return found


def _log_tail(deviations: float) -> float:
    """Give the logarithm of the chance of a standard normal number above; far out by its asymptote."""
    if deviations < 30:
        return math.log(max(math.erfc(deviations / math.sqrt(2)) / 2, 1e-300))
    return -(deviations**2) / 2 - math.log(deviations * math.sqrt(2 * math.pi))
