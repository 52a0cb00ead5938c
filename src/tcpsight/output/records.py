"""CSV and JSON lines: one line per row, machine units, the same values as in Arrow.

Integers stay integers. Unknown is empty in CSV and ``null`` in JSON; an empty text is ``""`` in both. Truth values are
``true`` and ``false``. CSV has a header line and ends lines with a line feed; texts are quoted where RFC 4180 §2 asks
for it. What holds JSON is an object in JSON lines, and a text in CSV. Floats are the shortest decimal that reads back
as the same number; JSON has no infinity, it becomes ``null``.

A compiled kernel writes the lines straight from the packed rows. Only floats, free text and lists are made text in
Python first, value by value; text without special characters is copied.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tcpsight.output._kernel import RecordWriter, is_plain
from tcpsight.output.columns import AddressColumn, ColumnBlock, null_mask, place, shown_columns
from tcpsight.output.destination import Destination
from tcpsight.output.units import printable
from tcpsight.tables import Column, Table

# Kinds of cells; the kernel has the same numbers.
_SIGNED, _UNSIGNED, _BOOLEAN, _CODE, _INDEX, _TEXT = range(6)

Texts = tuple[Any, Any, Any]
"""Bytes of all texts; where each ends, after a 0; which text each row has (−1: unknown), or None for the row's code."""


@dataclass(frozen=True, slots=True)
class Notation:
    """How lines look: the bytes around values, how text and lists are written, and the bytes that need care in text."""

    before: Callable[[int, str], bytes]
    null: bytes
    end: bytes
    quotes: bool
    text: Callable[[str], str]
    numbers: Callable[[list[Any]], str]
    special: bytes


def _csv_text(text: str) -> str:
    if text and not any(c in text for c in ',"\r\n'):
        return text
    return '"' + text.replace('"', '""') + '"'


def _json_text(text: str) -> str:
    """Write text as JSON, all of it in ASCII where a terminal would obey some of it."""
    # Below 32 JSON escapes by itself; the eight-bit control characters it does not.
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _flags(special: bytes) -> bytes:
    """Flag bytes that cannot be copied as they are; not ASCII may be not UTF-8."""
    return bytes(byte in special or byte >= 127 for byte in range(256))


CSV = Notation(
    before=lambda position, name: b"," if position else b"",
    null=b"",
    end=b"\n",
    quotes=False,
    text=_csv_text,
    numbers=lambda numbers: " ".join(map(str, numbers)),
    special=_flags(b',"\r\n'),
)

JSON = Notation(
    before=lambda position, name: f'{"," if position else "{"}"{name}":'.encode(),
    null=b"null",
    end=b"}\n",
    quotes=True,
    text=_json_text,
    numbers=lambda numbers: json.dumps(numbers, separators=(",", ":")),
    special=_flags(b'"\\' + bytes(range(32))),
)


CSV_ON_TERMINAL = replace(
    CSV,
    text=lambda text: _csv_text(printable(text)),
    special=_flags(b',"' + bytes(range(32))),
)
"""A terminal obeys what is in texts: there, control characters are written as ``\\x1b``."""


class RecordEncoder:
    """Write blocks of rows as lines.

    Parameters
    ----------
    destination : Destination
        Where to.
    table_type : type of Table
        The table.
    columns : sequence of str, optional
        Only these, in this order.
    notation : Notation
        `CSV`, `CSV_ON_TERMINAL` or `JSON`.
    """

    # A block and its lines (about 300 bytes each) stay near the L2 cache.
    block_rows = 8192
    may_cut = True

    def __init__(
        self, destination: Destination, table_type: type[Table], columns: Sequence[str] | None, notation: Notation
    ) -> None:
        self._destination = destination
        self._notation = notation
        self._columns = shown_columns(table_type, columns)
        self._row_bytes = table_type.dtype.itemsize
        self._addresses = {c.name: AddressColumn(table_type, c.name) for c in self._columns if c.is_address}
        self._codes = {c.name: _code_texts(c) for c in self._columns if c.names is not None}
        needs = [name for address in self._addresses.values() for name in address.needs]
        needs += [c.name for c in self._columns if not c.is_address and self._kind(c) in (_INDEX, _TEXT)]
        self._block = ColumnBlock(table_type, dict.fromkeys(needs))
        cells = [self._cell(table_type, position, c) for position, c in enumerate(self._columns)]
        self._writer = RecordWriter(cells, notation.null, notation.end)

    def begin(self) -> None:
        """Write the header line, in CSV."""
        if self._notation in (CSV, CSV_ON_TERMINAL):
            self._destination.write((",".join(c.name for c in self._columns) + "\n").encode())

    def encode(self, rows: Table) -> None:
        """Write one line per row."""
        values = self._block.gather(rows)
        sources = [self._source(c, values, len(rows)) for c in self._columns]
        self._destination.write(self._writer.write(rows.packed(), self._row_bytes, sources))

    def finish(self) -> None:
        """Do nothing: every line is whole."""

    def abort(self) -> None:
        """Do nothing."""

    def _cell(self, table_type: type[Table], position: int, c: Column) -> tuple[int, int, int, int | None, bytes, bool]:
        kind = self._kind(c)
        is_quoted = self._notation.quotes and (c.is_address or kind in (_CODE, _TEXT))
        before = self._notation.before(position, c.name)
        return kind, place(table_type, c.name), np.dtype(c.dtype).itemsize, c.null, before, is_quoted

    def _source(self, c: Column, values: dict[str, np.ndarray[Any, Any]], n: int) -> Texts | None:
        if c.is_address:
            found = self._addresses[c.name].find(values)
            return found.texts, found.ends, found.indices
        kind = self._kind(c)
        if kind == _CODE:
            return self._codes[c.name]
        if kind == _TEXT and is_plain(values[c.name].view(np.uint8), values[c.name].itemsize, self._notation.special):
            return None
        return self._rendered(c, values[c.name], n) if kind in (_INDEX, _TEXT) else None

    def _rendered(self, c: Column, values: np.ndarray[Any, Any], n: int) -> Texts:
        indices = np.arange(n, dtype=np.int32)
        if c.width > 1:
            texts = [self._notation.numbers(row) for row in values.reshape(n, c.width).tolist()]
        elif self._is_json(c):
            texts = [value.decode() or "null" for value in values.tolist()]
        elif values.dtype.kind == "S":
            texts = [self._notation.text(value.decode("utf-8", "replace")) for value in values.tolist()]
        else:
            texts = [repr(value) for value in values.tolist()]
            unknown = null_mask(c, values)
            if unknown is not None:
                indices[unknown] = -1
            if self._notation is JSON:
                indices[[i for i, value in enumerate(values.tolist()) if math.isinf(value)]] = -1
        return *_join(texts), indices

    def _is_json(self, c: Column) -> bool:
        """Whether the column's text goes into a line of JSON as what it means."""
        return c.unit == "JSON" and self._notation is JSON

    def _kind(self, c: Column) -> int:
        return _INDEX if self._is_json(c) else _kind(c)


def _kind(c: Column) -> int:
    kind = np.dtype(c.dtype).kind
    if kind == "S":
        return _TEXT
    if c.is_address or c.width > 1 or kind not in "iu":
        return _INDEX
    if c.names is not None:
        return _CODE
    if c.is_boolean:
        return _BOOLEAN
    return _SIGNED if kind == "i" else _UNSIGNED


def _code_texts(c: Column) -> Texts:
    assert c.names is not None
    return *_join([*c.names, "?"]), None


def _join(texts: list[str]) -> tuple[bytes, np.ndarray[Any, Any]]:
    """Give the texts one after the other and where each ends, with a 0 first."""
    pieces = [text.encode() for text in texts]
    ends = np.zeros(len(pieces) + 1, np.int32)
    np.cumsum([len(piece) for piece in pieces], out=ends[1:])
    return b"".join(pieces), ends
