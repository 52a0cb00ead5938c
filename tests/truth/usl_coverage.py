"""How often the truth lies inside the 95 % intervals of ``tcpsight usl``: captures of systems of known coefficients.

``python -m tests.truth.usl_coverage --store`` (``make usl-truth``) runs all of it and stores the result beside this
file. Runs are seeded: the same numbers come out each time.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tcpsight
from tests.support.closed_system import STEPS, Drift, Law, frames, simulate
from tests.support.pcap import pcap_bytes

STORED = Path(__file__).with_name("usl.json")
RUNS = 100
REQUESTS = 10_000
NAMES = ("sigma", "kappa", "lambda")


@dataclass(frozen=True)
class System:
    """What is simulated.

    Attributes
    ----------
    law : Law
        The truth.
    think_s : float
        Mean time that a client waits before it asks again.
    steps : tuple of int
        How many clients there are, one after the other.
    drift : Drift or None
        How the server's speed changes by itself.
    """

    law: Law
    think_s: float = 0.0
    steps: tuple[int, ...] = STEPS
    drift: Drift | None = None


SYSTEMS = {
    "clients that never pause": System(Law(0.05, 0.0005, 1000.0)),
    "clients that pause": System(Law(0.05, 0.002, 1000.0), think_s=0.005),
    "a peak within the load": System(Law(0.02, 0.005, 500.0)),
    "no coherency": System(Law(0.1, 0.0, 2000.0)),
    "a server whose speed varies": System(Law(0.05, 0.002, 1000.0), drift=Drift(0.15, 0.05)),
}


def told(system: System, seed: int, requests: int = REQUESTS) -> dict[str, Any]:
    """Simulate one run, write it as a capture, and ask the library."""
    lived = simulate(
        system.law, seed, requests=requests, steps=system.steps, think_s=system.think_s, drift=system.drift
    )
    capture = io.BytesIO(pcap_bytes(frames(lived), nanoseconds=True))
    return tcpsight.open(capture).scalability()


def hits(system: System, found: dict[str, Any]) -> dict[str, bool]:
    """Tell of each coefficient whether the truth lies in its interval; what was refused does not hold it."""
    return {
        name: found[name] is not None and found[name]["low"] <= truth <= found[name]["high"]
        for name, truth in zip(NAMES, system.law.values, strict=True)
    }


def run(job: tuple[str, int]) -> dict[str, Any]:
    """Do one run of a system."""
    name, seed = job
    found = told(SYSTEMS[name], seed)
    return {
        "hits": hits(SYSTEMS[name], found),
        "values": {each: found["best_fit"][each] for each in NAMES},
        "refused": found["sigma"] is None,
        "intervals": found["points"]["used"],
        "warm_up": found["points"]["warm_up"],
        "outliers": found["points"]["outliers"],
    }


def summary(name: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Add up the runs of a system."""
    system = SYSTEMS[name]
    count = len(rows)
    return {
        "truth": asdict(system.law),
        "think_s": system.think_s,
        "drift": None if system.drift is None else asdict(system.drift),
        "clients": system.steps,
        "requests": REQUESTS,
        "runs": count,
        "inside": {each: sum(row["hits"][each] for row in rows) for each in NAMES},
        "all_inside": sum(all(row["hits"].values()) for row in rows),
        "refused": sum(row["refused"] for row in rows),
        "mean": {each: float(f"{sum(row['values'][each] for row in rows) / count:.4g}") for each in NAMES},
        "intervals": round(sum(row["intervals"] for row in rows) / count),
        "runs_with_warm_up": sum(row["warm_up"] > 0 for row in rows),
        "outliers": sum(row["outliers"] for row in rows),
    }


def main() -> None:
    """Run all systems and print, or store, what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--store", action="store_true", help=f"write {STORED.name}")
    chosen = parser.parse_args()
    results = {}
    with multiprocessing.Pool(chosen.workers) as pool:
        for number, name in enumerate(SYSTEMS):
            jobs = [(name, 1000 * number + seed) for seed in range(chosen.runs)]
            results[name] = summary(name, pool.map(run, jobs, chunksize=1))
            print(json.dumps({name: results[name]}), flush=True)
    if chosen.store:
        STORED.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
