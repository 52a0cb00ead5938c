"""``tcpsight split``: the page, the rows, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tcpsight.cli.main import main
from tests.support.two_points import MS, Points


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    ours, theirs = Points(jitter_ns=MS, loss=0.05, offset_ns=250 * MS).several(6, 5).captures()
    (tmp_path / "client.pcap").write_bytes(ours)
    (tmp_path / "server.pcap").write_bytes(theirs)
    return str(tmp_path / "client.pcap"), str(tmp_path / "server.pcap")


def test_the_page_tells_clocks_path_requests_and_losses(pair, capsys):
    assert main(["split", *pair]) == 0
    shown = capsys.readouterr().out
    for heading in ("captures", "clocks", "path between the points", "requests: 30 of 30 split", "lost segments"):
        assert heading in shown
    assert "+250 ms" in shown


def test_json_holds_the_same_facts(pair, capsys):
    assert main(["split", *pair, "--format", "json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["requests"]["split"] == 30
    assert abs(facts["clock"]["pieces"][0]["offset_ns"] - 250 * MS) < 10 * MS


def test_rows_come_in_every_other_format_and_can_be_chosen(pair, capsys):
    assert main(["split", *pair, "--format", "csv", "--where", "request_path > 150ms"]) == 0
    lines = capsys.readouterr().out.splitlines()
    column = lines[0].split(",").index("request_path_ns")
    assert lines[1:]
    assert all(int(line.split(",")[column]) > 150 * MS for line in lines[1:])


def test_the_suffix_of_the_output_chooses_rows(pair, tmp_path, capsys):
    assert main(["split", *pair, "-o", str(tmp_path / "split.jsonl")]) == 0
    rows = [json.loads(line) for line in (tmp_path / "split.jsonl").read_text().splitlines()]
    assert len(rows) == 30
    for row in rows:
        assert row["request_path_ns"] + row["server_ns"] + row["response_path_ns"] == row["response_time_ns"]


def test_with_request_first_the_client_has_its_part_in_the_response_time(pair, capsys):
    assert main(["split", *pair, "--format", "jsonl", "--start-end", "request_first,response_last"]) == 0
    for line in capsys.readouterr().out.splitlines():
        row = json.loads(line)
        parts = ("client_ns", "request_path_ns", "server_ns", "response_path_ns")
        assert sum(row[name] for name in parts) == row["response_time_ns"]


def test_the_wrong_way_round_is_said(pair, capsys):
    assert main(["split", pair[1], pair[0]]) == 2
    assert "swapped" in capsys.readouterr().err


def test_captures_of_other_traffic_are_refused_in_a_line(pair, tmp_path, capsys):
    other = tmp_path / "other.pcap"
    other.write_bytes(Points(seed=9).several(2, 2, apart_ns=90 * MS).captures()[1])
    main(["split", pair[0], str(other)])
    assert main(["split", pair[0], "examples/mariadb-lock.pcap"]) == 2
    error = capsys.readouterr().err
    assert "no connection in common: their servers have other ports" in error


def test_a_capture_without_tcp_is_refused_as_everywhere(pair, tmp_path, capsys):
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(Points().captures()[0])
    assert main(["split", pair[0], str(empty)]) == 2
    assert "the capture holds no frames" in capsys.readouterr().err
