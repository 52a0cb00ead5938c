"""What a fitted law predicts: throughput, response time and efficiency at loads that may come, with their bands."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tcpsight.model.resampling import percentiles
from tcpsight.model.scalability import Floats, LawFit
from tcpsight.model.scalability_curve import response_time_at, throughput_at

_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
BEYOND = 2.0
"""How far beyond the highest load that was seen a forecast goes; the peak is shown wherever it lies."""


@dataclass(frozen=True, slots=True)
class Band:
    """The law along concurrencies.

    Attributes
    ----------
    concurrency, throughput_per_s, low_per_s, high_per_s, response_time_s, efficiency_fraction : ndarray of float64
        Of each concurrency; low and high are the 95 % band. Efficiency is throughput over what N times one would give.
    """

    concurrency: Floats
    throughput_per_s: Floats
    low_per_s: Floats
    high_per_s: Floats
    response_time_s: Floats
    efficiency_fraction: Floats


def band(fit: LawFit, draws: Floats, concurrency: Floats) -> Band:
    """Ask the law along concurrencies."""
    sigma, kappa, one = fit.values
    throughput = throughput_at(concurrency, sigma, kappa, one)
    several = throughput_at(concurrency, draws[:, 0:1], draws[:, 1:2], draws[:, 2:3])
    ends = np.array([percentiles(column) for column in several.T])
    response_time = response_time_at(concurrency, sigma, kappa, one)
    return Band(concurrency, throughput, ends[:, 0], ends[:, 1], response_time, throughput / (one * concurrency))


def loads(highest: float, peak: float | None) -> Floats:
    """Give round concurrencies from 1 to beyond the highest that was seen, with the peak among them; about a dozen."""
    end = max(BEYOND * highest, 4.0)
    if peak is not None and peak <= 10 * end:
        end = max(end, 1.5 * peak)
    found = [step * 10.0**power for power in range(16) for step in _STEPS if (step * 10**power) % 1 == 0]
    chosen = [n for n in found if n <= end]
    while len(chosen) > 14:
        chosen = [chosen[0], *chosen[2::2]]
    return np.unique(chosen)
