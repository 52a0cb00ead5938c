"""Slow requests in event loops with others in flight, of many kinds; how often they are found, and the right one named.

``python -m tests.truth.stalls.loop_runs --store`` (``make stalls``) writes `loop_results.json` beside this file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.truth.stalls.event_loop import Loop, LoopLived, simulate_loop
from tests.truth.stalls.runs import LEAST_HELD, LEAST_RATIO, detect, instants, measure, rows_of, share_of

RESULTS = Path(__file__).with_name("loop_results.json")


def draw_loop(random: np.random.Generator, *, is_quiet: bool = False) -> Loop:
    """Draw a server and its clients."""
    service_s = float(10 ** random.uniform(-5, -3))
    clients = int(random.choice((4, 10, 40)))
    # From nearly idle to as fast as it goes.
    think_s = clients * service_s * float(random.choice((0.0, 0.5, 1.3, 4.0)))
    slow = [] if is_quiet else (0.02 * 100 ** random.random(int(random.integers(1, 4)))).tolist()
    return Loop(
        answers=str(random.choice(("immediate", "together"))),
        service_s=service_s,
        clients=clients,
        think_s=think_s,
        is_odd=bool(random.random() < 0.8),
        slow_s=tuple(slow),
    )


def run(seed: int) -> list[dict[str, Any]]:
    """Do one run; give what became of each slow request."""
    loop = draw_loop(np.random.default_rng(seed))
    lived = simulate_loop(loop, seed)
    found = detect(sized_rows(lived))
    median_s = float(np.median(lived.completion_s - lived.arrival_s))
    cases = []
    for each in lived.stalls:
        start_ns, end_ns = instants(each)
        hits = [one for one in found if one.start_ns < end_ns and one.end_ns >= start_ns]
        # A slow one is counted by those that waited for it; one that nobody waited for is no stall.
        is_counted = lived.held(each) >= LEAST_HELD and each.end_s - each.start_s >= LEAST_RATIO * median_s
        case = {"counted": is_counted, "found": bool(hits), "answers": loop.answers, "is_odd": loop.is_odd}
        case |= {"is_saturated": loop.think_s == 0, "named": False, "right": False}
        if hits:
            named = max(hits, key=lambda one: one.surprise).blocker
            case["named"] = named is not None
            case["right"] = named is not None and each.blocker == (named["connection_id"], named["request_index"])
        cases.append(case)
    return cases


def sized_rows(lived: LoopLived) -> Any:
    """Write what happened as rows of Requests, with sizes."""
    requests = rows_of(lived)
    assert lived.sizes is not None
    requests.request_bytes[:], requests.response_bytes[:] = lived.sizes.T
    return requests


def run_quiet(seed: int) -> int:
    """Do one run without slow requests; give how many stalls were found."""
    return len(detect(sized_rows(simulate_loop(draw_loop(np.random.default_rng(seed), is_quiet=True), seed))))


def summary(results: list[list[dict[str, Any]]], quiet: list[int]) -> dict[str, Any]:
    """Add up runs."""
    cases = [case for each in results for case in each if case["counted"]]
    kinds = {
        f"{answers}, {'a size of its own' if is_odd else 'as large as others'}": _shares(
            [case for case in cases if case["answers"] == answers and case["is_odd"] == is_odd]
        )
        for answers in ("immediate", "together")
        for is_odd in (True, False)
    }
    return {
        "runs": len(results),
        **_shares(cases),
        "by_kind": kinds,
        "quiet_runs": len(quiet),
        "quiet_alarms": sum(quiet),
    }


def _shares(cases: list[dict[str, Any]]) -> dict[str, Any]:
    found = [case for case in cases if case["found"]]
    right = sum(case["right"] for case in found)
    named = sum(case["named"] for case in found)
    return {
        "stalls": len(cases),
        "found": len(found),
        "recall": share_of(len(found), len(cases)),
        "named": named,
        "blockers_right": right,
        "blocker_share": share_of(right, len(found)),
        "share_of_named": share_of(right, named),
    }


if __name__ == "__main__":
    measure(__doc__, run, run_quiet, summary, RESULTS)
