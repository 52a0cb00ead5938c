"""Response times against those who lived them: the client's clock and the server's log of the same requests."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

import tcpsight

LOGS = Path(__file__).parents[1] / "support" / "response_time_logs"
SERVER_COLUMN = {"mariadb_sleep": "slow_log_ns", "nginx_sleep": "access_log_ns", "mariadb_fast": "slow_log_ns"}


class Medians(NamedTuple):
    """Medians over the same requests, in nanoseconds."""

    client: float
    wire: float
    server: float


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def medians(case: str) -> Medians:
    """Join capture, client's log and server's log request by request."""
    client, server = rows(LOGS / f"{case}.client.csv"), rows(LOGS / f"{case}.server.csv")
    assert [r["request"] for r in client] == [r["request"] for r in server]
    captured = tcpsight.open(LOGS / f"{case}.pcap").requests.to_numpy()
    wire = []
    for row in client:
        start, end = int(row["start_ns"]), int(row["end_ns"])
        own = captured[
            (captured["client_port"] == int(row["client_port"]))
            & (captured["arrival_ns"] >= start)
            & (captured["completion_ns"] <= end)
        ]
        assert len(own) == 1, f"request {row['request']} is in the capture {len(own)} times"
        wire.append(int(own["response_time_ns"][0]))
    lived = [int(r["end_ns"]) - int(r["start_ns"]) for r in client]
    logged = [int(r[SERVER_COLUMN[case]]) for r in server]
    return Medians(median(lived), median(wire), median(logged))


@pytest.mark.parametrize("case", ["mariadb_sleep", "nginx_sleep"])
def test_slow_answers_agree_with_client_and_server_within_5_percent(case: str) -> None:
    m = medians(case)
    assert m.wire == pytest.approx(m.client, rel=0.05)
    assert m.wire == pytest.approx(m.server, rel=0.05)


def test_fast_answers_lie_between_the_server_s_and_the_client_s_figure(
    record_property: Callable[[str, object], None],
) -> None:
    m = medians("mariadb_fast")
    record_property("client_minus_wire_ns", m.client - m.wire)
    record_property("wire_minus_server_ns", m.wire - m.server)
    print(f"client {m.client:,.0f} ns, wire {m.wire:,.0f} ns, server {m.server:,.0f} ns")
    assert m.server < m.wire < m.client


def test_the_lock_shows_for_as_long_as_it_was_held() -> None:
    examples = Path(__file__).parents[2] / "examples"
    held = {r["event"]: int(r["time_ns"]) for r in rows(examples / "mariadb-lock.truth.csv")}
    captured = tcpsight.open(examples / "mariadb-lock.pcap").requests.to_numpy()
    waiters = captured[
        (captured["completion_ns"] > held["release_sent"])
        & (captured["arrival_ns"] < held["release_sent"])
        & (captured["arrival_ns"] >= held["lock_sent"])
    ]
    # Eight sysbench threads, and the lock holder's own statement that sleeps.
    assert len(waiters) in (8, 9)
    assert (waiters["response_time_ns"] <= held["release_confirmed"] - held["lock_sent"] + 1_000_000).all()
    while_held = (captured["arrival_ns"] >= held["lock_sent"]) & (captured["arrival_ns"] < held["release_sent"])
    others = captured[~while_held]
    assert others["response_time_ns"].max() < 10_000_000
