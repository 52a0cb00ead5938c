"""Tables for people: aligned columns in human units.

Theory of operation
-------------------
Rows stream through: widths are those of the headings and of the first 1000 rows, and a later value that is wider pushes
its own line out. Columns that do not fit the given width are left out from the right, but for the numbers of connection
and request, by which other commands find what a row is about; rows beyond a limit are counted. Both are said below the
table, so that nothing is missing in silence. Text that came from a capture is escaped:
no control character reaches a terminal.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import tzinfo
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

from tcpsight.output import units
from tcpsight.output.columns import AddressColumn, ColumnBlock, null_mask, shown_columns
from tcpsight.output.destination import Destination
from tcpsight.output.drawing import plain
from tcpsight.tables import Column, Table

_GAP = "  "
_LONGEST_TEXT = 80
# Columns without room that are named: more than two lines of names are not read.
_MOST_NAMED = 12
_LONGEST_DURATION_NS = 10**17
# Which connection or request a row is about: what `follow`, `show` and `--connection` take.
_NUMBERS = ("connection_id", "request_index")
_MOST_TELLING = 2
_LAST_INSTANT_NS = 2**63


@dataclass(frozen=True, slots=True)
class TextLayout:
    """How a text table is laid out.

    Parameters
    ----------
    width : int, optional
        Characters per line; columns beyond it are left out. No limit by default.
    limit : int, optional
        Rows shown; the others are counted. No limit by default.
    has_unicode : bool
        Whether more than ASCII can be shown.
    """

    width: int | None = None
    limit: int | None = None
    has_unicode: bool = True


class TextEncoder:
    """Write blocks of rows as lines of text.

    Parameters
    ----------
    destination : Destination
        Where to.
    table_type : type of Table
        The table.
    columns : sequence of str, optional
        Only these, in this order.
    layout : TextLayout
        Width and limit.
    timezone : tzinfo
        Of instants.
    """

    block_rows = 1000
    may_cut = True

    def __init__(
        self,
        destination: Destination,
        table_type: type[Table],
        columns: Sequence[str] | None,
        layout: TextLayout,
        timezone: tzinfo,
    ) -> None:
        self._destination = destination
        self._timezone = timezone
        self._layout = layout
        self._columns = list(shown_columns(table_type, columns))
        self._addresses = {c.name: AddressColumn(table_type, c.name) for c in self._columns if c.is_address}
        needs = [name for address in self._addresses.values() for name in address.needs]
        self._block = ColumnBlock(table_type, dict.fromkeys([*(c.name for c in self._columns), *needs]))
        self._widths: list[int] | None = None
        self._hidden: list[str] = []
        self._rows = 0

    def begin(self) -> None:
        """Do nothing: the headings wait for the widths."""

    def encode(self, rows: Table) -> None:
        """Write one line per row."""
        limit = self._layout.limit
        shown = rows if limit is None else rows[: max(limit - self._rows, 0)]
        self._rows += len(rows)
        if len(shown) == 0:
            return
        values = self._block.gather(shown)
        self._lines([self._texts(c, values) for c in self._columns])

    def finish(self) -> None:
        """Say what was left out."""
        if self._widths is None:
            self._lines([[] for _ in self._columns])
        notes = []
        more = self._rows - self._layout.limit if self._layout.limit is not None else 0
        if more > 0:
            notes.append(f"… {units.count(more)} more row{'' if more == 1 else 's'}")
        if self._hidden:
            named = self._hidden[:_MOST_NAMED]
            more_columns = len(self._hidden) - len(named)
            others = f" and {more_columns} more" if more_columns else ""
            notes.append(f"no room for {', '.join(named)}{others} (--columns chooses)")
        if notes:
            self._write("".join(f"{note}\n" for note in notes))

    def abort(self) -> None:
        """Do nothing."""

    def _lines(self, texts: list[list[str]]) -> None:
        lines = []
        if self._widths is None:
            texts = self._fit(texts)
            lines.append(self._line([_heading(c) for c in self._columns]))
        lines += [self._line(row) for row in zip(*texts, strict=True)]
        self._write("".join(lines))

    def _write(self, text: str) -> None:
        self._destination.write((text if self._layout.has_unicode else plain(text)).encode())

    def _fit(self, texts: list[list[str]]) -> list[list[str]]:
        """Set the widths, leave out the columns that do not fit, and give the texts of the others."""
        headings = [_heading(c) for c in self._columns]
        widths = [max(map(len, [heading, *column])) for heading, column in zip(headings, texts, strict=True)]
        kept = list(range(len(widths)))
        if self._layout.width is not None:
            for each in self._dispensable():
                if sum(widths[i] + len(_GAP) for i in kept) - len(_GAP) <= self._layout.width:
                    break
                kept.remove(each)
        self._widths = [widths[i] for i in kept]
        self._hidden = [heading for i, heading in enumerate(headings) if i not in kept]
        self._columns = [self._columns[i] for i in kept]
        return [texts[i] for i in kept]

    def _dispensable(self) -> list[int]:
        """Give places of columns in the order in which they are left out; one stays, whatever happens.

        From the right; then the first, a time, before the second, which tells what somebody looks for.
        """
        others = [i for i, c in enumerate(self._columns) if c.name not in _NUMBERS]
        numbers = [i for i, c in enumerate(self._columns) if c.name in _NUMBERS]
        telling = others[:_MOST_TELLING] if numbers else others[::-1]
        return [*others[: len(telling) - 1 : -1], *telling, *numbers[::-1]][: len(self._columns) - 1]

    def _line(self, cells: Sequence[str]) -> str:
        assert self._widths is not None
        padded = [
            cell.ljust(width) if _is_text(c) else cell.rjust(width)
            for c, cell, width in zip(self._columns, cells, self._widths, strict=True)
        ]
        return _GAP.join(padded).rstrip() + "\n"

    def _texts(self, c: Column, values: dict[str, np.ndarray[Any, Any]]) -> list[str]:
        column = values[c.name]
        if c.is_address:
            found = self._addresses[c.name].find(values)
            text, ends = bytes(found.texts).decode("ascii"), found.ends.tolist()
            addresses = [text[begin:end] for begin, end in pairwise(ends)]
            # The last one stands for none, whose index is −1.
            addresses.append(units.UNKNOWN)
            return [addresses[index] for index in found.indices.tolist()]
        if c.width > 1:
            return [" ".join(map(str, row)) for row in column.reshape(-1, c.width).tolist()]
        write = self._format(c)
        unknown = null_mask(c, column)
        if unknown is None:
            return [write(value) for value in column.tolist()]
        pairs = zip(column.tolist(), unknown.tolist(), strict=True)
        return [units.UNKNOWN if is_unknown else write(value) for value, is_unknown in pairs]

    def _format(self, c: Column) -> Callable[[Any], str]:
        if c.names is not None:
            names = c.names
            return lambda code: names[code] if 0 <= code < len(names) else "?"
        kind = np.dtype(c.dtype).kind
        if (own := _numbers_format(c, self._timezone)) is not None:
            return own
        if kind == "S":
            # A filter is ours, and is of use only as a whole.
            return _captured_text if c.unit != "BPF" else lambda value: str(value.decode("ascii"))
        return units.number if kind == "f" else str


def _numbers_format(c: Column, timezone: tzinfo) -> Callable[[Any], str] | None:
    """Give how numbers of a column with a unit are shown; None where they have none."""
    if c.unit == "epoch ns":
        return lambda value: units.instant(value, timezone)
    if c.name.endswith("offset"):
        # Places in a stream, where the SYN is at −1, not amounts.
        return str
    if c.name.endswith("_fraction"):
        return units.fraction
    return _BY_UNIT.get(c.unit)


def cell_format(name: str, timezone: tzinfo) -> Callable[[Any], str] | None:
    """Give how numbers are shown that have the name of a column, or end in ``_ns``; None where they have no unit.

    Parameters
    ----------
    name : str
        Of the column, which may come from anywhere.
    timezone : tzinfo
        Of instants.
    """

    def instant(ns: float) -> str:
        # What was calculated may be no instant: infinite, NaN, or beyond every calendar.
        return units.instant(int(ns), timezone) if abs(ns) < _LAST_INSTANT_NS else units.number(ns)

    column = _columns_by_name().get(name)
    if column is not None:
        return instant if column.unit == "epoch ns" else _numbers_format(column, timezone)
    if not name.endswith("_ns"):
        return None
    # Nobody waited for three years: it is an instant.
    return lambda ns: instant(ns) if ns > _LONGEST_DURATION_NS else units.duration(ns)


@cache
def _columns_by_name() -> dict[str, Column]:
    return {c.name: c for table_type in _shown_tables(Table) for c in table_type.columns if not c.internal}


def _shown_tables(table_type: type[Table]) -> list[type[Table]]:
    return [table_type, *(each for kind in table_type.__subclasses__() for each in _shown_tables(kind))]


FLAG_LETTERS = "FSRPAUEWe"
"""Of FIN = 1 … AE = 256, the letters tcpdump has for them but for the ACK."""


@lru_cache(512)
def _flags_text(value: int) -> str:
    return "".join(letter for bit, letter in enumerate(FLAG_LETTERS) if value >> bit & 1) or "none"


_BY_UNIT: dict[str, Callable[[Any], str]] = {
    "ns": units.duration,
    "B": units.size,
    "1/s": units.rate,
    "bit/s": units.bit_rate,
    "bool": lambda value: "yes" if value else "no",
    "flags": _flags_text,
}


def _captured_text(value: bytes) -> str:
    text = units.printable(value.decode("utf-8", "replace"))
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _heading(c: Column) -> str:
    """Give the column's name, without the unit that each value now shows itself."""
    return c.name.removesuffix("_ns").removesuffix("_per_s")


def _is_text(c: Column) -> bool:
    return c.is_address or c.names is not None or c.unit in ("epoch ns", "flags") or np.dtype(c.dtype).kind == "S"
