"""Stalls of known start, end and cause, at servers of many kinds and loads; how often they are found rightly.

``python -m tests.truth.stalls.runs --store`` (``make stalls``) writes `results.json` beside this file. Thresholds were
set on seeds from 1,000 on; the stored results are from seeds below that.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tcpsight.model.stall_list import Stall as Found
from tcpsight.model.stalls import StallDetection
from tcpsight.tables import Requests
from tests.truth.stalls.server import START_NS, Happened, Lived, Setup, Stall, simulate

Run = Callable[[int], Any]
"""A simulated run, by its seed."""
Summary = Callable[[list[Any], list[int]], dict[str, Any]]
"""Adds up what runs found, and alarms of quiet ones."""

RESULTS = Path(__file__).with_name("results.json")
RUNS = 300
FIRST_QUIET_SEED = 500
REQUESTS = 10_000

LEAST_RATIO = 10
"""A stall must be longer than so many median response times."""
LEAST_HELD = 3
"""A stall must have kept so many requests waiting to its end; who was not there saw nothing."""

LOADS = (0.03, 0.1, 0.3, 0.5, 0.7, 0.85)
LAWS = ("fixed", "exponential", "lognormal", "mixed")


@dataclass
class Case:
    """One stall, and whether it was found.

    Attributes
    ----------
    outcome : str
        `found`, `missed`, `short` or `unseen`: what is not long enough, or held too few, is not counted.
    blocker : bool or None
        Whether the right request was named, surely or as one of two causes; None if none caused it, or not found.
    cause : str
        What it is said to have been, if it was found.
    """

    kind: str
    load: float
    duration_s: float
    ratio: float
    held: int
    outcome: str
    named: str = ""
    blocker: bool | None = None
    cause: str = ""
    start_error: float = 0.0
    end_error: float = 0.0


def draw_setup(random: np.random.Generator, requests: int = REQUESTS) -> Setup:
    """Draw a server, its load and how requests come."""
    law = str(random.choice(LAWS))
    # A server of few workers is stopped by its own slow requests: it stalls without being told to.
    workers = int(random.choice((1, 2, 4, 8, 16, 32) if law != "mixed" else (8, 16, 32)))
    service_s = float(10 ** random.uniform(-3.7, -2.3))
    return Setup(
        workers=workers,
        service_s=service_s,
        law=law,
        rate_per_s=float(random.choice(LOADS)) * workers / service_s,
        clients=int(random.choice((0, 0, 8, 32, 100))),
        burst=float(random.choice((1, 1, 3))),
        requests=requests,
    )


def draw_stalls(random: np.random.Generator, setup: Setup) -> list[Stall]:
    """Draw one to three stalls of 20 ms to 5 s."""
    span_s = setup.requests / setup.rate_per_s
    at_s, stalls = 0.15 * span_s, []
    for _ in range(int(random.integers(1, 4))):
        duration_s = float(0.02 * 250 ** random.random())
        kind = str(random.choice(("pause", "lock", "lock", "sync")))
        share = 1.0 if kind == "pause" else float(random.choice((1.0, 0.5, 0.2)))
        stalls.append(Stall(kind, at_s, duration_s, share))
        at_s += 1.5 * duration_s + 0.25 * span_s
    return stalls


def live(seed: int, *, is_quiet: bool = False, requests: int = REQUESTS) -> tuple[Setup, Lived]:
    """Draw and simulate one run."""
    random = np.random.default_rng(seed)
    setup = draw_setup(random, requests)
    return setup, simulate(setup, [] if is_quiet else draw_stalls(random, setup), seed)


def rows_of(lived: Lived) -> Requests:
    """Write what happened as rows of Requests, in order of arrival."""
    requests = Requests.allocate(len(lived.arrival_s))
    requests.arrival_ns[:] = START_NS + np.rint(lived.arrival_s * 1e9).astype(np.int64)
    requests.completion_ns[:] = START_NS + np.rint(lived.completion_s * 1e9).astype(np.int64)
    requests.response_time_ns[:] = requests.completion_ns - requests.arrival_ns
    requests.connection_id[:] = lived.connection
    requests.request_index[:] = lived.index
    return requests


def detect(requests: Requests) -> list[Found]:
    """Look for stalls."""
    detection = StallDetection()
    detection.feed(requests)
    return list(detection.finish(int(requests.completion_ns.max())))


def instants(stall: Happened) -> tuple[int, int]:
    return START_NS + round(stall.start_s * 1e9), START_NS + round(stall.end_s * 1e9)


def judge(setup: Setup, lived: Lived, found: list[Found]) -> tuple[list[Case], int]:
    """Compare what was found with what happened; give the cases and how many alarms were false."""
    median_s = float(np.median(lived.completion_s - lived.arrival_s))
    load = setup.rate_per_s * setup.service_s / setup.workers
    cases, explained = [], set[int]()
    for stall in lived.stalls:
        start_ns, end_ns = instants(stall)
        hits = [i for i, each in enumerate(found) if each.start_ns < end_ns and each.end_ns >= start_ns]
        explained.update(hits)
        duration_s = stall.end_s - stall.start_s
        case = Case(
            stall.kind, load, duration_s, duration_s / median_s, lived.held(stall), "found" if hits else "missed"
        )
        cases.append(case)
        if case.ratio < LEAST_RATIO or case.held < LEAST_HELD:
            case.outcome = "short" if case.ratio < LEAST_RATIO else "unseen"
        elif hits:
            best = max((found[i] for i in hits), key=lambda each: each.surprise)
            case.named = best.kind
            case.cause = best.cause
            case.start_error = abs(best.start_ns - start_ns) / (end_ns - start_ns)
            case.end_error = abs(best.end_ns - end_ns) / (end_ns - start_ns)
            if stall.blocker is not None:
                named = best.blocker
                case.blocker = named is not None and stall.blocker == (named["connection_id"], named["request_index"])
    return cases, len(found) - len(explained)


def run(seed: int) -> tuple[list[Case], int]:
    """Do one run with stalls."""
    setup, lived = live(seed)
    return judge(setup, lived, detect(rows_of(lived)))


def run_quiet(seed: int) -> int:
    """Do one run without; give how many were found."""
    return len(detect(rows_of(live(seed, is_quiet=True)[1])))


def shares(cases: Iterable[Case]) -> dict[str, Any]:
    """Count what became of cases."""
    outcomes = Counter(case.outcome for case in cases)
    counted = outcomes["found"] + outcomes["missed"]
    return {"stalls": counted, "found": outcomes["found"], "recall": share_of(outcomes["found"], counted)}


def share_of(part: int, whole: int) -> float | None:
    return round(part / whole, 4) if whole else None


def summary(results: list[tuple[list[Case], int]], quiet: list[int]) -> dict[str, Any]:
    """Add up runs."""
    cases = [case for each, _ in results for case in each]
    false_alarms = sum(false for _, false in results)
    found = [case for case in cases if case.outcome == "found"]
    named = [case.blocker for case in cases if case.blocker is not None]
    sure = [case.blocker for case in cases if case.blocker is not None and case.cause == "request"]
    pauses = Counter(case.cause for case in found if case.kind == "pause")
    errors = {
        name: round(float(np.quantile([getattr(case, name) for case in found], 0.9)), 4)
        for name in ("start_error", "end_error")
    }
    return {
        "runs": len(results),
        "requests": REQUESTS,
        **shares(cases),
        "short": sum(case.outcome == "short" for case in cases),
        "unseen": sum(case.outcome == "unseen" for case in cases),
        "false_alarms": false_alarms,
        "precision": share_of(len(found), len(found) + false_alarms),
        "blockers": len(named),
        "blockers_right": sum(named),
        "blocker_share": share_of(sum(named), len(named)),
        "sure": len(sure),
        "sure_right": sum(sure),
        "pauses": pauses.total(),
        "pauses_accused": pauses["request"],
        "pauses_told": pauses["server"],
        **{f"{name}_p90": value for name, value in errors.items()},
        "by_kind": {kind: shares(case for case in cases if case.kind == kind) for kind in ("pause", "lock", "sync")},
        "by_load": {f"{load:g}": shares(case for case in cases if abs(case.load - load) < 1e-9) for load in LOADS},
        "by_duration": {
            f"{low:g}–{high:g} s": shares(case for case in cases if low <= case.duration_s < high)
            for low, high in ((0.02, 0.1), (0.1, 0.5), (0.5, 5.01))
        },
        "quiet_runs": len(quiet),
        "quiet_requests": len(quiet) * REQUESTS,
        "quiet_alarms": sum(quiet),
    }


def measure(description: str | None, run_one: Run, run_quiet_one: Run, sum_up: Summary, results: Path) -> None:
    """Run everything as the command line says, and print, or store, what came out."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--store", action="store_true", help=f"write {results.name}")
    chosen = parser.parse_args()
    with multiprocessing.Pool(chosen.workers) as pool:
        found = pool.map(run_one, range(chosen.runs), chunksize=4)
        quiet = pool.map(run_quiet_one, range(FIRST_QUIET_SEED, FIRST_QUIET_SEED + chosen.runs), chunksize=4)
    text = json.dumps(sum_up(found, quiet), indent=2, ensure_ascii=False) + "\n"
    print(text)
    if chosen.store:
        results.write_text(text)


if __name__ == "__main__":
    measure(__doc__, run, run_quiet, summary, RESULTS)
