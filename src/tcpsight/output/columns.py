"""Which columns an output shows, where they lie in a row, and how unknown values are told."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tcpsight.errors import UsageError
from tcpsight.output._kernel import AddressTexts, gather
from tcpsight.tables import Column, Table

# Whoever sends the packets chooses the addresses, so the hash must not be guessable. It never shows in an output.
_SEED = (int.from_bytes(os.urandom(8), "little"), int.from_bytes(os.urandom(8), "little"))

MOST_LISTED = 20
"""More columns than this are no help in a message; the reference has them all."""

UNIT_ENDINGS = ("_ns", "_bytes", "_per_s", "_bits_per_s", "_fraction")
"""The units at the end of names, which people may leave out."""


def shown_columns(table_type: type[Table], names: Sequence[str] | None = None) -> tuple[Column, ...]:
    """Give the columns that outputs show: all but the internal ones, or the named ones in the order named.

    Parameters
    ----------
    table_type : type of Table
        The table.
    names : sequence of str, optional
        Which columns, without repetition. A name may lack the unit at its end, as headings of text do.

    Raises
    ------
    UsageError
        If a name is not that of a shown column, or comes twice.
    """
    shown = {c.name: c for c in table_type.columns if not c.internal}
    if names is None:
        return tuple(shown.values())
    if len(names) == 0:
        raise UsageError(f"no column chosen; the columns are {', '.join(shown)}")
    chosen: dict[str, Column] = {}
    for name in names:
        whole = _whole_name(name, shown)
        if whole in chosen:
            raise UsageError(f"column {whole!r} is named twice")
        chosen[whole] = shown[whole]
    return tuple(chosen.values())


def _whole_name(name: str, shown: Mapping[str, Column]) -> str:
    """Find the column that is meant; a name that is whole goes before one that lacks its unit."""
    for unit in ("", *UNIT_ENDINGS):
        if name + unit in shown:
            return name + unit
    from difflib import get_close_matches

    near = [each for each in shown if name and name.lower() in each] or get_close_matches(name.lower(), shown, 1)
    if not near and len(shown) <= MOST_LISTED:
        raise UsageError(f"no column {name!r}; the columns are {', '.join(shown)}")
    near = near or get_close_matches(name.lower(), shown, 3, 0.0)
    hint = f"the nearest is {near[0]!r}" if len(near) == 1 else f"the nearest are {', '.join(map(repr, near[:3]))}"
    raise UsageError(f"no column {name!r}; {hint}")


def place(table_type: type[Table], name: str) -> int:
    """Give the byte of a row where the column begins."""
    fields = table_type.dtype.fields
    assert fields is not None
    return int(fields[name][1])


def null_mask(column: Column, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any] | None:
    """Tell which values are unknown; None if none is."""
    mask = None
    if column.null is not None:
        mask = values == column.null
    if values.dtype.kind == "f":
        nan = np.isnan(values)
        mask = nan if mask is None else mask | nan
    return mask if mask is not None and mask.any() else None


def is_nullable(column: Column) -> bool:
    """Tell whether the column can hold unknown values."""
    return column.null is not None or np.dtype(column.dtype).kind == "f"


class ColumnBlock:
    """Columns copied out of packed rows into one piece of memory.

    Parameters
    ----------
    table_type : type of Table
        The table.
    names : iterable of str
        Which columns, internal ones included.
    """

    # Arrow asks for 8 and recommends 64 (columnar format, "Buffer Alignment and Padding").
    _ALIGNMENT = 64

    def __init__(self, table_type: type[Table], names: Iterable[str]) -> None:
        self._row_bytes = table_type.dtype.itemsize
        self._fields = [(name, place(table_type, name), table_type.dtype[name]) for name in names]

    def layout(self, n: int) -> tuple[dict[str, tuple[int, int]], int]:
        """Give the bytes where each column of `n` rows begins and ends, and how many bytes all take."""
        places, size = {}, 0
        for name, _, dtype in self._fields:
            places[name] = (size, size + dtype.itemsize * n)
            size += -(-dtype.itemsize * n // self._ALIGNMENT) * self._ALIGNMENT
        return places, size

    def gather(self, table: Table, out: Any = None) -> dict[str, np.ndarray[Any, Any]]:
        """Copy the columns into `out`, a buffer of the layout's size (fresh if None); give the elements of each."""
        places, size = self.layout(len(table))
        memory = np.empty(size, np.uint8) if out is None else np.frombuffer(out, np.uint8)
        fields = [(at, dtype.itemsize, places[name][0]) for name, at, dtype in self._fields]
        gather(table.packed(), self._row_bytes, np.array(fields, np.int64).reshape(-1, 3), memory)
        return {name: memory[slice(*places[name])].view(dtype.base) for name, _, dtype in self._fields}


class AddressColumn:
    """One column of addresses, block by block: which distinct address each row has, and their texts.

    Parameters
    ----------
    table_type : type of Table
        The table.
    name : str
        Its address column. Without a column `ip_version` in the table the address itself tells. Where the column has
        a null, 16 zero bytes are no address.

    Attributes
    ----------
    needs : tuple of str
        The columns that `find` wants gathered.
    """

    def __init__(self, table_type: type[Table], name: str) -> None:
        self._name = name
        self._has_version = "ip_version" in (table_type.dtype.names or ())
        self._is_nullable = any(c.name == name and c.null is not None for c in table_type.columns)
        self._texts = AddressTexts(_SEED)
        self.needs = (name, "ip_version") if self._has_version else (name,)

    def find(self, values: Mapping[str, np.ndarray[Any, Any]]) -> AddressTexts:
        """Take gathered columns; give the addresses, valid until the next call."""
        versions = values["ip_version"] if self._has_version else None
        self._texts.find(values[self._name], versions, is_nullable=self._is_nullable)
        return self._texts
