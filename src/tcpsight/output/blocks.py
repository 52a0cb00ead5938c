"""Collect rows that come a few at a time into blocks of a fixed size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

import numpy as np

from tcpsight.tables import Table

Rows = TypeVar("Rows", bound=Table)


class BlockWriter(Generic[Rows]):
    """Hand over rows in blocks of exactly `block_rows`, however they arrive.

    Conversion costs much per call and little per row, and row groups of a file must not depend on how
    rows were cut into batches.

    Parameters
    ----------
    table_type : type of Table
        What rows come.
    block_rows : int
        Rows per block.
    emit : callable
        Takes each block, a table that is valid during the call only.
    """

    __slots__ = ("_block", "_bytes", "_emit", "_filled", "_row_bytes", "_size", "_table_type")

    def __init__(self, table_type: type[Rows], block_rows: int, emit: Callable[[Rows], None]) -> None:
        # Not zeroed: pages that no row ever reaches cost nothing.
        self._block = np.empty(block_rows, table_type.dtype)
        self._row_bytes = table_type.dtype.itemsize
        # Copied as bytes: NumPy copies structured rows field by field.
        self._bytes = self._block.view(np.uint8)
        self._table_type = table_type
        self._emit = emit
        self._size = block_rows
        self._filled = 0

    def write(self, table: Rows) -> None:
        """Take the next rows; they are copied."""
        rows = table.rows
        n = len(rows)
        if n == 0:
            return
        width, size, filled = self._row_bytes, self._size, self._filled
        if rows.itemsize != width:
            raise TypeError(f"a writer of {self._table_type.__name__} was given {type(table).__name__}")
        source = (rows if rows.flags.c_contiguous else np.ascontiguousarray(rows)).view(np.uint8)
        taken = 0
        while n - taken >= size - filled:
            if filled:
                cut = taken + size - filled
                self._bytes[filled * width :] = source[taken * width : cut * width]
                self._filled = 0
                self._emit(self._table_type(self._block))
            else:
                cut = taken + size
                self._emit(self._table_type(rows[taken:cut]))
            taken, filled = cut, 0
        rest = n - taken
        if rest:
            self._bytes[filled * width : (filled + rest) * width] = source[taken * width :]
        self._filled = filled + rest

    def flush(self) -> None:
        """Hand over what has been collected, if anything, as a shorter block."""
        if self._filled:
            filled, self._filled = self._filled, 0
            self._emit(self._table_type(self._block[:filled]))
