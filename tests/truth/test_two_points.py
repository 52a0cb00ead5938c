"""Two captures of traffic whose delays, losses and clocks are known: are they found, and do the errors hold?"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest

import tcpsight
from tests.support.pcap import Frame, pcap_bytes, tcp_frame
from tests.support.two_points import MS, START_NS, Points

SEEDS = range(1, 13)


def compared(points: Points) -> Any:
    ours, theirs = points.captures()
    return tcpsight.split(io.BytesIO(ours), io.BytesIO(theirs))


def clock(points: Points) -> dict[str, Any]:
    (piece,) = compared(points).facts["clock"]["pieces"]
    return dict(piece)


def true_offset_ns(points: Points, piece: dict[str, Any]) -> int:
    middle = (piece["start_ns"] + piece["end_ns"]) // 2
    return int(points.server_clock(middle) - middle)


def test_where_both_ways_take_the_same_time_the_offset_is_exact():
    points = Points(offset_ns=-3_600 * 10**9 + 123_456_789).several(5, 10)
    piece = clock(points)
    assert piece["offset_ns"] == points.offset_ns
    assert piece["round_trip_min_ns"] == 20 * MS
    assert piece["offset_error_ns"] == 10 * MS


def test_an_asymmetric_path_is_taken_for_a_clock_but_within_the_error():
    for up, down in ((1, 19), (19, 1), (0, 20)):
        points = Points(to_server_ns=up * MS, to_client_ns=down * MS, offset_ns=77 * MS).several(5, 10)
        piece = clock(points)
        error = piece["offset_ns"] - points.offset_ns
        assert error == (up - down) * MS // 2
        assert abs(error) <= piece["offset_error_ns"]


@pytest.mark.parametrize("drift_ppm", [-240.0, 0.0, 35.0])
def test_drift_lies_within_its_error(drift_ppm):
    held, errors = [], []
    for seed in SEEDS:
        points = Points(seed=seed, jitter_ns=2 * MS, drift_ppm=drift_ppm, offset_ns=10**9).several(20, 10)
        piece = clock(points)
        held.append(abs(piece["drift_ppm"] - drift_ppm) <= piece["drift_error_ppm"])
        errors.append(piece["drift_error_ppm"])
        slack = (piece["drift_error_ppm"] or 0) * (piece["end_ns"] - piece["start_ns"]) / 2 * 1e-6
        assert abs(piece["offset_ns"] - true_offset_ns(points, piece)) <= piece["offset_error_ns"] + slack
    assert np.mean(held) >= 0.95
    assert np.median(errors) < 200


def test_drift_of_a_long_capture_is_known_to_a_millionth():
    points = Points(drift_ppm=-57.3, jitter_ns=MS, offset_ns=5 * MS).several(60, 20, apart_ns=30_000 * MS)
    piece = clock(points)
    assert piece["drift_ppm"] == pytest.approx(-57.3, abs=piece["drift_error_ppm"])
    assert piece["drift_error_ppm"] < 1


def test_the_parts_of_a_request_are_those_that_were_made():
    points = Points(jitter_ns=3 * MS, offset_ns=-(10**12), drift_ppm=20.0).several(20, 10, apart_ns=500 * MS)
    split = compared(points)
    rows = split.requests.to_numpy()
    order = np.lexsort((rows["request_index"], rows["client_port"]))
    rows = rows[order]
    assert len(rows) == len(points.truths) == (rows["outcome"] == 0).sum()
    for name in ("to_server_ns", "server_ns", "to_client_ns"):
        column = {"to_server_ns": "request_path_ns", "to_client_ns": "response_path_ns"}.get(name, name)
        truth = np.array([getattr(each, name) for each in points.truths])
        # Both ways have the same least delay, so that what is left is how close chance came to it.
        assert np.abs(rows[column] - truth).max() < 600_000
        assert (np.abs(rows[column] - truth) <= rows["path_error_ns"]).all()
    assert (rows["request_path_ns"] + rows["server_ns"] + rows["response_path_ns"] == rows["response_time_ns"]).all()


def test_what_was_lost_between_the_points_is_counted_by_direction_and_charged_to_the_path():
    for seed in SEEDS:
        points = Points(seed=seed, loss=0.05, offset_ns=MS).several(10, 20)
        split = compared(points)
        lost = {(row["direction"], row["place"]): row for row in split.facts["losses"]}
        inside = [lost[side, "between"]["segments"] for side in ("client", "server")]
        outside = [lost[side, "between"]["outside_segments"] for side in ("client", "server")]
        assert [a + b for a, b in zip(inside, outside, strict=True)] == [points.lost[True], points.lost[False]]
        assert sum(outside) <= 1
        assert all(lost[key]["segments"] == 0 for key in lost if key[1] != "between")
        rows = split.requests.to_numpy()
        rows = rows[np.lexsort((rows["request_index"], rows["client_port"]))]
        truth = np.array([each.to_server_ns for each in points.truths])
        # A lost request is sent again 200 ms later.
        assert (truth > 200 * MS).any()
        again = rows["request_path_ns"] - 200 * MS * (truth // (200 * MS))
        assert np.abs(again - 10 * MS).max() < 1000


def with_mss(said: tuple[int, int], size: int, lost: tuple[int, ...], count: int = 30) -> tuple[io.BytesIO, io.BytesIO]:
    """Let a client send segments of one length, without timestamps, of which some are lost and sent again."""
    sides: tuple[list[Frame], list[Frame]] = ([], [])
    ids = iter(range(1, 1000))

    def send(at_ms: int, flags: str, numbers: tuple[int, int], payload: int, options: bytes, came: bool) -> None:
        up = at_ms >= 0
        ends = ("10.0.0.1", "10.0.0.2", 1, 80) if up else ("10.0.0.2", "10.0.0.1", 80, 1)
        data = tcp_frame(*ends, *numbers, flags, bytes(payload), options=options, ip_id=next(ids))
        first = START_NS + abs(at_ms) * MS
        sides[0 if up else 1].append(Frame(first, data))
        if came:
            sides[1 if up else 0].append(Frame(first + 5 * MS, data))

    mss = [struct.pack(">BBH", 2, 4, each) for each in said]
    send(1, "S", (100, 0), 0, mss[0], True)
    send(-7, "SA", (500, 101), 0, mss[1], True)  # negative: from the server
    send(13, "A", (101, 501), 0, b"", True)
    for i in range(count):
        at, number = 20 + i * 20, 101 + i * size
        send(at, "PA", (number, 501), size, b"", i not in lost)
        if i in lost:
            send(at + 2, "PA", (number, 501), size, b"", True)
        send(-at - 8, "A", (501, number + size), 0, b"", True)
    for side in sides:
        side.sort(key=lambda frame: frame.time_ns)
    ours, theirs = (pcap_bytes(side, nanoseconds=True) for side in sides)
    return io.BytesIO(ours), io.BytesIO(theirs)


SAID = [(1460, 1460), (1360, 1460), (1460, 1360), (536, 1460), (536, 536), (12, 1460), (1, 1)]


@pytest.mark.parametrize("lost", [(), (10,), (5, 10, 15)])
@pytest.mark.parametrize("said", SAID)
def test_segments_that_both_captures_show_whole_are_lost_as_one_whatever_the_handshake_said(said, lost):
    (row,) = (
        row
        for row in tcpsight.split(*with_mss(said, 1460, lost)).facts["losses"]
        if (row["direction"], row["place"]) == ("client", "between")
    )
    assert (row["segments"], row["bytes"]) == (len(lost), 1460 * len(lost))


def test_a_sender_whose_own_link_is_narrower_loses_what_its_super_segments_are_on_the_wire():
    for size, segments in ((5 * 536, 5), (1072, 2), (14 * 536, 14)):
        facts = tcpsight.split(*with_mss((536, 1460), size, (10,))).facts
        assert [row["segments"] for row in facts["losses"] if row["place"] == "between"] == [segments, 0]


@pytest.mark.parametrize("step_ms", [-400, -30, 25, 3_000])
def test_a_clock_that_is_set_is_found_with_the_size_of_the_step(step_ms):
    points = Points(jitter_ns=MS, offset_ns=50 * MS, set_ns={4_000 * MS: step_ms * MS}).several(60, 10)
    facts = compared(points).facts
    (step,) = facts["clock"]["steps"]
    # A clock that is set forward leaves the same as one that is set back on the other side of what is on its way.
    assert step["set_side"] == ("server_side" if step_ms < 0 else None)
    assert step["step_ns"] == pytest.approx(step_ms * MS, abs=0.5 * MS)
    assert abs(step["at_ns"] - (START_NS + 4_000 * MS)) < 200 * MS
    first, last = facts["clock"]["pieces"]
    assert abs(first["offset_ns"] - 50 * MS) <= first["offset_error_ns"]
    assert abs(last["offset_ns"] - (50 + step_ms) * MS) <= last["offset_error_ns"]


def test_clocks_that_are_not_set_show_no_step():
    for seed in SEEDS:
        points = Points(seed=seed, jitter_ns=8 * MS, drift_ppm=30.0, loss=0.02).several(30, 10)
        assert compared(points).facts["clock"]["steps"] == []


def test_a_path_that_becomes_longer_one_way_is_no_step():
    points = Points(jitter_ns=MS)
    points.several(30, 10)
    points.to_server_ns = 40 * MS
    for i in range(30):
        points.talk(START_NS + 10_000 * MS + i * 100 * MS, 50_000 + i, 10)
    facts = compared(points).facts
    assert facts["clock"]["steps"] == []
    assert abs(facts["clock"]["pieces"][0]["offset_ns"]) < MS


def test_translated_addresses_are_known_by_sequence_numbers():
    points = Points(translated=("192.0.2.7", 1000), offset_ns=7 * MS).several(8, 5)
    split = compared(points)
    assert split.facts["connections"]["matched"] == split.facts["connections"]["translated"] == 8
    assert (split.requests.to_numpy()["outcome"] == 0).all()


def test_without_ip_identification_segments_are_matched_by_timestamps():
    points = Points(ip_ids=False, loss=0.05).several(10, 20)
    facts = compared(points).facts
    between = [row["segments"] + row["outside_segments"] for row in facts["losses"] if row["place"] == "between"]
    assert between == [points.lost[True], points.lost[False]]


def test_memory_limits_change_no_answer(monkeypatch):
    from tcpsight import sightings
    from tcpsight.splitting import compare, delays_ns

    points = Points(jitter_ns=MS, loss=0.02, drift_ppm=40.0).several(20, 10)
    ours, theirs = points.captures()

    def rows(memory_rows: int, partition_rows: int) -> Any:
        sides = [sightings.sighted(tcpsight.open(io.BytesIO(data)), memory_rows) for data in (ours, theirs)]
        return compare(sides[0], sides[1], partition_rows=partition_rows)

    monkeypatch.setattr(sightings, "BLOCK_ROWS", 64)
    whole, parts = rows(10**9, 10**9), rows(100, 300)
    assert (whole.matched == parts.matched).all()
    assert (whole.instants.last_ns == parts.instants.last_ns).all()
    assert sorted(whole.fates.tolist()) == sorted(parts.fates.tolist())
    assert parts.clock[0].drift_ppm == pytest.approx(whole.clock[0].drift_ppm, abs=whole.clock[0].drift_error_ppm)
    assert [len(each) for each in delays_ns(whole)] == [len(each) for each in delays_ns(parts)]


def test_captures_the_wrong_way_round_are_refused():
    ours, theirs = Points(offset_ns=10**10).several(3, 5).captures()
    with pytest.raises(tcpsight.UsageError, match="swapped"):
        _ = tcpsight.split(io.BytesIO(theirs), io.BytesIO(ours)).facts


def test_captures_without_a_common_connection_are_refused_and_told_apart():
    ours, _ = Points(seed=1).several(3, 5).captures()
    _, theirs = Points(seed=2, translated=("192.0.2.7", 100)).several(3, 5).captures()
    with pytest.raises(tcpsight.UsageError, match="the same servers, but other clients"):
        _ = tcpsight.split(io.BytesIO(ours), io.BytesIO(theirs)).facts
