"""Sort more rows than fit in memory.

Theory of operation
-------------------
Rows are collected until there are `memory_rows` of them, sorted, and written as a run of raw rows to a temporary file
that has no name, so that nothing is left behind however the process ends. Reading merges the runs by watermark: of each
run a piece is in memory; the smallest last key of the pieces is the watermark, below which every row that exists is in
memory. These rows are concatenated, sorted and handed over, and the piece that set the watermark is replaced by the
next of its run. No Python code runs per row, only per piece.

Every sort column becomes one or more integer or float keys that compare as the column shall: unknown values last in
either direction, addresses by number (IPv4 before IPv6), enumerations by the name that outputs show. Rows with equal
keys keep the order of `connection_id`, then `request_index`, where the table has them, then the order in which they
came.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from typing import IO, Any, Generic, TypeVar

import numpy as np

from tcpsight.errors import TcpsightError
from tcpsight.output.columns import null_mask, shown_columns
from tcpsight.tables import Column, Table

Rows = TypeVar("Rows", bound=Table)

Keys = list[np.ndarray[Any, Any]]
"""Arrays of equal length, the most significant first."""

_TIES = ("connection_id", "request_index")
_MEMORY_BYTES = 64 << 20
_BLOCK_ROWS = 65_536
_LEAST_PIECE_ROWS = 64


class SortedSpill(Generic[Rows]):
    """Take rows in any order, give them sorted.

    Parameters
    ----------
    table_type : type of Table
        The table.
    by : sequence of str
        Columns to sort by, the most significant first.
    descending : bool
        Largest first; unknown values and ties stay as they are in ascending order.
    memory_rows : int, optional
        Rows kept in memory; by default as many as fit in 64 MiB.
    directory : str, optional
        Where to spill; by default where the system keeps temporary files.

    Raises
    ------
    UsageError
        If `by` names no column of the table.
    TcpsightError
        From `add` and `sorted`, if there is no room to spill.
    """

    def __init__(
        self,
        table_type: type[Rows],
        by: Sequence[str],
        *,
        descending: bool = False,
        memory_rows: int | None = None,
        directory: str | os.PathLike[str] | None = None,
    ) -> None:
        self._table_type = table_type
        self._order = _Order(table_type, by, descending=descending)
        self._size = max(memory_rows or _MEMORY_BYTES // table_type.dtype.itemsize, 1)
        self._directory = directory
        # Not zeroed: pages that no row ever reaches cost nothing.
        self._rows = np.empty(self._size, table_type.dtype)
        self._filled = 0
        self._file: IO[bytes] | None = None
        self._ends: list[int] = []

    def add(self, table: Rows) -> None:
        """Take rows; they are copied."""
        taken = 0
        while taken < len(table):
            if self._filled == self._size:
                self._spill()
            n = min(len(table) - taken, self._size - self._filled)
            # As bytes: NumPy copies structured rows field by field.
            _bytes(self._rows[self._filled : self._filled + n])[:] = _bytes(table.rows[taken : taken + n])
            self._filled += n
            taken += n

    def sorted(self) -> Iterator[Rows]:
        """Give all rows in order, in tables that are valid until the next; afterwards the spill is empty."""
        try:
            if self._file is None:
                yield from self._from_memory()
            else:
                self._spill()
                self._rows = np.empty(0, self._table_type.dtype)
                yield from self._merged(self._file)
        finally:
            self.close()

    def close(self) -> None:
        """Forget all rows."""
        if self._file is not None:
            self._file.close()
        self._file, self._ends, self._filled = None, [], 0
        self._rows = np.empty(self._size, self._table_type.dtype)

    def _from_memory(self) -> Iterator[Rows]:
        rows = self._rows[: self._filled]
        order = sorting_order(self._order.keys(rows))
        for begin in range(0, len(rows), _BLOCK_ROWS):
            yield self._table_type(_take(rows, order[begin : begin + _BLOCK_ROWS]))

    def _spill(self) -> None:
        """Sort what is in memory and append it to the file as a run."""
        if self._filled == 0:
            return
        try:
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._directory, buffering=0)  # noqa: SIM115
            for table in self._from_memory():
                _write_all(self._file, _bytes(table.rows))
        except OSError as error:
            place = self._directory or tempfile.gettempdir()
            raise TcpsightError(f"cannot spill rows to {place}: {error.strerror or error}") from error
        self._ends.append((self._ends[-1] if self._ends else 0) + self._filled)
        self._filled = 0

    def _merged(self, file: IO[bytes]) -> Iterator[Rows]:
        # The pieces, their keys, and two copies of what is below the watermark are in memory at a time.
        piece_rows = max(self._size // (4 * len(self._ends)), _LEAST_PIECE_ROWS)
        pieces = np.empty((len(self._ends), piece_rows), self._table_type.dtype)
        bounds = zip([0, *self._ends[:-1]], self._ends, strict=True)
        runs = [_Run(file, self._order, bound, piece) for bound, piece in zip(bounds, pieces, strict=True)]
        while runs := [run for run in runs if run.fill()]:
            rows = np.concatenate([_bytes(rows) for rows in _below_watermark(runs)]).view(self._table_type.dtype)
            yield self._table_type(_take(rows, sorting_order(self._order.keys(rows))))


def sorting_order(keys: Keys) -> np.ndarray[Any, np.dtype[np.intp]]:
    """Give the order of rows by their keys, the most significant first; equal rows stay as they are, shape (n,).

    Rows nearly always differ in the first key, and have come nearly in its order: one stable sort by it takes little
    more than looking, where sorting by all keys, the last one first, would shuffle them before.
    """
    first = keys[0]
    order = np.argsort(first, kind="stable")
    is_like_next = first[order[1:]] == first[order[:-1]]
    if len(keys) == 1 or not is_like_next.any():
        return order
    is_tied = np.zeros(len(order), np.bool_)
    is_tied[1:] = is_like_next
    is_tied[:-1] |= is_like_next
    places = np.flatnonzero(is_tied)
    # Places of equal first keys lie beside each other: sorted by all keys, rows stay within those of their first key.
    rows = np.sort(order[places])
    order[places] = rows[np.lexsort([key[rows] for key in keys[::-1]])]
    return order


class _Order:
    """What rows are compared by."""

    def __init__(self, table_type: type[Table], by: Sequence[str], *, descending: bool) -> None:
        names = table_type.dtype.names or ()
        self._columns = shown_columns(table_type, by)
        self._ties = [name for name in _TIES if name in names and name not in by]
        self._has_version = "ip_version" in names
        self._descending = descending

    def keys(self, rows: np.ndarray[Any, Any]) -> Keys:
        """Give the keys of rows."""
        keys: Keys = []
        for c in self._columns:
            keys += self._column_keys(c, rows)
        return keys + [np.ascontiguousarray(rows[name]) for name in self._ties]

    def _column_keys(self, c: Column, rows: np.ndarray[Any, Any]) -> Keys:
        values = np.ascontiguousarray(rows[c.name])
        if c.is_address:
            keys = _address_keys(values, rows["ip_version"] if self._has_version else None)
            if c.null is None:
                return self._directed(keys)
            missing: np.ndarray[Any, Any] = (values == 0).all(axis=1)
            return [missing, *self._directed([np.where(missing, np.zeros(1, key.dtype), key) for key in keys])]
        if c.width > 1:
            return self._directed([np.ascontiguousarray(values[:, i]) for i in range(c.width)])
        if values.dtype.kind == "S":
            return self._directed(_text_keys(values))
        unknown = null_mask(c, values)
        if c.names is not None:
            # By the name that outputs show; codes without a name come after the named ones.
            ranks = np.argsort(np.argsort(c.names))
            values = np.append(ranks, len(ranks))[np.minimum(values, len(ranks))]
        if unknown is not None:
            values = np.where(unknown, np.zeros(1, values.dtype), values)
        if c.null is None and values.dtype.kind != "f":
            return self._directed([values])
        flag = np.zeros(len(rows), bool) if unknown is None else unknown
        return [flag, *self._directed([values])]

    def _directed(self, keys: Keys) -> Keys:
        if not self._descending:
            return keys
        # Of integers the complement, because −x overflows and fails without a sign.
        return [-key if key.dtype.kind == "f" else ~key for key in keys]


class _Run:
    """A sorted run in the file, a piece of which is in memory."""

    def __init__(self, file: IO[bytes], order: _Order, bounds: tuple[int, int], empty: np.ndarray[Any, Any]) -> None:
        self._file = file
        self._order = order
        self._next, self._end = bounds
        self._piece = empty
        self.rows = empty[:0]
        self.keys: Keys = []

    @property
    def is_all_in_memory(self) -> bool:
        return self._next == self._end

    def fill(self) -> bool:
        """Fill the piece up if half of it is used; tell whether there are rows."""
        kept = len(self.rows)
        if kept <= len(self._piece) // 2 and self._next < self._end:
            n = min(self._end - self._next, len(self._piece) - kept)
            _bytes(self._piece[:kept])[:] = _bytes(self.rows)
            _read_all(self._file, _bytes(self._piece[kept : kept + n]), self._next * self._piece.itemsize)
            self._next += n
            self.rows = self._piece[: kept + n]
            self.keys = self._order.keys(self.rows)
        return len(self.rows) > 0

    def last(self) -> tuple[Any, ...]:
        """Give the keys of the last row in memory."""
        return tuple(key[-1] for key in self.keys)

    def below(self, watermark: tuple[Any, ...]) -> tuple[int, int]:
        """Count the rows in memory that are less than the watermark, and those that are not greater."""
        begin, end = 0, len(self.rows)
        for key, mark in zip(self.keys, watermark, strict=True):
            # Where the keys before this one are equal, this one is sorted.
            equal = key[begin:end]
            begin, end = begin + int(np.searchsorted(equal, mark)), begin + int(np.searchsorted(equal, mark, "right"))
        return begin, end

    def cut(self, count: int) -> np.ndarray[Any, Any]:
        """Take the first rows off."""
        rows, self.rows = self.rows[:count], self.rows[count:]
        self.keys = [key[count:] for key in self.keys]
        return rows


def _below_watermark(runs: list[_Run]) -> list[np.ndarray[Any, Any]]:
    """Take off all runs the rows that nothing still in the file can precede."""
    open_runs = [i for i, run in enumerate(runs) if not run.is_all_in_memory]
    if not open_runs:
        return [run.cut(len(run.rows)) for run in runs]
    watermark, marking = min((runs[i].last(), i) for i in open_runs)
    taken = []
    for i, run in enumerate(runs):
        # Of equal rows those of earlier runs come first, and the marking run may have more of them in the file.
        less, not_greater = run.below(watermark)
        taken.append(run.cut(not_greater if i <= marking else less))
    return taken


def _address_keys(addresses: np.ndarray[Any, Any], versions: np.ndarray[Any, Any] | None) -> Keys:
    """Give version, upper and lower half; of IPv4 only the last four bytes count."""
    halves = np.ascontiguousarray(addresses).view(">u8").astype(np.uint64)
    high, low = halves[:, 0], halves[:, 1]
    is_six = versions == 6 if versions is not None else (high != 0) | (low >> np.uint64(32) != 0xFFFF)
    return [is_six.astype(np.uint8), np.where(is_six, high, 0), np.where(is_six, low, low & np.uint64(0xFFFFFFFF))]


def _text_keys(values: np.ndarray[Any, Any]) -> Keys:
    """Give the bytes, eight at a time as big-endian numbers."""
    words = -(-values.dtype.itemsize // 8)
    padded = np.ascontiguousarray(values.astype(f"S{8 * words}"))
    return [np.ascontiguousarray(column) for column in padded.view(">u8").reshape(-1, words).astype(np.uint64).T]


def _bytes(rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.ascontiguousarray(rows).view(np.uint8)


def _take(rows: np.ndarray[Any, Any], order: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # As bytes: ten times as fast as structured rows.
    taken: np.ndarray[Any, Any] = np.take(_bytes(rows).reshape(len(rows), rows.itemsize), order, axis=0)
    return taken.reshape(-1).view(rows.dtype)


def _write_all(file: IO[bytes], data: np.ndarray[Any, Any]) -> None:
    written = 0
    while written < len(data):
        written += file.write(data[written:].data)


def _read_all(file: IO[bytes], data: np.ndarray[Any, Any], offset: int) -> None:
    read = 0
    while read < len(data):
        n = os.preadv(file.fileno(), [data[read:].data], offset + read)
        if n == 0:
            raise OSError("the temporary file was cut short")
        read += n
