"""Figures of tables, collected while their rows stream by: requests, and intervals.

Both stay small however many rows there are, and leave out none: a request that is slower than all others has a cell of
its own in a picture of ten million, and of slices that share a point the highest is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from tcpsight.output.figures import LINE, POINT, image_format, panels
from tcpsight.output.units import counted, duration, duration_ticks, instant, plain_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tcpsight.tables import Intervals, Requests

Integers = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

QUANTILES = (0.5, 0.95, 0.99)
MOST_POINTS = 1500
"""Points on a line: twice as many as a printed column shows."""

FEW_POINTS = 200
"""So few are drawn larger."""

COLORS = {"p50": LINE, "p95": "#1B7F5A", "p99": POINT, "max": "#9A9A9A"}


class TableFigure(Protocol):
    """A figure of a table."""

    def feed(self, table: Any) -> None:
        """Take the next rows."""

    def draw(self, path: str) -> bool:
        """Write the figure; tell whether there was anything to draw."""


class Density(Protocol):
    """What `RequestFigure` is drawn from."""

    total: int
    interval_ns: int

    def feed(self, instants_ns: Integers, response_times_ns: Integers) -> None:
        """Take requests."""

    def points(self) -> tuple[Integers, Integers] | None:
        """Give single requests, if they are few."""

    def cells(self) -> tuple[int, Integers]:
        """Give counts by slice and bucket."""

    def distribution(self) -> tuple[Floats, Floats]:
        """Give response times and the share of requests that took no longer."""

    def quantile(self, p: float) -> int:
        """Give a quantile of response time, as the report does."""


class RequestFigure:
    """Response time in order of completion, and how it is distributed.

    Parameters
    ----------
    density : Density
        Where requests are counted.
    bucket_edges_ns : ndarray of int64, shape (buckets,)
        Where the buckets of its cells begin.
    """

    def __init__(self, density: Density, bucket_edges_ns: Integers) -> None:
        self._density = density
        self._edges_ns = bucket_edges_ns

    def feed(self, table: Requests) -> None:
        """Take the next rows."""
        self._density.feed(table.completion_ns, table.response_time_ns)

    def draw(self, path: str) -> bool:
        """Write the figure; tell whether there was anything to draw."""
        if not self._density.total:
            return False
        with panels(path, image_format(path), (3.2, 2.8)) as (over_time, distribution):
            self._draw_times(over_time)
            self._draw_distribution(distribution)
        return True

    def _draw_times(self, axes: Axes) -> None:
        points = self._density.points()
        if points is not None:
            start_ns = int(points[0].min())
            look: Any = {"markersize": 2 if len(points[0]) > FEW_POINTS else 5, "alpha": 0.5, "color": POINT}
            axes.plot((points[0] - start_ns) / 1e9, np.maximum(points[1], 1) / 1e9, ".", **look)
        else:
            start_ns = self._draw_cells(axes)
        axes.set_yscale("log")
        duration_axis(axes.yaxis)
        axes.set_xlabel(f"completion, seconds after {instant(start_ns)}")
        axes.set_ylabel("response time")
        axes.set_title(counted(self._density.total, "request").replace("\u202f", " "), fontsize=9)

    def _draw_cells(self, axes: Axes) -> int:
        from matplotlib.colors import LogNorm

        start_ns, counts = self._density.cells()
        held = np.flatnonzero(counts.any(axis=0))
        low, high = int(held[0]), int(held[-1]) + 1
        edges = np.append(self._edges_ns, 2.0 * self._edges_ns[-1])[low : high + 1]
        edges = np.maximum(edges, 0.5) / 1e9  # a logarithmic axis has no 0
        times = np.arange(len(counts) + 1) * self._density.interval_ns / 1e9
        shown = np.ma.masked_equal(counts[:, low:high].T, 0)
        mesh = axes.pcolormesh(
            times, edges, shown, norm=LogNorm(1, max(int(counts.max()), 2)), cmap="viridis", rasterized=True
        )
        assert axes.figure is not None
        axes.figure.colorbar(mesh, ax=axes, label="requests")
        return start_ns

    def _draw_distribution(self, axes: Axes) -> None:
        times_ns, share = self._density.distribution()
        # From none below the fastest.
        times_s, share = np.insert(times_ns, 0, times_ns[0]) / 1e9, np.insert(share, 0, 0)
        axes.step(times_s, share, where="post", color=LINE, linewidth=1.5)
        for p, name in zip(QUANTILES, COLORS, strict=False):
            at = self._density.quantile(p)
            label = f"{name} {duration(at)}"
            axes.axvline(max(at, 1) / 1e9, color=COLORS[name], linewidth=0.8, linestyle=":", label=label)
        # Beside each other: at their lines they would lie on each other where percentiles are close.
        axes.legend(frameon=False, fontsize=8, ncols=len(QUANTILES), loc="lower right", bbox_to_anchor=(1, 1))
        axes.set_xscale("log")
        duration_axis(axes.xaxis)
        if times_s[0] == times_s[-1]:
            axes.set_xlim(times_s[0] / 3, times_s[0] * 3)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("response time")
        axes.set_ylabel("share of requests")


class IntervalFigure:
    """Throughput, concurrency and percentiles of response time over time."""

    COLUMNS = ("throughput_per_s", "concurrency", "p50", "p95", "p99", "max")

    def __init__(self) -> None:
        self._start_ns: Integers = np.zeros(0, np.int64)
        self._low: Floats = np.zeros((0, len(self.COLUMNS)))
        self._high: Floats = self._low.copy()
        self._rows = 0
        self._interval_ns = 0
        self._each = 1
        self._pending: list[tuple[Integers, Floats]] = []

    def feed(self, table: Intervals) -> None:
        """Take the next rows, in order of time."""
        values = [table.throughput_per_s, table.concurrency]
        values += [table.rows[f"response_time_{name}_ns"] for name in self.COLUMNS[2:]]
        columns = np.stack([np.asarray(each, np.float64) for each in values], axis=1)
        columns[:, 2:][columns[:, 2:] < 0] = np.nan
        self._interval_ns = max(self._interval_ns, int(table.length_ns[table.is_gap == 0].max(initial=0)))
        columns[table.stumps(self._interval_ns), 0] = np.nan
        self._rows += len(table)
        self._pending.append((table.start_ns.copy(), columns))
        if sum(len(start) for start, _ in self._pending) >= 65_536:
            self._settle()

    def draw(self, path: str) -> bool:
        """Write the figure; tell whether there was anything to draw."""
        self._settle()
        if not self._rows or not (np.nan_to_num(self._high) > 0).any():
            return False
        with panels(path, image_format(path), (2.0, 2.0, 2.8)) as several:
            at = (self._start_ns - self._start_ns[0]) / 1e9
            for axes, column, label in zip(several, (0, 1), ("throughput (1/s)", "concurrency"), strict=False):
                self._draw_line(axes, at, column)
                axes.set_ylabel(label)
                axes.set_ylim(bottom=0)
            self._draw_percentiles(several[2], at)
            several[2].set_xlim(several[0].get_xlim())
            several[2].set_xlabel(f"seconds after {instant(int(self._start_ns[0]))}")
            if self._each > 1:
                several[0].set_title(f"a point stands for {self._each} intervals: the highest of them", fontsize=9)
        return True

    def _draw_line(self, axes: Axes, at: Floats, column: int) -> None:
        # The end of the last one, too: a step without it has no width.
        at = np.append(at, at[-1] + self._each * self._interval_ns / 1e9)
        low, high = (np.append(each[:, column], each[-1:, column]) for each in (self._low, self._high))
        if self._each > 1:
            axes.fill_between(at, low, high, step="post", color=LINE, alpha=0.2, linewidth=0)
        axes.step(at, high, where="post", color=LINE, linewidth=1)

    def _draw_percentiles(self, axes: Axes, at: Floats) -> None:
        # The highest first: where they are the same the lower one is seen.
        for column, name in reversed(list(enumerate(self.COLUMNS[2:], 2))):
            values = np.maximum(self._high[:, column], 1) / 1e9
            if np.isfinite(values).any():
                axes.plot(at, values, ".-", markersize=2, linewidth=0.8, color=COLORS[name], label=name)
        axes.set_yscale("log")
        duration_axis(axes.yaxis)
        axes.set_ylabel("response time")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))

    def _settle(self) -> None:
        """Join what was collected, then neighbours, until there are few enough points."""
        start, low, high = self._start_ns, self._low, self._high
        if self._pending:
            # Earlier points stand for several rows already; later rows are joined as often before they follow.
            rows = np.concatenate([columns for _, columns in self._pending])
            joined = _joined(np.concatenate([starts for starts, _ in self._pending]), rows, rows, self._each)
            start = np.concatenate([start, joined[0]])
            low, high = np.concatenate([low, joined[1]]), np.concatenate([high, joined[2]])
        self._pending = []
        while len(start) > MOST_POINTS:
            start, low, high = _joined(start, low, high, 2)
            self._each *= 2
        self._start_ns, self._low, self._high = start, low, high


def _joined(start: Integers, low: Floats, high: Floats, each: int) -> tuple[Integers, Floats, Floats]:
    """Join so many neighbours to one: when the first began, the lowest and the highest of them."""
    firsts = np.arange(0, len(start), each)
    if each == 1 or not len(firsts):
        return start, low, high
    return start[firsts], np.fmin.reduceat(low, firsts, axis=0), np.fmax.reduceat(high, firsts, axis=0)


def duration_axis(axis: Any) -> None:
    """Write durations in their units at the ticks of a logarithmic axis in seconds."""
    from matplotlib.ticker import FuncFormatter, Locator, NullFormatter, NullLocator

    class Durations(Locator):
        def __call__(self) -> Any:
            assert self.axis is not None
            return self.tick_values(*self.axis.get_view_interval())

        def tick_values(self, vmin: float, vmax: float) -> Any:
            low, high = sorted(max(each, 1e-12) for each in (vmin, vmax))
            return [ns / 1e9 for ns in duration_ticks(1e9 * low, 1e9 * high)]

    axis.set_major_locator(Durations())
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda seconds, _: plain_ticks(seconds * 1e9)))
    axis.set_minor_formatter(NullFormatter())
