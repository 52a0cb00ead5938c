"""Lost SYNs and answers: what a timer repeated too soon is no loss, and whoever opens counts, whatever it is called."""

from __future__ import annotations

import pytest

from tcpsight.connections import Server
from tcpsight.model.findings import Finding, FindingCollection
from tcpsight.network import NetworkMeasuring
from tests.support.headers import follow, headers, server

FAR_AWAY = """
    0      > S  seq=1000 {syn}
    0.1    < SA seq=5000 {answer}
    1000   > S  seq=1000 {syn_again}
    1000.1 < SA seq=5000 {answer_again}
    {taken} > A          {ack}
    {taken} > PA 100
    {taken} < PA 100
    {last}  > A
"""
"""A round trip longer than the client's first time-out, captured at the server."""

TIMES = {
    "syn": "ts=100/0",
    "answer": "ts=7000/100",
    "syn_again": "ts=1100/0",
    "answer_again": "ts=8000/100",
}
NO_TIMES = dict.fromkeys([*TIMES, "ack"], "")


def found(script: str, *servers: Server) -> list[Finding]:
    """Judge a conversation."""
    table = headers(script)
    followed = follow([table], servers=servers)
    collection = FindingCollection()
    collection.feed(NetworkMeasuring().feed(followed.segments, table, followed.boundaries), followed.connections)
    return [finding for finding in collection.finish() if finding.key.kind in ("syn_loss", "listen_overflow")]


def test_a_syn_repeated_before_its_answer_could_arrive_is_no_loss_by_timestamps():
    assert found(FAR_AWAY.format(taken=1500, last=3000, ack="ts=1600/7000", **TIMES)) == []


def test_one_whose_answer_again_was_taken_is_a_loss_by_timestamps():
    # However far away it is.
    (finding,) = found(FAR_AWAY.format(taken=2500, last=4000, ack="ts=2600/8000", **TIMES))
    assert (finding.key.kind, finding.numbers["syns"], finding.numbers["connect_attempts"]) == ("syn_loss", 2, 1)


def test_without_timestamps_a_loss_is_told_where_others_are_acknowledged_sooner():
    assert found(FAR_AWAY.format(taken=1500, last=3000, **NO_TIMES)) == []
    assert [f.key.kind for f in found(FAR_AWAY.format(taken=1500, last=2000, **NO_TIMES))] == ["syn_loss"]


@pytest.mark.parametrize(("last", "expected"), [(2249.9, 1), (2250, 0)])
def test_sooner_is_within_half_the_time(last: float, expected: int):
    assert len(found(FAR_AWAY.format(taken=1500, last=last, **NO_TIMES))) == expected


def test_without_any_other_round_trip_nothing_is_told():
    script = FAR_AWAY.format(taken=1500, last=1600, **NO_TIMES)
    assert found(script.split("    1500 > PA")[0]) == []


@pytest.mark.parametrize("servers", [(), (server("A", 40000),)], ids=["by SYN", "by option"])
def test_syns_are_those_of_who_opened(servers: tuple[Server, ...]):
    script = """
        0 > S seq=1 \n 0.1 < SA seq=5 \n 1000 > S seq=1 \n 1000.1 < SA seq=5 \n 1020 < SA seq=5 \n 1050 > A
        1060 > PA 100 \n 1061 < PA 100 \n 1160 > A
    """
    (finding,) = found(script, *servers)
    assert (finding.key.kind, finding.numbers["syns"]) == ("syn_loss", 2)
    assert finding.numbers["connect_attempts"] == 1
