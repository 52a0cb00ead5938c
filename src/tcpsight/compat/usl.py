"""usl: the universal scalability law through points of concurrency and throughput."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import tcpsight
from tcpsight.compat.usl_conversions import from_capture, from_global_status
from tcpsight.compat.usl_options import Options, Refused, parse
from tcpsight.errors import CaptureError, TcpsightError, installing
from tcpsight.model.scalability_curve import (
    Coefficient,
    FitError,
    determination,
    deviation,
    fit_deviation,
    fit_law,
    throughput_at,
)


@dataclass(slots=True)
class Points:
    """Measured points, and how their numbers were written."""

    n: list[float] = field(default_factory=list)
    throughput: list[float] = field(default_factory=list)
    least_n: str = "999999"
    most_n: str = ""
    most_throughput: str = ""
    left_out: int = 0

    def take(self, line: str) -> None:
        """Take a line: the first two columns count, comments and blank lines do not."""
        words = line.split()
        if not words or words[0].startswith("#"):
            return
        try:
            n, throughput = float(words[0]), float(words[1])
        except (ValueError, IndexError):
            self.left_out += 1
            return
        if not (abs(n) < 1e300 and abs(throughput) < 1e300):
            self.left_out += 1
            return
        if 0 < n < float(self.least_n):
            self.least_n = words[0]
        if n > float(self.most_n or 0):
            self.most_n = words[0]
        if throughput > float(self.most_throughput or 0):
            self.most_throughput = words[1]
        self.n.append(n)
        self.throughput.append(throughput)

    @property
    def has_one(self) -> bool:
        """Whether N = 1 was measured."""
        return 1 in self.n

    @property
    def throughput_of_one(self) -> float:
        """C(1): the mean of C at N = 1, or at the least N, divided by it."""
        least = 1.0 if self.has_one else float(self.least_n)
        found = [c for n, c in zip(self.n, self.throughput, strict=True) if n == least]
        return sum(found) / len(found) / least if found else 0.0


@dataclass(frozen=True, slots=True)
class Fit:
    """Both steps of the fit, rounded as they were printed: that is what all that follows was made of."""

    throughput_of_one: float
    a: float
    b: float
    deviation_r_squared: str
    sigma: float
    kappa: float
    sigma_error: float = 0.0
    kappa_error: float = 0.0
    r_squared: str = ""
    fitted_throughput_of_one: float = 0.0


def run(name: str, arguments: list[str]) -> int:
    """Run a command line of usl; give the exit status.

    Parameters
    ----------
    name : str
        What the user called it by.
    arguments : list of str
        The rest of the command line.
    """
    try:
        options = parse(name, arguments)
    except Refused as refused:
        sys.stdout.write(str(refused))
        return 1
    sys.stdout.write(f"# Command-line: {' '.join([name, *arguments])}\n")
    points, broken = _points(options)
    if points.left_out:
        sys.stderr.write(f"{name}: lines without two numbers, left out: {points.left_out}\n")
    if not points.n or points.throughput_of_one <= 0:
        sys.stderr.write(f"{name}: no point has N > 0 and C > 0\n")
        return 1
    _tell_parameters(points, options)
    try:
        fit = _fit(points, options)
    except FitError as error:
        sys.stdout.flush()
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    _draw(points, fit, options)
    if broken is not None:
        raise broken
    return 0


def _points(options: Options) -> tuple[Points, CaptureError | None]:
    """Read, convert and keep the points; give them, and what cut the capture short that they are made of."""
    from tcpsight.output.destination import Destination

    points = Points()
    keep = Destination(options.keep) if options.keep else None
    broken = None
    try:
        try:
            for line in _converted(options):
                points.take(line)
                if keep is not None:
                    keep.write(line.encode())
        except CaptureError as error:
            if not points.n:
                raise
            broken = error
        if keep is not None:
            keep.close()
    except BaseException:
        if keep is not None:
            keep.abort()
        raise
    return points, broken


def _converted(options: Options) -> Iterator[str]:
    if options.conversion == "tcpdump":
        return from_capture(options.files, options.port)
    lines = _lines(options.files)
    if options.conversion == "globalstatus":
        return from_global_status(
            lines,
            interval_s=options.interval_s,
            most_threads=options.most_threads,
            adjustment=options.adjustment,
        )
    return lines


def _lines(files: Iterable[str]) -> Iterator[str]:
    """Give the lines of files one after the other, of standard input without any."""
    for name in files or ["-"]:
        if name == "-":
            yield from (line.decode("utf-8", "replace") for line in sys.stdin.buffer)
            continue
        try:
            with Path(name).open(encoding="utf-8", errors="replace") as file:
                # What has no end of line gets one: else it would run into the next file.
                yield from (line if line.endswith("\n") else f"{line}\n" for line in file)
        except (OSError, ValueError) as error:
            raise TcpsightError(f"{name}: {getattr(error, 'strerror', None) or error}") from None


def _tell_parameters(points: Points, options: Options) -> None:
    sys.stdout.write(
        f"# Using tcpsight {tcpsight.__version__}\n"
        "# Parameters to the model:\n"
        f"min(N)  {points.least_n}\n"
        f"max(N)  {points.most_n}\n"
        f"max(C)  {points.most_throughput}\n"
        f"C(1)    {shown(points.throughput_of_one)} (pre-adjustment by {options.factor_text})\n"
        f"N=1 ??? {'1' if points.has_one else 'no'}\n"
    )


def _fit(points: Points, options: Options) -> Fit:
    """Fit, and say what comes out, step by step."""
    one = float(shown(points.throughput_of_one))
    if options.factor_text != "1":
        sys.stdout.write(f"# Adjusting C(1) by {options.factor_text}\n")
        one = float(shown(one * options.factor))
    sys.stdout.write("# Fitting the transformed data against a 2nd-degree polynomial.\n")
    try:
        a, b = fit_deviation(points.n, points.throughput, one)
    except FitError as error:
        sys.stdout.write("The quadratic regression failed\n")
        raise FitError(f"the quadratic regression failed: {error}") from None
    a_value, b_value = _rounded(a), _rounded(b)
    x, y = deviation(points.n, points.throughput, one)
    r_squared = shown(determination(y, a_value * x * x + b_value * x))
    sys.stdout.write(f"   a       {_with_error(a)}\n   b       {_with_error(b)}\n   R^2     {r_squared}\n")
    fit = Fit(one, a_value, b_value, r_squared, b_value - a_value, a_value, fitted_throughput_of_one=one)
    return _refit(points, options, fit) if options.fits_again else _unfitted(fit)


def _unfitted(fit: Fit) -> Fit:
    """Take σ and κ from the first step; they have no errors."""
    sigma, kappa = f"{fit.sigma:.6f}", f"{fit.kappa:.6f}"
    sys.stdout.write(f"   sigma   {sigma} +/- 0 (0%)\n   kappa   {kappa} +/- 0 (0%)\n")
    return replace(fit, sigma=float(sigma), kappa=float(kappa), r_squared=fit.deviation_r_squared)


def _refit(points: Points, options: Options, fit: Fit) -> Fit:
    """Fit the law itself, with C(1) as one more point."""
    one = fit.throughput_of_one
    sys.stdout.write(
        "# Re-fitting against the USL with (a, b-a) as a starting point.\n"
        f"# Treating (1, {shown(one)}) as a point in original measurements.\n"
    )
    n, throughput = [1.0, *points.n], [one, *points.throughput]
    start = (fit.sigma, fit.kappa, one)
    try:
        sigma, kappa, fitted = fit_law(n, throughput, start, fits_throughput_of_one=options.fits_throughput_of_one)
    except FitError as error:
        sys.stdout.write("The USL regression failed\n")
        raise FitError(f"the USL regression failed: {error}") from None
    sys.stdout.write(f"   sigma   {_with_error(sigma)}\n   kappa   {_with_error(kappa)}\n")
    if options.fits_throughput_of_one:
        one = _rounded(fitted)
        sys.stdout.write(f"   C(1)    {_with_error(fitted)}\n")
    else:
        sys.stdout.write(f"   C(1)    {shown(one)}     (not a regression parameter)\n")
    r_squared = shown(determination(throughput, throughput_at(n, _rounded(sigma), _rounded(kappa), one)))
    sys.stdout.write(f"   R^2     {r_squared}\n")
    return replace(
        fit,
        sigma=_rounded(sigma),
        kappa=_rounded(kappa),
        sigma_error=sigma.error,
        kappa_error=kappa.error,
        r_squared=r_squared,
        fitted_throughput_of_one=one,
    )


def _draw(points: Points, fit: Fit, options: Options) -> None:
    from tcpsight.compat.usl_plots import chosen, draw

    plots = chosen(options)
    if not plots:
        return
    sys.stdout.flush()
    try:
        draw(plots, points, fit, options)
    except ImportError:
        raise TcpsightError(
            f"plots need Matplotlib: {installing('plot')}; the coefficients alone come with -o none"
        ) from None


def _rounded(coefficient: Coefficient) -> float:
    return float(f"{coefficient.value:g}")


def _with_error(coefficient: Coefficient) -> str:
    """Write a value and its error as gnuplot did; without degrees of freedom there was no error."""
    value, error = coefficient.value, coefficient.error
    if error != error:
        return f"{value:g} +/-  (%)"
    percent = f"{abs(100 * error / value):.4g}" if value else ""
    return f"{value:g} +/- {error:.4g} ({percent}%)"


def shown(number: float) -> str:
    """Write a number as awk prints it: six digits, and whole numbers whole."""
    return str(int(number)) if abs(number) < 2**53 and number == int(number) else f"{number:.6g}"
