"""What is shown of a watch: right, bounded, and never in the way of who captures."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import tcpsight
from tcpsight.tables import Connections, Requests
from tcpsight.ui import board as boards
from tcpsight.ui.board import Board
from tcpsight.ui.capturing import Capturing
from tcpsight.ui.details import connections_of, requests_of, requests_on
from tests.ui.boards import finding, names, watched, with_findings


def test_slices_on_the_board_are_those_of_the_watch(capture_path, board):
    with tcpsight.open(capture_path).watch() as (_, watch):
        slices = list(watch)
    told = board.snapshot().told
    assert [(each.start_ns, each.end_ns) for each in told] == [(each.start_ns, each.end_ns) for each in slices]
    assert [each.total.p99_ns for each in told] == [int(each.total.response_time_p99_ns[0]) for each in slices]
    assert [each.total.throughput_per_s for each in told] == [float(each.total.throughput_per_s[0]) for each in slices]


def test_services_have_their_own_rows_and_all_together_the_sum_of_connections(board):
    first = board.snapshot().told[0]
    assert names(first.services) == ["10.0.0.9:80", "10.0.0.9:5432"]
    assert [row.connections for row in first.services] == [2, 1]
    assert first.total.connections == 3


def test_what_is_unknown_is_none_and_what_waits_is_counted(board):
    slow = board.snapshot().history("10.0.0.9:5432")
    assert slow[-1] is not None
    assert slow[-1].p50_ns is None
    assert slow[-1].waiting == 1


def test_segments_sent_again_are_those_since_the_slice_before(examples_dir):
    path = next(iter(sorted(examples_dir.glob("*.pcap"))))
    sent_again = sum(row.retransmissions for each in watched(path).snapshot().told for row in each.services)
    connections = tcpsight.open(path).connections.to_numpy()
    assert sent_again == connections["client_retransmissions"].sum() + connections["server_retransmissions"].sum()


def test_a_snapshot_stays_as_it_is(capture_path):
    board = watched(capture_path, ends=False, slices=1)
    before = board.snapshot()
    told = before.told
    with_findings(board, finding())
    board.end(None, "cut short")
    assert before.told is told
    assert not before.is_over
    assert board.snapshot().trouble == "cut short"
    assert board.snapshot().version > before.version


def test_connections_are_open_first_and_waiting_requests_are_theirs(capture_path):
    snapshot = watched(capture_path, ends=False, slices=2).snapshot()
    rows, found = connections_of(snapshot, "10.0.0.9:80")
    assert found == 2
    assert [(row.client, row.is_open) for row in rows] == [("10.0.0.1:40000", True), ("10.0.0.1:40001", False)]
    assert rows[1].requests == 25
    assert rows[1].client_bytes == 25 * 20
    assert rows[1].server_bytes == 25 * 100
    slow, _ = connections_of(snapshot, "10.0.0.9:5432")
    assert [(row.requests, row.waiting) for row in slow] == [(2, 1)]


def test_connections_that_the_end_of_the_capture_closed_are_still_there(board):
    rows, found = connections_of(board.snapshot(), "10.0.0.9:80")
    assert found == len(rows) == 2
    assert not any(row.is_open for row in rows)


def test_a_name_that_is_no_service_has_nothing(board):
    assert connections_of(board.snapshot(), "10.0.0.9:81") == ([], 0)
    assert requests_of(board.snapshot(), "no address", slowest=True) == []


def test_the_slowest_and_the_latest_requests_come_first(board):
    snapshot = board.snapshot()
    slowest = requests_of(snapshot, "10.0.0.9:5432", slowest=True)
    assert [row.response_time_ns for row in slowest] == [500_000_000, 300_000_000]
    latest = requests_of(snapshot, "10.0.0.9:80", slowest=False)
    assert [row.arrival_ns for row in latest] == sorted((row.arrival_ns for row in latest), reverse=True)


def test_requests_of_a_connection_are_its_own(board):
    snapshot = board.snapshot()
    row = connections_of(snapshot, "10.0.0.9:80")[0][1]
    assert [each.request_index for each in requests_on(snapshot, row.connection_id)] == list(range(24, -1, -1))


def test_what_is_kept_is_bounded(monkeypatch, capture_path):
    bounds = {"MOST_SLICES": 2, "MOST_REQUESTS": 5, "MOST_BETWEEN": 4, "MOST_ENDED": 1, "MOST_FINDINGS": 3}
    for name, most in bounds.items():
        monkeypatch.setattr(boards, name, most)
    board = with_findings(watched(capture_path), *(finding(subject=f"10.0.0.{i}:80") for i in range(9)))
    snapshot = board.snapshot()
    assert len(snapshot.told) == 2
    assert sum(map(len, snapshot.requests)) <= 5
    assert sum(map(len, snapshot.ended)) <= 1
    assert [each.rows[0]["subject"].decode() for each in snapshot.findings] == [f"10.0.0.{i}:80" for i in (6, 7, 8)]


def test_of_very_many_requests_the_slowest_and_the_latest_are_kept(monkeypatch):
    monkeypatch.setattr(boards, "MOST_BETWEEN", 4)
    requests = Requests.allocate(10)
    requests.rows["arrival_ns"] = np.arange(10)
    requests.rows["response_time_ns"] = [9, 1, 8, 1, 1, 1, 1, 1, 1, 1]
    assert boards._latest_and_slowest(requests).arrival_ns.tolist() == [0, 2, 8, 9]


def test_requests_that_were_answered_too_late_for_their_slice_are_among_the_slowest(examples_dir):
    snapshot = watched(examples_dir / "mariadb-lock.pcap").snapshot()
    slowest = requests_of(snapshot, "10.1.1.1:3306", slowest=True)
    assert [row.response_time_ns > 10**9 for row in slowest[:10]] == [True] * 9 + [False]
    assert slowest[0].response_time_ns == 1_500_280_404


def test_a_finding_that_is_told_again_takes_the_place_of_the_first(board):
    with_findings(board, finding("for 1 s"), finding("for 2 s"))
    assert [each.rows[0]["summary"].decode() for each in board.snapshot().findings] == ["for 2 s"]


def test_open_connections_are_looked_at_for_nobody_only_where_there_are_few(monkeypatch, capture_path):
    monkeypatch.setattr(boards, "FEW_CONNECTIONS", 0)
    board = watched(capture_path, ends=False, slices=3)
    # The first slice finds a board that was just made; after it nobody looked.
    first = board.snapshot().open
    assert len(first) == 3
    assert first.client_bytes.max() < tcpsight.open(capture_path).connections.to_numpy()["client_bytes"].max()


class Failing:
    def __init__(self, error: BaseException) -> None:
        self.on_batch = None
        self._error = error

    def __iter__(self):
        return self

    def __next__(self):
        raise self._error

    def stop(self) -> None:
        pass


@pytest.mark.parametrize("error", [tcpsight.CaptureError("x", -1, "is gone"), ZeroDivisionError("oh")])
def test_what_ends_the_thread_is_kept_for_who_started_it_and_shown(error):
    board = Board("x")
    over = threading.Event()
    board.on_change(over.set)
    with Capturing(board, None, Failing(error)) as capturing:  # type: ignore[arg-type]
        assert over.wait(10)
    assert capturing.failure is error
    assert board.snapshot().is_over
    assert str(error) in board.snapshot().trouble


def test_a_thread_that_is_left_stops_at_once_and_gives_its_last_slice(capture_path):
    board = Board("x")
    with (
        tcpsight.open(capture_path).watch(with_totals=True) as (run, watch),
        Capturing(board, run, watch) as capturing,
    ):
        pass
    assert capturing.failure is None
    assert capturing.last is not None
    assert len(Connections.concatenate(list(board.snapshot().ended))) == 3
