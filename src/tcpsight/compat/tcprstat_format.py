"""Lines of tcprstat: codes, escapes, headers, and statistics in whole microseconds.

A percentage between the percent sign and the code leaves only the smallest samples: of n samples the k = ⌊n·p/100⌋
smallest are looked at, and the statistic is theirs. So ``%95M`` is the largest of those, and ``%95a`` the average
without the slowest 5 % (a trimmed average, not a percentile). Only ``%m`` ignores it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from math import isqrt

import numpy as np

DEFAULT_FORMAT = r"%T\t%n\t%M\t%m\t%a\t%h\t%S\t%95M\t%95a\t%95S\t%99M\t%99a\t%99S\n"

NAMES = {
    "n": ("count", "cnt"), "a": ("avg", "avg"), "s": ("sum", "sum"), "x": ("sqs", "sqs"), "m": ("min", "min"),
    "M": ("max", "max"), "h": ("med", "med"), "S": ("stddev", "std"), "v": ("var", "var"),
    "I": ("iter#", "iter#"), "t": ("elapsed", "elapsed"), "T": ("timestamp", "timestamp"),
}  # fmt: skip
"""What a header calls a code, alone and behind a percentage."""

PLAIN_CODES = "ItT"
"""Codes that are no statistic."""

ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\"}

_PART = re.compile(r"%([0-9]{0,20})(.?)|\\([ntr\\]?)|[^%\\]+", re.DOTALL)
_HEADER_PART = re.compile(r"%([0-9]{0,20})(.?)|\\([nt]?)|[^%\\]+", re.DOTALL)


def is_format(text: str) -> bool:
    """Tell whether a format is one: every percent sign followed by a code, or by a number from 1 to 100."""
    for percentage, code, _ in (found.groups() for found in _PART.finditer(text) if found[0].startswith("%")):
        if percentage and not 1 <= int(percentage) <= 100:
            return False
        if not percentage and (not code or code not in "%r" + "".join(NAMES)):
            return False
    return True


class Samples:
    """Response times of an interval.

    Parameters
    ----------
    microseconds : sequence of int
        In any order.
    """

    def __init__(self, microseconds: list[int]) -> None:
        self._sorted = np.sort(np.array(microseconds, np.int64))

    def statistic(self, code: str, percentage: int) -> int:
        """Give a statistic of the smallest `percentage` per cent; 0 where there are none."""
        count = len(self._sorted)
        kept = self._sorted[: count * percentage // 100]
        if code == "n":
            return len(kept)
        if code == "m":
            return int(self._sorted[0]) if count else 0
        return _STATISTICS[code](kept) if len(kept) else 0


Kept = np.ndarray[tuple[int], np.dtype[np.int64]]


def _total(kept: Kept) -> int:
    return sum(kept.tolist())


def _squares(kept: Kept) -> int:
    # Beyond 2⁶³ in Python's integers.
    largest = int(kept[-1])
    return int(kept @ kept) if largest * largest * len(kept) < 1 << 63 else sum(x * x for x in kept.tolist())


def _variance(kept: Kept) -> int:
    mean = _total(kept) // len(kept)
    return _squares(kept) // len(kept) - mean * mean


_STATISTICS: dict[str, Callable[[Kept], int]] = {
    "a": lambda kept: _total(kept) // len(kept),
    "s": _total,
    "x": _squares,
    "M": lambda kept: int(kept[-1]),
    "h": lambda kept: int(kept[len(kept) // 2]),
    "S": lambda kept: isqrt(_variance(kept)),
    "v": _variance,
}


def line(format: str, samples: Samples, *, iteration: int, end_s: int, elapsed_s: int) -> str:
    """Write a line.

    Parameters
    ----------
    format : str
        For which `is_format` holds.
    samples : Samples
        Of the interval.
    iteration, end_s, elapsed_s : int
        What ``%I``, ``%T`` and ``%t`` stand for.
    """
    plain = {"I": iteration, "T": end_s, "t": elapsed_s}
    parts = []
    for found in _PART.finditer(format):
        percentage, code, escape = found.groups()
        if escape is not None:
            parts.append(ESCAPES.get(escape, "\\"))
        elif code is None:
            parts.append(found[0])
        elif code == "%":
            parts.append("%")
        elif code in PLAIN_CODES:
            parts.append(str(plain.get(code, "")))
        elif code in NAMES:
            parts.append(str(samples.statistic(code, int(percentage or 100))))
    return "".join(parts)


def header(text: str, *, is_verbatim: bool) -> str:
    """Write a header: names in place of codes; literal text only where the user gave the header.

    Parameters
    ----------
    text : str
        The format, or the header that was given.
    is_verbatim : bool
        Whether it was given.
    """
    parts = []
    for found in (_PART if is_verbatim else _HEADER_PART).finditer(text):
        percentage, code, escape = found.groups()
        if escape is not None:
            parts.append(ESCAPES.get(escape, "\\" if is_verbatim else ""))
        elif code is None:
            parts.append(found[0] if is_verbatim else "")
        elif code and code in NAMES:
            name, short_name = NAMES[code]
            is_part = code not in PLAIN_CODES and int(percentage or 100) != 100
            parts.append(f"{int(percentage)}_{short_name}" if is_part else name)
    return "".join(parts)
