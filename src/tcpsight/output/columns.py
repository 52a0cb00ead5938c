"""Which columns an output shows, where they lie in a row, and how unknown values are told."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from tcpsight.errors import UsageError
from tcpsight.output._kernel import AddressTexts
from tcpsight.tables import Column, Table

# Whoever sends the packets chooses the addresses, so the hash must not be guessable. It never shows in an output.
_SEED = (int.from_bytes(os.urandom(8), "little"), int.from_bytes(os.urandom(8), "little"))


def shown_columns(table_type: type[Table], names: Sequence[str] | None = None) -> tuple[Column, ...]:
    """Give the columns that outputs show: all but the internal ones, or the named ones in the order named.

    Parameters
    ----------
    table_type : type of Table
        The table.
    names : sequence of str, optional
        Which columns, without repetition.

    Raises
    ------
    UsageError
        If a name is not that of a shown column, or comes twice.
    """
    shown = {c.name: c for c in table_type.columns if not c.internal}
    if names is None:
        return tuple(shown.values())
    for position, name in enumerate(names):
        if name not in shown:
            raise UsageError(f"no column {name!r}; the columns are {', '.join(shown)}")
        if name in names[:position]:
            raise UsageError(f"column {name!r} is named twice")
    return tuple(shown[name] for name in names)


def place(table_type: type[Table], name: str) -> int:
    """Give the byte of a row where the column begins."""
    fields = table_type.dtype.fields
    assert fields is not None
    return int(fields[name][1])


def packed(table: Table) -> np.ndarray[Any, Any]:
    """Give the rows as bytes, one row after the other."""
    return np.ascontiguousarray(table.rows).view(np.uint8)


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


class AddressColumn:
    """One column of addresses, block by block: which distinct address each row has, and their texts.

    Parameters
    ----------
    table_type : type of Table
        The table.
    name : str
        Its address column. Without a column `ip_version` in the table the address itself tells.
    """

    def __init__(self, table_type: type[Table], name: str) -> None:
        fields = table_type.dtype.fields or {}
        self._address_at = place(table_type, name)
        self._version_at = place(table_type, "ip_version") if "ip_version" in fields else -1
        self._row_bytes = table_type.dtype.itemsize
        self._texts = AddressTexts(_SEED)

    def find(self, rows: np.ndarray[Any, Any]) -> AddressTexts:
        """Take packed rows; give their addresses, valid until the next call."""
        self._texts.find(rows, self._row_bytes, self._address_at, self._version_at)
        return self._texts
