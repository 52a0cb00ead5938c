"""Findings as a person reads them: whole sentences, and what was looked for where there is nothing to find."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tcpsight.tables import FINDINGS
from tests.support.pcap import pcap_bytes
from tests.support.traffic import Talk, capture


def quiet(tmp_path):
    path = tmp_path / "quiet.pcap"
    path.write_bytes(pcap_bytes(capture([Talk([])]), nanoseconds=True))
    return path


def words_of(text):
    return " ".join(text.split())


def test_the_sentence_of_a_finding_is_whole_down_to_the_request_that_others_waited_for(here, examples_dir):
    path = examples_dir / "mariadb-lock.pcap"
    (row,) = [json.loads(line) for line in here("findings", path, "--format", "jsonl").out.splitlines()]
    told = words_of(here("findings", path).text)
    assert row["summary"].endswith(
        "probably they waited for request 2 of connection 5648, "
        "or for a lock whose holder was silent (idle in a transaction)"
    )
    assert row["summary"] in told
    assert "µs" in row["summary"]
    assert row["evidence"]["blocker"]["filter"] in told


def test_evidence_is_an_object_in_json_lines_and_its_text_in_csv(here, examples_dir):
    path = examples_dir / "mariadb-lock.pcap"
    (row,) = [json.loads(line) for line in here("findings", path, "--format", "jsonl").out.splitlines()]
    (cells,) = csv.DictReader(io.StringIO(here("findings", path, "--format", "csv").text))
    assert json.loads(cells["evidence"]) == row["evidence"]
    assert row["evidence"]["rule"]


@pytest.mark.parametrize("command", ["findings", "requests", "sql"])
def test_who_asks_for_json_is_told_of_json_lines(here, examples_dir, command):
    query = ["select 1"] if command == "sql" else []
    done = here(command, *query, examples_dir / "mariadb-lock.pcap", "--format", "json")
    assert done.status == 2
    assert "--format jsonl" in done.err


def test_where_nothing_was_found_it_says_so_and_what_was_looked_for(here, tmp_path):
    told = words_of(here("findings", quiet(tmp_path)).text)
    assert told.startswith("Nothing found. Looked for: ")
    assert all(kind.replace("_", " ") in told for kind in FINDINGS)


def test_a_condition_that_no_finding_meets_is_not_told_as_nothing_found(here, examples_dir):
    done = here("findings", examples_dir / "mariadb-lock.pcap", "--where", "severity = critical")
    assert done.out == b""
    assert "holds for none of 1 row" in done.err


def test_columns_that_are_asked_for_are_columns(here, tmp_path):
    assert here("findings", quiet(tmp_path), "--columns", "kind,summary").text == "kind  summary\n"


def test_a_condition_chooses_findings_and_a_column_sorts_them(here, examples_dir):
    path = examples_dir / "stalls" / "postgresql-for-update.pcap.zst"
    lines = [json.loads(line) for line in here("findings", path, "--format", "jsonl").out.splitlines()]
    told = words_of(here("findings", path, "--sort", "start_ns", "--where", "kind = stall").text)
    assert len(lines) > 1
    in_order = sorted((row for row in lines if row["kind"] == "stall"), key=lambda row: row["start_ns"])
    places = [told.index(row["summary"]) for row in in_order]
    assert places == sorted(places)
