"""Runs many simulated transfers whose truth is known; counts how often policing and shaping are found rightly.

``python -m tests.truth.policing.runs --runs 80 --store`` writes `results.json` beside this file (`make policing`).
Thresholds were set on seeds from 10,000 on; the stored results are from seeds below that.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from tests.truth.policing.judging import judge
from tests.truth.policing.path import Chance, Element, Policer, Shaper, VaryingLink
from tests.truth.policing.senders import ByLosses, ByRate
from tests.truth.policing.transfer import MSS, OVERHEAD, TIMESTAMPS, Outcome, Settings, Transfer, headers_of

RESULTS = Path(__file__).with_name("results.json")
LEAST_DROPS, LEAST_ROUNDS = 20, 5
"""A policer must have dropped so much, in so many round trips, to be one that can be found."""
LEAST_WAIT_S, LEAST_WAIT_ROUND_TRIPS = 0.008, 0.35
LEAST_IN_FLIGHT = 10
"""Seven of ten segments must have waited so long in a queue, and so many be on the way, for it to stand."""


@dataclass
class Run:
    """One transfer, seen at one end.

    Attributes
    ----------
    is_policed, is_shaped : bool
        The truth.
    rate : float
        Of policer, shaper or link, as payload; 0 if there is none.
    """

    name: str
    seed: int
    end: str
    is_policed: bool
    is_shaped: bool
    rate: float
    found: dict[str, Any]


def common(random: Random, path: list[Element], rate: float, seconds: float, more: int = 0) -> Settings:
    """Draw what has nothing to do with the path: who sends, how far away, how much."""
    return Settings(
        sizes=(min(12_000_000, max(150_000, round(rate / 8 * seconds) + more)),),
        round_trip_s=random.uniform(0.01, 0.15),
        path=path,
        sender=random.choice((ByLosses, ByRate))(),
        has_timestamps=random.random() < 0.8,
    )


def rate_of(random: Random) -> float:
    return float(0.5e6 * 40 ** random.random())


def policer(random: Random) -> Settings:
    rate, burst = rate_of(random), round(10_000 * 50 ** random.random())
    path: list[Element] = [Policer(rate, burst)]
    if random.random() < 0.3:
        path.append(Chance(0.001, random))
    return common(random, path, rate, random.uniform(3, 6), burst)


def shaper(random: Random) -> Settings:
    rate, burst = rate_of(random), round(50_000 * 10 ** random.random())
    path: list[Element] = [Shaper(rate, burst, round(rate / 8 * random.uniform(0.08, 0.6)))]
    return common(random, path, rate, random.uniform(3, 6), burst)


def slow_link(random: Random) -> Settings:
    rate = rate_of(random)
    path: list[Element] = [Shaper(rate, MSS + OVERHEAD, round(rate / 8 * random.uniform(0.08, 0.6)))]
    return common(random, path, rate, random.uniform(3, 6))


def varying_link(random: Random) -> Settings:
    rate = rate_of(random)
    path: list[Element] = [VaryingLink(rate, round(rate / 8 * random.uniform(0.05, 0.4)), random)]
    return common(random, path, rate * 0.6, random.uniform(3, 6))


def random_loss(random: Random) -> Settings:
    return common(random, [Chance(random.uniform(0.003, 0.03), random)], 8e6, random.uniform(2, 6))


def paused_sender(random: Random) -> Settings:
    settings = common(random, [Chance(random.uniform(0.003, 0.03), random)], 4e6, random.uniform(2, 5))
    settings.pieces, settings.spread_s = random.randint(10, 60), random.uniform(2, 6)
    return settings


def small_window(random: Random) -> Settings:
    settings = common(random, [Chance(random.uniform(0, 0.01), random)], 4e6, random.uniform(2, 5))
    settings.most_in_flight = random.randint(8, 60)
    return settings


SCENARIOS: dict[str, tuple[Callable[[Random], Settings], bool, bool]] = {
    "policer": (policer, True, False),
    "shaper": (shaper, False, True),
    "slow link": (slow_link, False, True),
    "varying link": (varying_link, False, False),
    "random loss": (random_loss, False, False),
    "paused sender": (paused_sender, False, False),
    "small window": (small_window, False, False),
}
"""Each with whether it polices, and whether it shapes."""


def can_be_found(settings: Settings, outcome: Outcome) -> bool:
    """Tell whether there is something to find: a policer that drops again and again, a queue that stands."""
    first = settings.path[0]
    if isinstance(first, Shaper):
        least = max(LEAST_WAIT_S, LEAST_WAIT_ROUND_TRIPS * settings.round_trip_s)
        wait_s = float(np.quantile(outcome.waits_s, 0.3))
        in_flight = (wait_s + settings.round_trip_s) * first.rate / 8 / (MSS + OVERHEAD)
        return wait_s >= least and in_flight >= LEAST_IN_FLIGHT
    if not isinstance(first, Policer):
        return True
    times = dict[int, list[float]]()
    for s in outcome.at_server:
        if s.payload and s.direction:
            times.setdefault(s.sequence, []).append(s.time_s)
    rounds = {int(t / settings.round_trip_s) for sent in times.values() for t in sent[1:]}
    return outcome.dropped >= LEAST_DROPS and len(rounds) >= LEAST_ROUNDS


def run(name: str, seed: int) -> list[Run]:
    """Simulate one transfer, judge it at both ends."""
    draw, is_policed, is_shaped = SCENARIOS[name]
    settings = draw(Random(f"{name}:{seed}"))
    outcome = Transfer(settings).run()
    if not can_be_found(settings, outcome):
        return []
    segment = MSS - TIMESTAMPS * settings.has_timestamps
    rate = getattr(settings.path[0], "rate", 0.0) * segment / (MSS + OVERHEAD)
    runs = []
    for end, seen in (("sender", outcome.at_server), ("receiver", outcome.at_client)):
        table = judge(headers_of(seen, has_timestamps=settings.has_timestamps))
        rows = table.rows[table.direction == 1]
        found = {key: rows[key][0].item() if len(rows) else 0 for key in rows.dtype.names if rows[key].ndim == 1}
        found |= {"has_timestamps": settings.has_timestamps, "sender": type(settings.sender).__name__}
        runs.append(Run(name, seed, end, is_policed, is_shaped, rate, found))
    return runs


def wilson(successes: int, n: int) -> tuple[float, float]:
    """Give the 95 % Wilson bounds of a share."""
    if n == 0:
        return 0.0, 1.0
    z, p = 1.96, successes / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)


def tally(runs: Iterable[Run], kind: str, rate: str) -> dict[str, Any]:
    """Count what was found rightly, wrongly and not at all."""
    truth = [(getattr(r, f"is_{kind}"), bool(r.found.get(f"is_{kind}", 0)), r) for r in runs]
    right = [r for is_so, is_found, r in truth if is_so and is_found]
    positives = sum(is_so for is_so, _, _ in truth)
    found = sum(is_found for _, is_found, _ in truth)
    errors = sorted(abs(r.found[rate] / r.rate - 1) for r in right)
    return {
        "positive_runs": positives,
        "negative_runs": len(truth) - positives,
        "found_rightly": len(right),
        "found_wrongly": found - len(right),
        "precision": round(len(right) / found, 4) if found else None,
        "precision_bounds": [round(b, 4) for b in wilson(len(right), found)],
        "recall": round(len(right) / positives, 4) if positives else None,
        "recall_bounds": [round(b, 4) for b in wilson(len(right), positives)],
        "rate_error_p50": round(float(np.quantile(errors, 0.5)), 4) if errors else None,
        "rate_error_p95": round(float(np.quantile(errors, 0.95)), 4) if errors else None,
        "rate_error_max": round(errors[-1], 4) if errors else None,
        **({"rate_within_bounds": sum(map(is_within_bounds, right))} if kind == "policed" else {}),
    }


def is_within_bounds(run: Run) -> bool:
    """Whether the policer's rate lies between the bounds that are told."""
    return bool(run.found["rate_low_bits_per_s"] <= run.rate <= run.found["rate_high_bits_per_s"])


def summary(runs: list[Run]) -> dict[str, Any]:
    """Give the tallies of both kinds at both ends."""
    answer = dict[str, Any]()
    for end in ("sender", "receiver"):
        at_end = [r for r in runs if r.end == end]
        answer[end] = {
            "policing": tally(at_end, "policed", "rate_bits_per_s"),
            "shaping": tally(at_end, "shaped", "shaped_rate_bits_per_s"),
        }
    return answer


def main() -> None:
    """Run, print, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=80, help="of each scenario")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--store", action="store_true")
    parser.add_argument("--misses", action="store_true", help="print what was judged wrongly")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.runs)
    runs = [r for name in SCENARIOS for seed in seeds for r in run(name, seed)]
    answer = summary(runs)
    answer["runs"] = {name: sum(r.name == name for r in runs) // 2 for name in SCENARIOS}
    print(json.dumps(answer, indent=1))
    if arguments.misses:
        for r in runs:
            if bool(r.found.get("is_policed", 0)) != r.is_policed or bool(r.found.get("is_shaped", 0)) != r.is_shaped:
                print(r)
    if arguments.store:
        answer["seeds"] = [seeds.start, seeds.stop - 1]
        RESULTS.write_text(json.dumps(answer, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
