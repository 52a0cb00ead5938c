"""What was to be reached, named beside what was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tests.truth.lab.measure import Difference, Verdict
from tests.truth.lab.proportions import Counted, told_by_run
from tests.truth.lab.scenario import KINDS

LEAST_RUNS = 60
LEAST_SHARE = 0.95

RETRANSMISSIONS = "retransmissions, by the kernel"


def goal_table(numbers: Iterable[Difference], verdicts: Iterable[Verdict]) -> str:
    """Tell of each goal what was measured, and whether it was met."""
    by_name: dict[str, list[Difference]] = defaultdict(list)
    for d in numbers:
        by_name[d.quantity].append(d)
    by_kind: dict[str, list[Verdict]] = defaultdict(list)
    for v in verdicts:
        if v.is_scored:
            by_kind[v.kind].append(v)
    rows = [
        _shared(
            "retransmission count exact in 98 % of connections, against the kernel's own "
            "(`TCP_INFO`: tracepoints tell of several segments at once)",
            by_name[RETRANSMISSIONS],
            0.98,
        ),
        _shared("minimum RTT within 2 % or 100 µs of the sockets' own", by_name["minimum RTT, by the sockets"], 1.0),
        _shared("non-idle goodput within 3 % at the sender", by_name["non-idle goodput"], 1.0),
        _shared("the time account sums exactly", by_name["time account: sum of all parts"], 1.0),
    ]
    counted = {kind: told_by_run(by_kind[kind]) for kind in KINDS if by_kind[kind]}
    if counted:
        rows += _of_findings(counted)
    lines = ["| goal | measured | met |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {goal} | {measured} | {met} |" for goal, measured, met in rows)])


def _shared(goal: str, some: list[Difference], least: float) -> tuple[str, str, str]:
    """Tell of how many connections a quantity is good; a goal that names no share asks it of all."""
    if not some:
        return goal, "not measured", "unknown"
    good = sum(d.is_good for d in some)
    share = good / len(some)
    # Rounded down: 100 % is all of them.
    told = f"{int(share * 10_000) / 100:.2f} % of {len(some):,} ({len(some) - good:,} are not)"
    return goal, told, "yes" if share >= least else f"in {int(share * 1000) / 10:.1f} %"


def _of_findings(counted: dict[str, Counted]) -> list[tuple[str, str, str]]:
    recall = {kind: c.hits / max(c.positive, 1) for kind, c in counted.items()}
    precision = {kind: c.hits / max(c.hits + c.wrong, 1) for kind, c in counted.items()}
    fewest = min(counted, key=lambda kind: min(counted[kind].positive, counted[kind].negative))
    few = counted[fewest]
    is_enough = min(few.positive, few.negative) >= LEAST_RUNS
    rows = [
        (
            f"every kind of finding in {LEAST_RUNS} runs with it and {LEAST_RUNS} without",
            f"at least {few.positive} and {min(c.negative for c in counted.values()):,}, of {len(counted)} kinds",
            "yes" if is_enough else f"not {fewest}",
        )
    ]
    for name, shares in (("recall", recall), ("precision", precision)):
        worst = min(shares, key=lambda kind: shares[kind])
        below = [kind for kind, share in shares.items() if share < LEAST_SHARE]
        rows.append(
            (
                f"every kind with a {name} of {LEAST_SHARE} or more",
                f"lowest: {shares[worst]:.3f} ({worst}); as few runs as these have 95 % bounds that reach below it",
                "yes" if not below else f"not {', '.join(below)}",
            )
        )
    return rows
