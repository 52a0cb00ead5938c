"""A line per slice of time, as vmstat has it: for people who watch, and for scripts that read columns.

Columns are those of Intervals, by their names, and those of tcprstat, by its own: ``count``, ``min``, ``avg``, ``med``,
``stddev``, ``var``, ``sum``, ``sqs``, and ``max``; behind a percentage (``95_max``) of the fastest so many percent
alone. These are whole microseconds, as tcprstat writes them. Widths are fixed, since nobody knows what is to come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import tzinfo
from typing import Any, Protocol

from tcpsight.errors import UsageError
from tcpsight.output import units
from tcpsight.output.drawing import plain
from tcpsight.output.text import cell_format
from tcpsight.tables import Intervals

USUAL = (
    "time",
    "throughput_per_s",
    "concurrency",
    "utilization_fraction",
    "response_time_p50_ns",
    "response_time_p95_ns",
    "response_time_p99_ns",
    "response_time_max_ns",
    "unanswered_backlog",
    "late",
)
"""What is shown unless the user chooses."""

DISPENSABLE = (
    "late",
    "response_time_p95_ns",
    "utilization_fraction",
    "concurrency",
    "response_time_p99_ns",
    "unanswered_backlog",
)
"""Of these what is left out where a line has no room, the first first."""

SHORT = {
    "throughput_per_s": "req/s",
    "arrival_rate_per_s": "arrive/s",
    "concurrency": "conc",
    "utilization_fraction": "busy",
    "response_time_p50_ns": "p50",
    "response_time_p95_ns": "p95",
    "response_time_p99_ns": "p99",
    "response_time_max_ns": "max",
    "response_time_mean_ns": "mean",
    "unanswered_backlog": "waiting",
}
"""Headings of columns whose names are longer than what is in them."""

HEADINGS_EVERY = 20
"""Lines between headings."""

_NARROWEST = 8
_CODES = {
    "count": "n", "cnt": "n", "max": "M", "min": "m", "avg": "a", "med": "h", "stddev": "S", "std": "S", "var": "v",
    "sum": "s", "sqs": "x",
}  # fmt: skip
_OF_TCPRSTAT = re.compile(rf"(?:(\d{{1,3}})_)?({'|'.join(_CODES)})")


def usual_that_fit(width: int, *, with_service: bool) -> tuple[list[str], list[str]]:
    """Choose of the usual columns those that a line has room for; give them, and the headings of the others."""
    names, left_out = list(USUAL), []
    room = width - len("22:50:25Z") - (2 + _SERVICE_WIDTH) * with_service
    for name in DISPENSABLE:
        if (len(names) - 1) * (2 + _NARROWEST) <= room:
            break
        names.remove(name)
        left_out.append(_heading(name))
    return names, left_out


class Statistics(Protocol):
    """Statistics of the response times of a slice."""

    def statistic(self, code: str, percentage: int) -> int:
        """Give the one that tcprstat has this code for, of the fastest so many percent."""


class LiveLines:
    """Lay out slices as lines.

    Parameters
    ----------
    names : sequence of str
        Columns, ``time`` among them for where the slice begins.
    timezone : tzinfo
        Of instants.
    interval_ns : int
        Length of a slice: times are written as finely as it needs.
    has_unicode : bool
        Whether more than ASCII can be shown.
    with_service : bool
        Whether lines begin with the name of a service, too.

    Raises
    ------
    UsageError
        A name is none of them.
    """

    def __init__(
        self, names: Sequence[str], timezone: tzinfo, interval_ns: int, *, has_unicode: bool, with_service: bool = False
    ) -> None:
        self._timezone = timezone
        self._digits = 0 if interval_ns % 10**9 == 0 else 3
        self._has_unicode = has_unicode
        self._cells = [self._cell(name) for name in names]
        self._headings = [_heading(name) for name in names]
        self._widths = [
            max(len(heading), self._width(name)) for name, heading in zip(names, self._headings, strict=True)
        ]
        self._with_service = with_service
        self._lines = 0

    def lines(self, rows: Intervals, statistics: Sequence[Statistics], services: Sequence[str] = ()) -> str:
        """Write some rows, one line each, with the headings where they are due.

        Parameters
        ----------
        rows : Intervals, shape (n,)
            Slices.
        statistics : sequence of n Statistics
            Of the response times of the requests that arrived in each.
        services : sequence of n str
            Whose rows they are, if lines begin with that.
        """
        text = ""
        for i, row in enumerate(rows):
            if self._lines % HEADINGS_EVERY == 0:
                text += self._joined(self._headings, "service")
            self._lines += 1
            cells = [cell(row, statistics[i]) for cell in self._cells]
            text += self._joined(cells, services[i] if self._with_service else "")
        return text if self._has_unicode else plain(text)

    def _joined(self, cells: Sequence[str], service: str) -> str:
        padded = [cell.rjust(width) for cell, width in zip(cells, self._widths, strict=True)]
        if self._with_service:
            padded.insert(1, service.ljust(_SERVICE_WIDTH))
        return "  ".join(padded).rstrip() + "\n"

    def _width(self, name: str) -> int:
        if name in ("time", "start_ns"):
            return 9 + 4 * (self._digits > 0)
        return _NARROWEST

    def _cell(self, name: str) -> Callable[[Any, Statistics], str]:
        if name == "time":
            return lambda row, _: units.instant(int(row["start_ns"]), self._timezone, digits=self._digits)[11:]
        column = _column(name)
        if column is not None:
            write = cell_format(column.name, self._timezone) or _plain_number
            return lambda row, _: (
                units.UNKNOWN
                if column.null is not None and row[column.name] == column.null
                else write(row[column.name].item())
            )
        found = _OF_TCPRSTAT.fullmatch(name)
        if found is None or not 1 <= int(found[1] or 100) <= 100:
            raise UsageError(
                f"--columns: no column {name!r}; there are time, those of tcpsight intervals "
                f"({', '.join(SHORT)} …), and tcprstat's (count, avg, med, stddev, 95_max …)"
            )
        percentage, code = int(found[1] or 100), _CODES[found[2]]
        return lambda _, statistics: str(statistics.statistic(code, percentage))


_SERVICE_WIDTH = 21
"""An IPv4 address and a port."""


def _column(name: str) -> Any:
    """Find a column of Intervals by its name, with or without its unit, or by its heading."""
    for column in Intervals.columns:
        if name in (column.name, column.name.removesuffix("_ns").removesuffix("_per_s"), SHORT.get(column.name)):
            return column
    return None


def _heading(name: str) -> str:
    column = _column(name)
    if column is None:
        return name
    short: str = column.name.removesuffix("_ns").removesuffix("_per_s")
    return SHORT.get(column.name, short)


def _plain_number(value: Any) -> str:
    return units.number(value) if isinstance(value, float) else str(value)
