"""Tables as Arrow: schema, record batches, and the ways into other libraries.

Integers keep their width, truth values become `bool`, and addresses, enumerations and text become plain `string`:
a dictionary type reaches polars and pandas as a categorical, which compares and joins differently from text. Unknown
values become null. Units and meanings travel as metadata of each field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from tcpsight.errors import UsageError, installing
from tcpsight.output.columns import AddressColumn, ColumnBlock, is_nullable, null_mask, shown_columns
from tcpsight.tables import Column, Table

SCHEMA_VERSION = "1"
"""Raised when a column changes its name, type or meaning; a new column after the others does not raise it."""


def arrow_schema(table_type: type[Table], columns: Sequence[str] | None = None) -> Any:
    """Give the Arrow schema of a table: names and types, unit and meaning as metadata of each field.

    Parameters
    ----------
    table_type : type of Table
        The table.
    columns : sequence of str, optional
        Only these, in this order.

    Returns
    -------
    pyarrow.Schema
    """
    import pyarrow as pa

    fields = [
        pa.field(c.name, _arrow_type(c), is_nullable(c), {"unit": c.unit, "meaning": c.meaning})
        for c in shown_columns(table_type, columns)
    ]
    return pa.schema(fields, {"tcpsight.table": table_type.__name__, "tcpsight.schema_version": SCHEMA_VERSION})


def to_arrow(table: Table, columns: Sequence[str] | None = None) -> Any:
    """Give the rows as a `pyarrow.RecordBatch` that owns its memory."""
    return ArrowConverter(type(table), columns).convert(table)


def to_arrow_table(tables: Iterable[Table], table_type: type[Table]) -> Any:
    """Give all rows of the tables as one `pyarrow.Table`."""
    import pyarrow as pa

    return pa.Table.from_batches(_batches(tables, table_type), arrow_schema(table_type))


def to_arrow_reader(tables: Iterable[Table], table_type: type[Table]) -> Any:
    """Give the tables as a `pyarrow.RecordBatchReader`, converted one by one as they are read."""
    import pyarrow as pa

    return pa.RecordBatchReader.from_batches(arrow_schema(table_type), _batches(tables, table_type))


def arrow_c_stream(tables: Iterable[Table], table_type: type[Table], requested_schema: object = None) -> Any:
    """Give the tables as an ``arrow_array_stream`` capsule (Arrow PyCapsule interface)."""
    return to_arrow_reader(tables, table_type).__arrow_c_stream__(requested_schema)


def to_polars(tables: Iterable[Table], table_type: type[Table]) -> Any:
    """Give all rows as a `polars.DataFrame`."""
    try:
        import polars
    except ImportError:
        raise UsageError(f"to_polars() needs polars: {installing('polars')}") from None
    return polars.from_arrow(to_arrow_table(tables, table_type))


def to_pandas(tables: Iterable[Table], table_type: type[Table]) -> Any:
    """Give all rows as a `pandas.DataFrame`.

    Columns that can hold unknown integers have the type ``Int64`` (with ``<NA>``): pandas would otherwise turn them
    into floats, which cannot hold nanoseconds since the epoch exactly.
    """
    try:
        import pandas
    except ImportError:
        raise UsageError(f"to_pandas() needs pandas: {installing('pandas')}") from None
    import pyarrow as pa

    nullable = {
        getattr(pa, name.lower())(): getattr(pandas, f"{name}Dtype")()
        for name in ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")
    }
    table = to_arrow_table(tables, table_type)
    return pandas.DataFrame(
        {
            field.name: column.to_pandas(types_mapper=nullable.get if field.nullable else None)
            for field, column in zip(table.schema, table.columns, strict=True)
        }
    )


def _batches(tables: Iterable[Table], table_type: type[Table]) -> Iterator[Any]:
    converter = ArrowConverter(table_type)
    return (converter.convert(table) for table in tables if len(table))


def _arrow_type(column: Column) -> Any:
    import pyarrow as pa

    dtype = np.dtype(column.dtype)
    if column.is_address or column.names is not None or dtype.kind == "S":
        return pa.string()
    if column.is_boolean:
        return pa.bool_()
    element = pa.from_numpy_dtype(dtype)
    # The name that Parquet gives to elements of lists, so that a file has the same schema.
    return element if column.width == 1 else pa.list_(pa.field("element", element, nullable=False), column.width)


class ArrowConverter:
    """Turn tables of one kind into record batches.

    Parameters
    ----------
    table_type : type of Table
        The table.
    columns : sequence of str, optional
        Only these, in this order.
    is_transient : bool
        Reuse the memory of the last batch (touching fresh memory costs as much as the conversion), and leave
        addresses and enumerations as dictionaries, which a Parquet writer takes over as they are. Each batch is then
        valid until the next call.
    """

    def __init__(
        self, table_type: type[Table], columns: Sequence[str] | None = None, *, is_transient: bool = False
    ) -> None:
        self.schema = arrow_schema(table_type, columns)
        self.is_transient = is_transient
        self._columns = shown_columns(table_type, columns)
        self._addresses = {c.name: AddressColumn(table_type, c.name) for c in self._columns if c.is_address}
        needs = [name for address in self._addresses.values() for name in address.needs]
        self._block = ColumnBlock(table_type, dict.fromkeys([*(c.name for c in self._columns), *needs]))
        self._memory: Any = None

    def convert(self, table: Table) -> Any:
        """Give the rows as a `pyarrow.RecordBatch`."""
        import pyarrow as pa

        places, size = self._block.layout(len(table))
        memory = self._allocate(size)
        values = self._block.gather(table, memory)
        arrays = []
        for c in self._columns:
            begin, end = places[c.name]
            if c.is_address:
                array = self._address_array(c, values)
            else:
                array = _array(c, values[c.name], memory.slice(begin, end - begin))
            if not self.is_transient and isinstance(array, pa.DictionaryArray):
                array = array.dictionary_decode()
            arrays.append(array)
        if self.is_transient:
            return pa.RecordBatch.from_arrays(arrays, self.schema.names)
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def _allocate(self, size: int) -> Any:
        import pyarrow as pa

        if not self.is_transient:
            return pa.allocate_buffer(size)
        if self._memory is None or self._memory.size < size:
            self._memory = pa.allocate_buffer(size)
        return self._memory

    def _address_array(self, column: Column, values: dict[str, np.ndarray[Any, Any]]) -> Any:
        import pyarrow as pa

        found = self._addresses[column.name].find(values)
        indices, ends, texts = (pa.py_buffer(part) for part in (found.indices, found.ends, found.texts))
        dictionary = pa.Array.from_buffers(pa.string(), len(found.ends) - 1, [None, ends, texts])
        known = np.frombuffer(found.indices, np.int32) >= 0
        validity = None if known.all() else _bitmap(known)
        array = pa.Array.from_buffers(pa.int32(), len(known), [validity, indices])
        return pa.DictionaryArray.from_arrays(array, dictionary, safe=False)


def _array(column: Column, values: np.ndarray[Any, Any], buffer: Any) -> Any:
    import pyarrow as pa

    if column.width > 1:
        elements = pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, buffer])
        return pa.FixedSizeListArray.from_arrays(elements, type=_arrow_type(column))
    if values.dtype.kind == "S":
        return _strings(values)
    mask = null_mask(column, values)
    validity = None if mask is None else _bitmap(~mask)
    if column.names is not None:
        return _enumeration(column.names, values if mask is None else np.where(mask, 0, values), validity)
    if column.is_boolean:
        return pa.Array.from_buffers(pa.bool_(), len(values), [validity, _bitmap(values)])
    return pa.Array.from_buffers(_arrow_type(column), len(values), [validity, buffer])


def _bitmap(flags: np.ndarray[Any, Any]) -> Any:
    import pyarrow as pa

    return pa.py_buffer(np.packbits(flags.astype(bool, copy=False), bitorder="little"))


def _strings(values: np.ndarray[Any, Any]) -> Any:
    """Make text of NUL-padded bytes; what is not UTF-8 is replaced, because a string column must be."""
    import pyarrow as pa

    # Not by pyarrow, which ends a text at its first NUL and not at the last byte that is none.
    lengths = np.strings.str_len(values)
    ends = np.zeros(len(values) + 1, np.int32)
    np.cumsum(lengths, out=ends[1:])
    padded = values.view(np.uint8).reshape(len(values), values.itemsize)
    data = padded[np.arange(values.itemsize) < lengths[:, None]]
    text = pa.Array.from_buffers(pa.string(), len(values), [None, pa.py_buffer(ends), pa.py_buffer(data)])
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return _texts([value.decode("utf-8", "replace") for value in values.tolist()])
    return text


def _texts(texts: Sequence[str]) -> Any:
    """Make text of strings; `pyarrow.array` would import pandas, where it is installed, to ask whether it is theirs."""
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), len(texts), [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def _enumeration(names: tuple[str, ...], codes: np.ndarray[Any, Any], validity: Any) -> Any:
    import pyarrow as pa

    indices = codes.astype(np.int32)
    if len(indices) and not 0 <= int(indices.min()) <= int(indices.max()) < len(names):
        indices[(indices < 0) | (indices >= len(names))] = len(names)
        names = (*names, "?")
    array = pa.Array.from_buffers(pa.int32(), len(indices), [validity, pa.py_buffer(indices)])
    return pa.DictionaryArray.from_arrays(array, _texts(names), safe=False)
