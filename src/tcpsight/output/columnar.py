"""Parquet and Arrow IPC: blocks of rows as columns.

Parquet settings, chosen by CPU and size on request tables: integers are delta-encoded (a third of the size of plain
ones, and cheaper than plain ones compressed; part of the format since 2.0), addresses and enumerations keep their
dictionary, Snappy takes what is left, but for times: of their deltas it saves nothing. Statistics are written for
numbers only, so that readers can skip row groups by time.

One block is one row group at first. The footer has 2 kB for each, and is held in memory until the end; so after every
`GROUPS_OF_A_SIZE` groups they are twice as large, up to `MOST_BLOCKS` blocks.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from tcpsight.output.arrow import ArrowConverter
from tcpsight.output.columns import shown_columns
from tcpsight.output.destination import Destination
from tcpsight.tables import Column, Table

# Every text of a block with 65,536 different IPv6 addresses fits.
_DICTIONARY_PAGE_BYTES = 4 << 20


GROUP_BYTES = 1 << 21
"""About as much of a table is converted at a time; wide rows come in smaller groups, so that memory stays small."""


GROUPS_OF_A_SIZE = 64

MOST_BLOCKS = 8


def group_rows(table_type: type[Table]) -> int:
    """Give the rows of a row group: a power of two."""
    return 1 << (GROUP_BYTES // table_type.dtype.itemsize).bit_length() - 1


class ParquetEncoder:
    """Write blocks of rows as row groups of a Parquet file.

    Parameters
    ----------
    destination : Destination
        Where to.
    table_type : type of Table
        The table.
    columns : sequence of str, optional
        Only these, in this order.
    grows : bool
        Whether row groups become larger as the file does: not where readers go through many files side by side.
    """

    may_cut = False

    def __init__(
        self, destination: Destination, table_type: type[Table], columns: Sequence[str] | None, *, grows: bool = True
    ) -> None:
        self.block_rows = group_rows(table_type)
        self._destination = destination
        self._converter = ArrowConverter(table_type, columns, is_transient=True)
        self._columns = shown_columns(table_type, columns)
        self._writer: Any = None
        self._grows = grows
        self._groups = 0
        self._held: list[Table] = []

    def begin(self) -> None:
        """Open the file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = self._converter.schema
        # Dictionaries are written as they are, but the file says `string`: no reader shall make categoricals of them.
        encoded = pa.dictionary(pa.int32(), pa.string())
        pairs = zip(self._columns, schema, strict=True)
        written = pa.schema([f.with_type(encoded) if _has_dictionary(c) else f for c, f in pairs])
        integers = [c.name for c in self._columns if _is_integer(c)]
        self._schema = written
        self._writer = pq.ParquetWriter(
            self._destination,
            written,
            compression={c.name: "none" if _is_time(c) else "snappy" for c in self._columns},
            use_dictionary=[c.name for c in self._columns if _has_dictionary(c)] or False,
            column_encoding=dict.fromkeys(integers, "DELTA_BINARY_PACKED"),
            write_statistics=[c.name for c in self._columns if _is_number(c)] or False,
            dictionary_pagesize_limit=_DICTIONARY_PAGE_BYTES,
            store_schema=False,
        )
        stated = dict(schema.metadata) | {b"ARROW:schema": base64.b64encode(schema.serialize())}
        self._writer.add_key_value_metadata(stated)

    def encode(self, rows: Table) -> None:
        """Write one block of rows."""
        blocks = min(1 << self._groups // GROUPS_OF_A_SIZE, MOST_BLOCKS) if self._grows else 1
        if blocks == 1:
            self._write_group(rows)
            return
        self._held.append(rows.copy())
        if len(self._held) >= blocks:
            self._write_held()

    def _write_held(self) -> None:
        held, self._held = self._held, []
        self._write_group(type(held[0]).concatenate(held))

    def _write_group(self, rows: Table) -> None:
        import pyarrow as pa

        self._groups += 1
        batch = self._converter.convert(rows)
        self._writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=self._schema))

    def finish(self) -> None:
        """Write what is held, and the footer."""
        if self._held:
            self._write_held()
        self._writer.close()

    def abort(self) -> None:
        """Leave the file without a footer."""
        if self._writer is not None:
            # Its destructor would write the footer.
            self._writer.is_open = False


class IpcEncoder:
    """Write blocks of rows as record batches of an Arrow IPC stream.

    Always the stream format, never the file format: it can be piped, and every Arrow reader takes it.

    Parameters
    ----------
    destination : Destination
        Where to.
    table_type : type of Table
        The table.
    columns : sequence of str, optional
        Only these, in this order.
    """

    may_cut = True

    def __init__(self, destination: Destination, table_type: type[Table], columns: Sequence[str] | None) -> None:
        self.block_rows = group_rows(table_type)
        self._destination = destination
        self._converter = ArrowConverter(table_type, columns)
        self._writer: Any = None

    def begin(self) -> None:
        """Write the schema."""
        import pyarrow as pa

        self._writer = pa.ipc.new_stream(self._destination, self._converter.schema)

    def encode(self, rows: Table) -> None:
        """Write one record batch."""
        self._writer.write_batch(self._converter.convert(rows))

    def finish(self) -> None:
        """Write the end of the stream."""
        self._writer.close()

    def abort(self) -> None:
        """Leave the stream without its end."""


def _is_number(column: Column) -> bool:
    return np.dtype(column.dtype).kind in "iuf" and column.width == 1 and not _has_dictionary(column)


def _is_integer(column: Column) -> bool:
    return _is_number(column) and not column.is_boolean and np.dtype(column.dtype).kind in "iu"


def _is_time(column: Column) -> bool:
    return column.name.endswith("_ns")


def _has_dictionary(column: Column) -> bool:
    return column.is_address or column.names is not None
