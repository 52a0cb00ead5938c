from __future__ import annotations

import io
import json

import numpy as np
import polars
import pyarrow as pa
import pyarrow.csv
import pyarrow.ipc
import pyarrow.json
import pyarrow.parquet
import pytest

from tcpsight.errors import TcpsightError, UsageError
from tcpsight.output.arrow import arrow_schema
from tcpsight.output.writers import FORMATS, open_writer
from tcpsight.tables import Connections, Intervals, KeyedIntervals, Requests, Sockets
from tests.reference.output import Everything, fill, records

MACHINE_FORMATS = [format for format in FORMATS if format != "table"]


def everything(n, seed=1):
    table = Everything.allocate(n)
    fill(table, seed)
    # What every format can hold: text is UTF-8, and JSON has no infinity.
    table.name[:] = np.array([b"plain", b'say "hi", you', "ü€".encode()])[np.arange(n) % 3]
    table.real[np.isinf(table.real)] = 7
    table.share_fraction[np.isinf(table.share_fraction)] = 0.5
    return table


def written(table, format, **options):
    out = io.BytesIO()
    with open_writer(out, type(table), format, **options) as writer:
        writer.write(table)
    return out.getvalue()


def requests(n):
    table = Requests.allocate(n)
    table.connection_id[:] = np.arange(n) // 3
    table.request_index[:] = np.arange(n) % 3
    table.client_address[:, 10:12] = 255
    table.client_address[:, 12:] = np.arange(n)[:, None] >> np.array([24, 16, 8, 0])
    table.ip_version[:] = 4
    table.arrival_ns[:] = 1_700_000_000_000_000_001 + np.arange(n)
    table.response_time_ns[:] = np.where(np.arange(n) % 7, np.arange(n) * 1000, -1)
    return table


@pytest.fixture(params=[0, 1, 1000])
def table(request):
    return everything(request.param)


def test_parquet_read_by_pyarrow_is_the_rows(table):
    read = pyarrow.parquet.read_table(io.BytesIO(written(table, "parquet")))
    assert read.schema.equals(arrow_schema(Everything), check_metadata=True)
    assert read.to_pylist() == records(table)


def test_parquet_read_by_polars_is_the_rows(table):
    read = polars.read_parquet(io.BytesIO(written(table, "parquet")), use_pyarrow=False)
    assert read.schema["state"] == read.schema["client_address"] == polars.String
    assert read.to_dicts() == records(table)


def test_arrow_stream_is_the_rows(table):
    data = written(table, "arrow")
    read = pa.ipc.open_stream(data).read_all()
    assert read.schema.equals(arrow_schema(Everything), check_metadata=True)
    assert read.to_pylist() == records(table)
    assert polars.read_ipc_stream(io.BytesIO(data), use_pyarrow=False).to_dicts() == records(table)


@pytest.mark.parametrize("format", MACHINE_FORMATS)
def test_what_is_no_part_of_a_key_is_unknown_in_every_format(format):
    table = KeyedIntervals.allocate(2)
    table.client_address[0, 10:] = [255, 255, 10, 0, 0, 1]
    data = written(table, format, columns=["server_address", "client_address"])
    expected = {
        "csv": b"server_address,client_address\n,10.0.0.1\n,\n",
        "jsonl": b'{"server_address":null,"client_address":"10.0.0.1"}\n'
        b'{"server_address":null,"client_address":null}\n',
    }
    if format in expected:
        assert data == expected[format]
        return
    read = pyarrow.parquet.read_table if format == "parquet" else lambda file: pa.ipc.open_stream(file).read_all()
    assert read(io.BytesIO(data)).to_pydict() == {
        "server_address": [None, None], "client_address": ["10.0.0.1", None]
    }  # fmt: skip


def test_csv_read_by_pyarrow_is_the_rows(table):
    chosen = [c.name for c in Everything.columns if not c.internal and c.name != "edges"]
    schema = arrow_schema(Everything, chosen)
    convert = pyarrow.csv.ConvertOptions(
        column_types={field.name: field.type for field in schema},
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
        null_values=[""],
    )
    read = pyarrow.csv.read_csv(io.BytesIO(written(table, "csv", columns=chosen)), convert_options=convert)
    assert read.to_pylist() == [{name: record[name] for name in chosen} for record in records(table)]


def test_csv_read_by_polars_is_the_rows(table):
    chosen = ["name", "signed_64", "client_address", "state", "signed_8", "is_set"]
    schema = {"name": polars.String, "signed_64": polars.Int64, "client_address": polars.String}
    schema |= {"state": polars.String, "signed_8": polars.Int8, "is_set": polars.Boolean}
    read = polars.read_csv(io.BytesIO(written(table, "csv", columns=chosen)), schema=schema)
    assert read.to_dicts() == [{name: record[name] for name in chosen} for record in records(table)]


def test_json_lines_read_by_the_standard_library_are_the_rows(table):
    lines = written(table, "jsonl").decode().splitlines()
    assert [json.loads(line) for line in lines] == records(table)


def test_json_lines_read_by_polars_are_the_rows():
    table = requests(100)
    read = polars.read_ndjson(io.BytesIO(written(table, "jsonl")))
    assert read.to_dicts() == records(table)


@pytest.mark.parametrize("format", MACHINE_FORMATS)
@pytest.mark.parametrize("table_type", [Connections, Intervals])
def test_wide_tables_and_floats_come_back(format, table_type):
    table = table_type.allocate(50)
    fill(table, 5)
    for c in table.columns:
        if c.dtype == "float64":
            table.rows[c.name][np.isinf(table.rows[c.name])] = 1.5
        elif c.dtype.startswith("S"):
            table.rows[c.name] = b"1:abc="
    data = written(table, format)
    if format == "parquet":
        assert pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist() == records(table)
    elif format == "arrow":
        assert pa.ipc.open_stream(data).read_all().to_pylist() == records(table)
    elif format == "jsonl":
        assert [json.loads(line) for line in data.splitlines()] == records(table)
    else:
        schema = arrow_schema(table_type)
        convert = pyarrow.csv.ConvertOptions(column_types={f.name: f.type for f in schema}, strings_can_be_null=True)
        assert pyarrow.csv.read_csv(io.BytesIO(data), convert_options=convert).to_pylist() == records(table)


@pytest.mark.parametrize("format", FORMATS)
def test_bytes_do_not_depend_on_the_cutting_into_tables(format):
    table = requests(70_000)
    if format == "table":
        table = table[:5000]
    whole = written(table, format)
    for step in (997, 65_536, 30_011):
        out = io.BytesIO()
        with open_writer(out, Requests, format) as writer:
            for begin in range(0, len(table), step):
                writer.write(table[begin : begin + step])
                writer.write(table[:0])
        assert out.getvalue() == whole, step


@pytest.mark.parametrize("format", FORMATS)
def test_rows_that_are_not_contiguous_are_written_alike(format):
    table = everything(100)
    assert written(table[::3], format) == written(table[::3].copy(), format)


@pytest.mark.parametrize("format", FORMATS)
def test_a_table_without_rows_is_a_whole_output(format):
    data = written(Requests(), format)
    if format == "parquet":
        assert pyarrow.parquet.read_table(io.BytesIO(data)).schema.names == arrow_schema(Requests).names
    elif format == "arrow":
        assert pa.ipc.open_stream(data).read_all().num_rows == 0
    elif format == "csv":
        assert data.decode() == ",".join(arrow_schema(Requests).names) + "\n"
    elif format == "jsonl":
        assert data == b""
    else:
        assert data.startswith(b"connection_id")


@pytest.mark.parametrize("format", FORMATS)
def test_chosen_columns_come_in_the_order_chosen(format):
    data = written(requests(3), format, columns=["response_time_ns", "client_address", "connection_id"])
    if format == "parquet":
        names = pyarrow.parquet.read_table(io.BytesIO(data)).schema.names
    elif format == "arrow":
        names = pa.ipc.open_stream(data).schema.names
    elif format == "jsonl":
        names = list(json.loads(data.splitlines()[0]))
    else:
        names = data.decode().splitlines()[0].replace(",", " ").split()
    assert [name.removesuffix("_ns") for name in names] == ["response_time", "client_address", "connection_id"]


def test_row_groups_have_a_fixed_number_of_rows_at_first():
    table = requests(140_000)
    metadata = pyarrow.parquet.ParquetFile(io.BytesIO(written(table, "parquet"))).metadata
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [8_192] * 17 + [736]


def test_row_groups_grow_with_the_file_so_that_its_footer_stays_small(monkeypatch):
    monkeypatch.setattr("tcpsight.output.columnar.GROUP_BYTES", 1 << 12)
    table = requests(16 * 64 * 16)
    data = written(table, "parquet")
    metadata = pyarrow.parquet.ParquetFile(io.BytesIO(data)).metadata
    sizes = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert sizes == [16] * 64 + [32] * 64 + [64] * 64 + [128] * 72
    read = pyarrow.parquet.read_table(io.BytesIO(data))
    assert read["connection_id"].to_pylist() == table.connection_id.tolist()
    assert read["client_address"].to_pylist() == [record["client_address"] for record in records(table)]
    # However they come, they are cut alike; and the last group may be any size.
    cut = io.BytesIO()
    with open_writer(cut, Requests, "parquet") as writer:
        for begin in range(0, len(table), 1000):
            writer.write(table[begin : begin + 1000])
    assert cut.getvalue() == data
    metadata = pyarrow.parquet.ParquetFile(io.BytesIO(written(table[:-37], "parquet"))).metadata
    assert (metadata.num_rows, metadata.row_group(metadata.num_row_groups - 1).num_rows) == (len(table) - 37, 128 - 37)


def test_parquet_states_the_range_of_times_so_that_readers_can_skip():
    metadata = pyarrow.parquet.ParquetFile(io.BytesIO(written(requests(10), "parquet"))).metadata
    row_group = metadata.row_group(0)
    columns = {row_group.column(i).path_in_schema: row_group.column(i) for i in range(metadata.num_columns)}
    statistics = columns["arrival_ns"].statistics
    assert (statistics.min, statistics.max) == (1_700_000_000_000_000_001, 1_700_000_000_000_000_010)
    assert columns["response_time_ns"].statistics.null_count == 2


def test_units_and_meanings_are_in_the_parquet_file():
    schema = pyarrow.parquet.read_schema(io.BytesIO(written(requests(1), "parquet")))
    assert schema.metadata[b"tcpsight.table"] == b"Requests"
    assert schema.metadata[b"tcpsight.schema_version"] == b"1"
    assert schema.field("response_time_ns").metadata == {b"unit": b"ns", b"meaning": "completion − arrival".encode()}


def test_two_runs_write_the_same_bytes():
    assert written(everything(500), "parquet") == written(everything(500), "parquet")


def test_many_different_addresses_fill_a_dictionary_of_any_size():
    table = requests(65_536)
    table.ip_version[:] = 6
    table.client_address[:, :10] = 0xAB
    read = pyarrow.parquet.read_table(io.BytesIO(written(table, "parquet")))
    assert read["client_address"].to_pylist() == [record["client_address"] for record in records(table)]


@pytest.mark.parametrize("format", ["csv", "jsonl", "arrow", "table"])
def test_flush_passes_on_what_was_written(format):
    out = io.BytesIO()
    writer = open_writer(out, Requests, format)
    writer.write(requests(3))
    before = len(out.getvalue())
    writer.flush()
    assert len(out.getvalue()) > before
    writer.close()


def test_flush_does_not_cut_a_row_group():
    out = io.BytesIO()
    with open_writer(out, Requests, "parquet") as writer:
        writer.write(requests(3))
        writer.flush()
        writer.write(requests(3))
    assert pyarrow.parquet.ParquetFile(io.BytesIO(out.getvalue())).metadata.num_row_groups == 1


def test_a_writer_counts_its_rows():
    with open_writer(io.BytesIO(), Requests, "csv") as writer:
        writer.write(requests(3))
        writer.write(requests(2))
    assert writer.rows == 5
    assert writer.table_type is Requests


def test_another_table_is_refused():
    with open_writer(io.BytesIO(), Requests, "csv") as writer, pytest.raises(TypeError, match="Requests was given"):
        writer.write(Intervals.allocate(1))


def test_closing_twice_is_closing_once():
    out = io.BytesIO()
    writer = open_writer(out, Requests, "csv")
    writer.close()
    once = out.getvalue()
    writer.close()
    assert out.getvalue() == once


def test_a_closed_writer_takes_no_rows():
    writer = open_writer(io.BytesIO(), Requests, "csv")
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.write(requests(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "xml"}, "unknown format 'xml'; the formats are table, csv"),
        ({"columns": ["connection_id", "nonsense"]}, "no column 'nonsense'; the columns are connection_id, request"),
        ({"columns": ["ip_version"]}, "no column 'ip_version'"),
        ({"columns": ["connection_id", "connection_id"]}, "named twice"),
        ({"columns": []}, "no column chosen"),
        ({"timezone": "Mars/Olympus"}, "unknown time zone 'Mars/Olympus'"),
        ({"timezone": "../../etc/passwd"}, "unknown time zone"),
    ],
)
def test_what_makes_no_sense_is_said_before_anything_is_written(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        open_writer(tmp_path / "out", Requests, **({"format": "table"} | options))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_is_one_clear_line(format):
    table = requests(70_000)
    with pytest.raises(TcpsightError, match=r"^/dev/full: No space left on device$"):  # noqa: SIM117
        with open_writer("/dev/full", Requests, format) as writer:
            writer.write(table)


@pytest.mark.parametrize("format", FORMATS)
def test_an_abandoned_writer_leaves_nothing(tmp_path, format):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012, SIM117
        with open_writer(tmp_path / "out", Requests, format) as writer:
            writer.write(requests(10))
            raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_json_lines_hold_nothing_that_a_terminal_obeys_and_mean_the_same():
    table = Sockets.allocate(3)
    names = ["\x1b[2J\x07", "caf\u00e9 \u009b31m", "caf\u00e9"]
    table.rows["process"] = [name.encode() for name in names]
    text = written(table, "jsonl", columns=["process"]).decode()
    assert [json.loads(line)["process"] for line in text.splitlines()] == names
    assert text.replace("\n", "").isprintable()
    assert "caf\u00e9" in text
