"""The pictures of a report: how response times are distributed, and how a service went over time."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from tcpsight.output import units
from tcpsight.output.drawing import Screen, columns

Facts = dict[str, Any]

BAR_WIDTH = 24

# Fewer empty steps of a histogram than this are shown one by one.
LONG_RUN = 3


def histogram_lines(steps: Sequence[Facts], screen: Screen) -> list[str]:
    """Draw how many values lie in each step; long runs of empty steps are one line."""
    most = max(step["count"] for step in steps)
    rows = []
    for is_empty, run in groupby(steps, lambda step: not step["count"]):
        group = list(run)
        if is_empty and len(group) >= LONG_RUN:
            rows.append(["…", "", ""])
            continue
        for step in group:
            label = f"{_round(step['low_ns'])} – {_round(step['high_ns'])}"
            bar = screen.bar(step["count"], most, BAR_WIDTH).ljust(BAR_WIDTH)
            rows.append([label, bar, units.count(step["count"])])
    lines = columns(rows, "rlr", gap=1)
    begin = max(len(row[0]) for row in rows) + 1
    bars = slice(begin, begin + BAR_WIDTH)
    painted = [f"{line[:begin]}{screen.paint(line[bars], 'cyan')}{line[bars.stop :]}" for line in lines]
    return [screen.paint("requests by response time", "bold"), *painted]


def series_lines(s: Facts, screen: Screen, room: int) -> list[str]:
    """Draw how a service went over time, one line per quantity, in at most `room` characters if that can be."""
    series = s["series"]
    rows: list[tuple[str, list[float | None], Callable[[float], str], str]] = []
    if s["requests"]:
        # A rate over the stump of a slice is chance, and would make specks of all others.
        throughput = [None if r["is_cut_short"] else r["throughput_per_s"] for r in series]
        rows = [
            ("throughput", throughput, units.rate, "cyan"),
            ("concurrency", [r["concurrency"] for r in series], units.number, "cyan"),
            ("p99", [r["response_time_p99_ns"] or 0 for r in series], units.duration, "cyan"),
        ]
        # Where turns do not hold, neither of these means anything.
        rows = rows if s["turns"]["reason"] is None else rows[:1]
    if s["unanswered"]:
        waiting = [max(r["unanswered"], r["unanswered_backlog"]) for r in series]
        rows.append(("unanswered", waiting, units.count, "red"))
    width = max(len(name) for name, *_ in rows)
    most = [f" max {unit(_highest(values) or 0)}" for _, values, unit, _ in rows]
    # As many slices to a column as it takes; of each column the highest, so that no peak is lost.
    step = -(-len(series) // max(room - width - 1 - max(map(len, most)), 10))
    column = f"the peak of {step} × {_round(s['interval_ns'])}" if step > 1 else _round(s["interval_ns"])
    highest = [[_highest(values[i : i + step]) for i in range(0, len(series), step)] for _, values, *_ in rows]
    note = f", {screen.cut_short} cut short" if any(None in values for values in highest) else ""
    lines = [screen.paint(f"over time, a column is {column}{note}", "bold")]
    for (name, _, _, style), values, tail in zip(rows, highest, most, strict=True):
        lines.append(f"{name:{width}} {screen.paint(screen.sparkline(values), style)}{tail}")
    span = units.duration(sum(r["length_ns"] for r in series))
    axis = f"0{' ' * max(-(-len(series) // step) - 1 - len(span), 1)}{span}"
    return [*lines, " " * (width + 1) + screen.paint(axis, "dim")]


def _highest(values: Sequence[float | None]) -> float | None:
    return max((v for v in values if v is not None), default=None)


def _round(ns: int) -> str:
    """Write a duration that is a round number without its zeros: ``5 µs``, not ``5.00 µs``."""
    return re.sub(r"(\.\d*?)0+ ", lambda found: f"{found[1].rstrip('.')} ", units.duration(ns))
