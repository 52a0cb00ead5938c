"""Round trips: which acknowledgment tells how long the way there and back was, and which had a reason to wait."""

from __future__ import annotations

import numpy as np
import pytest

from tcpsight.network import NetworkMeasuring
from tests.support.headers import follow, headers
from tests.support.network import measured

MS = 1_000_000
HANDSHAKE = """
    0   > S  seq=1000 mss=1460 sackok
    20  < SA seq=5000 mss=1460 sackok
    21  > A
"""
STAMPED = """
    0   > S  seq=1000 mss=1460 sackok ts=1000/0
    20  < SA seq=5000 mss=1460 sackok ts=500/1000
    21  > A                           ts=1021/500
"""


def test_the_handshake_gives_one_round_trip_to_each_side():
    network = measured(HANDSHAKE)
    assert network.client("rtt_samples", "rtt_min_ns") == (1, 20 * MS)
    assert network.server("rtt_samples", "rtt_min_ns") == (1, 1 * MS)


def test_data_give_a_round_trip_when_what_ends_them_is_acknowledged():
    network = measured(HANDSHAKE + "30 > PA 100 \n 55 < A")
    assert network.client("rtt_samples", "rtt_delayed_samples", "rtt_min_ns") == (2, 1, 20 * MS)


def test_an_acknowledgment_that_ends_within_a_segment_gives_none():
    assert measured(HANDSHAKE + "30 > PA 100 \n 55 < A acked=50").client("rtt_samples") == 1


def test_a_segment_that_was_sent_again_gives_no_round_trip():
    """Karn's rule: nobody knows which of the two was acknowledged."""
    network = measured(HANDSHAKE + "30 > PA 100 \n 330 > PA 100 off=0 \n 355 < A")
    assert network.client("rtt_samples") == 1


def test_nor_does_an_acknowledgment_that_covers_one_on_its_way():
    network = measured(HANDSHAKE + "30 > PA 100 \n 330 > PA 100 off=0 \n 331 > PA 100 \n 355 < A")
    assert network.client("rtt_samples") == 1


def test_a_repeated_syn_gives_no_round_trip():
    network = measured("0 > S seq=1000 \n 1000 > S seq=1000 \n 1020 < SA seq=5000 \n 1021 > A")
    assert network.client("rtt_samples") == 0
    assert network.server("rtt_samples", "rtt_min_ns") == (1, 1 * MS)


def test_bytes_sent_again_together_with_new_ones_are_sent_again():
    network = measured(HANDSHAKE + "30 > PA 100 \n 330 > PA 200 off=0 \n 355 < A")
    assert network.client("rtt_samples", "retransmissions", "retransmitted_bytes") == (1, 0, 100)


def test_timestamps_tell_that_the_second_copy_was_acknowledged():
    network = measured(STAMPED + "30 > PA 100 ts=1030/500 \n 330 > PA 100 off=0 ts=1330/500 \n 355 < A ts=800/1330")
    assert network.client("rtt_samples", "rtt_max_ns") == (2, 20 * MS)
    assert network.client("srtt_ns") == 20 * MS + 5 * MS // 8
    assert network.causes() == {"probe": 1}


def test_timestamps_tell_nothing_where_both_copies_have_the_same():
    network = measured(STAMPED + "30 > PA 100 ts=1030/500 \n 330 > PA 100 off=0 ts=1030/500 \n 355 < A ts=800/1030")
    assert network.client("rtt_samples") == 1


def test_timestamps_tell_nothing_of_the_third_copy():
    network = measured(
        STAMPED
        + """
        30  > PA 100 ts=1030/500
        330 > PA 100 off=0 ts=1330/500
        930 > PA 100 off=0 ts=1930/500
        955 < A ts=800/1930
    """
    )
    assert network.client("rtt_samples") == 1


def test_what_lay_above_a_hole_gives_no_round_trip():
    network = measured(
        HANDSHAKE
        + """
        30  > A 100 off=100            # 0 to 99 are missing
        80  > A 100 off=0
        105 < A acked=200              # held back until then
    """
    )
    assert network.client("rtt_samples", "out_of_order") == (1, 1)


def test_what_was_acknowledged_after_blocks_above_it_gives_no_round_trip():
    network = measured(HANDSHAKE + "30 > A 100 \n 31 > A 100 \n 50 < A acked=0 sack=100-200 \n 90 < A acked=200")
    assert network.client("rtt_samples") == 1


def test_a_round_trip_is_clean_if_two_full_segments_are_acknowledged_without_data():
    network = measured(HANDSHAKE + "30 > A 1460 \n 31 > A 1460 \n 51 < A")
    assert network.client("rtt_samples", "rtt_delayed_samples") == (2, 0)


@pytest.mark.parametrize(
    "delayed",
    [
        "30 > A 1460 \n 51 < A",  # one segment
        "30 > A 1460 \n 31 > A 1400 \n 51 < A",  # the second is not full
        "30 > A 1460 \n 31 > A 1460 \n 51 < PA 100",  # the answer, whenever that was ready
    ],
)
def test_others_may_have_waited(delayed: str):
    assert measured(HANDSHAKE + delayed).client("rtt_samples", "rtt_delayed_samples") == (2, 1)


def test_a_full_segment_has_no_room_for_timestamps():
    network = measured(STAMPED + "30 > A 1448 ts=1030/500 \n 31 > A 1448 ts=1031/500 \n 51 < A ts=600/1031")
    assert network.client("rtt_samples", "rtt_delayed_samples") == (2, 0)


def test_percentiles_are_of_clean_round_trips_if_there_are_any():
    network = measured(
        HANDSHAKE
        + """
        30  > A 1460
        130 < A                        # 100 ms, delayed
        140 > A 1460
        141 > A 1460
        171 < A                        # 30 ms
    """
    )
    assert network.client("rtt_min_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_max_ns") == (
        20 * MS,
        20 * MS,
        30 * MS,
        30 * MS,
    )


def test_percentiles_are_of_all_where_none_is_clean():
    talk = "".join(f"{100 * i} > A 10 seq=+0 \n {100 * i + 10 * i} < A ack={11 + 10 * (i - 1)} \n" for i in range(1, 4))
    network = measured("0 > A 0 seq=1 ack=1 \n" + talk)
    assert network.client("rtt_samples", "rtt_delayed_samples") == (3, 3)
    assert network.client("rtt_min_ns", "rtt_p50_ns", "rtt_p95_ns") == (10 * MS, 20 * MS, 30 * MS)


@pytest.mark.parametrize("count", [5, 20, 333])
def test_percentiles_are_within_five_percent_and_the_ends_exact(count: int):
    times = [round(0.1 * 1.02**i, 6) for i in range(count)]
    lines, now = [], 0.0
    for i, each in enumerate(times):
        lines.append(f"{now:.6f} > A 10 seq={10 * i + 1} ack=1")
        lines.append(f"{now + each:.6f} < A 0 seq=1 ack={10 * i + 11}")
        now += each + 1
    network = measured("\n".join(lines))
    exact = sorted(round(each * MS) for each in times)
    assert network.client("rtt_min_ns", "rtt_max_ns") == (exact[0], exact[-1])
    for percent, name in ((50, "rtt_p50_ns"), (95, "rtt_p95_ns")):
        expected = exact[-(-percent * count // 100) - 1]
        assert network.client(name) == pytest.approx(expected, rel=0.05)


def test_smoothing_is_that_of_the_sender():
    """RFC 6298 §2: first srtt = R, rttvar = R / 2; then 1/4 and 1/8 of the new."""
    network = measured(HANDSHAKE + "30 > PA 100 \n 70 < A")
    assert network.client("srtt_ns", "rttvar_ns", "rto_ns") == (22_500_000, 12_500_000, 72_500_000)


def test_an_acknowledgment_that_was_captured_before_its_data_gives_none():
    network = measured(HANDSHAKE + "30 < A acked=100 \n 31 > PA 100 off=0")
    assert network.client("rtt_samples", "in_flight_max_bytes") == (1, 0)


def test_more_segments_in_flight_than_are_remembered_give_fewer_round_trips():
    lines = [f"{30 + i / 1000:.3f} > A 10" for i in range(5000)]
    acks = [f"{100 + i / 1000:.3f} < A acked={10 * (i + 1)}" for i in range(5000)]
    network = measured(HANDSHAKE.replace("mss", "win=65535 mss") + "\n".join(lines + acks))
    assert network.client("rtt_samples", "in_flight_max_bytes") == (1 + 4096, 50_000)
    assert network.client("rtt_delayed_samples") == 4096


def test_what_is_in_flight_is_remembered_in_order_while_its_memory_grows_and_turns():
    lines, now = [], 30.0
    for i in range(400):
        now += 1
        lines.append(f"{now} > A 10")
        if i % 3 == 2:
            lines.append(f"{now + 0.5} < A acked={10 * (i // 3 + 1)}")
    network = measured(HANDSHAKE + "\n".join(lines))
    waits = [(3 * k + 2 - k + 0.5) * MS for k in range(133)]
    assert network.client("rtt_samples") == 1 + 133
    assert network.client("rtt_min_ns", "rtt_max_ns") == (round(min(waits)), 20 * MS)
    assert network.client("rtt_delayed_samples") == 133


def test_every_connection_has_round_trips_of_its_own():
    lines = []
    for port in range(2000, 2300):
        lines.append(f"{port} > S seq=1000 port={port}")
    for port in range(2000, 2300):
        lines.append(f"{3000 + 2 * port} < SA seq=5000 port={port}")
    network = measured("\n".join(lines))
    assert [network.of(2 * i, ["rtt_min_ns"]) for i in range(300)] == [(3000 + p) * MS for p in range(2000, 2300)]


def test_what_a_hole_held_back_gives_no_round_trip_though_nobody_saw_it_filled():
    """The capture lost what filled it, or what it lacks was never lost."""
    network = measured(HANDSHAKE + "30 > A 100 off=100 \n 105 < A acked=200")
    assert network.client("rtt_samples") == 1


def test_nothing_is_timed_across_a_clock_that_was_set_back_until_it_has_caught_up():
    network = measured(
        HANDSHAKE
        + """
        30 > A 100
        10 < A                         # 20 ms back
        11 > A 100
        35 < A                         # of something that was sent an unknown time before
        40 > A 100
        60 < A
    """
    )
    assert network.client("rtt_samples", "rtt_delayed_samples") == (2, 1)


def stepped(times: int) -> int:
    """Give the shortest round trip where a capture's clock may have been set back so often within one of 40 ms."""
    script = HANDSHAKE.replace("20  <", "50 <").replace("21  >", "51 >")
    table = headers(script + "200 > PA 100 \n 300 < A \n 400 > PA 100 \n 440 < A \n 500 > PA 100 \n 600 < A")
    followed = follow([table])
    steps = np.full(times, 6, np.int32)  # before the acknowledgment after 40 ms
    network = NetworkMeasuring().feed(followed.segments, table, followed.boundaries, steps)
    return int(network.rows["rtt_min_ns"][0])


@pytest.mark.parametrize("times", [1, 255, 256, 257, 512, 65_536])
def test_however_often_the_clock_was_set_back_within_a_round_trip_it_is_not_the_shortest(times: int):
    assert stepped(0) == 40 * MS
    assert stepped(times) == 50 * MS


def test_steps_between_many_segments_are_not_taken_for_none():
    """65,536 steps, each between two segments of the connection, while one of its segments is in flight."""
    count = 65_536
    lines = [f"{400 + i / 4000:.6f} < A id={i % 50_000 + 1}" for i in range(count)]
    opened = HANDSHAKE.replace("20  <", "50 <").replace("21  >", "51 >") + "200 > PA 100 \n 300 < A \n 399 > PA 100 \n"
    table = headers(opened + "\n".join(line + " acked=100" for line in lines) + "\n 439 < A id=60001")
    followed = follow([table])
    steps = np.arange(6, 6 + count, dtype=np.int32)
    network = NetworkMeasuring().feed(followed.segments, table, followed.boundaries, steps)
    assert network.rows["rtt_min_ns"][0] == 50 * MS
