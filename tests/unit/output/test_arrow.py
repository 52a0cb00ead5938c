from __future__ import annotations

import builtins

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest

from tcpsight.errors import UsageError
from tcpsight.output.arrow import (
    arrow_c_stream,
    arrow_schema,
    to_arrow,
    to_arrow_reader,
    to_arrow_table,
    to_pandas,
    to_polars,
)
from tcpsight.tables import Connections, Headers, Requests, Table, Unseen, column
from tests.reference.output import Everything, Lone, fill, records


def everything(n, seed=1):
    table = Everything.allocate(n)
    fill(table, seed)
    return table


def test_every_shown_column_is_a_field_and_no_internal_one():
    names = arrow_schema(Requests).names
    assert names == [c.name for c in Requests.columns if not c.internal]
    assert "ip_version" not in names


def test_integers_keep_their_width():
    schema = arrow_schema(Everything)
    assert [schema.field(name).type for name in ("signed_8", "unsigned_16", "signed_32", "unsigned_64")] == [
        pa.int8(),
        pa.uint16(),
        pa.int32(),
        pa.uint64(),
    ]


def test_addresses_enumerations_and_text_are_plain_strings():
    schema = arrow_schema(Connections)
    assert {schema.field(name).type for name in ("client_address", "state", "community_id")} == {pa.string()}
    assert schema.field("is_sequenced").type == pa.bool_()


def test_only_columns_that_can_be_unknown_are_nullable():
    schema = arrow_schema(Requests)
    assert schema.field("response_time_ns").nullable
    assert not schema.field("arrival_ns").nullable


def test_unit_and_meaning_are_metadata_of_the_field():
    metadata = arrow_schema(Requests).field("request_bytes").metadata
    assert metadata == {b"unit": b"B", b"meaning": b"new stream bytes of the request"}


def test_unknown_integers_are_null_and_never_minus_one():
    table = Requests.allocate(3)
    table.response_time_ns[:] = [5, -1, 0]
    assert to_arrow(table)["response_time_ns"].to_pylist() == [5, None, 0]


def test_unknown_floats_are_null():
    table = Everything.allocate(4)
    table.real[:] = [np.nan, -1, 0.5, np.inf]
    assert to_arrow(table)["real"].to_pylist() == [None, None, 0.5, np.inf]


def test_addresses_are_what_their_version_says():
    table = Requests.allocate(3)
    table.client_address[0] = np.frombuffer(bytes(12) + b"\x0a\x00\x00\x01", np.uint8)
    table.client_address[1] = np.frombuffer(bytes(12) + b"\x0a\x00\x00\x01", np.uint8)
    table.client_address[2] = np.frombuffer(bytes.fromhex("20010db8" + "00" * 11 + "01"), np.uint8)
    table.ip_version[:] = [4, 6, 6]
    assert to_arrow(table)["client_address"].to_pylist() == ["10.0.0.1", "::a00:1", "2001:db8::1"]


def test_without_a_version_mapped_addresses_are_ipv4():
    table = Lone.allocate(2)
    table.address[0] = np.frombuffer(bytes(10) + b"\xff\xff\x0a\x00\x00\x01", np.uint8)
    assert to_arrow(table)["address"].to_pylist() == ["10.0.0.1", "::"]


def test_a_code_without_a_name_does_not_stop_the_others():
    table = Unseen.allocate(2)
    table.reason[:] = [0, 200]
    assert to_arrow(table)["reason"].to_pylist() == ["truncated_frame", "?"]


def test_unknown_codes_are_null():
    class Coded(Table):
        code = column("uint8", "", "an enumeration", names=("a", "b"), null=255)

    table = Coded.allocate(3)
    table.code[:] = [1, 255, 0]
    assert to_arrow(table)["code"].to_pylist() == ["b", None, "a"]


def test_text_that_is_not_utf_8_is_replaced():
    table = Everything.allocate(2)
    table.name[:] = [b"fine", b"\xff\xfe"]
    assert to_arrow(table)["name"].to_pylist() == ["fine", "\ufffd\ufffd"]


def test_a_record_batch_outlives_the_table():
    table = everything(1000)
    batch, expected = to_arrow(table), records(table)
    table.rows.view(np.uint8)[:] = 0xAA
    assert batch.to_pylist() == expected
    batch.validate(full=True)


def test_an_empty_table_has_the_schema():
    batch = to_arrow(Requests())
    assert batch.num_rows == 0
    assert batch.schema.equals(arrow_schema(Requests), check_metadata=True)


def test_rows_that_are_not_contiguous_are_read_right():
    table = everything(100)
    assert to_arrow(table[::7]).to_pylist() == records(table)[::7]


def test_chosen_columns_alone_are_converted():
    table = everything(10)
    batch = to_arrow(table, ["is_set", "server_address"])
    assert batch.schema.names == ["is_set", "server_address"]
    assert batch.to_pylist() == [{name: r[name] for name in ("is_set", "server_address")} for r in records(table)]


def test_all_tables_become_one_arrow_table():
    tables = [everything(5, 1), everything(0), everything(7, 2)]
    table = to_arrow_table(iter(tables), Everything)
    assert table.to_pylist() == [record for part in tables for record in records(part)]
    assert to_arrow_table([], Everything).schema.equals(arrow_schema(Everything))


def test_blocks_that_a_room_reuses_are_converted_before_the_next():
    block = everything(4, 1)

    def room():
        yield block
        fill(block, 2)
        yield block

    assert to_arrow_table(room(), Everything).to_pylist() == records(everything(4, 1)) + records(everything(4, 2))


def test_a_reader_converts_as_it_is_read():
    taken = []

    def tables():
        for seed in (1, 2):
            taken.append(seed)
            yield everything(3, seed)

    reader = to_arrow_reader(tables(), Everything)
    assert taken == []
    reader.read_next_batch()
    assert taken == [1]


def test_the_capsule_is_understood_by_others():
    class Source:
        def __arrow_c_stream__(self, requested_schema=None):
            return arrow_c_stream([everything(9)], Everything, requested_schema)

    assert pa.table(Source()).to_pylist() == records(everything(9))
    assert polars.DataFrame(Source()).to_dicts() == records(everything(9))


def test_polars_has_the_rows_and_no_categoricals():
    frame = to_polars([everything(20)], Everything)
    assert frame.to_dicts() == records(everything(20))
    assert frame.schema["state"] == frame.schema["client_address"] == polars.String


def test_pandas_keeps_nanoseconds_that_no_float_can_hold():
    table = Requests.allocate(2)
    table.completion_ns[:] = [1_700_000_000_000_000_001, -1]
    frame = to_pandas([table], Requests)
    assert frame["completion_ns"][0] == 1_700_000_000_000_000_001
    assert frame["completion_ns"][1] is pandas.NA
    assert frame["arrival_ns"].dtype == np.int64
    assert frame["is_overlapped"].dtype == bool


@pytest.mark.parametrize(("give", "package"), [(to_polars, "polars"), (to_pandas, "pandas")])
def test_a_missing_library_is_named_with_what_to_install(monkeypatch, give, package):
    real = builtins.__import__

    def without(name, *rest):
        if name == package:
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UsageError, match=rf"pip install 'tcpsight\[{package}\]'"):
        give([], Requests)


def test_headers_with_all_their_columns_are_understood():
    table = Headers.allocate(20)
    fill(table, 3)
    assert to_arrow(table).to_pylist() == records(table)
