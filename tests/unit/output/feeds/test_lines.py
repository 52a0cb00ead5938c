"""Slices as JSON lines."""

from __future__ import annotations

import io
import json

import tcpsight
from tcpsight.output.feeds.lines import UpdateLines, told_services
from tcpsight.output.writers import open_writer
from tcpsight.tables import KeyedIntervals
from tests.support.updates import TALKS, finding, updates


def written(services: KeyedIntervals) -> bytes:
    out = io.BytesIO()
    with open_writer(out, KeyedIntervals, "jsonl") as writer:
        writer.write(services)
    return out.getvalue()


def test_lines_are_those_of_the_interval_table():
    for update in updates():
        assert UpdateLines().of_services(update.services) == written(told_services(update.services))


def test_lines_have_the_columns_of_intervals_by_service(tmp_path):
    from tests.support.pcap import pcap_bytes
    from tests.support.traffic import capture

    path = tmp_path / "traffic.pcap"
    path.write_bytes(pcap_bytes(capture(TALKS), nanoseconds=True))
    out = tmp_path / "intervals.jsonl"
    with open_writer(out, KeyedIntervals, "jsonl") as writer:
        for block in tcpsight.open(path).intervals(by="service", interval_ns=1_000_000_000):
            writer.write(block)
    columns = list(json.loads(out.read_text().splitlines()[0]))
    assert list(json.loads(UpdateLines().encode(updates()[0]).splitlines()[0])) == columns


def test_there_is_a_line_for_each_service_of_a_slice():
    lines = [json.loads(line) for line in UpdateLines().encode(updates()[0]).splitlines()]
    assert [(line["server_address"], line["server_port"]) for line in lines] == [("10.0.0.9", 3306), ("fd00::9", 80)]
    assert [line["arrivals"] for line in lines] == [5, 1]


def test_the_others_have_a_line_where_something_of_them_is_not_zero():
    services = updates()[0].services.copy()
    assert len(told_services(services)) == 2
    services.rows["unanswered_weighted_ns"][-1] = 1
    assert len(told_services(services)) == 3


def test_a_slice_without_services_has_the_line_of_the_others():
    others = updates()[0].services[-1:]
    assert json.loads(UpdateLines().of_services(others))["is_other"] is True


def test_findings_are_told_only_where_they_are_wanted():
    update = updates()[0]._replace(findings=finding())
    assert b"finding" not in UpdateLines().encode(update)
    last = json.loads(UpdateLines(with_findings=True).encode(update).splitlines()[-1])
    assert list(last) == ["finding"]
    assert last["finding"]["kind"] == "stall"
    assert last["finding"]["summary"] == 'a "quoted" summary\n'
    assert last["finding"]["evidence"] == {"rule": "waits", "number": 3}


def test_lines_can_be_made_again_and_again():
    lines = UpdateLines()
    first = [lines.encode(update) for update in updates()]
    assert [lines.encode(update) for update in updates()] == first
