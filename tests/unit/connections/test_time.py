"""Capture time: time-outs, jumps, steps back, slots that are used again."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tcpsight.connections import ConnectionTracking, Timeouts
from tcpsight.connections.tracking import Among
from tcpsight.tables import STATES, Headers
from tests.support.headers import counts_of, follow, headers, headers_of, rows_of, track

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
HANDSHAKE = "0 > S seq=1000 \n 10 < SA seq=5000 \n 20 > A \n"
OTHER = "{} > S seq=1 port=50000"


def ends_with_the_clock_at(script: str, milliseconds: float) -> bool:
    """Tell whether the connection of the script has ended when another one's segment comes at that time."""
    followed = track(script + "\n" + OTHER.format(milliseconds), finish=False)
    return len(followed.connections) == 1


@pytest.mark.parametrize(
    ("script", "deadline_ms"),
    [
        ("0 > S seq=1000", 130_000),
        ("0 > S seq=1000 \n 63000 > S seq=1000", 193_000),
        ("0 > S seq=1000 \n 10 < SA seq=5000", 130_010),
        (HANDSHAKE + "30 > FA \n 40 < FA \n 50 > A", 60_050),
        (HANDSHAKE + "30 > R", 60_030),
        ("0 > S seq=1000 \n 10 < RA seq=0 ack=1001", 60_010),
    ],
)
def test_a_silent_connection_ends_when_its_deadline_has_passed(script: str, deadline_ms: int):
    assert not ends_with_the_clock_at(script, deadline_ms)
    assert ends_with_the_clock_at(script, deadline_ms + 0.001)


@pytest.mark.parametrize("script", [HANDSHAKE, HANDSHAKE + "20 > FA"])
def test_an_established_connection_is_kept_for_two_hours_and_ten_minutes(script: str):
    def ended_at(milliseconds: float) -> bool:
        # Two frames, because a jump of more than an hour needs a second one.
        both = OTHER.format(milliseconds - 1) + "\n" + OTHER.format(milliseconds)
        return bool(len(track(script + "\n" + both, finish=False).connections))

    assert not ended_at(7_800_020)
    assert ended_at(7_800_020.001)


def test_every_segment_moves_the_deadline():
    script = HANDSHAKE + "\n".join(f"{50_000 * i} > PA 1" for i in range(1, 6)) + "\n 250010 > FA \n 250020 < FA"
    assert not ends_with_the_clock_at(script, 310_020)
    assert ends_with_the_clock_at(script, 310_021)


def test_a_row_is_final_before_the_first_segment_that_passes_the_deadline():
    followed = track(
        "0 > S seq=1 \n 1 > S seq=1 port=50000 \n 130000.5 > S seq=1 port=50001 \n 130002 > A port=50002 seq=1"
    )
    assert followed.turns()[2:4] == [(2, "ended", 1), (2, "opened", 3)]
    assert followed.turns()[4:6] == [(3, "ended", 2), (3, "opened", 4)]


def test_rows_that_time_out_together_come_by_deadline_then_connection():
    followed = track(
        """
        5  > S seq=1 port=1
        5  > S seq=1 port=2
        0  > S seq=1 port=3
        5  > R seq=2 port=1
        200000 > S seq=1 port=4
        """,
        finish=False,
    )
    assert followed.named("connection_id") == [1, 2, 3]
    assert followed.boundaries.time_ns[-4:-1].tolist() == [5_000_000, 130_005_000_000, 130_005_000_000]


def test_the_end_of_the_capture_ends_the_rest_by_connection():
    followed = track("\n".join(f"0 > S seq=1 port={port}" for port in (9, 8, 7)) + "\n 10 > R seq=2 port=9")
    assert followed.named("connection_id") == [1, 2, 3]
    assert followed.named("state") == ["client_reset", "unanswered", "unanswered"]


def test_an_end_is_the_last_segment_if_the_connection_ended_itself_else_when_it_was_given_up():
    followed = track(HANDSHAKE + "30 > FA \n 40 < FA \n" + OTHER.format(70_000))
    assert followed.boundaries.time_ns[followed.boundaries.boundary == 1].tolist() == [40_000_000, 70_000_000_000]
    followed = track("0 > S seq=1 \n" + OTHER.format(140_000), finish=False)
    assert followed.boundaries.time_ns[followed.boundaries.boundary == 1].tolist() == [130 * SECOND]
    assert followed.named("end_ns") == [0]


def test_time_outs_are_options():
    times = Timeouts(handshake_ns=SECOND, ended_ns=2 * SECOND, established_ns=3 * SECOND)
    script = """
        0 > S seq=1 port=1
        0 > R seq=1 port=2
        0 > A seq=1 ack=1 port=3
        1001 > S seq=1 port=4
        2001 > S seq=1 port=5
        3001 > S seq=1 port=6
    """
    assert track(script, timeouts=times, finish=False).named("connection_id") == [1, 2, 4, 3]


def test_silence_ends_connections_too():
    batch, silence = headers("0 > S seq=1"), headers("")
    silence.until_ns = 130 * SECOND
    assert len(follow([batch, silence], finish=False).connections) == 0
    silence.until_ns = 130 * SECOND + 1
    followed = follow([batch, silence], finish=False)
    assert followed.turns() == [(0, "opened", 1), (1, "ended", 1)]


def test_silence_may_come_before_the_first_segment():
    silence = headers("")
    silence.until_ns = 100 * SECOND
    followed = follow([silence, headers_of(rows_of("90000 > S seq=1"))])
    assert followed.one("start_ns", "end_ns") == (90 * SECOND, 90 * SECOND)
    assert followed.unseen == {}


# --- jumps ------------------------------------------------------------------------------------------------------

HOUR_MS = 3_600_000


def test_a_jump_that_the_next_frame_does_not_confirm_moves_nothing():
    followed = track(
        HANDSHAKE + f"{10 * HOUR_MS} > PA 10 \n 40 > PA 10 \n 50 < A",
        finish=False,
    )
    assert len(followed.connections) == 0
    assert followed.unseen == {"time_jump": [1, 0, 4], "time_backwards": [1, 0, 5]}
    followed = track(HANDSHAKE + f"{10 * HOUR_MS} > PA 10 \n 40 > PA 10 \n 50 < A")
    assert followed.one("duration_ns", "client_bytes") == (50_000_000, 20)


def test_a_jump_that_the_next_frame_confirms_counts():
    other = f"{10 * HOUR_MS} > S seq=1 port=2 \n"
    for second in (10 * HOUR_MS + 1, 10 * HOUR_MS - 1000, 10 * HOUR_MS + 100_000):
        followed = track(HANDSHAKE + other + f"{second} > S seq=1 port=2", finish=False)
        assert followed.named("connection_id") == [1]
        # The row is final at the frame that confirms.
        assert followed.turns()[-1] == (4, "ended", 1)
        assert "time_jump" not in followed.unseen


def test_a_jump_of_an_hour_needs_no_confirmation():
    assert track(f"0 > S seq=1 \n {HOUR_MS} > S seq=1 port=2", finish=False).named("connection_id") == [1]
    assert track(f"0 > S seq=1 \n {HOUR_MS}.001 > S seq=1 port=2", finish=False).named("connection_id") == []


def test_a_confirmed_jump_counts_in_its_own_connection():
    followed = track(HANDSHAKE + f"{2 * HOUR_MS} > PA 10 \n {2 * HOUR_MS + 1} < A")
    assert followed.one("end_ns") == (2 * HOUR_MS + 1) * 1_000_000
    followed = track(HANDSHAKE + f"{2 * HOUR_MS} > PA 10 \n {2 * HOUR_MS - 1} > S seq=1 port=2")
    assert followed.named("end_ns")[0] == 2 * HOUR_MS * 1_000_000


def test_each_of_two_jumps_needs_its_own_confirmation():
    century = 24 * 365 * 100 * HOUR_MS
    followed = track(
        f"0 > S seq=1 \n 10 < SA seq=1 \n 20 > A \n {2 * HOUR_MS} > A \n {century} > A \n {2 * HOUR_MS + 10} > A"
    )
    assert followed.one("end_ns") == (2 * HOUR_MS + 10) * 1_000_000
    assert followed.unseen == {"time_jump": [1, 0, 5], "time_backwards": [1, 0, 6]}


def test_an_unconfirmed_jump_at_the_end_of_the_capture_does_not_count():
    followed = track(HANDSHAKE + f"{10 * HOUR_MS} > PA 10")
    assert followed.one("end_ns", "client_bytes") == (20_000_000, 10)
    assert followed.unseen == {"time_jump": [1, 0, 4]}


def test_an_unconfirmed_jump_is_counted_by_whoever_tracks_its_header():
    table = headers(HANDSHAKE)
    times = np.array([0, 10_000_000, 10 * HOUR_MS * 1_000_000, 20_000_000])
    for own, counted in (([0, 1, 3], {}), ([0, 1, 2], {"time_jump": [1, 0, 3]})):
        table.time_ns[:] = times[own]
        tracking = ConnectionTracking()
        tracking.feed(table, Among(times, np.array(own, np.int32)))
        assert {key: row for key, row in counts_of(tracking.unseen).items() if key == "time_jump"} == counted


def test_a_connection_opened_in_a_future_that_did_not_come_began_when_the_clock_says():
    followed = track(f"0 > S seq=1 port=1 \n {10 * HOUR_MS} > S seq=9 port=2 \n 30 < SA seq=7 port=2 \n 40 > A port=2")
    starts = {int(c["client_port"]): (int(c["start_ns"]), int(c["end_ns"])) for c in followed.connections}
    assert starts[2] == (0, 40_000_000)
    assert followed.unseen == {"time_jump": [1, 0, 2], "time_backwards": [1, 0, 3]}


def test_silence_confirms_a_jump():
    batches = [headers(HANDSHAKE + f"{10 * HOUR_MS} > PA 10"), headers("")]
    batches[1].until_ns = 10 * HOUR_MS * 1_000_000
    followed = follow(batches)
    assert followed.one("end_ns") == 10 * HOUR_MS * 1_000_000
    assert followed.unseen == {}


def test_times_that_go_backwards_are_counted_and_make_no_negative_duration():
    followed = track("1000 > S seq=1000 \n 500 < SA seq=5000 \n 600 > A \n 100 > FA \n 50 < FA")
    assert followed.one("duration_ns", "start_ns", "end_ns") == (0, SECOND, SECOND)
    assert followed.unseen == {"time_backwards": [3, 0, 2]}


@pytest.mark.parametrize("batches", [1, 4])
def test_how_far_times_go_back_is_the_longest_step_of_all(batches):
    # Steps of 500 ms and of 400 ms; what lies 900 ms before the first went back in two steps.
    table = headers("1000 > S seq=1000 \n 500 < SA seq=5000 \n 500 > A \n 100 > FA")
    tracking = ConnectionTracking()
    for begin in range(0, 4, 4 // batches):
        tracking.feed(table[begin : begin + 4 // batches])
    tracking.finish()
    (row,) = tracking.unseen.table().rows
    assert int(row["furthest_back_ns"]) == 500_000_000


def test_times_that_only_go_on_go_back_by_nothing():
    followed = track("0 > S seq=1000 \n 0 < SA seq=5000 \n 7 > A")
    assert followed.furthest_back_ns == 0


def test_a_step_from_one_end_of_the_scale_to_the_other_does_not_overflow():
    table = headers("0 > S seq=1000 \n 1 < SA seq=5000")
    table.time_ns[:] = [2**63 - 1, -(2**63)]
    tracking = ConnectionTracking()
    tracking.feed(table)
    assert tracking.unseen.furthest_back_ns == 2**64 - 1
    assert int(tracking.unseen.table().furthest_back_ns.max()) == 2**63 - 1


def test_times_at_both_ends_of_the_scale_give_the_longest_duration_there_is():
    table = headers("0 > S seq=1000 \n 1 < SA seq=5000 \n 2 > A \n 3 > A")
    table.time_ns[:] = [-(2**63), 2**63 - 2, 2**63 - 1, 2**63 - 1]
    followed = follow([table], timeouts=Timeouts(2**62, 2**62, 2**62))
    assert max(followed.named("duration_ns")) <= 2**63 - 1
    assert min(followed.named("duration_ns")) >= 0


# --- slots ------------------------------------------------------------------------------------------------------


def test_slots_of_ended_connections_are_used_again():
    script = "\n".join(f"{61_000 * i} > R seq=1 port={1000 + i}" for i in range(50))
    followed = track(script, finish=False)
    assert set(followed.segments.slot.tolist()) == {0}
    assert followed.open_connections == 1


def test_open_connections_are_counted():
    assert track("0 > S seq=1 port=1 \n 0 > S seq=1 port=2", finish=False).open_connections == 2


def test_memory_follows_open_connections_also_where_time_stands_still():
    # Each SYN ends the connection before it; their deadlines must not pile up.
    tracking = ConnectionTracking()
    rows = headers("\n".join(f"0 > S seq={i} port={1 + i % 7}" for i in range(7 * 600)))
    for round_number in range(20):
        rows.sequence_number[:] += 7 * 600
        rows.frame_number[:] += 7 * 600 * (round_number > 0)
        assert len(tracking.feed(rows).connections) >= 7 * 599
        assert tracking.open_connections == 7


def test_many_connections_keep_their_own_state():
    n = 20_000
    rows = []
    first = rows_of("0 > S seq=1000 \n 10 < SA seq=5000 \n 20 > A \n 30 > PA 100")
    for k in range(4):
        rows += [first[k] | {("destination_port" if k == 1 else "source_port"): 1024 + i} for i in range(n)]
    table = headers_of(rows)
    table.time_ns[:] = range(len(rows))
    followed = follow([table[i : i + 1000] for i in range(0, len(table), 1000)])
    assert len(followed.connections) == n
    assert set(followed.connections.client_bytes.tolist()) == {100}
    assert followed.connections.client_port.tolist() == [1024 + i for i in range(n)]


def syns(ports: Any, milliseconds: Any, flags: int = 2) -> Headers:
    """Make one header for each client port, at these times."""
    table = headers_of([rows_of("0 > S seq=1000")[0]]).rows.repeat(len(ports))
    table["source_port"] = ports
    table["time_ns"] = np.asarray(milliseconds, np.int64) * 1_000_000
    table["flags"] = flags
    table["sequence_number"] += flags != 2
    return Headers(table)


def numbered(*tables: Headers) -> Headers:
    whole = Headers.concatenate(list(tables))
    whole.frame_number[:] = np.arange(1, len(whole) + 1)
    return whole


def test_connections_are_found_after_others_have_ended():
    # Tens of thousands in one table, so that many share their place in it; every other one ends.
    ports = np.arange(1000, 31000)
    leaving, staying = ports[::2], ports[1::2]
    rows = numbered(syns(ports, 0), syns(leaving, 1, flags=4), syns([1], 60_002), syns(staying, 60_003))
    followed = follow([rows[i : i + 500] for i in range(0, len(rows), 500)], hash_seed=7, finish=False)
    assert followed.connections.client_port.tolist() == leaving.tolist()
    assert followed.open_connections == len(staying) + 1
    assert set(followed.segments.kind[-len(staying) :].tolist()) == {1}


def test_deadlines_keep_their_order_when_stale_ones_are_dropped():
    random = np.random.default_rng(5)
    ports = np.arange(10_000, 12_000)
    resets = random.permutation(ports)[:1000]
    # A flood on one pair of endpoints leaves a stale deadline with each SYN.
    flood = syns([1] * 20_000, 20_000)
    flood.sequence_number[:] = np.arange(len(flood))
    opening = syns(ports, np.sort(random.integers(0, 10_000, len(ports))))
    closing = syns(resets, np.sort(random.integers(10_000, 20_000, len(resets))), flags=4)
    rows = numbered(opening, closing, flood, syns([2, 3], [500_000, 500_001]))
    followed = follow([rows[i : i + 10] for i in range(0, len(rows), 10)], finish=False)
    ended = followed.boundaries[followed.boundaries.boundary == 1].rows[-2001:]
    by_id = dict(zip(followed.connections.connection_id.tolist(), followed.connections.rows, strict=True))
    deadlines = []
    for row in ended:
        connection = by_id[int(row["connection_id"])]
        seconds = 60 if STATES[connection["state"]] == "client_reset" else 130
        deadlines.append((int(connection["end_ns"]) + seconds * SECOND, int(row["connection_id"])))
    assert deadlines == sorted(deadlines)
    assert len({connection for _, connection in deadlines}) == 2001


def test_where_time_goes_back_is_told_for_all_connections():
    table = headers("0 > A seq=1 ack=1 \n 10 > A \n 9 < A \n 7.999999 > A \n 8 < A \n 2 > A")
    assert ConnectionTracking([]).feed(table).steps.tolist() == [3, 5]


def test_so_it_is_to_those_who_have_some_of_the_headers():
    table = headers("0 > A seq=1 ack=1 \n 10 > A \n 2 < A \n 3 > A \n 1 < A")
    tracking = ConnectionTracking([])
    among = Among(table.time_ns.copy(), np.array([1, 3], np.int32))
    tracked = tracking.feed(table[np.array([1, 3])], among)
    # Before its second segment, and behind that.
    assert tracked.steps.tolist() == [1, 2]
    assert tracking.feed(table[:0], Among(table.time_ns[:0].copy(), np.zeros(0, np.int32))).steps.tolist() == []
