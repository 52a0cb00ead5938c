"""Servers that get slower and stay so; how often that is found rightly, and how often where nothing lasts.

``python -m tests.truth.stalls.lasting_runs --store`` (``make stalls``) writes `lasting_results.json` beside this file.
Thresholds were set on seeds from 5,000 on; the stored results are from seeds below that.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcpsight.model.count_scales import CountScales
from tcpsight.model.lasting import LEAST_PART, Lasting, lasting_slowdown
from tests.truth.stalls.runs import draw_setup, measure, rows_of
from tests.truth.stalls.server import START_NS, Lived, Stall, simulate
from tests.truth.stalls.slow_runs import REQUESTS, draw_slowdowns

RESULTS = Path(__file__).with_name("lasting_results.json")

FACTORS = (1.5, 2.0, 3.0, 5.0)
NEAR = 0.05
"""The instant is right within that share of the time."""


@dataclass
class Case:
    """One run: how many times as long work took from some instant on, and what was told."""

    factor: float
    counts: bool
    is_found: bool
    is_near: bool


def find(lived: Lived) -> Lasting | None:
    """Look for what lasts."""
    counts = CountScales()
    counts.add(rows_of(lived))
    return lasting_slowdown(counts)


def run(seed: int) -> Case:
    """Do one run that gets slower; it counts if a share of the time as large as is looked at lies on either side."""
    random = np.random.default_rng(seed)
    setup = draw_setup(random, REQUESTS)
    span_s = setup.requests / setup.rate_per_s
    at_s, factor = float(random.uniform(0.2, 0.8)) * span_s, float(random.choice(FACTORS))
    lived = simulate(setup, [Stall("slow", at_s, 1e6 * span_s, factor)], seed)
    end_s = float(lived.completion_s.max())
    found = find(lived)
    is_near = found is not None and abs((found.start_ns - START_NS) / 1e9 - at_s) <= NEAR * end_s
    return Case(factor, LEAST_PART + 0.02 < at_s / end_s < 1 - LEAST_PART - 0.02, found is not None, is_near)


def run_quiet(seed: int) -> int:
    """Do one run without anything, and one with slowdowns that end; give 1 and 2 for a finding there, added up."""
    random = np.random.default_rng(seed)
    setup = draw_setup(random, REQUESTS)
    quiet = find(simulate(setup, [], seed))
    ending = find(simulate(setup, draw_slowdowns(random, setup), seed))
    return (quiet is not None) + 2 * (ending is not None)


def summary(results: list[Case], quiet: list[int]) -> dict[str, Any]:
    """Add up runs."""
    counted = [case for case in results if case.counts]
    by_factor = {
        str(factor): {
            "runs": sum(case.factor == factor for case in counted),
            "found": sum(case.factor == factor and case.is_found for case in counted),
            "at_the_right_instant": sum(case.factor == factor and case.is_near for case in counted),
        }
        for factor in FACTORS
    }
    return {
        "requests": REQUESTS,
        "too_near_to_an_end": len(results) - len(counted),
        "by_factor": by_factor,
        "quiet_runs": len(quiet),
        "quiet_alarms": sum(each & 1 for each in quiet),
        "runs_with_slowdowns_that_end": len(quiet),
        "told_of_these": sum(each >> 1 for each in quiet),
    }


if __name__ == "__main__":
    measure(__doc__, run, run_quiet, summary, RESULTS)
