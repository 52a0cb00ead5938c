"""Sequence numbers become offsets: new bytes, holes, retransmissions, kinds of segments."""

from __future__ import annotations

import pytest

from tests.support.headers import track

HANDSHAKE = """
    0   > S  seq=1000
    10  < SA seq=5000
    20  > A
"""


def test_bytes_are_counted_without_syn_and_fin():
    followed = track(HANDSHAKE + "30 > PA 100 \n 40 < PA 200 \n 50 > FA \n 60 < FA \n 70 > A")
    assert followed.one("client_bytes", "server_bytes") == (100, 200)
    assert followed.one("client_segments", "server_segments") == (5, 3)


def test_bytes_are_right_where_only_syn_and_fin_were_captured():
    followed = track("""
        0   > S  seq=1000
        10  < SA seq=5000
        50  > FA seq=1101 ack=5201
        60  < FA seq=5201 ack=1102
    """)
    assert followed.one("state", "client_bytes", "server_bytes") == ("closed", 100, 200)
    assert followed.one("client_gap_bytes", "server_gap_bytes") == (100, 200)


@pytest.mark.parametrize("gibibytes", [1.5, 2.5, 3.5])
def test_bytes_are_right_up_to_four_gibibytes_where_only_syn_and_fin_were_captured(gibibytes: float):
    size = int(gibibytes * 2**30)
    followed = track(f"""
        0   > S  seq=4000000000
        10  < SA seq=5000
        50  < FA seq={5001 + size} ack=4000000001
        60  > FA seq=4000000001 ack={5002 + size}
    """)
    assert followed.one("state", "client_bytes", "server_bytes") == ("closed", 0, size)


def test_offsets_pass_over_the_wrap():
    isn = 2**32 - 50
    followed = track(f"""
        0   > S  seq={isn}
        10  < SA seq={2**32 - 1}
        20  > A
        30  > PA 100
        40  > PA 100
        50  < PA 10
        60  > PA 100 off=0
        70  < A
    """)
    assert followed.of_segments("offset") == [-1, -1, 0, 0, 100, 0, 0, 10]
    assert followed.of_segments("acked_offset") == [None, 0, 0, 0, 0, 200, 10, 200]
    assert followed.one("client_bytes", "client_retransmissions", "client_isn") == (200, 1, isn)


def test_a_stream_may_be_longer_than_four_gibibytes():
    piece = 2**30 - 1
    lines = "\n".join(f"{30 + i} > PA {piece}" for i in range(9))
    followed = track(HANDSHAKE + lines + "\n 50 < A \n 51 > PA 7 seq=-7 \n 52 > PA 10")
    assert followed.one("client_bytes", "client_retransmissions", "client_gap_bytes") == (9 * piece + 10, 1, 0)
    assert followed.of_segments("acked_offset")[12] == 9 * piece


def test_a_capture_that_starts_midstream_begins_at_the_first_byte_seen():
    followed = track("""
        0   > PA 100 seq=777 ack=8888
        10  < PA 50  seq=8888 ack=877
    """)
    assert followed.of_segments("offset") == [0, 0]
    assert followed.of_segments("acked_offset") == [0, 100]
    assert followed.one("client_bytes", "server_bytes", "client_isn", "server_isn") == (100, 50, None, None)


def test_a_sides_own_number_outweighs_what_its_peer_acknowledged():
    followed = track("""
        0   > PA 100 seq=777 ack=3000000000     # damaged
        10  < PA 50  seq=8888 ack=877
        20  > A      seq=877 ack=8938
    """)
    assert followed.of_segments("offset") == [0, 0, 100]
    assert followed.of_segments("acked_offset") == [0, 100, 50]
    assert followed.one("server_bytes", "server_gap_bytes") == (50, 0)
    assert followed.unseen == {}


def test_bytes_before_a_midstream_start_are_retransmissions():
    followed = track("""
        0   > PA 100 seq=777 ack=8888
        10  > PA 50  seq=727 ack=8888
    """)
    assert followed.of_segments("kind") == ["new", "retransmission"]
    assert followed.of_segments("offset") == [0, -50]


def test_bytes_sent_again_are_a_retransmission():
    followed = track(HANDSHAKE + "30 > PA 100 \n 40 > PA 100 \n 50 > PA 200 off=0")
    assert followed.of_segments("kind")[3:] == ["new", "new", "retransmission"]
    assert followed.one("client_bytes", "client_retransmissions", "client_retransmitted_bytes") == (200, 1, 200)


def test_a_segment_with_any_new_byte_is_no_retransmission():
    followed = track(HANDSHAKE + "30 > PA 100 \n 40 > PA 150 off=0")
    assert followed.of_segments("kind")[3:] == ["new", "new"]
    assert followed.of_segments("new_bytes")[3:] == [100, 50]
    assert followed.of_segments("new_at")[3:] == [0, 100]
    assert followed.one("client_retransmissions", "client_retransmitted_bytes") == (0, 100)


def test_bytes_that_fill_a_hole_are_out_of_order():
    followed = track(HANDSHAKE + "30 > PA 100 \n 40 > PA 100 off=200 \n 50 > PA 100 off=100")
    assert followed.of_segments("kind")[3:] == ["new", "new", "out_of_order"]
    assert followed.of_segments("new_bytes")[3:] == [100, 100, 100]
    assert followed.one("client_bytes", "client_retransmissions", "client_gap_bytes") == (300, 0, 0)


def test_a_segment_may_repeat_and_fill_a_hole_and_go_beyond_at_once():
    followed = track(HANDSHAKE + "30 > PA 100 \n 40 > PA 100 off=150 \n 50 > PA 250 off=50")
    assert followed.of_segments("kind")[5] == "out_of_order"
    assert (followed.of_segments("new_bytes")[5], followed.of_segments("new_at")[5]) == (100, 50)
    assert followed.one("client_bytes", "client_retransmitted_bytes", "client_gap_bytes") == (300, 150, 0)


def test_a_hole_may_be_filled_in_the_middle():
    followed = track(HANDSHAKE + "30 > PA 10 off=100 \n 40 > PA 10 off=50 \n 50 > PA 100 off=0")
    assert followed.of_segments("new_bytes")[3:] == [10, 10, 90]
    assert followed.one("client_gap_bytes", "client_retransmitted_bytes") == (0, 10)


def test_bytes_passed_over_and_never_captured_are_a_gap():
    followed = track(HANDSHAKE + "30 > PA 100 off=50 \n 40 < A")
    assert followed.one("client_bytes", "client_gap_bytes") == (150, 50)
    assert followed.unseen == {"capture_gap": [1, 50, 1]}


def test_bytes_acknowledged_and_never_captured_are_a_gap():
    followed = track(HANDSHAKE + "30 < A acked=300 \n 40 > PA 10 off=300")
    assert followed.one("client_bytes", "client_gap_bytes") == (310, 300)
    assert followed.of_segments("kind")[-1] == "new"


def test_an_acknowledged_gap_may_still_be_filled():
    followed = track(HANDSHAKE + "30 < A acked=300 \n 31 > PA 300 off=0")
    assert followed.one("client_bytes", "client_gap_bytes") == (300, 0)
    assert followed.of_segments("kind")[-1] == "out_of_order"


def test_a_pure_ack_tells_what_its_sender_has_sent():
    followed = track(HANDSHAKE + "30 < PA 10 \n 40 > A off=70")
    assert followed.one("client_bytes", "client_gap_bytes") == (70, 70)


def holes(n: int, width: int = 1, before: int = 2) -> str:
    """Segments, each of which leaves some bytes out before it."""
    step = before + width
    return "\n".join(f"{30 + i} > PA {width} off={step * i + before}" for i in range(n))


@pytest.mark.parametrize("n", [1, 16, 17, 33, 1024])
def test_a_thousand_holes_are_kept_and_filled_from_either_end(n: int):
    kept = track(HANDSHAKE + holes(n))
    assert kept.one("client_gap_bytes", "is_approximate") == (2 * n, 0)
    for order in (range(n), range(n - 1, -1, -1)):
        filling = "\n".join(f"{5000 + i} > PA 2 off={3 * place}" for i, place in enumerate(order))
        filled = track(HANDSHAKE + holes(n) + "\n" + filling)
        assert filled.one("client_gap_bytes", "is_approximate", "client_retransmissions") == (0, 0, 0)
        assert filled.of_segments("kind")[-n:] == ["out_of_order"] * n


def test_more_than_a_thousand_holes_are_owned_up():
    overflowing = track(HANDSHAKE + holes(1025) + "\n 9000 > PA 2 off=0")
    assert overflowing.one("client_gap_bytes", "is_approximate", "client_retransmissions") == (2050, 1, 1)
    assert overflowing.unseen["hole_overflow"] == [1, 0, 1028]


def test_a_hole_that_is_split_makes_room_for_its_parts():
    followed = track(HANDSHAKE + holes(16, before=9) + "\n 9000 > PA 1 off=3 \n 9001 > PA 1 off=103")
    assert followed.one("client_gap_bytes", "is_approximate") == (16 * 9 - 2, 0)


def test_a_hole_split_where_no_more_are_kept_is_owned_up():
    followed = track(HANDSHAKE + holes(1024, before=9) + "\n 9000 > PA 1 off=3")
    assert followed.one("client_gap_bytes", "is_approximate") == (1024 * 9 - 1, 1)
    assert followed.unseen["hole_overflow"] == [1, 0, 1028]


def test_a_segment_more_than_a_gibibyte_away_is_not_believed():
    followed = track(HANDSHAKE + f"30 > PA 100 off={2**30 + 1} \n 40 > PA 100 off={-(2**30) - 1} \n 50 > PA 10 off=0")
    assert followed.one("client_bytes", "client_segments") == (10, 5)
    assert followed.of_segments("offset")[3:] == [None, None, 0]
    assert followed.unseen == {"segment_outside_window": [2, 0, 4]}


def test_an_acknowledgment_more_than_a_gibibyte_away_is_unknown():
    followed = track(HANDSHAKE + f"30 > PA 100 acked={2**30 + 1}")
    assert followed.of_segments("acked_offset")[-1] is None
    assert followed.one("server_bytes", "client_bytes") == (0, 100)


def test_data_on_the_fin_are_part_of_the_stream():
    followed = track(HANDSHAKE + "30 > FA 100 \n 40 < A \n 50 < FA 200")
    assert followed.one("state", "client_bytes", "server_bytes") == ("closed", 100, 200)
    assert followed.of_segments("acked_offset")[4] == 101


def test_a_repeated_fin_is_a_control_retransmission():
    followed = track(HANDSHAKE + "30 > FA \n 40 > FA seq=1001")
    assert followed.one("client_retransmissions", "client_control_retransmissions") == (1, 1)
    assert followed.of_segments("kind")[-1] == "retransmission"
    followed = track(HANDSHAKE + "30 > FA 10 \n 40 > FA 10 off=0")
    assert followed.one("client_retransmissions", "client_control_retransmissions") == (1, 1)
    assert followed.one("client_retransmitted_bytes") == 10


def test_old_data_with_a_new_fin_are_no_retransmission():
    followed = track(HANDSHAKE + "30 > PA 10 \n 40 > FA 10 off=0")
    assert followed.of_segments("kind")[-1] == "new"
    assert followed.one("client_retransmissions", "client_retransmitted_bytes", "state") == (0, 10, "half_closed")


def test_a_fin_inside_the_stream_is_not_believed():
    followed = track(HANDSHAKE + "30 > PA 100 \n 40 > FA off=50")
    assert followed.one("state", "client_bytes") == ("open", 100)
    assert followed.unseen == {"segment_outside_window": [1, 0, 5]}


def test_a_fin_captured_after_what_follows_it_is_no_missing_byte():
    followed = track(HANDSHAKE + "30 > FA \n 40 < A off=1 \n 40.1 < FA off=0 \n 50 < FA off=0")
    assert followed.one("state", "server_bytes", "server_gap_bytes") == ("closed", 0, 0)
    assert followed.of_segments("kind")[-2:] == ["new", "retransmission"]
    late = track(HANDSHAKE + "30 > FA \n 40 < A off=11 \n 40.1 < FA 5 off=5")
    assert late.one("state", "server_bytes", "server_gap_bytes") == ("closed", 10, 5)
    bare = track(HANDSHAKE + "30 > FA \n 40 < A off=11 \n 40.1 < FA off=10")
    assert bare.one("state", "server_bytes", "server_gap_bytes") == ("closed", 10, 10)


@pytest.mark.parametrize("length", [0, 1])
def test_a_keep_alive_repeats_the_last_acknowledged_byte(length: int):
    # RFC 9293 §3.8.4
    followed = track(HANDSHAKE + f"30 > PA 100 \n 40 < A \n 50 > A {length} off=99 \n 60 < A")
    assert followed.of_segments("kind")[5] == "keep_alive"
    assert followed.one("client_retransmissions", "client_retransmitted_bytes") == (0, 0)


def test_a_keep_alive_right_after_the_handshake_carries_the_number_of_the_syn():
    assert track(HANDSHAKE + "30 < A \n 40 > A off=-1").of_segments("kind")[-1] == "keep_alive"


def test_one_byte_not_yet_acknowledged_and_sent_again_is_a_retransmission():
    followed = track(HANDSHAKE + "30 > PA 100 \n 50 > PA 1 off=99")
    assert followed.of_segments("kind")[-1] == "retransmission"


CLOSED = HANDSHAKE + "30 > PA 100 \n 40 < A win=0 \n"


def test_a_probe_without_payload_looks_like_a_keep_alive_into_a_closed_window():
    assert track(CLOSED + "50 > A off=99").of_segments("kind")[-1] == "zero_window_probe"
    assert track(CLOSED + "50 > A 1 off=99").of_segments("kind")[-1] == "zero_window_probe"


def test_a_probe_byte_that_is_not_taken_is_new_when_it_is_sent_again():
    followed = track(CLOSED + "50 > A 1 \n 60 < A acked=100 win=0 \n 70 > A 1 off=100 \n 80 > PA 50 off=100")
    assert followed.of_segments("kind")[5:] == ["zero_window_probe", "new", "zero_window_probe", "new"]
    assert followed.of_segments("new_bytes")[5:] == [0, 0, 0, 50]
    assert followed.one("client_bytes", "client_retransmissions", "client_retransmitted_bytes") == (150, 0, 0)


def test_a_probe_byte_that_is_acknowledged_is_part_of_the_stream():
    followed = track(CLOSED + "50 > A 1 \n 60 < A acked=101 win=500 \n 70 > PA 50 off=101")
    assert followed.one("client_bytes", "client_gap_bytes") == (151, 0)
    assert followed.of_segments("new_bytes")[5:] == [0, 0, 50]


def test_a_probe_byte_that_the_sender_goes_on_from_is_part_of_the_stream():
    followed = track(CLOSED + "50 > A 1 \n 70 > PA 50 off=101")
    assert followed.one("client_bytes", "client_gap_bytes") == (151, 0)
    followed = track(CLOSED + "50 > A 1 \n 70 > FA off=101 \n 80 < A")
    assert followed.one("client_bytes", "client_gap_bytes") == (101, 0)


def test_a_single_byte_into_an_open_window_is_data():
    followed = track(HANDSHAKE + "30 > PA 1 \n 40 < A")
    assert followed.one("client_bytes") == 1
    assert followed.of_segments("kind")[3] == "new"


def test_window_zero_of_the_sender_itself_makes_no_probe():
    followed = track(HANDSHAKE + "30 > PA 1 win=0")
    assert followed.of_segments("kind")[-1] == "new"


def test_segments_without_sequence_numbers_are_taken_to_come_in_order():
    followed = track("""
        0   > ? 100
        10  < ? 200
        20  > ?
        30  > ? 50
    """)
    assert followed.of_segments("offset") == [0, 0, 100, 100]
    assert followed.of_segments("acked_offset") == [None] * 4
    assert followed.of_segments("new_bytes") == [100, 200, 0, 50]
    assert followed.one("is_sequenced", "state", "client_bytes", "server_bytes") == (0, None, 150, 200)
    nulls = [f"{who}_{what}" for who in ("client", "server") for what in ("retransmissions", "gap_bytes", "isn")]
    assert followed.one(*nulls) == (None,) * 6
    assert followed.unseen == {"unsequenced": [4, 0, 1]}


def test_a_connection_once_without_numbers_stays_so():
    followed = track("0 > ? 100 \n 10 > PA 100 seq=5 ack=1")
    assert followed.of_segments("offset") == [0, 100]
    assert followed.one("client_bytes", "is_sequenced") == (200, 0)


def test_new_bytes_and_gaps_add_up_to_the_stream():
    followed = track(HANDSHAKE + "30 > PA 10 off=20 \n 40 > PA 30 off=5 \n 50 > PA 10 off=60 \n 60 < A acked=90")
    assert sum(followed.of_segments("new_bytes")) + followed.one("client_gap_bytes") == followed.one("client_bytes")


def test_rows_of_segments_follow_rows_of_headers():
    followed = track(HANDSHAKE + "30 > PA 10")
    assert followed.of_segments("frame_number") == [1, 2, 3, 4]
    assert followed.of_segments("time_ns") == [0, 10**7, 2 * 10**7, 3 * 10**7]
    assert followed.of_segments("payload_bytes") == [0, 0, 0, 10]
    assert followed.of_segments("flags") == [2, 18, 16, 24]
    assert followed.of_segments("direction") == ["client", "server", "client", "client"]
