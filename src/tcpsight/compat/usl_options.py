"""The command line of usl, also known as pt-usl: options first, then files."""

from __future__ import annotations

import getopt
from dataclasses import dataclass, field

LETTERS = "ac:dei:k:l:L:m:n:o:p:P:rRt:T:x:X"

CONVERSIONS = ("globalstatus", "tcpdump")
IMAGES = ("png", "eps", "pdf", "svg")

USAGE = """\
Usage: {name} [OPTIONS] FILE [FILE...]
   {name} fits the universal scalability law to columns N (concurrency) and C
   (throughput) of the files, or of standard input. Lines that begin with # are
   comments. It prints the coefficients of both steps of the fit and draws the
   efficiency, the deviation from linearity, the residuals and the model.
Options:
   -a              The x axis is a 'node count' (default is concurrency).
   -c CONVERSION   Convert the input into columns N and C first:
      globalstatus   from MySQL's SHOW GLOBAL STATUS, sampled
      tcpdump        from 'tcpdump -tttt -nnq', or from any capture
   -d              Accepted; there are no temporary files to keep.
   -e              Draw error lines on the final plot.
   -i INTERVAL     With -c globalstatus, group the input into -i second intervals.
   -k KEEPFILE     Save the columns N and C in this file.
   -l LIMIT        Limit of the x axis of the final plot.
   -L COLOR        The color of points (default lt rgb "#8B0000" with -r).
   -m THREADS      With -c globalstatus, the largest N that counts.
   -n ADJUSTMENT   With -c globalstatus, subtract this from N: threads that only
                   replicate.
   -o ONLY         Only draw the plots named in this comma-separated list.
   -p PREFIX       Prefix for the names of image files.
   -P PORT         TCP port for -c tcpdump (default 3306).
   -r              Draw pdf, eps and svg plots in color.
   -R              Don't fit again; use the results of the quadratic fit.
   -t FILETYPE     Type of the image files (png, pdf, eps, svg).
   -T POINTTYPE    Point type of the plots, as gnuplot numbers them (default 6).
   -x ADJUSTMENT   Multiply the C(1) regression parameter by this factor.
   -X              Include C(1) as a fit parameter.
"""


class Refused(Exception):
    """The command line makes no sense: what the old tool said of it, on standard output; the status is 1."""


@dataclass(slots=True)
class Options:
    """What was asked for."""

    name: str
    conversion: str = ""
    interval_s: float = 0.0
    keep: str = ""
    most_threads: float = 0.0
    adjustment: float = 0.0
    port: int = 3306
    factor: float = 1.0
    factor_text: str = "1"
    fits_again: bool = True
    fits_throughput_of_one: bool = False
    axis: str = "concurrency"
    has_error_lines: bool = False
    limit: float = 0.0
    only: str | None = None
    prefix: str = ""
    has_color: bool = False
    point_color: str = ""
    point_type: int = 6
    image: str = "png"
    files: list[str] = field(default_factory=list)


def parse(name: str, arguments: list[str]) -> Options:
    """Read the command line; options come before files.

    Raises
    ------
    Refused
        It makes no sense.
    """
    try:
        found, files = getopt.getopt(arguments, LETTERS)
    except getopt.GetoptError as error:
        if f"{error.opt}:" in LETTERS:
            raise _refused(name, f"Option '-{error.opt}' needs a value.") from None
        raise _refused(name, f"Unknown option '-{error.opt}'.") from None
    options = Options(name, files=files)
    for letter, value in found:
        _take(options, letter[1:], value)
    if options.conversion and options.conversion not in CONVERSIONS:
        raise _refused(name, f"Unknown -c value {options.conversion}")
    if options.image not in IMAGES:
        raise _refused(name, f"Unknown -t value {options.image}")
    return options


def _take(options: Options, letter: str, value: str) -> None:
    texts = {"c": "conversion", "k": "keep", "o": "only", "p": "prefix", "t": "image", "L": "point_color"}
    numbers = {"i": "interval_s", "m": "most_threads", "n": "adjustment", "l": "limit", "x": "factor"}
    flags = {"e": "has_error_lines", "r": "has_color", "X": "fits_throughput_of_one"}
    if letter in texts:
        setattr(options, texts[letter], value)
    elif letter in numbers:
        setattr(options, numbers[letter], _number(options.name, letter, value))
    elif letter in flags:
        setattr(options, flags[letter], True)
    elif letter == "a":
        options.axis = "node count"
    elif letter == "R":
        options.fits_again = False
    elif letter == "P":
        port = _number(options.name, letter, value)
        if port != int(port) or not 1 <= port <= 65_535:
            raise _refused(options.name, f"Option '-P' needs a port, not {value!r}.")
        options.port = int(port)
    elif letter == "T":
        # What follows the number in gnuplot's language has no meaning here.
        options.point_type = int(_number(options.name, letter, (value.split() or [""])[0]))
    if letter == "x":
        options.factor_text = value


def _number(name: str, letter: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not abs(number) < 1e300:
        raise _refused(name, f"Option '-{letter}' needs a number, not {value!r}.")
    return number


def _refused(name: str, reason: str) -> Refused:
    return Refused(f"{reason}\n{USAGE.format(name=name)}")
