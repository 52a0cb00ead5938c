"""Rows come back from Parquet as they went in, whatever is in them."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tcpsight.lake.manifest import StoredCapture
from tcpsight.lake.replaying import silences
from tcpsight.lake.stored_rows import ORDER, STORED, TABLES, numbered, restored
from tcpsight.output.columnar import ParquetEncoder
from tcpsight.output.destination import Destination
from tcpsight.tables import IPV4_PREFIX, Table

ROWS = 300
MINUTE_NS = 60_000_000_000


def random_rows(table_type: type[Table], seed: int) -> Table:
    """Fill a table with anything that its columns can hold, nulls among them."""
    random = np.random.default_rng(seed)
    table = table_type.allocate(ROWS)
    table.rows["ip_version"] = version = random.choice([4, 6], ROWS)
    for c in table_type.columns:
        values: Any
        if c.name == "ip_version":
            continue
        if c.is_address:
            values = random.integers(0, 256, (ROWS, 16), dtype=np.uint8)
            values[version == 4, :12] = np.frombuffer(IPV4_PREFIX, np.uint8)
        elif c.names is not None:
            values = random.integers(0, len(c.names), ROWS)
        elif c.is_boolean:
            values = random.integers(0, 2, ROWS)
        elif c.dtype.startswith("S"):
            values = [f"text {n}".encode() for n in random.integers(0, 50, ROWS)]
        elif c.dtype.startswith("float"):
            values = random.random(ROWS)
        else:
            limits = np.iinfo(c.dtype)
            values = random.integers(limits.min, limits.max, ROWS, dtype=c.dtype, endpoint=True)
        table.rows[c.name] = values
        if c.null is not None and not c.is_address:
            table.rows[c.name][random.random(ROWS) < 0.2] = c.null
    return table


@pytest.mark.parametrize("name", TABLES)
def test_rows_come_back_as_they_were(name: str):
    rows = random_rows(TABLES[name], 3)
    file = io.BytesIO()
    encoder = ParquetEncoder(Destination(file), STORED[name], None)
    encoder.begin()
    encoder.encode(numbered(name, rows, 7))
    encoder.finish()
    texts = [c.name for c in rows.columns if c.is_address or c.names or c.dtype.startswith("S")]
    (batch,) = pq.ParquetFile(io.BytesIO(file.getvalue()), read_dictionary=texts).read().combine_chunks().to_batches()
    back = restored(name, batch)
    for c in rows.columns:
        np.testing.assert_array_equal(back.rows[c.name], rows.rows[c.name], c.name)
    assert back.rows[ORDER].tolist() == [(7 << 32) + i for i in range(ROWS)]
    # What an older version did not write is null.
    older = restored(name, batch.drop_columns(["server_address", "end_ns" if name != "requests" else "completion_ns"]))
    column = "completion_ns" if name == "requests" else "end_ns"
    nulls = {c.name: c.null for c in rows.columns}
    assert set(older.rows[column].tolist()) == {nulls[column] or 0}


def stored(first_ns: int, last_ns: int, *within: list[int]) -> StoredCapture:
    return StoredCapture("id", [], {}, first_ns=first_ns, last_ns=last_ns, silences=list(within))


def test_silences_are_those_within_and_between_captures_where_no_other_speaks():
    one = stored(0, 10 * MINUTE_NS, [MINUTE_NS, 3 * MINUTE_NS])
    two = stored(12 * MINUTE_NS, 20 * MINUTE_NS)
    assert silences([one, two]) == [(MINUTE_NS, 3 * MINUTE_NS), (10 * MINUTE_NS, 12 * MINUTE_NS)]
    three = stored(2 * MINUTE_NS, 11 * MINUTE_NS)
    assert silences([one, three, two]) == [(11 * MINUTE_NS, 12 * MINUTE_NS)]
    assert silences([]) == []
