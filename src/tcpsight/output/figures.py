"""Figures drawn with Matplotlib, imported when one is drawn: what all share, and the curve of usl."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from tcpsight.errors import UsageError, installing
from tcpsight.output.destination import Destination
from tcpsight.output.units import endpoint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Facts = dict[str, Any]

NEEDS_MATPLOTLIB = f"--plot needs Matplotlib: {installing('plot')}"

FORMATS = ("png", "svg", "pdf")

# Text stays text in SVG, and EPS and PDF carry fonts that can be edited.
_SETTINGS: Any = {"svg.fonttype": "none", "pdf.fonttype": 42, "ps.fonttype": 42, "svg.hashsalt": "tcpsight"}

# No clock enters a file.
_METADATA: dict[str, dict[str, Any]] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}

HEIGHT = 4.8
"""Of one pair of axes, in inches."""

MOST_PANELS = 50
"""A picture is 65,535 points high at most."""

LINE, POINT, LEFT_OUT = "#1F5FA8", "#8B3A00", "#9A9A9A"


@contextmanager
def figure(path: str, format: str) -> Iterator[Axes]:
    """Give axes to draw on, then write them to a file, which appears whole.

    Parameters
    ----------
    path : str
        The file.
    format : str
        What Matplotlib calls the format.

    Raises
    ------
    ImportError
        Matplotlib is not installed.
    """
    with panels(path, format, (HEIGHT,)) as (axes,):
        yield axes


@contextmanager
def panels(path: str, format: str, heights: Sequence[float]) -> Iterator[list[Axes]]:
    """Give several axes, one under the other, then write them to a file, which appears whole.

    Parameters
    ----------
    path, format : str
        As of `figure`.
    heights : sequence of float
        How high each is, in inches.

    Raises
    ------
    ImportError
        Matplotlib is not installed.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS):
        drawn = Figure(figsize=(6.4, sum(heights)), layout="tight")
        grid = drawn.add_gridspec(len(heights), 1, height_ratios=heights)
        several = [drawn.add_subplot(grid[row, 0]) for row in range(len(heights))]
        yield several
        for axes in several:
            axes.grid(visible=True, color="#EBEBEB", linewidth=0.5)
            axes.set_axisbelow(True)
        buffer = io.BytesIO()
        drawn.savefig(buffer, format=format, dpi=150, metadata=_METADATA.get(format))
    destination = Destination(path)
    try:
        destination.write(buffer.getvalue())
        destination.close()
    except BaseException:
        destination.abort()
        raise


def image_format(path: str) -> str:
    """Tell the format by a file's suffix.

    Raises
    ------
    UsageError
        It is none that is drawn.
    """
    suffix = PurePath(path).suffix.lower().removeprefix(".")
    if suffix not in FORMATS:
        raise UsageError(f"--plot {path}: name a file that ends in {', '.join(f'.{each}' for each in FORMATS)}")
    return suffix


def require_matplotlib() -> None:
    """Make sure that a figure can be drawn, before anybody waits for its data.

    Raises
    ------
    UsageError
        Matplotlib is not installed.
    """
    from importlib.util import find_spec

    if find_spec("matplotlib") is None:
        raise UsageError(NEEDS_MATPLOTLIB)


def draw_scalability(facts: Facts, path: str) -> None:
    """Draw the points of a model, the curve through them, its band and its peak; several services below each other.

    Raises
    ------
    UsageError
        Matplotlib is not installed, the file is of no format that is drawn, or there are too many services.
    """
    services = facts.get("services") or [facts]
    if len(services) > MOST_PANELS:
        raise UsageError(f"--plot {path}: {len(services)} services are more than {MOST_PANELS}, which one figure holds")
    try:
        with panels(path, image_format(path), [HEIGHT] * len(services)) as several:
            for axes, service in zip(several, services, strict=True):
                _draw(axes, service)
                if len(services) > 1:
                    where = endpoint(service["server_address"], service["server_port"])
                    axes.set_title(f"{where}\n{axes.get_title()}", fontsize=9)
    except ImportError:
        raise UsageError(NEEDS_MATPLOTLIB) from None


def _draw(axes: Axes, facts: Facts) -> None:
    data, curve = facts["data"], facts["curve"]
    pairs = list(zip(data["concurrency"], data["throughput_per_s"], data["is_used"], strict=True))
    for is_used, label, marker, color in ((True, "measured", "o", POINT), (False, "left out", "x", LEFT_OUT)):
        n, x = ([pair[i] for pair in pairs if pair[2] == is_used] for i in (0, 1))
        if n:
            axes.plot(n, x, label=label, marker=marker, color=color, linestyle="none", markersize=3.5, alpha=0.6)
    if curve is not None:
        n = curve["concurrency"]
        axes.fill_between(
            n, curve["low_per_s"], curve["high_per_s"], color=LINE, alpha=0.15, linewidth=0, label="95 % band"
        )
        axes.plot(n, curve["throughput_per_s"], color=LINE, linewidth=1.5, label="universal scalability law")
    if (
        facts["peak_concurrency"] is not None
        and curve is not None
        and facts["peak_concurrency"] <= curve["concurrency"][-1]
    ):
        axes.axvline(facts["peak_concurrency"], color=LINE, linewidth=0.8, linestyle=":")
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("concurrency")
    axes.set_ylabel("throughput (1/s)" if "server_port" in facts else "throughput")
    axes.set_title(_title(facts), fontsize=9)
    if pairs:
        axes.legend(frameon=False, loc="lower right", fontsize=8)


def _title(facts: Facts) -> str:
    parts = []
    for name, letter in (("sigma", "σ"), ("kappa", "κ"), ("lambda", "λ")):
        value = facts[name]
        if value is not None:
            parts.append(f"{letter} = {value['value']:.4g} ({value['low']:.4g} to {value['high']:.4g})")
    return ",  ".join(parts[:2]) + "".join(f"\n{part}" for part in parts[2:]) or "not identifiable"
