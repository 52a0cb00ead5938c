"""How often ``tcpsight compare`` is right: captures of steady services, with and without a slow-down of known size.

``python -m tests.truth.compare_runs --store`` (``make compare-truth``) runs all of it and stores the result beside this
file. Runs are seeded: the same verdicts come out each time. Each run simulates one steady service for twice as many
requests as stated, and compares the capture of the first half with that of the second.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

import tcpsight
from tests.support.steady_service import Workload, capture, live

STORED = Path(__file__).with_name("compare.json")
RUNS = 100
SLOW_DOWNS = (1.0, 1.1)

WORKLOADS = {
    "light": Workload(utilization=0.3, spread=0.5),
    "busy": Workload(utilization=0.6, spread=0.75),
    "wavering": Workload(utilization=0.4, spread=0.5, wavering=0.1, memory_s=0.2, slow_share=0.05),
}
"""Few wait; many wait, so that a slow request slows those behind it; and a machine that is slow now and then, with one
request in twenty that takes ten times as long."""

REQUESTS = {"light": 40_000, "busy": 40_000, "wavering": 60_000}
"""In each half."""


def told(workload: Workload, seed: int, slow_down: float, requests: int) -> dict[str, Any]:
    """Simulate one run, write both halves as captures, and compare them."""
    halves = [io.BytesIO(capture(half)) for half in live(workload, seed, requests=requests, slow_down=slow_down)]
    found: dict[str, Any] = tcpsight.compare(*halves)
    return found


def run(job: tuple[str, int, float]) -> dict[str, Any]:
    """Do one run."""
    name, seed, slow_down = job
    found = told(WORKLOADS[name], seed, slow_down, REQUESTS[name])
    service = found["services"][0]
    rows = {row["quantile"]: row for row in service["response_time"]}
    return {
        "verdict": found["verdict"],
        "is_worse": found["is_worse"],
        "p50": rows[0.5]["ratio"],
        "p95": rows[0.95]["ratio"],
        "detectable": service["detectable_fraction"],
        "has_throughput": service["throughput_at_equal_concurrency"]["refusal"] is None,
    }


def summary(name: str, slow_down: float, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up runs."""
    verdicts = Counter(row["verdict"] for row in rows)

    def middle(column: str) -> float:
        return float(f"{np.median([row[column] for row in rows]):.4g}")

    return {
        "name": name,
        "workload": asdict(WORKLOADS[name]),
        "requests_in_each_half": REQUESTS[name],
        "slow_down": slow_down,
        "runs": len(rows),
        "verdicts": dict(sorted(verdicts.items())),
        "exit_status_1": sum(row["is_worse"] for row in rows),
        "median_ratio_of_p50": middle("p50"),
        "median_ratio_of_p95": middle("p95"),
        "detectable_fraction": middle("detectable"),
        "throughput_compared": sum(row["has_throughput"] for row in rows),
    }


def main() -> None:
    """Run all workloads and print, or store, what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", choices=list(WORKLOADS), help="print this workload's result, store nothing")
    parser.add_argument("--store", action="store_true", help=f"write {STORED.name}")
    chosen = parser.parse_args()
    results = []
    with multiprocessing.Pool(chosen.workers) as pool:
        for number, name in enumerate(WORKLOADS):
            if chosen.only not in (None, name):
                continue
            for slow_down in SLOW_DOWNS:
                jobs = [(name, 10_000 * (number + 1) + seed, slow_down) for seed in range(chosen.runs)]
                rows = pool.map(run, jobs, chunksize=1)
                results.append(summary(name, slow_down, rows))
                print(json.dumps(results[-1]), flush=True)
    if chosen.store and chosen.only is None:
        STORED.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
