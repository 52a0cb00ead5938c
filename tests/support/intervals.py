"""Make tables of requests from pairs of instants, and read rows of intervals as dicts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tcpsight.tables import Intervals, Requests, Unanswered

Stay = tuple[int, int]


def answered(stays: Sequence[Stay]) -> Requests:
    """Make requests of (arrival, completion)."""
    table = Requests.allocate(len(stays))
    for i, (arrival, completion) in enumerate(stays):
        table.arrival_ns[i], table.completion_ns[i] = arrival, completion
        table.response_time_ns[i] = min(completion - arrival, 2**63 - 1)
    return table


def never_answered(stays: Sequence[Stay]) -> Unanswered:
    """Make unanswered requests of (arrival, end)."""
    table = Unanswered.allocate(len(stays))
    for i, (arrival, end) in enumerate(stays):
        table.arrival_ns[i], table.end_ns[i] = arrival, end
        table.completion_ns[i] = table.response_time_ns[i] = -1
    return table


def rows_of(tables: Iterable[Intervals]) -> list[dict[str, Any]]:
    """Give the rows of several tables as dicts, null as None."""
    return [plain(row) for table in tables for row in table.copy()]


def plain(row: np.void) -> dict[str, Any]:
    nullable = {c.name for c in Intervals.columns if c.null is not None}
    values = {c.name: row[c.name].item() for c in Intervals.columns}
    for name, value in values.items():
        if (name in nullable and value == -1) or (isinstance(value, float) and math.isnan(value)):
            values[name] = None
    return values | {name: bool(values[name]) for name in ("is_partial", "is_gap")}
