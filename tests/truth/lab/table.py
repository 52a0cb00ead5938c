"""The tables of truth: ``python -m tests.truth.lab.table build/lab/B`` measures recorded runs and prints them.

With ``--store`` what is printed goes to `accuracy.md` beside this module; `make accuracy` puts that into
docs/methods/accuracy.md, if it is there.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from textwrap import fill
from typing import Any, NamedTuple, TypeVar

from tests.truth.lab.accounts import ACCOUNTS, Part
from tests.truth.lab.goals import goal_table
from tests.truth.lab.measure import QUANTITIES, Difference, Edge, Place, Quantity, Verdict, folders, judge
from tests.truth.lab.proportions import told_by_run, wilson
from tests.truth.lab.rates import RATES, Told
from tests.truth.lab.scenario import KINDS

OF_RATES = """Rates and buckets that findings tell are held against what the path was set to, in payload: good is 5 %
either way. Where a policer's rate is farther off, one of the bounds that are told with it is nearer.
"""

Row = TypeVar("Row", bound=NamedTuple)
STORED = Path(__file__).resolve().parent / "accuracy.md"


def quantile(values: Sequence[float], q: float) -> float:
    """Give the nearest-rank quantile of sorted values."""
    return values[max(0, math.ceil(q * len(values)) - 1)]


def grouped(found: Iterable[Row], key: str) -> dict[Any, list[Row]]:
    """Give what was found by one of its fields, in order."""
    groups: dict[Any, list[Row]] = defaultdict(list)
    for each in found:
        groups[getattr(each, key)].append(each)
    return groups


def quantity_table(found: Iterable[Difference]) -> str:
    """Tell for every quantity how far it is off."""
    by_name = grouped(found, "quantity")
    lines = [
        "| quantity | times | exact | within the goal | error: median | 95 % | 99 % | largest |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    known: list[Quantity | Part | Told] = [*QUANTITIES, *ACCOUNTS, *RATES]
    lines += [_quantity_row(q, by_name[q.name]) for q in known if by_name[q.name]]
    return "\n".join(lines)


def _quantity_row(q: Quantity | Part | Told, some: list[Difference]) -> str:
    exact = sum(d.measured == d.truth for d in some) / len(some)
    good = sum(d.is_good for d in some) / len(some)
    if q.relative:
        errors = sorted(abs(d.measured - d.truth) / abs(d.truth) for d in some if d.truth)
        shown = [f"{100 * quantile(errors, p):.2f} %" for p in (0.5, 0.95, 0.99, 1)] if errors else ["–"] * 4
    else:
        errors = sorted(abs(d.measured - d.truth) for d in some)
        shown = [f"{quantile(errors, p):,.0f} {q.unit}".strip() for p in (0.5, 0.95, 0.99, 1)]
    return f"| {q.name} | {len(some):,} | {100 * exact:.1f} % | {100 * good:.1f} % | {' | '.join(shown)} |"


def finding_table(found: Iterable[Verdict]) -> str:
    """Tell for every kind of finding how often it was told when it was so, and when it was not."""
    by_kind = grouped((v for v in found if v.is_scored), "kind")
    lines = [
        "| finding | runs with it | found | recall (95 %) | runs without it | told wrongly | precision (95 %) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [_finding_row(kind, by_kind[kind]) for kind in KINDS if by_kind[kind]]
    return "\n".join(lines)


def _finding_row(kind: str, some: list[Verdict]) -> str:
    positive, negative, hits, wrong = told_by_run(some)
    recall, precision = wilson(hits, positive), wilson(hits, hits + wrong)
    return f"| {kind} | {positive} | {hits} | {recall} | {negative} | {wrong} | {precision} |"


def edge_table(found: Iterable[Edge]) -> str:
    """Tell for every kind of finding how far its beginning and its end lie from those of the condition."""
    by_kind = grouped(found, "kind")
    lines = [
        "| finding | captures | begins apart by: median | 95 % | largest | ends apart by: median | 95 % | largest |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for kind in KINDS:
        begins, ends = (sorted(abs(getattr(e, side)) for e in by_kind[kind]) for side in ("begin_ns", "end_ns"))
        shown = [f"{quantile(values, p) / 1e6:,.1f} ms" for values in (begins, ends) for p in (0.5, 0.95, 1) if values]
        lines += [f"| {kind} | {len(begins)} | {' | '.join(shown)} |"] if begins else []
    return "\n".join(lines)


def place_table(found: Iterable[Place]) -> str:
    """Tell how often the place of capture was right, by how sure that was said to be."""
    by_confidence = grouped(found, "confidence")
    lines = [
        "| sure to | connections | right | share (95 %) |",
        "|---:|---:|---:|---:|",
    ]
    for confidence in sorted(by_confidence, reverse=True):
        some = by_confidence[confidence]
        right = sum(p.is_right for p in some)
        told = f"{confidence:.2f}" if confidence >= 0 else "not told"
        share = str(wilson(right, len(some))) if confidence >= 0 else ""
        lines.append(f"| {told} | {len(some):,} | {f'{right:,}' if share else ''} | {share} |")
    return "\n".join(lines)


def misses(found: Iterable[Verdict]) -> list[str]:
    """Name every verdict that was wrong."""
    return [
        f"{'missed' if v.is_true else 'wrongly told'}: {v.kind} in {v.run} at {v.vantage}"
        for v in found
        if v.is_scored and v.is_true != v.is_told
    ]


def page(roots: Sequence[Path], about: str = "") -> tuple[str, list[str]]:
    """Give the section of the accuracy page, what is to be known of its runs included, and the wrong verdicts."""
    runs = folders(roots)
    with ProcessPoolExecutor() as pool:
        found = list(pool.map(judge, runs, chunksize=8))
    numbers = [d for one in found for d in one.differences]
    judged = [v for one in found for v in one.verdicts]
    said = " ".join([f"{len(runs):,} runs of the [laboratory](laboratory.md).", *about.split()])
    text = [f"{fill(said, 120)}\n", "### Goals\n", goal_table(numbers, judged), ""]
    text += ["### Every quantity\n", OF_RATES, quantity_table(numbers), ""]
    if any(v.is_told for v in judged):
        text += ["### Every finding\n", finding_table(judged), ""]
        text += ["How far from where the condition began and ended a finding does, by the path's log:\n"]
        text += [edge_table(e for one in found for e in one.edges), ""]
    text += [
        "### The place of capture\n",
        "Where the capture was taken, of connections of captures that were not rewritten:\n",
    ]
    text += [place_table(p for one in found for p in one.places), ""]
    return "\n".join(text), misses(judged)


def main(arguments: list[str] | None = None) -> int:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--store", action="store_true", help="write accuracy.md")
    parser.add_argument(
        "--about", default="", help="what is to be known about the runs, for the page's first paragraph"
    )
    parser.add_argument("--misses", action="store_true", help="name every wrong verdict too")
    chosen = parser.parse_args(arguments)
    text, wrong = page(chosen.roots, chosen.about)
    print(text)
    if chosen.misses:
        print("\n".join(wrong))
    if chosen.store:
        STORED.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
