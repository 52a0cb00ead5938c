"""What the residuals of a fit tell about the fit: order, spread, how it begins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Floats = np.ndarray[Any, np.dtype[np.float64]]
Places = np.ndarray[Any, np.dtype[np.int64]]

SURPRISING = 0.01
"""What chance does less often is a pattern."""

WARM_UP_ERRORS = 4.0
"""So many standard errors below the law the first slices must lie to be called warm-up."""

MOST_WARM_UP = 0.25
"""No more than this share of a capture is warm-up."""


def r_squared(measured: Floats, predicted: Floats) -> float:
    """Give 1 − Σ(y − f)² / Σ(y − ȳ)²; NaN where all measured values are equal. A hint only: the law is not linear."""
    total = float(np.sum((measured - measured.mean()) ** 2))
    return 1 - float(np.sum((measured - predicted) ** 2)) / total if total > 0 else float("nan")


def runs_p_value(residuals: Floats) -> float:
    """Give the probability of so few, or so many, changes of sign among errors without any order; NaN if unknown.

    Notes
    -----
    Wald and Wolfowitz, Annals of Mathematical Statistics 11, 1940: of a positive and b negative residuals the number of
    runs has the mean 1 + 2ab / (a + b) and, nearly, a normal distribution. Of fewer than ten of either sign its exact
    distribution is summed; nothing is told where even one change of sign would be no surprise.
    """
    signs = np.sign(residuals[residuals != 0])
    above, below = int((signs > 0).sum()), int((signs < 0).sum())
    if min(above, below) == 0:
        return float("nan")
    runs = 1 + int((signs[1:] != signs[:-1]).sum())
    if min(above, below) < 10:
        if _chance_of_runs(2, above, below) * 2 > SURPRISING:
            return float("nan")
        few = sum(_chance_of_runs(each, above, below) for each in range(2, runs + 1))
        many = 1 - few + _chance_of_runs(runs, above, below)
        return min(2 * min(few, many), 1.0)
    both = 2.0 * above * below
    mean = 1 + both / (above + below)
    variance = both * (both - above - below) / ((above + below) ** 2 * (above + below - 1))
    return _two_sided((runs - mean) / math.sqrt(variance))


def order_of_load(concurrency: Floats, *, is_series: bool) -> Places:
    """Give the order of points from few requests at once to many; of slices by what was there before and after each.

    Notes
    -----
    A fixed number C of clients who pause for Z keep N + XZ = C: at one load, slices in which by chance more was
    answered have fewer requests, so that in the order of their own concurrency residuals of one sign follow each other
    whatever the service does. Load lasts from slice to slice, chance does not.
    """
    if is_series and len(concurrency) > 2:
        reflected = np.pad(concurrency, 1, "reflect")
        concurrency = reflected[:-2] + reflected[2:]
    order: Places = np.argsort(concurrency, kind="stable")
    return order


def _chance_of_runs(runs: int, above: int, below: int) -> float:
    """Give how probable so many runs are, of signs in any order."""
    half = runs // 2
    if runs % 2:
        ways = math.comb(above - 1, half) * math.comb(below - 1, half - 1)
        ways += math.comb(above - 1, half - 1) * math.comb(below - 1, half)
    else:
        ways = 2 * math.comb(above - 1, half - 1) * math.comb(below - 1, half - 1)
    return ways / math.comb(above + below, above)


def spread_trend(residuals: Floats, predicted: Floats) -> tuple[float, float]:
    """Give Spearman's rank correlation of the size of residuals with predictions, and its probability by chance."""
    k = len(residuals)
    sizes, places = _ranks(np.abs(residuals)), _ranks(predicted)
    sizes, places = sizes - sizes.mean(), places - places.mean()
    scale = math.sqrt(float(sizes @ sizes) * float(places @ places))
    if k < 10 or scale == 0:
        return float("nan"), float("nan")
    correlation = float(sizes @ places) / scale
    return correlation, _two_sided(correlation * math.sqrt(k - 1))


def warm_up(residuals: Floats, scale: float) -> int:
    """Give how many of the first residuals, in order of time, lie below the law like those of a cold service.

    Notes
    -----
    The marginal standard error rule (White, Simulation 69, 1997) proposes where to cut: where the standard error of the
    mean of what remains is least. It always proposes something, so the cut is made only if the mean of what it takes
    away is `WARM_UP_ERRORS` standard errors below 0.
    """
    k = len(residuals)
    most = int(k * MOST_WARM_UP)
    if most < 3 or scale <= 0:
        return 0
    sums, squares = np.cumsum(residuals[::-1])[::-1], np.cumsum(residuals[::-1] ** 2)[::-1]
    left = k - np.arange(most + 1)
    error = (squares[: most + 1] - sums[: most + 1] ** 2 / left) / left**2
    cut = int(np.argmin(error))
    if cut < 3 or residuals[:cut].mean() * math.sqrt(cut) > -WARM_UP_ERRORS * scale:
        return 0
    return cut


def _ranks(values: Floats) -> Floats:
    """Give ranks; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts - 1) / 2)[inverse]
    return ranks


def _two_sided(z: float) -> float:
    return math.erfc(abs(z) / math.sqrt(2))
