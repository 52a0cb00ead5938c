"""Throughput of two captures at equal concurrency.

Theory of operation
-------------------
A server that is asked more at a time answers more slowly without being worse. So slices of time are compared that had
the same number of requests in progress: the range of concurrency that both captures have (of each the middle 95 % of
busy slices) is cut into levels in which it at most doubles, and the throughput for each request in progress, ΣX/ΣN,
taken of either capture at every level. The logarithms of their quotients are averaged, weighted by the slices that the
capture with fewer of them has there. Errors come from drawing blocks of slices, as in `tcpsight.model.shifting`.

By Little's law X/N is the reciprocal of the mean response time: this is the mean response time at equal load.

It is refused where the ranges do not overlap, or hold too few slices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.model.resampling import block_length
from tcpsight.model.shifting import RESAMPLES, SEED, Shift, times_drawn

Floats = np.ndarray[Any, np.dtype[np.float64]]
Integers = np.ndarray[Any, np.dtype[np.int64]]

MOST_LEVELS = 24
LEAST_AT_LEVEL = 8
LEAST_SLICES = 20
MIDDLE = (0.025, 0.975)
SLACK = 1.05
"""So near to a range counts as in it, or clients that never pause, always as many, would have next to no range."""


@dataclass(frozen=True, slots=True)
class Series:
    """Busy slices of one capture in order of time, shape (slices,) each.

    Attributes
    ----------
    concurrency : ndarray of float64
        Mean number of requests in progress, above 0.
    throughput_per_s : ndarray of float64
        Completions.
    tick_ns : int
        Of the clock: a response time may be up to as much shorter or longer than recorded, and so may their mean.
    """

    concurrency: Floats
    throughput_per_s: Floats
    tick_ns: int = 0


@dataclass(frozen=True, slots=True)
class Level:
    """What both captures did in a range of concurrency."""

    low: float
    high: float
    slices: tuple[int, int]
    throughput_per_s: tuple[float, float]
    concurrency: tuple[float, float]


@dataclass(frozen=True, slots=True)
class EqualLoad:
    """How throughput at equal concurrency changed, or why that is not told.

    Attributes
    ----------
    shift : Shift or None
        Of its logarithm.
    levels : list of Level
        Where it was compared.
    refusal : str or None
        Why it was not.
    """

    shift: Shift | None = None
    levels: tuple[Level, ...] = ()
    refusal: str | None = None


def compare_at_equal_load(before: Series, after: Series) -> EqualLoad:
    """Compare the throughput of slices with as many requests in progress."""
    both = (before, after)
    least = min(len(each.concurrency) for each in both)
    if least < LEAST_SLICES:
        return EqualLoad(refusal=f"too few busy intervals: {least}, at least {LEAST_SLICES} are needed")
    ranges = [np.quantile(each.concurrency, MIDDLE) * [1 / SLACK, SLACK] for each in both]
    low, high = max(r[0] for r in ranges), min(r[1] for r in ranges)
    told = " and ".join(f"{r[0]:.3g} to {r[1]:.3g}" for r in ranges)
    if low > high:
        return EqualLoad(refusal=f"concurrency does not overlap: {told}")
    edges = _edges(float(low), float(high))
    places = [_places(each, edges) for each in both]
    counts = np.array([np.bincount(p[p >= 0], minlength=len(edges) - 1) for p in places])
    kept = np.flatnonzero((counts >= LEAST_AT_LEVEL).all(axis=0))
    if not len(kept):
        return EqualLoad(refusal=f"concurrency hardly overlaps: {told}")
    sums = [_sums(each, place, kept) for each, place in zip(both, places, strict=True)]
    weights = counts.min(axis=0)[kept] / counts.min(axis=0)[kept].sum()
    if not all((each.sum(axis=0) > 0).all() for each in sums):
        return EqualLoad(refusal="at some level nothing was completed")
    levels = tuple(_level(edges, int(i), counts, [s.sum(axis=0)[:, n] for s in sums]) for n, i in enumerate(kept))
    return EqualLoad(_shift(both, sums, weights), levels)


def _edges(low: float, high: float) -> Floats:
    """Cut a range into levels in which concurrency at most doubles."""
    levels = int(np.clip(np.ceil(np.log2(high / low)), 1, MOST_LEVELS))
    edges: Floats = np.geomspace(low, high, levels + 1)
    edges[0], edges[-1] = low, high
    return edges


def _places(series: Series, edges: Floats) -> Integers:
    """Tell the level of each slice; −1 outside."""
    places = np.searchsorted(edges, series.concurrency, side="right") - 1
    places[series.concurrency == edges[-1]] = len(edges) - 2  # the last level has its upper end
    places[(places < 0) | (places > len(edges) - 2)] = -1
    return places.astype(np.int64)


def _sums(series: Series, places: Integers, kept: Integers) -> Floats:
    """Give X and N of each slice at its level, 0 at the others, shape (slices, 2, levels)."""
    sums = np.zeros((len(places), 2, len(kept)))
    for n, level in enumerate(kept):
        at = places == level
        sums[at, 0, n], sums[at, 1, n] = series.throughput_per_s[at], series.concurrency[at]
    return sums


def _level(edges: Floats, i: int, counts: Integers, sums: list[Floats]) -> Level:
    slices = (int(counts[0, i]), int(counts[1, i]))
    x, n = ([float(s[row] / count) for s, count in zip(sums, slices, strict=True)] for row in (0, 1))
    return Level(float(edges[i]), float(edges[i + 1]), slices, (x[0], x[1]), (n[0], n[1]))


def _shift(both: tuple[Series, Series], sums: list[Floats], weights: Floats) -> Shift:
    values, variances, blocks = [], [], []
    for number, (series, own) in enumerate(zip(both, sums, strict=True)):
        total = own.sum(axis=0)
        values.append(float(np.log(total[0] / total[1]) @ weights))
        slices = len(own)
        influence = series.throughput_per_s - series.concurrency * (own[:, 0].sum() / own[:, 1].sum())
        block = block_length(influence)
        generator = np.random.Generator(np.random.PCG64(SEED + number))
        times = times_drawn(generator, RESAMPLES, slices, (-(-slices // block), block))
        drawn = (times @ own.reshape(slices, -1)).reshape(-1, *total.shape)
        # A draw may have nothing at a level; the mean then stands for it.
        is_held = (drawn > 0).all(axis=1)
        ratios = np.where(is_held, drawn[:, 0], total[0]) / np.where(is_held, drawn[:, 1], total[1])
        blocks.append(slices / block)
        variances.append(float((np.log(ratios) @ weights).var(ddof=1) * blocks[-1] / max(blocks[-1] - 1, 1)))
    parts = sum(v**2 / max(b - 1, 1) for v, b in zip(variances, blocks, strict=True))
    freedom = sum(variances) ** 2 / parts if parts > 0 else 1.0
    within = sum(_of_tick(series, own) for series, own in zip(both, sums, strict=True))
    return Shift(values[1] - values[0], float(np.sqrt(sum(variances))), freedom, within)


def _of_tick(series: Series, sums: Floats) -> float:
    """Tell how far off the logarithm of the mean response time may be, by the tick of the clock."""
    throughput, concurrency = sums.sum(axis=(0, 2))
    return float(np.log1p(series.tick_ns / 1e9 * throughput / concurrency))
