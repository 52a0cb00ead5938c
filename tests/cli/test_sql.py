"""``tcpsight sql``: answers are those of the commands, nothing else can be reached, and errors are one line."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from pathlib import Path
from threading import Barrier, Thread

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tcpsight
from tcpsight.analysis import Analysis
from tcpsight.cli.sql import _Passes
from tests.cli.running import Here, assert_one_line, process

TABLES = ("requests", "unanswered", "connections", "intervals", "network", "segments", "findings", "unseen")


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_what_its_command_gives(here: Here, pcap: Path, name: str):
    asked = here(
        "sql", f"from {name}", pcap, "--format", "jsonl", *(["--interval", "10ms"] if name == "intervals" else [])
    )
    assert asked.status == 0
    rows = [json.loads(line) for line in asked.text.splitlines()]
    capture = tcpsight.open(pcap)
    table = capture.intervals("10ms") if name == "intervals" else getattr(capture, name)
    assert rows == table.to_arrow().to_pylist()


def test_policed_exchanges_are_rows_with_the_rate_of_the_bucket(here: Here, fixtures_dir: Path):
    path = fixtures_dir / "policing" / "policed-1.5M-burst100k.pcap.xz"
    asked = here("sql", "select rate_bits_per_s, losses from policed where is_policed", path, "--format", "jsonl")
    rows = [json.loads(line) for line in asked.text.splitlines()]
    assert [row["rate_bits_per_s"] for row in rows] == pytest.approx([1.5e6 * 1448 / 1514] * 5, rel=0.01)
    assert here("sql", "select count(*) as n from policed", path, "--format", "csv").text.split() == ["n", "5"]


def test_findings_are_all_findings_stalls_too(here: Here, examples_dir: Path):
    path = examples_dir / "mariadb-lock.pcap"
    rows = [json.loads(line) for line in here("sql", "from findings", path, "--format", "jsonl").text.splitlines()]
    assert "stall" in [row["kind"] for row in rows]
    assert rows == tcpsight.open(path).findings.to_arrow().to_pylist()


def test_columns_of_ours_are_shown_in_their_unit_in_text(here: Here, pcap: Path):
    done = here(
        "sql", "select response_time_ns, response_time_ns + 0 as n, arrival_ns from requests order by 1 limit 1", pcap
    )
    heading, row = done.text.splitlines()
    assert heading.split() == ["response_time", "n", "arrival"]
    assert row.split()[:3] == ["1.00", "ms", "1000000"]
    assert row.endswith("Z")


def in_threads(passes: _Passes, names: tuple[str, ...], starts: int) -> dict[str, list[int]]:
    """Read several tables at once, each in a thread, all of which begin together; count the rows of each."""
    begin = Barrier(starts)
    counts: dict[str, list[int]] = {name: [] for name in names}
    errors: list[BaseException] = []

    def read(name: str) -> None:
        _, rows = passes.tables()[name]
        begin.wait()
        try:
            counts[name].append(sum(len(table) for table in rows()))
        except BaseException as error:
            errors.append(error)

    threads = [Thread(target=read, args=(name,)) for name in (names * starts)[:starts]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    return counts


def test_passes_in_several_threads_at_once_each_end_in_their_own_run(examples_dir: Path):
    path = examples_dir / "mariadb-lock.pcap"
    capture = tcpsight.open(path)
    expected = {
        name: (capture.intervals("10ms") if name == "intervals" else getattr(capture, name)).to_arrow().num_rows
        for name in TABLES
    }
    for _ in range(3):
        passes = _Passes(Analysis([path]), True, 10_000_000)
        counts = in_threads(passes, TABLES, 2 * len(TABLES))
        assert counts == {name: [rows, rows] for name, rows in expected.items()}
        assert len(passes.ended) == len({id(run) for run in passes.ended}) == 2 * len(TABLES)
        assert {run.pipeline.segments for run in passes.ended} == {capture.segments.to_arrow().num_rows}


def test_of_passes_over_a_pipe_that_begin_at_once_only_one_is_made(tmp_path: Path, pcap: Path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    passes = _Passes(Analysis([str(fifo)]), False, None)
    writer = Thread(target=lambda: fifo.write_bytes(pcap.read_bytes()))
    writer.start()
    begin = Barrier(8)
    told: list[str] = []

    def read() -> None:
        begin.wait()
        try:
            told.append(str(sum(len(table) for table in passes.tables()["requests"][1]())))
        except click.UsageError as error:
            told.append(error.message)

    threads = [Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in (*threads, writer):
        thread.join(60)
    assert sum("a pipe can be read once" in each for each in told) == 7
    assert len(passes.ended) == 1


def test_a_query_may_read_every_table_at_once(here: Here, examples_dir: Path):
    names = [name for name in TABLES if name != "segments"]
    query = " union all ".join(f"select '{name}' as name, count(*) as rows from {name}" for name in names)
    told = here("sql", query, examples_dir / "mariadb-lock.pcap", "--format", "csv", "--progress")
    assert told.status == 0
    capture = tcpsight.open(examples_dir / "mariadb-lock.pcap")
    rows = {line.split(",")[0]: int(line.split(",")[1]) for line in told.text.splitlines()[1:]}
    assert rows["requests"] == capture.requests.to_arrow().num_rows == 4706
    assert rows["unseen"] == 1


def test_tables_are_joined_by_the_connection(here: Here, pcap: Path):
    query = "select count(*) from requests join connections using (connection_id) where connections.requests = 3"
    assert here("sql", query, pcap, "--format", "csv").text.splitlines()[1] == "3"


def test_only_tables_that_the_query_reads_are_made(here: Here, tmp_path: Path):
    done = here("sql", "select 1 as one", tmp_path / "missing.pcap", "--format", "csv")
    assert (done.status, done.text) == (0, "one\n1\n")


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet", "arrow", "txt"])
def test_the_suffix_of_the_output_chooses_the_format(here: Here, pcap: Path, tmp_path: Path, suffix: str):
    path = tmp_path / f"answer.{suffix}"
    assert here("sql", "select count(*) as n from requests", pcap, "-o", path).status == 0
    if suffix == "parquet":
        assert pq.read_table(path).to_pylist() == [{"n": 6}]
    elif suffix == "arrow":
        assert pa.ipc.open_stream(path).read_all().to_pylist() == [{"n": 6}]
    elif suffix == "jsonl":
        assert json.loads(path.read_text()) == {"n": 6}
    else:
        assert [line.strip() for line in path.read_text().splitlines()] == ["n", "6"]


def test_values_of_every_kind_are_written(here: Here, pcap: Path):
    query = (
        "select null as nothing, true as yes, 1.5::double as x, 'nan'::double as nan, "
        "170141183460469231731687::hugeint as big, "
        "1.25::decimal(5, 2) as d, [1, 2] as list, {'a': 1} as struct, date '2026-01-02' as day, 'a,\"b' as text, "
        "'\\x01'::blob as bytes"
    )
    row = json.loads(here("sql", query, pcap, "--format", "jsonl").text)
    assert row == {
        "nothing": None, "yes": True, "x": 1.5, "nan": None, "big": 170141183460469231731687, "d": 1.25,
        "list": [1, 2], "struct": {"a": 1}, "day": "2026-01-02", "text": 'a,"b', "bytes": "01",
    }  # fmt: skip
    cells = next(csv.DictReader(io.StringIO(here("sql", query, pcap, "--format", "csv").text)))
    assert cells["nothing"] == ""
    assert cells["yes"] == "true"
    assert cells["text"] == 'a,"b'
    assert here("sql", query, pcap).status == 0


def test_what_is_no_instant_is_written_as_what_it_is(here: Here, pcap: Path):
    query = (
        "select 1e24 as a_ns, 'inf'::double as b_ns, 'nan'::double as start_ns, 'infinity'::date as day, "
        "make_timestamp_ns(1_500_000_000_000_000_001) as at"
    )
    done = here("sql", query, pcap)
    assert done.status == 0
    cells = done.text.splitlines()[1].split()
    assert cells[:3] == ["1.00e+24", "∞", "–"]
    assert cells[-1] == "2017-07-14T02:40:00.000000001"
    assert here("sql", query, pcap, "--format", "csv").text.splitlines()[1].endswith("2017-07-14T02:40:00.000000001")


def test_columns_of_one_name_stay_two(here: Here, pcap: Path):
    assert json.loads(here("sql", "select 1 as n, 2 as n", pcap, "--format", "jsonl").text) == {"n": 1, "n_2": 2}


def test_what_controls_a_terminal_is_escaped(here: Here, pcap: Path):
    done = here("sql", "select chr(27) || '[2J' as \"\x1b]0;x\"", pcap)
    assert "\x1b" not in done.text


def test_an_empty_answer_has_its_headings(here: Here, pcap: Path):
    query = "select client_address from requests where false"
    assert here("sql", query, pcap).text == "client_address\n"
    assert here("sql", query, pcap, "--format", "csv").text == "client_address\n"
    assert here("sql", query, pcap, "--format", "jsonl").text == ""


@pytest.mark.parametrize(
    "query",
    [
        "from read_csv('{file}')",
        "from read_text('{file}')",
        "from '{file}'",
        "from glob('/*')",
        "copy (select 1) to '{new}'",
        "attach '{new}'",
        "install httpfs",
        "load httpfs",
        "set enable_external_access = true; select 1",
        "set lock_configuration = false; select 1",
        "from read_parquet('https://example.org/x.parquet')",
        "export database '{new}'",
    ],
)
def test_sql_reaches_no_file_and_no_network(here: Here, pcap: Path, tmp_path: Path, query: str):
    secret, new = tmp_path / "secret.csv", tmp_path / "new"
    secret.write_text("password\nhunter2\n")
    done = here("sql", query.format(file=secret, new=new), pcap)
    assert done.status == 2
    assert_one_line(done.err, "SQL: ")
    assert "hunter2" not in done.text + done.err
    assert not new.exists()


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("selec 1", "syntax error"),
        ("select * from nonsense", "The tables are requests, unanswered, connections"),
        ("select nonsense from requests", "nonsense"),
        ("select 1 / 'a'", "SQL: "),
        ("", "gives no rows"),
        ("from requests;;; from", "SQL: "),
        ("select error('stop')", "stop"),
        ("select error(client_address) from requests", "10.0.0.1"),
    ],
)
def test_what_sql_does_not_understand_is_one_line(here: Here, pcap: Path, tmp_path: Path, query: str, words: str):
    done = here("sql", query, pcap, "-o", tmp_path / "answer.csv")
    assert done.status == 2
    assert_one_line(done.err, words)
    assert list(tmp_path.glob("answer*")) == []


def test_a_variable_of_python_is_no_table(here: Here, pcap: Path):
    assert here("sql", "from passes", pcap).status == 2


def test_a_capture_that_cannot_be_opened_says_so(here: Here, tmp_path: Path):
    done = here("sql", "from requests", tmp_path / "missing.pcap")
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, "missing.pcap", "cannot be opened")


def test_a_capture_that_breaks_off_gives_its_rows_and_status_2(here: Here, pcap: Path):
    pcap.write_bytes(pcap.read_bytes()[:-20])
    done = here("sql", "select count(*) as n from requests", pcap, "--format", "csv")
    assert (done.status, done.text) == (2, "n\n6\n")
    assert_one_line(done.err, "ends inside frame")


def test_a_pipe_is_read_once(pcap: Path):
    once = process("sql", "select count(*) as n from requests", "-", "--format", "csv", stdin=pcap.read_bytes())
    assert (once.status, once.text) == (0, "n\n6\n")
    twice = process("sql", "from requests a join requests b using (arrival_ns)", "-", stdin=pcap.read_bytes())
    assert twice.status == 2
    assert_one_line(twice.err, "a pipe can be read once")


def test_nothing_is_said_beside_the_answer(pcap: Path):
    for query, status in (("select count(*) from requests", 0), ("from nonsense", 2), ("from requests limit 1", 0)):
        done = process("sql", query, str(pcap))
        assert done.status == status
        assert "leak" not in done.err
        assert len(done.err.splitlines()) == (1 if status else 0)


def test_without_duckdb_it_says_what_to_install(here: Here, pcap: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    done = here("sql", "from requests", pcap)
    assert done.status == 2
    assert_one_line(done.err, "pip install 'tcpsight[sql]'")


def test_nothing_is_left_on_disk(here: Here, pcap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert here("sql", "from requests order by arrival_ns", pcap).status == 0
    assert [path for path in tmp_path.iterdir() if path.name.startswith("tcpsight-sql")] == []
