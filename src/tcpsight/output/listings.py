"""Lists that fit a screen: what can be spared goes first, then each row takes two lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tcpsight.output.drawing import columns, widest

INDENT = "    "


@dataclass(frozen=True, slots=True)
class Fit:
    """How a list may be made narrower.

    Attributes
    ----------
    left : tuple of str
        Columns that are set flush left, besides a first one that may have a line of its own.
    dispensable : tuple of str
        Columns that may be left out, the first of them first.
    spared : int or None
        How many of these may be left out before the first column takes a line of its own; None if it never does.
    """

    left: tuple[str, ...] = ()
    dispensable: tuple[str, ...] = ()
    spared: int | None = None


def listing(table: Mapping[str, Sequence[str]], width: int, fit: Fit) -> tuple[list[str], list[list[str]]]:
    """Line up a list so that it fits; if nothing does, as narrow as it may be.

    Parameters
    ----------
    table : dict of str to sequence of str
        Cells of each column, by heading.
    width : int
        Characters per line.
    fit : Fit
        How it may be made narrower.

    Returns
    -------
    heading : list of str
        Its lines.
    rows : list of list of str
        Lines of each row.
    """
    for heading, rows in _attempts(table, fit):
        if widest(heading) <= width and all(widest(row) <= width for row in rows):
            break
    return heading, rows


def _attempts(table: Mapping[str, Sequence[str]], fit: Fit) -> Iterator[tuple[list[str], list[list[str]]]]:
    most = len(fit.dispensable)
    for dropped in range((most if fit.spared is None else fit.spared) + 1):
        lines = _lines(table, fit, dropped, skipped=0)
        yield lines[:1], [[line] for line in lines[1:]]
    if fit.spared is None:
        return
    (name, cells), *_ = table.items()
    for dropped in range(most + 1):
        heading, *lines = _lines(table, fit, dropped, skipped=1)
        yield [name, INDENT + heading], [[cell, INDENT + line] for cell, line in zip(cells, lines, strict=True)]


def _lines(table: Mapping[str, Sequence[str]], fit: Fit, dropped: int, *, skipped: int) -> list[str]:
    """Line up all columns but the first `skipped` and the `dropped` most dispensable ones."""
    names = [name for name in list(table)[skipped:] if name not in fit.dispensable[:dropped]]
    first = next(iter(table))
    sides = "".join("l" if name in fit.left or (name == first and fit.spared is not None) else "r" for name in names)
    return columns([names, *zip(*(table[name] for name in names), strict=True)], sides)
