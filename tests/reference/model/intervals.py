"""The slow twin of the interval kernel: every slice asks every request, by the definition and in whole numbers."""

from __future__ import annotations

from fractions import Fraction
from math import ceil
from typing import Any

Stay = tuple[int, int]
Slice = tuple[int, int]

NS_PER_S = 10**9


def intervals(
    requests: list[Stay],
    unanswered: list[Stay],
    *,
    interval_ns: int,
    first_ns: int,
    last_ns: int,
    longest_run: int,
) -> list[dict[str, Any]]:
    """Give the rows as dicts; fractions where the columns are floating point, None for null."""
    rows: list[dict[str, Any]] = []
    run: list[Slice] = []
    slices = cut(interval_ns, first_ns, last_ns)
    for one in slices:
        if is_eventful(one, requests, unanswered, last_ns):
            rows += run_rows(run, requests, unanswered, last_ns, longest_run)
            rows.append(row(one, requests, unanswered, last_ns))
            run = []
        else:
            run.append(one)
    rows += run_rows(run, requests, unanswered, last_ns, longest_run)
    for one_row in rows:
        end = one_row["start_ns"] + one_row["length_ns"]
        one_row["is_partial"] = one_row["start_ns"] % interval_ns != 0 or end % interval_ns != 0 or first_ns == last_ns
    return rows


def cut(interval_ns: int, first_ns: int, last_ns: int) -> list[Slice]:
    """Give the slices from the first to the last instant."""
    if first_ns == last_ns:
        return [(first_ns, last_ns)]
    slices = []
    start = first_ns
    while start < last_ns:
        end = min((start // interval_ns + 1) * interval_ns, last_ns)
        slices.append((start, end))
        start = end
    return slices


def run_rows(
    run: list[Slice], requests: list[Stay], unanswered: list[Stay], last_ns: int, longest_run: int
) -> list[dict[str, Any]]:
    """Give a run of uneventful slices: each, or one row for all if they are too many."""
    if len(run) <= longest_run:
        return [row(one, requests, unanswered, last_ns) for one in run]
    return [row((run[0][0], run[-1][1]), requests, unanswered, last_ns) | {"is_gap": True}]


def is_inside(instant: int, one: Slice, last_ns: int) -> bool:
    """Tell whether an instant belongs to a slice; the last slice holds its end."""
    return one[0] <= instant < one[1] or instant == one[1] == last_ns


def is_eventful(one: Slice, requests: list[Stay], unanswered: list[Stay], last_ns: int) -> bool:
    """Tell whether someone came or left."""
    came_or_left = [instant for stay in requests for instant in stay] + [arrival for arrival, _ in unanswered]
    gave_up = any(one[0] <= end < one[1] for _, end in unanswered)
    return gave_up or any(is_inside(instant, one, last_ns) for instant in came_or_left)


def row(one: Slice, requests: list[Stay], unanswered: list[Stay], last_ns: int) -> dict[str, Any]:
    """Give one row."""
    start, end = one
    is_last = end == last_ns
    length = max(end - start, 1)
    arrived = [(a, c) for a, c in requests if is_inside(a, one, last_ns)]
    completions = sum(is_inside(c, one, last_ns) for _, c in requests)
    weighted, busy = residence(one, requests), union(one, requests)

    def share(number: int) -> Fraction | None:
        """Of the time of the slice; in a capture of one instant nothing is."""
        return Fraction(number, length) if end > start else None

    return {
        "start_ns": start,
        "length_ns": length,
        "is_gap": False,
        "arrivals": len(arrived),
        "completions": completions,
        "backlog": sum(a < end <= c if not is_last else a <= end < c for a, c in requests),
        "unanswered": sum(is_inside(a, one, last_ns) for a, _ in unanswered),
        "unanswered_backlog": sum((a < end or (is_last and a == end)) and e >= end for a, e in unanswered),
        "unanswered_weighted_ns": residence(one, unanswered),
        "arrival_rate_per_s": share(len(arrived) * NS_PER_S),
        "throughput_per_s": share(completions * NS_PER_S),
        "concurrency": share(weighted),
        "busy_ns": busy,
        "utilization_fraction": share(busy),
        "weighted_ns": weighted,
        "late": 0,
        **response_times([c - a for a, c in arrived]),
    }


def residence(one: Slice, stays: list[Stay]) -> int:
    """Add up the time that each spends inside."""
    return sum(max(0, min(end, one[1]) - max(begin, one[0])) for begin, end in stays)


def union(one: Slice, stays: list[Stay]) -> int:
    """Measure the time with at least one inside."""
    covered, reached = 0, one[0]
    for begin, end in sorted(stays):
        begin, end = max(begin, reached), min(end, one[1])
        if end > begin:
            covered += end - begin
            reached = end
    return covered


def response_times(times: list[int]) -> dict[str, Any]:
    """Give the statistics of the requests that arrived."""
    n, total = len(times), sum(times)
    mean = Fraction(total, n) if n else None
    variance = sum((t - mean) ** 2 for t in times) / n if mean is not None else None
    if variance is not None and mean is not None:
        dispersion = variance / mean if mean else Fraction(0)
    else:
        dispersion = None
    return {
        "response_time_sum_ns": total,
        "response_time_mean_ns": mean,
        "response_time_p50_ns": nearest_rank(times, Fraction(50, 100)),
        "response_time_p95_ns": nearest_rank(times, Fraction(95, 100)),
        "response_time_p99_ns": nearest_rank(times, Fraction(99, 100)),
        "response_time_max_ns": max(times, default=None),
        "response_time_dispersion_ns": dispersion,
    }


def nearest_rank(values: list[int], p: Fraction) -> int | None:
    """Give the least value that at least the fraction `p` of the values does not exceed."""
    return sorted(values)[max(1, ceil(p * len(values))) - 1] if values else None
