"""Rows as a lake keeps them: every column of a table, and their order; from Arrow back to tables."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.tables import (
    IPV4_PREFIX,
    AccountedRequests,
    Column,
    Connections,
    Network,
    Policed,
    Sketches,
    Table,
    Unanswered,
    column,
)

if TYPE_CHECKING:
    import pyarrow

ORDER = "row"
"""Which row of its capture it is: batch times 2^32, and its place in it."""

TABLES: dict[str, type[Table]] = {
    "requests": AccountedRequests,
    "unanswered": Unanswered,
    "connections": Connections,
    "network": Network,
    "policed": Policed,
}
"""What is played back of a lake, by the names of its folders."""

KEPT: dict[str, type[Table]] = {**TABLES, "sketches": Sketches}
"""All that it keeps."""

INSTANTS = {
    "requests": "arrival_ns",
    "unanswered": "arrival_ns",
    "connections": "start_ns",
    "network": "start_ns",
    "policed": "start_ns",
    "sketches": "start_ns",
}
"""The column whose day a row belongs to."""


def _stored(table_type: type[Table]) -> type[Table]:
    """Make a table that shows all columns, those that only rooms use, too."""
    shown = {c.name: _shown(c) for c in table_type.columns if c.internal}
    order = column("int64", "", "its place in the capture: batch times 2^32 and place in the batch")
    return type(f"Stored{table_type.__name__}", (table_type,), {**shown, ORDER: order})


def _shown(c: Column) -> Column:
    return column(c.dtype, c.unit, c.meaning, null=c.null, names=c.names, width=c.width)


STORED = {name: _stored(table_type) for name, table_type in KEPT.items()}
"""The tables as they are written."""


def numbered(name: str, rows: Table, batch: int) -> Table:
    """Give rows of a batch as they are stored, with their place.

    Parameters
    ----------
    name : str
        One of `KEPT`.
    rows : Table
        Rows of that table, or of one that lacks columns of it, which are 0.
    batch : int
        Which batch of the capture it is.
    """
    stored = STORED[name].allocate(len(rows))
    for c in rows.columns:
        stored.rows[c.name] = rows.rows[c.name]
    stored.rows[ORDER] = (batch << 32) + np.arange(len(rows))
    return stored


def restored(name: str, batch: pyarrow.RecordBatch) -> Table:
    """Give the rows of a batch that was read, as they were stored.

    Parameters
    ----------
    name : str
        One of `KEPT`.
    batch : pyarrow.RecordBatch
        Texts are dictionaries. Columns that are missing are null, or 0: they were not known when it was written.
    """
    rows = STORED[name].allocate(batch.num_rows)
    there = set(batch.schema.names)
    for c in rows.columns:
        if c.name in there:
            rows.rows[c.name] = _values(c, batch.column(c.name))
        elif c.null is not None:
            rows.rows[c.name] = c.null
    return rows


def _values(c: Column, array: Any) -> Any:
    import pyarrow as pa

    is_text = c.is_address or c.names is not None or c.dtype.startswith("S")
    if is_text != isinstance(array, pa.DictionaryArray) or (is_text and not pa.types.is_string(array.type.value_type)):
        raise ValueError(f"{c.name} is {array.type}")
    if is_text:
        missing = c.null if c.null is not None else 0
        if c.is_address:
            known = np.array([_packed(text) for text in array.dictionary.to_pylist()] + [bytes(16)], "V16")
        elif c.names is not None:
            codes = {text: i for i, text in enumerate(c.names)}
            known = np.array([codes.get(text, missing) for text in array.dictionary.to_pylist()] + [missing], c.dtype)
        else:
            known = np.array([text.encode() for text in array.dictionary.to_pylist()] + [b""], c.dtype)
        indices = array.indices.fill_null(len(known) - 1).to_numpy()
        found = known[indices]
        return found.view(np.uint8).reshape(-1, 16) if c.is_address else found
    if not (pa.types.is_primitive(array.type) and not pa.types.is_temporal(array.type)):
        raise ValueError(f"{c.name} is {array.type}")
    array = array.cast(pa.from_numpy_dtype(np.dtype(c.dtype)))
    if array.null_count:
        array = array.fill_null(c.null if c.null is not None else 0)
    return array.to_numpy(zero_copy_only=False)


def _packed(text: str) -> bytes:
    packed = ipaddress.ip_address(text).packed
    return packed if len(packed) == 16 else IPV4_PREFIX + packed
