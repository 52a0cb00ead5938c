"""Numbers far from their stream: garbage changes nothing, a gap of any size ends."""

from __future__ import annotations

import pytest

from tests.support.headers import track

MIB = 2**20
GIB = 2**30
# Both windows are 1000 B, unscaled: what lies more than 1 MiB and 1000 B ahead is far.
HANDSHAKE = """
    0   > S  seq=1000
    10  < SA seq=5000
    20  > A
    30  > PA 100
    40  < PA 200
    50  > A
"""
REACH = MIB + 1000


def test_bytes_within_the_window_and_a_burst_beyond_are_taken_at_once():
    followed = track(HANDSHAKE + f"60 > PA 10 off={100 + REACH}")
    assert followed.one("client_bytes", "client_gap_bytes") == (110 + REACH, REACH)
    held = track(HANDSHAKE + f"60 > PA 10 off={101 + REACH}")
    assert held.one("client_bytes", "client_gap_bytes") == (100, 0)


def test_a_larger_window_reaches_farther():
    opened = "0 > S seq=1000 ws=0 \n 10 < SA seq=5000 ws=10 win=60000 \n 20 > A \n 30 < A win=60000 \n"
    assert track(opened + f"40 > PA 10 off={50 * MIB}").one("client_bytes") == 50 * MIB + 10
    assert track(opened + f"40 > PA 10 off={70 * MIB}").one("client_bytes") == 0


def test_a_window_of_unknown_scale_reaches_six_mebibytes_at_most():
    opened = "0 > A seq=1000 ack=5000 win=65535 \n 10 < A win=65535 \n"
    assert track(opened + f"40 > PA 10 seq={1000 + 7 * MIB}").one("client_bytes") == 7 * MIB + 10
    assert track(opened + f"40 > PA 10 seq={1001 + 7 * MIB}").one("client_bytes") == 0


@pytest.mark.parametrize("far", [2 * MIB, 2**29, 2**31 - 1, 2**31, 2**31 + 1, 3 * GIB, -2 * MIB])
def test_a_stray_segment_changes_nothing(far: int):
    followed = track(HANDSHAKE + f"60 > PA 10 off={far} \n 70 > PA 30 off=100 \n 80 < A acked=130")
    assert followed.one("client_bytes", "client_gap_bytes", "server_gap_bytes") == (130, 0, 0)
    assert followed.of_segments("offset")[6:8] == [None, 100]
    assert followed.of_segments("new_bytes")[6:8] == [0, 30]
    assert followed.of_segments("kind")[7] == "new"
    assert followed.unseen == {"segment_outside_window": [1, 0, 7]}


@pytest.mark.parametrize("far", [2 * MIB, 2**29, 2**31 - 1, 2**31, 2**31 + 1])
def test_a_stray_acknowledgment_changes_nothing(far: int):
    followed = track(HANDSHAKE + f"60 > PA 10 acked={far} \n 70 > PA 30 acked=200 \n 80 < PA 7 off=200")
    assert followed.one("client_bytes", "server_bytes", "server_gap_bytes") == (140, 207, 0)
    assert followed.of_segments("acked_offset")[6:8] == [None, 200]
    assert followed.unseen == {"acknowledgment_outside_window": [1, 0, 7]}


def test_what_is_held_at_the_end_came_to_nothing():
    followed = track(HANDSHAKE + f"60 > PA 10 off={2**29}")
    assert followed.one("client_bytes", "client_segments") == (100, 5)
    assert followed.unseen == {"segment_outside_window": [1, 0, 7]}


@pytest.mark.parametrize("gap", [2 * MIB, 2**29, GIB + 5, 2**31 - 200])
def test_the_next_segment_confirms_a_gap(gap: int):
    followed = track(HANDSHAKE + f"60 > PA 10 off={100 + gap} \n 70 > PA 30 \n 80 < A")
    # The first one's bytes are missing too: it was not believed when its row was given.
    assert followed.one("client_bytes", "client_gap_bytes") == (140 + gap, gap + 10)
    assert followed.of_segments("offset")[6:8] == [None, 110 + gap]
    assert followed.of_segments("new_bytes")[6:8] == [0, 30]
    assert followed.of_segments("acked_offset")[8] == 140 + gap
    assert followed.unseen == {"capture_gap": [1, gap + 10, 1]}


def test_an_acknowledgment_confirms_a_gap():
    followed = track(HANDSHAKE + f"60 > PA 10 off={2**29} \n 70 < PA 5")
    assert followed.one("client_bytes", "client_gap_bytes") == (2**29 + 10, 2**29 - 90)
    assert followed.of_segments("acked_offset")[7] == 2**29 + 10


def test_two_acknowledgments_confirm_a_gap():
    followed = track(HANDSHAKE + f"60 < A acked={2**29} \n 70 < A acked={2**29 + 500}")
    assert followed.one("client_bytes", "client_gap_bytes") == (2**29 + 500, 2**29 + 400)
    assert followed.of_segments("acked_offset")[6:] == [None, 2**29 + 500]


def test_two_forged_acknowledgments_stop_a_direction_for_100_ms_at_most():
    forged = f"60 < A acked={2**29} \n 61 < A acked={2**29 + 500} \n"
    talk = "\n".join(f"{70 + 10 * i} > PA 100 off={100 + 100 * i}" for i in range(30))
    followed = track(HANDSHAKE + forged + talk)
    # What comes in that time is missing; then new bytes count again, behind a gap as large as the forged one.
    assert followed.of_segments("new_bytes")[8:] == [0] * 10 + [100] * 20
    assert followed.one("client_bytes", "is_approximate") == (2**29 + 500 + 2000, 1)


def test_a_segment_confirms_where_an_acknowledgment_pointed():
    followed = track(HANDSHAKE + f"60 < A acked={2**29} \n 70 > PA 5 off={2**29}")
    assert followed.one("client_bytes", "client_gap_bytes") == (2**29 + 5, 2**29 - 100)
    assert followed.of_segments("new_bytes")[-1] == 5


def test_a_fin_that_is_confirmed_ends_the_stream():
    followed = track(HANDSHAKE + f"60 > FA 10 off={2**29} \n 70 < FA \n 80 > A")
    assert followed.one("state", "client_bytes", "server_bytes") == ("closed", 2**29 + 10, 200)


def test_the_acknowledgment_of_the_other_side_alone_does_not_refute_a_gap():
    followed = track(HANDSHAKE + f"60 > PA 10 off={2**29} \n 65 < A acked=100 \n 70 > PA 30")
    assert followed.one("client_bytes") == 2**29 + 40


def test_garbage_of_another_place_each_time_confirms_nothing():
    places = [2**29, 2 * MIB, 2**30, 2**28, 2**31, 2**29, 3 * MIB, 3 * GIB]
    lines = "\n".join(f"{60 + i} > PA 10 off={place}" for i, place in enumerate(places))
    followed = track(HANDSHAKE + lines + "\n 90 > PA 5 off=100")
    assert followed.one("client_bytes", "client_gap_bytes") == (105, 0)
    assert followed.unseen == {"segment_outside_window": [8, 0, 7]}


def test_the_same_garbage_captured_twice_confirms_nothing():
    followed = track(HANDSHAKE + f"60 > PA 10 off={2**29} \n 60.1 > copy if=1 \n 70 > PA 5 off=100")
    assert followed.one("client_bytes", "duplicates") == (105, 1)


@pytest.mark.parametrize("place", [2**29, 3 * GIB])
@pytest.mark.parametrize("segment", ["FA", "PA 10", "FA 10"])
def test_garbage_that_is_sent_again_confirms_nothing(place: int, segment: str):
    again = "\n".join(f"{at} > {segment} off={place} id={at}" for at in (60, 260, 660))
    followed = track(HANDSHAKE + again + "\n 670 > PA 5 off=100")
    assert followed.one("client_bytes", "client_gap_bytes", "is_approximate") == (105, 0, 0)
    assert followed.unseen == {"segment_outside_window": [3, 0, 7]}


def test_after_a_gap_what_follows_a_repetition_is_believed():
    followed = track(
        HANDSHAKE + f"60 > PA 10 off={2**29} id=5 \n 260 > PA 10 off={2**29} id=6 \n 270 > PA 30 off={2**29 + 10}"
    )
    assert followed.one("client_bytes") == 2**29 + 40
    assert followed.of_segments("new_bytes")[-1] == 30


def test_a_gap_of_two_gibibytes_or_more_has_no_size():
    followed = track(HANDSHAKE + f"5060 > PA 10 off={100 + 3 * GIB} \n 5070 > PA 30 \n 5080 < A")
    assert followed.one("client_bytes", "client_gap_bytes", "is_approximate") == (130, None, 1)
    assert followed.of_segments("offset")[7] == 100
    assert followed.of_segments("new_bytes")[7] == 30
    assert followed.of_segments("acked_offset")[8] == 130
    assert followed.unseen == {"capture_gap": [1, 0, 1]}


@pytest.mark.parametrize("gap", [2**31, 3 * GIB, 4 * GIB - 2 * MIB])
def test_no_gap_locks_a_direction_out(gap: int):
    talk = "\n".join(f"{5000 + i} > PA 1000 \n {5000.5 + i} < PA 10" for i in range(50))
    followed = track(HANDSHAKE + f"4999 > PA 10 off={100 + gap} \n" + talk)
    assert sum(followed.of_segments("new_bytes")[7:]) == 50 * 1010
    assert followed.of_segments("acked_offset")[-1] == 100 + 50_000


def test_old_segments_shown_late_do_not_move_the_stream_back():
    bulk = "\n".join(f"{60 + i} > PA 60000" for i in range(100))
    # As one that copies what it saw on two interfaces one after the other would write them.
    old = "\n".join(f"{60 + i}.5 > PA 60000 id=7 off={100 + i * 60000}" for i in range(40))
    followed = track(HANDSHAKE + bulk + "\n 160 < A \n" + old + "\n 170 > PA 50 off=6000100")
    assert followed.one("client_bytes", "client_gap_bytes", "is_approximate") == (6000150, 0, 0)
    assert followed.unseen["segment_outside_window"][0] == 40


def test_a_capture_that_shows_samples_only_is_followed():
    samples = "\n".join(f"{60 + i} > PA 1000 off={(i + 1) * 50 * MIB}" for i in range(9))
    followed = track(HANDSHAKE + samples)
    # Eight in a row that lie ever farther ahead are believed; the ninth waits again.
    assert followed.one("client_bytes") == 8 * 50 * MIB + 1000
    assert followed.unseen["segment_outside_window"] == [1, 0, 15]
