"""Servers that are slower for a large part of the time; how often that is found rightly, and where nothing is.

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
from tests.truth.stalls.server import START_NS, Happened, Lived, Stall, simulate
from tests.truth.stalls.slow_runs import REQUESTS, draw_slowdowns

RESULTS = Path(__file__).with_name("lasting_results.json")

FACTORS = (1.5, 2.0, 3.0, 5.0)
NEAR = 0.05
"""Instants are right within that share of the time."""


@dataclass
class Case:
    """One run: how many times as long work took, whether that ended, and what was told."""

    factor: float
    ends: bool
    counts: bool
    is_found: bool
    is_near: bool


def find(lived: Lived) -> Lasting | None:
    """Look for what lasts."""
    counts = CountScales()
    counts.add(rows_of(lived))
    return lasting_slowdown(counts)


def run(seed: int) -> Case:
    """Do one run that gets slower, every other one for a time; it counts if either part is as large as is looked at."""
    random = np.random.default_rng(seed)
    setup = draw_setup(random, REQUESTS)
    span_s = setup.requests / setup.rate_per_s
    ends = bool(seed % 2)
    at_s = float(random.uniform(*((0.1, 0.5) if ends else (0.2, 0.8)))) * span_s
    factor = float(random.choice(FACTORS))
    duration_s = float(random.uniform(0.15, 0.5)) * span_s if ends else 1e6 * span_s
    lived = simulate(setup, [Stall("slow", at_s, duration_s, factor)], seed)
    end_s = float(lived.completion_s.max())
    found = find(lived)
    until_s = _drained_s(lived, at_s, at_s + duration_s) if ends else end_s
    edges = () if found is None else ((found.start_ns, at_s), (found.end_ns, until_s))
    is_near = found is not None and all(abs(_seconds(told) - true) <= NEAR * end_s for told, true in edges)
    part = (until_s - at_s) / end_s
    return Case(factor, ends, LEAST_PART + 0.02 < part < 1 - LEAST_PART - 0.02, found is not None, is_near)


def run_quiet(seed: int) -> int:
    """Do one run without anything, and one with short slowdowns; give 1 and 2 for a false finding there, added up."""
    random = np.random.default_rng(seed)
    setup = draw_setup(random, REQUESTS)
    quiet = find(simulate(setup, [], seed))
    lived = simulate(setup, draw_slowdowns(random, setup), seed)
    short = find(lived)
    is_false = short is not None and not any(_covers(short, lived, each) for each in lived.stalls)
    return (quiet is not None) + 2 * is_false


def _covers(found: Lasting, lived: Lived, slow: Happened) -> bool:
    """Whether half of what is told is that slowdown, until what had queued up was answered."""
    both_s = min(_seconds(found.end_ns), _drained_s(lived, slow.start_s, slow.end_s)) - max(
        _seconds(found.start_ns), slow.start_s
    )
    return 2e9 * both_s >= found.end_ns - found.start_ns


def _seconds(instant_ns: int) -> float:
    return (instant_ns - START_NS) / 1e9


def _drained_s(lived: Lived, start_s: float, end_s: float) -> float:
    """Give from when on no more requests were there than before it began, on average."""
    before = float((np.minimum(lived.completion_s, start_s) - lived.arrival_s)[lived.arrival_s < start_s].sum())
    usual = before / max(start_s, 1e-9)
    instants_s = np.sort(lived.completion_s[lived.completion_s >= end_s])
    there = np.searchsorted(np.sort(lived.arrival_s), instants_s) - np.searchsorted(
        np.sort(lived.completion_s), instants_s, "right"
    )
    drained = np.flatnonzero(there <= max(usual, 1))
    return float(instants_s[drained[0]]) if len(drained) else float(lived.completion_s.max())


def summary(results: list[Case], quiet: list[int]) -> dict[str, Any]:
    """Add up runs."""
    counted = [case for case in results if case.counts]
    return {
        "requests": REQUESTS,
        "too_small_a_part": len(results) - len(counted),
        "to_the_end": _by_factor([case for case in counted if not case.ends]),
        "ended": _by_factor([case for case in counted if case.ends]),
        "quiet_runs": len(quiet),
        "quiet_alarms": sum(each & 1 for each in quiet),
        "runs_with_short_slowdowns": len(quiet),
        "false_alarms_in_these": sum(each >> 1 for each in quiet),
    }


def _by_factor(cases: list[Case]) -> dict[str, dict[str, int]]:
    return {
        str(factor): {
            "runs": sum(case.factor == factor for case in cases),
            "found": sum(case.factor == factor and case.is_found for case in cases),
            "at_the_right_instants": sum(case.factor == factor and case.is_near for case in cases),
        }
        for factor in FACTORS
    }


if __name__ == "__main__":
    measure(__doc__, run, run_quiet, summary, RESULTS)
