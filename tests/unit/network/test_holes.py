"""What fills a hole was overtaken on the way, or lost before the capture point and sent again."""

from __future__ import annotations

from tests.support.holes import crowded
from tests.support.network import measure, measured

HANDSHAKE = """
    0   > S  seq=1000 mss=1460
    20  < SA seq=5000 mss=1460
    25  > A
"""


def test_what_comes_sooner_than_a_round_trip_was_overtaken():
    network = measured(HANDSHAKE + "30 > A 100 off=100 \n 50 > A 100 off=0")
    assert network.client("out_of_order", "reordered", "reordering_max_bytes") == (1, 1, 100)
    assert network.client("retransmissions", "bytes") == (0, 200)


def test_what_comes_later_was_lost_before_the_capture_point():
    """The whole round trip, to both sides, is 25 ms."""
    network = measured(HANDSHAKE + "30 > A 100 off=100 \n 55 > A 100 off=0")
    assert network.client("out_of_order", "reordered", "reordering_max_bytes") == (1, 0, None)


def test_where_no_round_trip_is_known_three_milliseconds_tell():
    talk = "0 > A 100 seq=1 ack=1 \n 10 > A 100 seq=201 ack=1 \n {} > A 100 seq=101 ack=1"
    assert measured(talk.format(12.9)).client("reordered") == 1
    assert measured(talk.format(13.1)).client("reordered") == 0


def test_an_older_timestamp_tells_that_it_was_sent_before():
    talk = HANDSHAKE + "30 > A 100 off=100 ts=1030/0 \n 90 > A 100 off=0 ts={}/0"
    assert measured(talk.format(1029)).client("reordered") == 1
    assert measured(talk.format(1090)).client("reordered") == 0


def test_a_younger_timestamp_tells_that_it_was_sent_again_however_soon():
    network = measured(HANDSHAKE + "30 > A 100 off=100 ts=1030/0 \n 31 > A 100 off=0 ts=1031/0")
    assert network.client("out_of_order", "reordered") == (1, 0)


def test_the_distance_is_how_far_behind_the_highest_byte_it_came():
    network = measured(HANDSHAKE + "30 > A 100 off=100 \n 31 > A 300 \n 32 > A 100 off=0")
    assert network.client("reordering_max_bytes") == 400


def test_what_fills_a_hole_that_was_acknowledged_is_neither():
    network = measured(HANDSHAKE + "30 > A 100 off=100 \n 31 < A acked=200 \n 32 > A 100 off=0")
    assert network.client("reordered") == 0


def test_what_fills_a_hole_and_goes_on_leaves_no_other_behind():
    network = measured(
        HANDSHAKE
        + """
        30 > A 100 off=100
        31 > A 300 off=0               # 100 old, 200 new
        32 > A 100 off=300
        60 < A acked=400
    """
    )
    assert network.client("out_of_order", "in_flight_max_bytes", "retransmitted_bytes") == (1, 400, 100)
    assert network.client("rtt_samples") == 1


def test_more_holes_than_are_kept_make_counts_approximate():
    holes = "".join(f"{30 + i} > A 100 off={200 * i + 100} \n" for i in range(1025))
    assert measured(HANDSHAKE + holes).client("is_approximate") == 1
    assert measured(HANDSHAKE + holes.rsplit("\n", 2)[0]).client("is_approximate") == 0


def test_a_thousand_holes_that_were_overtaken_are_each_told():
    holes = "".join(f"{30 + i / 1000} > A 100 off={200 * i + 100} \n" for i in range(1000))
    late = "".join(f"{32 + i / 1000} > A 100 off={200 * i} \n" for i in range(1000))
    network = measured(HANDSHAKE + holes + late)
    assert network.client("out_of_order", "reordered", "is_approximate") == (1000, 1000, 0)


def test_room_for_holes_is_that_of_a_share_and_given_back():
    """Of 1 MiB 32 directions have a thousand each, and one more 512: 32 bytes each, those of the first 16 apart."""
    network = measure(crowded(35))
    rows = network.rows[network.direction == 0]
    given = rows["is_approximate"][rows["connection_id"].argsort()].tolist()
    assert given == [0] * 32 + [1] * 3 + [0]
