"""Clocks that leap an hour and more ahead, and frames that are stamped in another order than they were captured."""

from __future__ import annotations

from tcpsight.network import NetworkMeasuring, agree_on_times
from tests.support.headers import follow, headers
from tests.support.network import Directions, measured

MS = 1_000_000
HOUR = 3_600_000
HANDSHAKE = """
    0   > S  seq=1000
    20  < SA seq=5000
    21  > A
"""


def settled(script: str) -> Directions:
    """Measure a script; begin and end the rows with their connections."""
    table = headers(script)
    followed = follow([table])
    network = NetworkMeasuring().feed(followed.segments, table, followed.boundaries)
    agree_on_times(network, followed.connections)
    return Directions(network)


def test_a_leap_that_nothing_confirms_leaves_no_trace_in_times():
    network = measured(HANDSHAKE + f"30 > PA 100 \n {2 * HOUR} > PA 100 \n 51 < A \n 60 > PA 100 \n 80 < A")
    assert network.client("start_ns", "end_ns") == (0, 80 * MS)
    assert network.client("non_idle_ns") == (51 - 30 + 80 - 60) * MS
    assert network.client("rtt_samples", "rtt_max_ns") == (2, 20 * MS)


def test_a_window_that_such_a_leap_opened_was_closed_until_then_and_no_longer():
    network = measured(HANDSHAKE + f"30 < A win=0 \n 40 < A win=0 \n {2 * HOUR} < A \n 50 > PA 100 \n 60 < A")
    assert network.server("zero_windows", "zero_window_ns") == (2, 10 * MS)


def test_a_window_that_such_a_leap_closed_was_closed_from_the_time_before():
    network = measured(HANDSHAKE + f"30 > A \n {2 * HOUR} < A win=0 \n 50 > A \n 60 < A")
    assert network.server("zero_windows", "zero_window_ns") == (1, 30 * MS)


def test_a_window_below_one_mss_is_timed_without_such_a_leap():
    handshake = HANDSHAKE.replace("seq=5000", "seq=5000 mss=536")
    ended = measured(handshake + f"30 < A win=1 \n 40 < A win=1 \n {2 * HOUR} < A \n 50 > PA 100 \n 60 < A")
    begun = measured(handshake + f"30 > A \n {2 * HOUR} < A win=1 \n 50 > A \n 60 < A")
    assert (ended.server("window_below_mss_ns"), begun.server("window_below_mss_ns")) == (10 * MS, 30 * MS)


def test_a_connection_that_such_a_leap_opened_begins_with_what_follows():
    network = settled(f"5 > A 1 port=41000 seq=1 ack=1 \n {2 * HOUR} > S seq=1000 \n 20 < SA seq=5000 \n 21 > A")
    assert network.of(0, ["start_ns", "end_ns"]) == (5 * MS, 5 * MS)
    assert network.of(2, ["start_ns", "end_ns"]) == (5 * MS, 21 * MS)
    assert network.of(2, ["rtt_samples"]) == 0
    assert network.of(3, ["rtt_samples", "rtt_min_ns"]) == (1, 1 * MS)


def test_a_leap_that_comes_last_is_taken_back_if_the_connection_did_not_last_as_long():
    script = f"30 > PA 100 \n {2 * HOUR} > PA 100 \n 60 > S port=41000 seq=1"
    assert measured(HANDSHAKE + script).client("end_ns", "non_idle_ns") == (30 * MS, 0)


def test_a_pause_of_hours_that_the_next_segment_confirms_counts_to_the_last_nanosecond():
    late = 2 * HOUR
    network = measured(HANDSHAKE + f"30 < A win=0 \n {late} < A \n {late + 10} > PA 100 \n {late + 30} < A")
    assert network.server("zero_window_ns") == (late - 30) * MS
    assert network.client("end_ns", "non_idle_ns") == ((late + 30) * MS, 20 * MS)
    assert network.client("rtt_samples", "rtt_max_ns") == (2, 20 * MS)


def test_no_round_trip_spans_a_leap():
    assert measured(HANDSHAKE + f"30 > PA 100 \n {2 * HOUR} < A \n {2 * HOUR + 1} > A").client("rtt_samples") == 1


def test_a_round_trip_is_that_of_the_stamps_where_frames_are_a_little_out_of_order():
    """Two queues of an interface: what was sent at 30.2 ms is captured behind what came at 30.5 ms."""
    network = measured(HANDSHAKE + "30.5 < PA 10 \n 30.2 > PA 100 seq=1001 ack=5001 \n 31 < A")
    assert network.client("rtt_samples", "rtt_min_ns") == (2, 800_000)


def test_an_acknowledgment_stamped_before_its_data_gives_no_round_trip():
    network = measured(HANDSHAKE + "30.5 > PA 100 \n 30.2 < A")
    assert network.client("rtt_samples", "rtt_min_ns") == (1, 20 * MS)


def late(frame_ms: float) -> Directions:
    """Three segments, of which the file has the second one last; its stamp is right."""
    return measured(
        HANDSHAKE + f"30 > PA 100 off=0 \n {frame_ms + 0.3} > PA 100 off=200 \n {frame_ms} > PA 100 off=100 \n 60 < A"
    )


def test_what_is_out_of_order_in_the_file_alone_was_not_overtaken():
    assert late(30.4).client("out_of_order", "reordered", "retransmissions") == (0, 0, 0)


def test_what_was_stamped_after_what_showed_the_hole_was_overtaken():
    network = measured(HANDSHAKE + "30 > PA 100 off=0 \n 30.7 > PA 100 off=200 \n 30.8 > PA 100 off=100 \n 60 < A")
    assert network.client("out_of_order", "reordered") == (1, 1)


def test_data_behind_their_acknowledgment_are_out_of_order_in_the_file():
    network = measured(HANDSHAKE + "30 > PA 100 \n 35 < A acked=200 \n 34 > PA 100 off=100 \n 60 < PA 9")
    assert network.client("out_of_order", "reordered") == (0, 0)


def test_what_is_further_back_than_files_are_out_of_order_counts_as_before():
    script = HANDSHAKE + "30 > PA 100 off=0 \n 50 > PA 100 off=200 \n {} > PA 100 off=100 \n 60 < A"
    assert measured(script.format(40.1)).client("out_of_order") == 0
    # Whether it was overtaken nobody knows: a clock that was set back tells no time in between.
    assert measured(script.format(40)).client("out_of_order", "reordered") == (1, 0)


def test_what_fills_a_hole_after_the_clock_went_back_was_not_overtaken_unless_timestamps_say_so():
    sent = "30 > PA 100 off=0 {} \n 31 > PA 100 off=200 {} \n 15 < A acked=100 \n"
    script = HANDSHAKE + sent + "16 > PA 100 off=100 {} \n 60 < A"
    assert measured(script.format("", "", "")).client("out_of_order", "reordered") == (1, 0)
    assert measured(script.format("ts=1/1", "ts=3/1", "ts=2/1")).client("out_of_order", "reordered") == (1, 1)
    assert measured(script.format("ts=1/1", "ts=3/1", "ts=5/1")).client("out_of_order", "reordered") == (1, 0)


def set_back(by_ms: float, frames: int = 4) -> Directions:
    """A request a millisecond, each answered within half of it; the clock is set back for so many of the frames."""
    lines = []
    for i in range(100):
        lines += [f"{30 + i} > PA 100", f"{30.5 + i} < PA 50"]
    for i in range(100, 100 + frames):
        line, (time, rest) = lines[i], lines[i].split(" ", 1)
        lines[i] = f"{float(time) - by_ms} {rest}"
        assert line != lines[i] or not by_ms
    return settled(HANDSHAKE + "\n".join(lines))


RATES = "throughput_bits_per_s", "goodput_bits_per_s", "non_idle_goodput_bits_per_s", "non_idle_ns", "window_limited_ns"


def test_rates_over_a_clock_that_was_set_back_are_null():
    assert None not in set_back(0).client(*RATES)
    assert set_back(20).client(*RATES) == (None,) * len(RATES)
    assert set_back(20).client("bytes", "segments", "rtt_samples", "stepped_back_ns")[:2] == (10_000, 102)


def test_the_time_of_a_closed_window_over_a_clock_that_was_set_back_is_null():
    assert set_back(0).server("zero_window_ns", "window_limited_ns") == (0, 0)
    assert set_back(20).server("zero_window_ns", "window_limited_ns") == (None, None)


def test_a_step_is_told_by_three_segments_in_a_row_and_by_a_hundredth_of_the_time():
    assert None not in set_back(20, frames=2).client(*RATES)
    assert None in set_back(20, frames=3).client(*RATES)
    assert None not in set_back(9).client(*RATES)


def test_each_time_that_a_clock_was_set_back_counts():
    script = (
        HANDSHAKE
        + "100 > PA 9 \n 50 > PA 9 \n 51 > PA 9 \n 52 > PA 9 \n 200 > PA 9 \n 170 > PA 9 \n 171 > PA 9 \n 172 > PA 9"
    )
    assert measured(script).client("stepped_back_ns") == (100 - 52 + 200 - 172) * MS
