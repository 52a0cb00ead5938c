"""What each wait of a connection is charged to."""

from __future__ import annotations

from typing import Any

import pytest

from tcpsight.network import Placing, TimeAccounting
from tcpsight.tables import FLAG_ACK, FLAG_SYN, INT64_MIN, KINDS, TIME_PARTS
from tests.support.accounting import PARTS, inputs, lives, plain, run
from tests.support.conversation import Event, whole

MS = 1_000_000


def account(script: str, *changes: dict[str, Any], **known: Any) -> dict[str, Any]:
    """Give the parts that are not 0, in ms, of a conversation; `changes` are columns of its first, second … segment."""
    row = plain(run([batch(script, *changes, **known)]).connections)[0]
    return {name[:-3]: row[name] / MS for name in PARTS if row[name]}


def batch(script: str, *changes: dict[str, Any], **known: Any) -> Any:
    events = whole(script)
    for event, change in zip(events[1:], changes, strict=False):
        event |= change
    return inputs(events, lives(events, **known))


def syn(round_trip_ms: float = 0, mss: int = 0) -> tuple[Event, Event, Event]:
    """Make a handshake of a script's first three segments, which carry nothing."""
    return (
        {"flags": FLAG_SYN, "offset": -1, "acked_offset": INT64_MIN, "mss_bytes": mss},
        {"flags": FLAG_SYN | FLAG_ACK, "offset": -1, "acked_offset": 0, "mss_bytes": mss},
        {"flags": FLAG_ACK, "offset": 0, "acked_offset": 0},
    )


HANDSHAKE = """
    0    0 > 0
    1    0 < 0
    2    0 > 0
"""


def test_a_request_and_its_answer_are_think_request_server_response_and_think_again():
    parts = account(
        HANDSHAKE
        + """
        12   0 >  100     # the client thought for 10 ms
        15   + >   50     # its request took 3
        45   0 < 1000     # the server 30
        49   + <  200     # the answer 4
       149   + >   10     # and so on
       150   + <   10
        """,
        *syn(),
        connect_ns=2 * MS,
    )
    assert parts == {"think": 110, "request_transfer": 3, "server": 31, "response_transfer": 4}


def test_plain_acknowledgments_end_no_wait():
    parts = account("0 0 > 100\n 1 0 < 0\n 30 0 < 100\n 70 100 > 0\n 90 100 > 5")
    assert parts == {"server": 30, "think": 60}


def test_time_until_the_handshake_ends_is_connect_and_not_charged_twice():
    row = plain(run([batch(HANDSHAKE + "10 0 > 5\n 20 0 < 5", *syn(), connect_ns=2 * MS)]).connections)[0]
    assert sum(row[name] for name in PARTS) == 18 * MS
    assert TIME_PARTS[row["limited_by"]] == "server"


def test_a_server_that_greets_was_waited_for():
    assert account(HANDSHAKE + "9 0 < 50\n 20 0 > 5", *syn(), connect_ns=2 * MS) == {"server": 7, "think": 11}


def test_syns_sent_again_and_never_answered_are_recovery():
    again = {"flags": FLAG_SYN, "offset": -1, "acked_offset": INT64_MIN}
    repeated = again | {"kind": KINDS.index("retransmission")}
    assert account("0 0 > 0\n 1000 0 > 0\n 3000 0 > 0", again, repeated, repeated) == {"recovery": 3000}


def test_a_refused_attempt_is_unknown():
    parts = account("0 0 > 0\n 40 0 < 0 rst", {"flags": FLAG_SYN, "offset": -1, "acked_offset": INT64_MIN})
    assert parts == {"unknown": 40}


def test_a_request_that_is_never_answered_is_the_servers():
    assert account("0 0 > 100\n 1 0 < 0\n 9000 100 > 0 fin") == {"server": 9000}


def test_before_the_first_data_of_a_connection_that_began_earlier_nothing_is_known():
    assert account("0 0 > 0\n 50 0 > 10\n 60 0 < 10") == {"unknown": 50, "server": 10}


def test_waiting_for_a_retransmission_and_for_its_acknowledgment_is_recovery():
    parts = account("""
        0    0 > 10
        5    0 < 1000
        6    + < 1000
      206    0 < 1000 ack=10     # sent again
      216   10 > 0               # here they are
      230    + < 1000
    """)
    assert parts == {"server": 5, "response_transfer": 15, "recovery": 210}


def test_data_sent_while_something_is_being_recovered_are_recovery_too():
    parts = account("""
        0    0 > 10
        5    0 < 1000
      205    0 < 1000
      206    + < 1000
      215   10 > 0
    """)
    assert parts == {"server": 5, "recovery": 210}


def test_an_answer_ends_the_recovery_of_its_request_and_is_the_servers():
    parts = account("0 0 > 10\n 200 0 > 10\n 230 0 < 100")
    assert parts == {"recovery": 200, "server": 30}


def test_what_fills_a_hole_ends_recovery():
    parts = account("0 0 > 10\n 5 0 < 100\n 6 200 < 100\n 40 100 < 100\n 41 + < 100\n 42 10 > 0 ack=400")
    assert parts == {"server": 5, "response_transfer": 1, "recovery": 36}


def test_a_fin_sent_again_is_recovery_from_the_fin_on():
    parts = account("0 0 > 10\n 1 0 < 10\n 51 + > 0 fin\n 251 10 > 0 fin", {}, {}, {}, {"kind": 1})
    assert parts == {"server": 1, "think": 50, "recovery": 200}


def test_keep_alives_end_no_wait():
    keep_alive = {"kind": KINDS.index("keep_alive")}
    assert account("0 0 > 10\n 75 9 > 1\n 100 0 < 10", {}, keep_alive) == {"server": 100}


def test_waiting_for_an_acknowledgment_before_more_is_sent_is_the_paths():
    parts = account("""
        0    0 > 10
        5    0 < 1000
        5    + < 1000
       45   10 > 0
       45.2  + < 1000      # as soon as it came
       85   10 > 0
       95    + < 1000      # that came late: the server had nothing to send
    """)
    assert parts == {"server": 5, "path_limited": 40.2, "response_transfer": 49.8}


@pytest.mark.parametrize(("gap_ms", "part"), [(50, "path_limited"), (54, "response_transfer")])
def test_a_sender_that_is_a_round_trip_away_may_take_that_long(gap_ms: float, part: str):
    script = f"""
        0    0 > 0
       40    0 < 0
      100    0 > 0
      100    0 > 10
      145    0 < 1000
      205   10 > 0
      {205 + gap_ms} + < 1000
    """
    parts = account(script, *syn(), connect_ns=100 * MS)
    assert parts == {"server": 45, part: 60 + gap_ms}


def test_next_to_the_receiver_nobody_sees_what_lets_the_sender_go_on():
    script = """
        0    0 > 0
       40    0 < 0
       40.1  0 > 0
       41    0 > 10
       81    0 < 1000
       81.1 10 > 0
       81.2  + < 1000
    """
    assert account(script, *syn(), connect_ns=40_100_000) == {"think": 0.9, "server": 40, "response_transfer": 0.2}


def test_a_window_that_leaves_no_room_is_the_receivers():
    script = """
        0    0 > 10
        5    0 < 1000
        6    + < 1000
        7   10 > 0         # all of it is there, and nobody reads it
      500   10 > 0         # until now
      501    + < 1000
    """
    small, closed, opened = ({"window_bytes": window} for window in (2000, 0, 2000))
    assert account(script, small, {}, {}, closed, opened) == {
        "server": 5,
        "response_transfer": 1 + 1,
        "receiver_limited": 494,
    }


@pytest.mark.parametrize("with_requests", [True, False])
def test_a_window_that_later_segments_of_a_run_fill_is_the_receivers_too(with_requests: bool):
    """Without requests, such segments are taken in fewer steps."""
    script = """
        0    0 > 10
        5    0 < 1000
        6    + < 1000      # 1,000 bytes are left: less than a segment takes
       56   10 > 0
       57    + < 1000
    """
    small = {"window_bytes": 3000}
    row = plain(run([batch(script, small, {}, {}, small)], with_requests=with_requests).connections)[0]
    told = {"server_ns": 5 * MS, "response_transfer_ns": 2 * MS, "receiver_limited_ns": 50 * MS}
    assert {name: row[name] for name in PARTS if row[name]} == told


def test_a_probe_of_a_closed_window_shows_that_there_is_more_to_send():
    script = "0 0 > 10\n 5 0 < 1000\n 6 10 > 0\n 206 999 < 1\n 606 999 < 1\n 700 10 > 0"
    closed = {"window_bytes": 0}
    probe = {"kind": KINDS.index("zero_window_probe")}
    parts = account(script, {"window_bytes": 1000}, {}, closed, probe, probe, closed)
    assert parts == {"server": 5, "receiver_limited": 601, "think": 94}


def test_a_closed_window_is_nobodys_fault_where_nobody_wanted_to_send():
    script = "0 0 > 10\n 5 0 < 1000\n 6 10 > 0\n 700 10 > 5\n 701 + < 5"
    closed = {"window_bytes": 0}
    assert account(script, {"window_bytes": 1000}, {}, closed, {"window_bytes": 9000}) == {"server": 6, "think": 695}


def test_the_room_that_a_segment_needs_is_told_by_the_syns():
    script = HANDSHAKE + "3 0 > 10\n 4 0 < 100\n 5 10 > 0\n 5 + < 100\n 25 10 > 0\n 27 + < 100"
    window = {"window_bytes": 220}
    changes: tuple[dict[str, Any], ...] = (*syn(mss=100), window, {}, window, {}, window)
    with_room = account(script, *changes, connect_ns=2 * MS)
    assert "receiver_limited" not in with_room
    changes = (*syn(mss=150), window, {}, window, {}, window)
    assert account(script, *changes, connect_ns=2 * MS)["receiver_limited"] == 21


def test_where_one_side_was_not_captured_only_repetitions_are_known():
    parts = account("0 0 > 10\n 9 + > 10\n 209 + > 10\n 409 20 > 10", server_segments=0)
    assert parts == {"unknown": 209, "recovery": 200}


def test_without_sequence_numbers_there_are_turns():
    assert account("0 0 > 10 ack=?\n 3 + > 10 ack=?\n 30 0 < 5 ack=?\n 31 + < 5 ack=?\n 90 + > 5 ack=?") == {
        "request_transfer": 3,
        "server": 27,
        "response_transfer": 1,
        "think": 59,
    }


def test_segments_that_nobody_believes_end_no_wait():
    parts = account("0 0 > 10\n 20 0 < 10\n 30 10 < 10", {}, {"offset": INT64_MIN})
    assert parts == {"server": 30}


def test_capture_duplicates_end_no_wait():
    assert account("0 0 > 10\n 20 0 > 10 dup\n 30 0 < 10") == {"server": 30}


def test_times_that_go_backwards_charge_nothing():
    assert account("10 0 > 10\n 5 0 < 10\n 8 + < 10\n 15 + < 10\n 20 + > 10") == {"response_transfer": 5, "think": 5}


@pytest.mark.parametrize("hours", [1.5, 5])
def test_a_jump_of_the_clock_that_nothing_confirms_is_taken_back(hours: float):
    script = f"0 0 > 10\n {hours * 3_600_000} 0 < 10\n 10 + < 10\n 20 + > 10"
    assert account(script, end_ns=20 * MS) == {"response_transfer": 10, "think": 10}


def test_a_request_that_begins_with_such_a_jump_is_charged_for_what_came_after_it():
    script = HANDSHAKE + "10 0 > 100 \n 20 + < 1000 \n 8000000 + > 100 \n 40 + < 1000"
    late = {"kind": KINDS.index("out_of_order")}  # what it waited for is recovery
    known = {"connect_ns": 2 * MS, "end_ns": 40 * MS, "duration_ns": 40 * MS}
    second = plain(run([batch(script, *syn(), {}, {}, late, **known)]).requests)[1]
    assert {name: second[name] for name in PARTS if second.get(name)} == {"server_ns": 20 * MS}


def test_a_jump_that_comes_last_is_taken_back_if_the_connection_did_not_last_as_long():
    hours = 5 * 3_600_000
    assert account(f"0 0 > 10\n 10 0 < 10\n {hours} + > 10", end_ns=10 * MS) == {"server": 10}


def test_where_clocks_make_no_sense_all_is_unknown():
    assert account("0 0 > 10\n 50 0 < 10", connect_ns=20 * MS, end_ns=30 * MS) == {"unknown": 10}


def test_a_server_that_had_not_seen_the_request_goes_on_with_its_answer():
    parts = account("0 0 > 10\n 5 0 < 100\n 6 + > 10\n 8 100 < 100 ack=10\n 20 + < 100")
    assert parts == {"server": 5 + 12, "think": 1, "response_transfer": 2}


def test_an_account_of_no_time_names_no_part():
    row = plain(run([batch("0 0 > 10")]).connections)[0]
    assert row["limited_by"] == 255


def test_of_equal_parts_the_first_is_named():
    row = plain(run([batch("0 0 > 10\n 10 + > 10\n 20 0 < 10")]).connections)[0]
    assert TIME_PARTS[row["limited_by"]] == "request_transfer"


def test_each_answered_request_has_its_own_account():
    rows = plain(
        run(
            [
                batch("""
        0     0 > 10
        3     + > 10
       10     0 < 100
       12     + < 100
       50     + > 10
       80     + < 10
       90     + > 10      # never answered
    """)
            ]
        ).requests
    )
    assert [row["request_index"] for row in rows] == [0, 1]
    assert [row["request_transfer_ns"] for row in rows] == [3 * MS, 0]
    assert [row["server_ns"] for row in rows] == [7 * MS, 30 * MS]
    assert [row["response_transfer_ns"] for row in rows] == [2 * MS, 0]


@pytest.mark.parametrize("room", [TimeAccounting, Placing])
def test_tables_that_do_not_belong_together_are_refused(room: type[TimeAccounting | Placing]):
    segments, headers, boundaries, connections = batch("0 0 > 10")
    with pytest.raises(ValueError, match="a header for each segment"):
        room().feed(segments, headers[:0], boundaries, connections)
    with pytest.raises(ValueError, match="not those that the boundaries end"):
        room().feed(segments, headers, boundaries, connections[:0])
    with pytest.raises(ValueError, match="not open"):
        room().feed(segments, headers, boundaries[:0], connections[:0])
    boundaries.position[0] = 2
    with pytest.raises(ValueError, match="positions"):
        room().feed(segments, headers, boundaries, connections)
