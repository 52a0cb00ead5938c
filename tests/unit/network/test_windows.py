"""Duplicate acknowledgments, windows, bytes in flight, sizes of segments."""

from __future__ import annotations

import pytest

from tests.support.network import measured

MS = 1_000_000
HANDSHAKE = """
    0   > S  seq=1000 mss=1460 ws=2
    20  < SA seq=5000 mss=1400 ws=1
    21  > A
"""
DATA = HANDSHAKE + "30 > A 100 \n 50 < A acked=100 \n 60 > A 100 \n"


def test_an_acknowledgment_that_meets_the_five_conditions_is_a_duplicate():
    assert measured(DATA + "70 < A acked=100").server("duplicate_acks") == 1


@pytest.mark.parametrize(
    "other",
    [
        "70 < A 10 acked=100",  # data
        "70 < FA acked=100",  # a FIN
        "70 < A acked=99",  # not the highest number so far
        "70 < A acked=100 win=999",  # another window
        "65 < A acked=200 \n 70 < A acked=200",  # nothing outstanding
        "70 < A acked=100 seq=-1",  # a keep-alive
    ],
)
def test_one_that_lacks_one_of_the_five_conditions_is_none(other: str):
    """RFC 5681 §2."""
    assert measured(DATA + other).server("duplicate_acks") == 0


def test_nothing_is_outstanding_of_a_side_that_sent_but_a_fin_though_its_number_lies_below_an_earlier_one():
    """A bare acknowledgment had a higher number: nobody knows what lies between."""
    script = "0 > A seq=1000 ack=5000 \n 1 > FA seq=900 ack=5000"
    network = measured(script + "".join(f" \n {ms} < A seq=5000 ack=901" for ms in (2, 3, 4)))
    assert network.server("duplicate_acks") == 0


def test_a_window_is_closed_from_the_segment_that_says_so_to_the_one_that_opens_it():
    network = measured(DATA + "70 < A acked=200 win=0 \n 80 < A acked=200 win=0 \n 170 < A acked=200 win=10")
    assert network.server("zero_windows", "zero_window_ns") == (2, 100 * MS)
    assert network.client("zero_windows", "zero_window_ns") == (0, 0)


def test_a_window_that_stays_closed_is_closed_to_the_end():
    network = measured(DATA + "70 < A acked=200 win=0 \n 270 > A")
    assert network.server("zero_window_ns") == 200 * MS


def test_a_window_of_a_syn_fin_or_rst_is_not_meant():
    network = measured("0 > S seq=1000 win=0 \n 20 < SA seq=5000 \n 21 > A \n 30 > FA win=0 \n 40 > R win=0")
    assert network.client("zero_windows") == 0


def test_windows_are_scaled_but_for_those_of_syns_which_tell_of_the_first_flight_alone():
    assert measured(HANDSHAKE).client("window_max_bytes") == 4000
    assert measured(HANDSHAKE).server("window_max_bytes") is None


def test_windows_are_null_where_the_scale_is_unknown():
    network = measured("0 > A 100 seq=1 ack=1 win=77 \n 10 < A seq=1 ack=101 win=77")
    assert network.client("window_max_bytes", "window_full", "zero_windows") == (None, 0, 0)


def test_a_segment_fills_the_window_if_as_much_is_in_flight_as_was_offered():
    network = measured(
        HANDSHAKE + "30 < A win=500 \n 40 > A 999 \n 41 > A 1 \n 42 < A acked=1000 win=500 \n 50 > A 999"
    )
    assert network.client("window_full", "in_flight_max_bytes") == (1, 1000)


def test_bytes_in_flight_are_those_sent_and_not_acknowledged():
    network = measured(HANDSHAKE + "30 > A 100 \n 31 > A 200 \n 50 < A acked=100 \n 51 > A 150 \n 70 < A acked=450")
    assert network.client("in_flight_max_bytes") == 350
    assert network.server("in_flight_max_bytes") == 0


def test_bytes_in_flight_are_null_where_nothing_was_acknowledged():
    assert measured("0 > A 100 seq=1 ack=1 \n 10 > A 100").client("in_flight_max_bytes") is None


def test_time_without_room_in_the_window_is_limited_by_it():
    network = measured(HANDSHAKE + "30 < A win=1000 \n 40 > A 1400 \n 45 > A 500 \n 65 < A acked=1900 win=1000")
    assert network.client("window_limited_ns") == 25 * MS  # 600 are left at 40: less than a segment


def test_half_of_the_largest_window_is_room_however_long_a_full_segment_is():
    opening = HANDSHAKE.replace("mss=1400", "mss=60000").replace("mss=1460", "mss=60000")
    network = measured(opening + "30 < A win=31000 \n 40 > A 100 \n 80 < A acked=100 win=31000 \n 90 > A 40000")
    assert network.client("mss_bytes") == 60000
    assert network.client("window_limited_ns") == 0  # 61,900 of 62,000 were left at 40
    filled = measured(opening + "30 < A win=31000 \n 40 > A 31100 \n 80 < A acked=31100 win=31000")
    assert filled.client("window_limited_ns") == 40 * MS


def test_more_in_flight_than_the_window_holds_says_that_acknowledgments_are_missing_and_not_that_it_was_full():
    sent = "\n".join(f"{40 + number} > A 500" for number in range(8))  # full at 40, beyond from 44 on
    network = measured(HANDSHAKE + "30 < A win=1000 \n" + sent + "\n 90 < A acked=4000 win=1000")
    assert network.client("in_flight_max_bytes") == 4000
    assert network.client("window_limited_ns") < 10 * MS


def test_a_window_is_below_one_mss_from_the_segment_that_says_so_to_one_that_has_room_for_a_segment():
    network = measured(
        DATA + "70 < A acked=200 win=699 \n 80 < A acked=200 win=0 \n 170 < A acked=200 win=700 \n 190 > A"
    )
    assert network.server("window_below_mss_ns", "zero_window_ns") == (100 * MS, 90 * MS)  # 700 · 2 are its MSS
    assert network.client("window_below_mss_ns", "zero_window_ns") == (0, 0)


def test_a_window_that_stays_below_one_mss_is_so_to_the_end():
    assert measured(DATA + "70 < A acked=200 win=699 \n 270 > A").server("window_below_mss_ns") == 200 * MS


def test_the_window_of_a_syn_is_for_the_first_flight_and_that_of_a_fin_for_none():
    network = measured(
        "0 > S seq=1000 mss=1460 ws=2 win=10 \n 20 < SA seq=5000 mss=1400 ws=1 \n 21 > A \n 30 > FA win=1"
    )
    assert network.client("window_below_mss_ns") == 0


def test_time_below_one_mss_is_null_where_mss_or_scale_are_unknown():
    assert measured("0 > S seq=1000 \n 20 < SA seq=5000 \n 21 > A win=1").client("window_below_mss_ns") is None
    assert measured("0 > A 100 seq=1 ack=1 win=77").client("window_below_mss_ns") is None


def test_the_size_of_segments_is_what_the_syn_said():
    network = measured(HANDSHAKE)
    assert network.client("mss_bytes") == 1460
    assert network.server("mss_bytes") == 1400
    assert measured("0 > A 100 seq=1 ack=1").client("mss_bytes") is None


@pytest.mark.parametrize(("payload", "segments"), [(1, 1), (1400, 1), (1401, 2), (2800, 2), (65000, 47)])
def test_what_the_interface_cuts_counts_as_what_it_is_on_the_wire(payload: int, segments: int):
    network = measured(HANDSHAKE + f"30 > A {payload}")
    assert network.client("segments", "wire_segments") == (3, 2 + segments)


def test_timestamps_leave_less_room():
    network = measured(HANDSHAKE + "30 > A 1400 ts=1/0")
    assert network.client("wire_segments") == 4


def test_time_is_idle_while_nothing_is_in_flight():
    network = measured(
        HANDSHAKE + "100 > A 100 \n 110 > A 100 \n 150 < A acked=200 \n 500 > A 100 \n 530 < A acked=300 \n 1000 < A"
    )
    assert network.client("non_idle_ns") == 80 * MS
    assert network.client("goodput_bits_per_s", "non_idle_goodput_bits_per_s") == (2400, 30_000)
    assert network.server("non_idle_ns", "non_idle_goodput_bits_per_s") == (0, None)


def test_throughput_counts_what_was_sent_again_and_goodput_does_not():
    network = measured(HANDSHAKE + "100 > A 100 \n 400 > A 100 off=0 \n 1000 < A")
    assert network.client("throughput_bits_per_s", "goodput_bits_per_s") == (1600, 800)


def test_without_sequence_numbers_only_segments_and_times_are_known():
    network = measured("0 > ? 100 \n 10 < ? 200 \n 20 > ? 0")
    assert network.client("segments", "wire_segments") == (2, 2)
    unknown = [
        *("bytes", "retransmissions", "out_of_order", "duplicate_acks", "zero_windows", "zero_window_ns"),
        *("window_full", "window_max_bytes", "window_limited_ns", "window_below_mss_ns", "in_flight_max_bytes"),
        "mss_bytes",
        *("rtt_samples", "rtt_min_ns", "srtt_ns", "throughput_bits_per_s", "non_idle_ns"),
    ]
    assert network.client(*unknown) == (None,) * len(unknown)


def test_segments_captured_twice_count_once():
    network = measured(HANDSHAKE + "30 > A 100 \n 30.1 > copy if=1 \n 50 < A acked=100 \n 50.1 < copy if=1")
    assert network.client("segments", "bytes", "retransmissions", "rtt_samples") == (3, 100, 0, 2)
    assert network.server("segments", "duplicate_acks") == (2, 0)


def test_each_direction_has_a_row_the_clients_first():
    network = measured(HANDSHAKE)
    assert network.client("direction", "connection_id") == ("client", 1)
    assert network.server("direction", "connection_id") == ("server", 1)
