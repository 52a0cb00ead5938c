"""``--where`` chooses rows of every table, and refuses what makes no sense in one line."""

from __future__ import annotations

import pytest

from tests.cli.running import FORMATS, TABLES, assert_one_line

CONDITIONS = {
    "requests": "response_time >= 3ms",
    "connections": "server_port = 3306",
    "intervals": "arrivals > 0",
    "segments": "payload_bytes > 50",
}


@pytest.mark.parametrize("table", CONDITIONS)
def test_where_keeps_rows_and_their_order(here, pcap, table):
    name, sign, value = CONDITIONS[table].replace("response_time", "response_time_ns").split(" ")
    least = int(value.removesuffix("ms")) * (10**6 if value.endswith("ms") else 1)
    holds = {">=": int.__ge__, ">": int.__gt__, "=": int.__eq__}[sign]
    extra = ["--interval", "10ms"] if table == "intervals" else []
    every = here(table, pcap, "--format", "csv", *extra)
    kept = here(table, pcap, "--format", "csv", "--where", CONDITIONS[table], *extra)
    assert (kept.status, kept.err) == (0, "")
    expected = [row for row in every.rows() if holds(int(row[name]), least)]
    assert kept.rows() == expected
    assert 0 < len(expected) < len(every.rows())


@pytest.mark.parametrize("table", TABLES)
def test_the_condition_in_the_help_is_one_for_that_table(here, pcap, table):
    shown = " ".join(here(table, "--help").text.split())
    example = shown.partition("holds, such as '")[2].partition("'.")[0]
    assert example
    done = here(table, pcap, "--where", example)
    assert done.status == 0
    assert all("holds for none" in line for line in done.err.splitlines() if "--where" in line)


@pytest.mark.parametrize("format", FORMATS)
def test_where_goes_with_every_format_and_with_sort(here, pcap, tmp_path, format):
    path = tmp_path / "rows"
    done = here(
        "requests",
        pcap,
        "--where",
        "response_time > 2ms",
        "--sort",
        "-response_time_ns",
        "--format",
        format,
        "-o",
        path,
    )
    assert done.status == 0
    assert path.stat().st_size > 0


def test_where_needs_no_column_that_is_shown(here, pcap):
    done = here("requests", pcap, "--where", "response_time = 4ms", "--columns", "response_time_ns", "--format", "csv")
    assert done.column("response_time_ns") == ["4000000"]


@pytest.mark.parametrize("table", TABLES)
def test_a_condition_that_makes_no_sense_is_one_line_and_writes_nothing(here, pcap, tmp_path, table):
    path = tmp_path / "old.csv"
    path.write_text("old")
    done = here(table, pcap, "--where", "tim > 3\x1b[31m", "-o", path)
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, "--where, character 1", "no column 'tim'")
    assert "\x1b" not in done.err
    assert path.read_text() == "old"


def test_a_condition_that_holds_for_no_row_is_said(here, pcap):
    for table, name, rows in (
        ("requests", "response_time", 6),
        ("connections", "duration", 4),
        ("buckets", "duration", 4),
    ):
        done = here(table, pcap, "--where", f"{name} > 1h", "--format", "csv")
        assert (done.status, done.rows()) == (0, [])
        assert done.err == f"tcpsight: note: --where {name} > 1h: holds for none of {rows} rows\n"


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("condition", ["", "community_id = '\udcff'"])
def test_a_condition_of_nothing_or_of_bytes_that_are_no_text_is_one_line(here, pcap, table, condition):
    done = here(table, pcap, "--where", condition)
    assert (done.status, done.text) == (2, "")
    assert_one_line(done.err, "--where, character ")
