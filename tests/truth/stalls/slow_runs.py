"""Servers that slow down for a time without stopping; how often that is found rightly.

``python -m tests.truth.stalls.slow_runs --store`` (``make stalls``) writes `slow_results.json` beside this file.
Thresholds were set on seeds from 1,000 on; the stored results are from seeds below that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcpsight.model.count_scales import CountScales
from tcpsight.model.slowdowns import Slowdown, slowdowns_in
from tests.truth.stalls.runs import detect, draw_setup, instants, measure, rows_of
from tests.truth.stalls.server import Floats, Happened, Lived, Setup, Stall, simulate

RESULTS = Path(__file__).with_name("slow_results.json")
REQUESTS = 20_000

LEAST_MISSING = 10.0
"""So many standard deviations of a random count, of bursts where requests come so, fewer answers than before."""
MOST_ANSWERED = 0.8
LEAST_RISE = 1.5
"""A slowdown counts if throughput fell to that share, and concurrency rose so many times."""


@dataclass
class Case:
    """One slowdown, and what was told of it: `slowdown`, `stall` or nothing."""

    counts: bool
    told: str


def draw_slowdowns(random: np.random.Generator, setup: Setup) -> list[Stall]:
    """Draw one or two times at which everything takes two to ten times as long."""
    span_s = setup.requests / setup.rate_per_s
    at_s, drawn = 0.15 * span_s, []
    for _ in range(int(random.integers(1, 3))):
        duration_s = float(10 ** random.uniform(-2, -0.9)) * span_s
        drawn.append(Stall("slow", at_s, duration_s, float(random.choice((2, 3, 5, 10)))))
        at_s += duration_s + 0.35 * span_s
    return drawn


def live(seed: int, *, is_quiet: bool = False) -> tuple[Setup, Lived]:
    """Draw and simulate one run."""
    random = np.random.default_rng(seed)
    setup = draw_setup(random, REQUESTS)
    return setup, simulate(setup, [] if is_quiet else draw_slowdowns(random, setup), seed)


def find(lived: Lived) -> tuple[list[Slowdown], list[tuple[int, int]]]:
    """Look for slowdowns and stalls."""
    rows = rows_of(lived)
    stalls = [(each.start_ns, each.drained_ns) for each in detect(rows)]
    counts = CountScales()
    counts.add(rows)
    return slowdowns_in(counts, stalls), stalls


def rates(lived: Lived, start_s: float, end_s: float) -> tuple[float, float]:
    """Give throughput and average concurrency between two instants."""
    length_s = end_s - start_s
    answered = (lived.completion_s >= start_s) & (lived.completion_s < end_s)
    there: Floats = np.minimum(lived.completion_s, end_s) - np.maximum(lived.arrival_s, start_s)
    return float(answered.sum()) / length_s, float(np.maximum(there, 0).sum()) / length_s


def is_counted(setup: Setup, lived: Lived, slow: Happened) -> bool:
    """Tell whether throughput fell, and concurrency rose, more than chance may have it."""
    # Geometric bursts of that mean: variance by mean of their counts.
    dispersion = 2 * setup.burst - 1 if not setup.clients else 1.0
    first_s = min(each.start_s for each in lived.stalls)
    usual, before = rates(lived, 0.1 * first_s, first_s)
    during, within = rates(lived, slow.start_s, slow.end_s)
    expected, answered = (each * (slow.end_s - slow.start_s) for each in (usual, during))
    is_rare = expected - answered >= LEAST_MISSING * math.sqrt(dispersion * expected)
    return is_rare and answered <= MOST_ANSWERED * expected and within >= LEAST_RISE * before


def run(seed: int) -> tuple[list[Case], int]:
    """Do one run with slowdowns; give the cases and how many alarms nothing explains."""
    setup, lived = live(seed)
    found, stalls = find(lived)
    cases, explained = [], set[int]()
    for slow in lived.stalls:
        start_ns, end_ns = instants(slow)
        hits = [i for i, each in enumerate(found) if each.start_ns < end_ns and each.end_ns > start_ns]
        explained.update(hits)
        is_stall = any(start < end_ns and end > start_ns for start, end in stalls)
        cases.append(Case(is_counted(setup, lived, slow), "slowdown" if hits else "stall" if is_stall else ""))
    return cases, len(found) - len(explained)


def run_quiet(seed: int) -> int:
    """Do one run without; give how many were found."""
    return len(find(live(seed, is_quiet=True)[1])[0])


def summary(results: list[tuple[list[Case], int]], quiet: list[int]) -> dict[str, Any]:
    """Add up runs."""
    cases = [case for each, _ in results for case in each]
    counted = [case.told for case in cases if case.counts]
    false_alarms = sum(false for _, false in results)
    told = sum(case.told == "slowdown" for case in cases)
    return {
        "runs": len(results),
        "requests": REQUESTS,
        "slowdowns": len(counted),
        "found": sum(each != "" for each in counted),
        "told_as_stalls": counted.count("stall"),
        "recall": round(sum(each != "" for each in counted) / max(len(counted), 1), 4),
        "too_slight": len(cases) - len(counted),
        "false_alarms": false_alarms,
        "precision": round(told / max(told + false_alarms, 1), 4),
        "quiet_runs": len(quiet),
        "quiet_requests": len(quiet) * REQUESTS,
        "quiet_alarms": sum(quiet),
    }


if __name__ == "__main__":
    measure(__doc__, run, run_quiet, summary, RESULTS)
