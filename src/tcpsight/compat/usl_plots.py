"""The plots of usl, as the old tool drew them with gnuplot."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.model.scalability_curve import deviation, peak_concurrency, throughput_at
from tcpsight.output.figures import figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from tcpsight.compat.usl import Fit, Points
    from tcpsight.compat.usl_options import Options

LINE_COLOR, POINT_COLOR = "#0000FF", "#8B0000"

MARKERS = {
    1: "+", 2: "x", 3: (6, 2, 0), 4: "s", 5: "s", 6: "o", 7: "o", 8: "^", 9: "^", 10: "v", 11: "v", 12: "D", 13: "D",
}  # fmt: skip
"""gnuplot's point types; even ones from 4 up are open, odd ones filled."""

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")


def chosen(options: Options) -> list[str]:
    """Name the plots that ``-o`` asks for; without it all. Without the second fit there are no residuals of it."""
    names = [name for name in PLOTS if options.fits_again or name != "residuals-squared"]
    return [name for name in names if options.only is None or name in options.only]


def draw(names: list[str], points: Points, fit: Fit, options: Options) -> None:
    """Draw plots, each into a file that appears whole.

    Raises
    ------
    ImportError
        Matplotlib is not installed.
    """
    for name in names:
        with figure(f"{options.prefix}usl-{name}.{options.image}", options.image) as axes:
            axes.set_xlabel(f"N ({options.axis})")
            PLOTS[name](axes, points, fit, options)


def _line_style(options: Options) -> dict[str, Any]:
    is_colored = options.has_color or options.image == "png"
    return {"color": LINE_COLOR if is_colored else "black", "linewidth": 1.2}


def _point_style(options: Options) -> dict[str, Any]:
    is_colored = options.has_color or options.image == "png"
    given = _COLOR.search(options.point_color)
    color = given[0] if given else POINT_COLOR if is_colored else "black"
    is_open = options.point_type % 2 == 0
    style = {"marker": MARKERS.get(options.point_type, "o"), "linestyle": "none", "markersize": 6}
    return style | {"color": color, "markerfacecolor": "none" if is_open else color}


def _efficiency(axes: Axes, points: Points, fit: Fit, options: Options) -> None:
    n, throughput = np.array(points.n), np.array(points.throughput)
    counts = n != 0
    axes.axhline(1, label="Unity", **_line_style(options))
    relative = throughput[counts] / fit.throughput_of_one / n[counts]
    axes.plot(n[counts], relative, label="Computed Efficiency", **_point_style(options))
    axes.set_ylabel("Relative Efficiency")
    axes.legend(frameon=False)


def _deviation(axes: Axes, points: Points, fit: Fit, options: Options) -> None:
    x, y = deviation(points.n, points.throughput, fit.throughput_of_one)
    along = np.linspace(0, max(x.max(), 1), 200)
    axes.plot(along, fit.a * along**2 + fit.b * along, label="Modeled", **_line_style(options))
    axes.plot(x, y, label="Measured", **_point_style(options))
    axes.set_xlabel(f"N − 1 ({options.axis})")
    axes.set_ylabel("Deviation From Linearity")
    texts = (f"a = {fit.a:g}", f"b = {fit.b:g}", f"R² = {fit.deviation_r_squared}")
    _texts(axes, 0.05, 0.72, texts)
    axes.legend(frameon=False, loc="upper left")


def _quadratic_residuals(axes: Axes, points: Points, fit: Fit, options: Options) -> None:
    x, y = deviation(points.n, points.throughput, fit.throughput_of_one)
    axes.axhline(0, color="gray", linewidth=0.8)
    axes.plot(x, y - fit.a * x * x - fit.b * x, **_point_style(options))
    axes.set_xlabel(f"N − 1 ({options.axis})")
    axes.set_ylabel("Residual Errors")


def _quadratic_squared(axes: Axes, points: Points, fit: Fit, options: Options) -> None:
    x, y = deviation(points.n, points.throughput, fit.throughput_of_one)
    squares = (y - fit.a * x * x - fit.b * x) ** 2
    axes.plot(x, squares, **_point_style(options))
    _name_points(axes, x, squares, x + 1)
    axes.set_xlabel(f"N − 1 ({options.axis})")
    axes.set_ylabel("Residual Squared")


def _residuals_squared(axes: Axes, points: Points, fit: Fit, options: Options) -> None:
    n, throughput = np.array([1.0, *points.n]), np.array([fit.throughput_of_one, *points.throughput])
    squares = (throughput_at(n, fit.sigma, fit.kappa, fit.fitted_throughput_of_one) - throughput) ** 2
    axes.plot(n, squares, **_point_style(options))
    _name_points(axes, n, squares, n)
    axes.set_ylabel("Residual Errors Squared")


def _model(axes: Axes, points: Points, fit: Fit, options: Options) -> None:
    most_n, most = max(points.n), max(points.throughput)
    peak = peak_concurrency(fit.sigma, fit.kappa)
    best = floor(peak) if peak == peak else 0
    capacity = float(throughput_at(best, fit.sigma, fit.kappa, fit.fitted_throughput_of_one)) if best else 0.0
    limit = options.limit or 2 * max(best, most_n)
    along = np.linspace(0, limit, 400)
    if options.has_error_lines:
        for sign in (-1, 1):
            sigma, kappa = fit.sigma + sign * fit.sigma_error, fit.kappa + sign * fit.kappa_error
            band = throughput_at(along, sigma, kappa, fit.fitted_throughput_of_one)
            axes.plot(along, band, color="gray", linewidth=0.8, linestyle="--")
    modeled = throughput_at(along, fit.sigma, fit.kappa, fit.fitted_throughput_of_one)
    axes.plot(along, modeled, label="Modeled", **_line_style(options))
    axes.plot(points.n, points.throughput, label="Measured", **_point_style(options))
    axes.set_xlim(0, limit)
    axes.set_ylim(0, max(most, capacity) * 1.3)
    axes.set_ylabel("C (throughput)")
    text = f"Peak capacity is C={int(capacity)} at N={best}" if best else _no_peak(fit)
    _texts(axes, 0.1, 0.93, (text,))
    _texts(axes, 0.5, 0.22, (f"σ = {fit.sigma:f}", f"κ = {fit.kappa:f}", f"R² = {float(fit.r_squared):f}"))
    axes.legend(frameon=False, loc="lower right")


def _no_peak(fit: Fit) -> str:
    # The slope of the law has the sign of 1 - sigma - kappa N².
    return f"No peak: throughput {'falls from the first' if fit.sigma + fit.kappa > 1 else 'never falls'}"


def _texts(axes: Axes, x: float, y: float, texts: tuple[str, ...]) -> None:
    for i, text in enumerate(texts):
        axes.text(x, y - 0.06 * i, text, transform=axes.transAxes)


def _name_points(axes: Axes, x: Any, y: Any, n: Any) -> None:
    """Write N beside the points, to find outliers; hundreds of them would hide each other."""
    for at, height, number in list(zip(x.tolist(), y.tolist(), n.tolist(), strict=True))[:200]:
        axes.annotate(f"{number:g}", (at, height), xytext=(4, 3), textcoords="offset points", fontsize=8)


PLOTS: dict[str, Callable[[Axes, Points, Fit, Options], None]] = {
    "efficiency": _efficiency,
    "deviation": _deviation,
    "quadratic-residuals": _quadratic_residuals,
    "quadratic-squared": _quadratic_squared,
    "residuals-squared": _residuals_squared,
    "model-vs-actual": _model,
}
"""What each plot is called in the names of files."""
