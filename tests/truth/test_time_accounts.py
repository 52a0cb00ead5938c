"""Captures whose every wait is known by construction, and recorded ones, through the whole pipeline."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tcpsight
from tcpsight.analysis import Analysis
from tcpsight.errors import CaptureError
from tcpsight.tables import TIME_PARTS, VANTAGES, AccountedRequests
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.thorough import up_to
from tests.support.traffic import HANDSHAKE_NS, MS, START_NS, Exchange, Talk, capture

PARTS = [f"{part}_ns" for part in TIME_PARTS]
CLIENT, SERVER = "10.0.0.1", "192.0.2.9"
MSS = 1000


def analysed(frames: list[Frame]) -> Analysis:
    return tcpsight.open(io.BytesIO(pcap_bytes(frames, nanoseconds=True)))


def known_parts(row: Any) -> dict[str, float]:
    """Give the parts that are not 0, in milliseconds."""
    return {name[:-3]: row[name] / MS for name in PARTS if row[name]}


exchanges = st.lists(
    st.builds(
        Exchange,
        st.integers(1, 10**9),
        st.integers(1, 10**9),
        st.integers(1, 1000),
        st.integers(1, 1000),
    ),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=up_to(60))
@given(talks=st.lists(exchanges, min_size=1, max_size=4))
def test_think_and_server_time_are_what_the_sides_took(talks: list[list[Exchange]]):
    frames = capture(Talk(each, client_port=40_000 + i) for i, each in enumerate(talks))
    rows = analysed(frames).connections.to_numpy()
    by_port = {int(row["client_port"]) - 40_000: row for row in rows}
    for i, each in enumerate(talks):
        server = sum(e.response_time_ns or 0 for e in each)
        closing = 3 * MS
        assert known_parts(by_port[i]) == {
            "connect": HANDSHAKE_NS / MS,
            "think": (sum(e.after_ns for e in each) + closing) / MS,
            "server": server / MS,
        }
    accounts = analysed(frames).accounted_requests.to_numpy()
    assert (accounts["server_ns"] == accounts["response_time_ns"]).all()


class Link:
    """A server next door and a client 20 ms away; what is sent is captured at the server."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.sent = {True: 1000, False: 9000}
        self.windows = {True: 65535, False: 65535}

    def send(self, ms: float, flags: str, size: int = 0, *, by_client: bool, at: int | None = None) -> int:
        """Capture a segment; give its sequence number. `at` repeats an older one."""
        ends = (CLIENT, SERVER) if by_client else (SERVER, CLIENT)
        ports = (40_000, 80) if by_client else (80, 40_000)
        number = self.sent[by_client] if at is None else at
        ack = self.sent[not by_client] if "A" in flags else 0
        ttl = 57 if by_client else 64
        options = b"\x02\x04\x03\xe8" if "S" in flags else b""
        self.frames.append(
            Frame(
                START_NS + round(ms * MS),
                tcp_frame(
                    *ends, *ports, number, ack, flags, bytes(size),
                    window=self.windows[by_client], ttl=ttl, options=options,
                ),
            )
        )  # fmt: skip
        if at is None:
            self.sent[by_client] += size + ("S" in flags) + ("F" in flags)
        return number

    def begin(self) -> None:
        """Shake hands, 20.1 ms; think 9.9 ms; ask, 100 bytes at 30 ms."""
        self.send(0, "S", by_client=True)
        self.send(0.1, "SA", by_client=False)
        self.send(20.1, "A", by_client=True)
        self.send(30, "PA", 100, by_client=True)

    def row(self) -> Any:
        (row,) = analysed(self.frames).connections.to_numpy()
        return row


def test_the_first_window_and_the_wait_for_its_acknowledgment():
    path = Link()
    path.begin()
    for i in range(4):
        path.send(50 + i * 0.01, "A", MSS, by_client=False)
    path.send(70, "A", by_client=True)
    for i in range(4):
        path.send(70.05 + i * 0.01, "A", MSS, by_client=False)
    path.send(90, "A", by_client=True)
    row = path.row()
    assert known_parts(row) == {
        "connect": 20.1,
        "think": 9.9 + (90 - 70.08),
        "server": 20,
        "response_transfer": 0.06,
        "path_limited": pytest.approx(70.05 - 50.03),
    }
    assert (VANTAGES[row["vantage"]], row["vantage_confidence"]) == ("server", 0.95)
    assert TIME_PARTS[row["limited_by"]] == "think"


def test_a_lost_answer_is_recovery_until_it_is_there():
    path = Link()
    path.begin()
    lost = path.send(50, "A", MSS, by_client=False)
    path.send(270, "A", MSS, by_client=False, at=lost)
    path.send(290, "A", by_client=True)
    path.send(300, "A", MSS, by_client=False)
    assert known_parts(path.row()) == {
        "connect": 20.1,
        "think": 9.9,
        "server": 20,
        "recovery": 240,
        "response_transfer": 10,
    }
    (request,) = analysed(path.frames).accounted_requests.to_numpy()
    assert (request["server_ns"], request["recovery_ns"]) == (20 * MS, 240 * MS)
    assert TIME_PARTS[request["limited_by"]] == "recovery"


def test_a_client_that_does_not_read_is_receiver_limited():
    path = Link()
    path.windows[True] = 2 * MSS
    path.begin()
    path.send(50, "A", MSS, by_client=False)
    path.send(50.01, "A", MSS, by_client=False)
    path.windows[True] = 0
    path.send(70, "A", by_client=True)
    path.windows[True] = 2 * MSS
    path.send(1070, "A", by_client=True)
    path.send(1070.02, "A", MSS, by_client=False)
    parts = known_parts(path.row())
    assert parts["receiver_limited"] == pytest.approx(1070 - 50.01)
    assert sum(parts.values()) == pytest.approx(1070.02)


def test_a_port_that_is_used_again_gives_each_connection_its_own_time():
    path = Link()
    path.begin()
    path.send(50, "PA", MSS, by_client=False)
    again = Link()
    again.sent = {True: 500_000, False: 700_000}
    again.begin()
    later = [Frame(frame.time_ns + 100_000 * MS, frame.data) for frame in again.frames]
    rows = analysed(path.frames + later).connections.to_numpy()
    assert [known_parts(row) for row in rows] == [
        {"connect": 20.1, "think": 9.9, "server": 20},
        {"connect": 20.1, "think": 9.9},
    ]


def test_the_stall_of_a_locked_table_is_server_time(examples_dir: Path):
    capture = tcpsight.open(examples_dir / "mariadb-lock.pcap")
    slow = capture.accounted_requests.where("response_time > 1s").to_numpy()
    assert len(slow) == 9
    assert {TIME_PARTS[part] for part in slow["limited_by"]} == {"server"}
    assert (slow["server_ns"] == slow["response_time_ns"]).all()


def captures(folder: Path) -> list[Path]:
    index = (folder / "INDEX.csv").read_text(encoding="utf-8").splitlines()
    column = index[0].split(",").index("path")
    return [folder / "captures" / line.split(",")[column] for line in index[1:]]


def added_up(rows: Any, total: Any, names: list[str]) -> None:
    parts = np.array([np.maximum(rows[name], 0) for name in names])
    assert all((rows[name] >= 0).all() for name in names if name != "connect_ns")
    assert (parts.sum(axis=0) == total).all()


def test_the_parts_add_up_in_every_capture_of_the_corpus(corpus_dir: Path):
    found: Counter[str] = Counter()
    for path in captures(corpus_dir):
        try:
            with Analysis([path]).run(AccountedRequests) as run:
                for batch in run:
                    added_up(batch.connections.rows, batch.connections.duration_ns, PARTS)
                    requests = batch.requests.rows
                    if len(requests):
                        total = np.maximum(requests["response_last_ns"] - requests["request_first_ns"], 0)
                        added_up(requests, total, [n for n in PARTS if n not in ("connect_ns", "think_ns")])
                    found.update(TIME_PARTS[part] for part in batch.connections.limited_by if part != 255)
        except CaptureError:
            found["unreadable"] += 1
    assert set(TIME_PARTS) <= set(found)
