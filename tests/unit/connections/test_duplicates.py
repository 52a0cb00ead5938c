"""Frames captured twice are recognised, and excluded from everything but their own count."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.headers import Followed, track

HANDSHAKE = """
    0   > S  seq=1000
    10  < SA seq=5000
    20  > A
    30  > PA 100
    40  < A
"""


def copied(line: str, before: str = HANDSHAKE) -> Followed:
    return track(before + line)


def with_copies(script: str) -> str:
    """Let each line be captured twice, 5 ms apart."""
    lines = [line.split() for line in script.strip().splitlines()]
    return "\n".join(f"{' '.join(line)} \n {float(line[0]) + 5} {line[1]} copy" for line in lines) + "\n"


def is_copy(followed: Followed) -> Any:
    return followed.of_segments("kind")[-1] == "duplicate"


def test_a_copy_on_another_interface_is_a_duplicate():
    assert is_copy(copied("50 > PA 10 \n 50.2 > copy if=1"))
    assert is_copy(copied("50 > PA 10 \n 90 > copy if=1"))


def test_a_copy_with_an_identification_is_a_duplicate_for_a_tenth_of_a_second():
    # A mirror port sees the packet twice, with a queue between. What is sent again has another identification.
    assert is_copy(copied("50 > PA 10 \n 51 > copy"))
    assert is_copy(copied("50 > PA 10 \n 150 > copy"))
    assert not is_copy(copied("50 > PA 10 \n 150.000001 > copy"))
    assert is_copy(copied("200 > PA 10 \n 100 > copy"))
    assert not is_copy(copied("200 > PA 10 \n 99.999999 > copy"))


def test_an_identification_that_never_changes_tells_nothing_after_a_millisecond():
    opened = HANDSHAKE.replace("S  ", "S id=7 ").replace("> A", "> A id=7").replace("PA 100", "PA 100 id=7")
    # Half of the handshake's round trip is 10 ms.
    assert is_copy(copied("50 > PA 10 id=7 \n 51 > copy", opened))
    assert not is_copy(copied("50 > PA 10 id=7 \n 51.000001 > copy", opened))
    assert is_copy(copied("50 > PA 10 id=7 \n 60 > copy", opened.replace("id=7", "id=6", 1)))
    # Of one segment nobody knows, and most change.
    assert is_copy(track("0 > PA 10 seq=1 ack=1 id=7 \n 60 > copy"))
    assert not is_copy(track("0 > PA 10 seq=1 ack=1 id=7 \n 1 > PA 10 id=7 \n 60 > PA 10 seq=1 id=7"))


STAMPED = """
    0   > S  seq=1000 ts=1/0 v6
    10  < SA seq=5000 ts=1/1 v6
    20  > A ts=21/1 v6
    30  > PA 100 ts=31/1 v6
    40  < A ts=41/31 v6
"""


def test_a_timestamp_older_than_that_of_what_was_sent_meanwhile_tells_a_copy():
    # Half of the handshake's round trip is 10 ms; what is sent again is stamped again.
    between = "50 > PA 10 ts=51/41 v6 \n 70 > PA 10 ts={}/41 v6 \n 71 > PA 10 off=100 ts=51/41 v6"
    assert is_copy(copied(between.format(71), STAMPED))
    assert not is_copy(copied(between.format(51), STAMPED))
    assert is_copy(copied("50 > A ts=51/41 v6 \n 70 > A ts=71/41 v6 \n 71 > A ts=51/41 v6", STAMPED))


def test_data_that_come_again_before_anybody_can_have_asked_for_them_are_a_copy():
    assert is_copy(copied("50 > PA 10 ts=51/41 v6 \n 59.999999 > copy", STAMPED))
    assert not is_copy(copied("50 > PA 10 ts=51/41 v6 \n 60 > copy", STAMPED))
    # Without timestamps a needless retransmission may come right behind what had waited in a queue.
    bare = HANDSHAKE
    followed = copied("50 > PA 10 id=0 \n 59.999999 > copy", bare)
    assert followed.of_segments("kind")[-1] == "retransmission"
    assert followed.unseen == {"ambiguous_duplicate": [1, 0, 7]}
    assert copied("50 > PA 10 id=0 \n 60 > copy", bare).unseen == {}


def test_where_copies_are_known_timestamps_that_are_the_same_tell_them():
    opened = with_copies(STAMPED)
    assert is_copy(copied("50 > PA 10 ts=51/41 v6 \n 70 > copy", opened))
    assert is_copy(copied("50 > A ts=51/41 v6 \n 70 > copy", opened))
    assert not is_copy(copied("50 > PA 10 ts=51/41 v6 \n 70 > PA 10 off=100 ts=71/41 v6", opened))


def test_where_copies_are_known_the_third_of_a_kind_was_sent_again_and_has_its_own_copy():
    opened = with_copies(HANDSHAKE)
    followed = copied("50 > PA 10 id=0 \n 70 > copy \n 90 > copy \n 110 > copy", opened)
    assert followed.of_segments("kind")[-4:] == ["new", "duplicate", "retransmission", "duplicate"]
    followed = copied("50 < A id=0 \n 50 > PA 10 \n 52 < copy \n 53 < A id=0 \n 55 < copy", opened)
    assert followed.of_segments("kind")[-4:] == ["new", "duplicate", "new", "duplicate"]


def test_one_copy_does_not_tell_that_there_are_more():
    """Timestamps of 100 ms, and a network that doubled one segment: what is sent again is no copy."""
    again = "50 < PA 10 ts=51/31 v6 \n 60 > A ts=61/51 v6 \n 85 < PA 10 off=10 ts=51/31 v6"
    for copies, copy in enumerate(("", "41.001 < copy \n")):
        followed = track(STAMPED + "41 < PA 10 ts=41/31 v6 \n" + copy + again)
        assert followed.of_segments("kind")[-1] == "retransmission"
        assert followed.one("duplicates") == copies


def test_duplicate_acknowledgments_of_one_tick_are_no_copies_where_one_segment_was_copied():
    script = STAMPED + "41 < PA 10 ts=41/31 v6 \n 41.001 < copy \n 50 > A ts=51/41 v6 \n"
    followed = track(script + " \n".join(f"{50 + i / 100} > copy" for i in range(1, 5)))
    assert followed.of_segments("kind")[-4:] == ["new"] * 4
    assert followed.one("duplicates") == 1


def test_where_all_are_copied_acknowledgments_that_are_alike_have_one_copy_each():
    alike = "\n".join(f"{50 + i * 2} > {'copy' if i else 'A ts=51/41 v6'}" for i in range(6))
    followed = track(with_copies(STAMPED) + alike)
    assert followed.of_segments("kind")[-6:] == ["new", "duplicate"] * 3


def test_a_syn_is_refused_once():
    script = "0 > S seq=1000 \n {} 10 < RA seq=0 id=0 \n 20 < copy"
    assert track(script.format("")).one("duplicates", "server_segments") == (1, 1)
    assert track(script.format("5 > S seq=1000 \n")).one("duplicates", "server_segments") == (0, 2)


@pytest.mark.parametrize("identification", ["id=0", "id=9"])
def test_a_syn_comes_again_after_a_tenth_of_a_second_or_is_a_copy(identification: str):
    script = f"0 > S seq=1000 {identification} \n {{}} > copy"
    assert track(script.format(100)).one("connect_attempts", "client_retransmissions", "duplicates") == (1, 0, 1)
    assert track(script.format(100.000001)).one("connect_attempts", "client_retransmissions", "duplicates") == (2, 1, 0)


def test_two_answers_to_a_syn_that_came_again_are_no_copies():
    # The timer of a server whose answer was lost, and the SYN that comes again, meet within a millisecond.
    lost = "0 > S seq=1000 \n {} 1000 > S seq=1000 \n 1000.1 < SA seq=5000 id=0 \n 1000.6 < SA seq=5000 id=0"
    followed = track(lost.format(""))
    assert followed.one("duplicates", "server_retransmissions") == (0, 1)
    assert followed.unseen == {"ambiguous_duplicate": [1, 0, 4]}
    answer = "< SA seq=5000 id=0"
    answered = f"0 > S seq=1000 \n 10 {answer} \n 1009.4 {answer} \n 1010 > S seq=1000 \n 1010.1 {answer}"
    assert track(answered).one("duplicates", "server_retransmissions") == (0, 2)
    # Where SYNs have copies, so have their answers.
    assert track(lost.format("0.5 > copy \n")).one("duplicates", "server_retransmissions") == (2, 0)
    both = lost.format("0.5 > copy \n") + "\n 1001.1 < copy \n 1001.6 < copy"
    assert track(both).one("duplicates", "server_retransmissions") == (3, 1)
    # With an identification there is no doubt.
    assert track(lost.format("").replace("id=0", "id=3")).one("duplicates", "server_retransmissions") == (1, 0)


def test_time_to_live_may_differ():
    assert is_copy(copied("50 > PA 10 ttl=64 \n 50.1 > copy if=1 ttl=63"))


@pytest.mark.parametrize("what", ["id=9999", "win=999", "ts=1/2", "acked=1"])
def test_whatever_else_differs_makes_it_no_copy(what: str):
    followed = copied(f"50 > PA 10 off=100 id=500 \n 50.1 > PA 10 off=100 id=500 {what} if=1")
    assert not is_copy(followed)


def test_on_another_interface_the_checksum_may_differ_if_the_identification_does_not():
    # Captured on its way to the card with a checksum that the card fills in, and again behind it.
    assert is_copy(copied("50 > PA 10 id=500 sum=7 \n 50.1 > PA 10 seq=-10 id=500 sum=9 if=1"))
    assert not is_copy(copied("50 > PA 10 id=500 sum=7 \n 50.1 > PA 10 seq=-10 id=500 sum=9"))
    assert not is_copy(copied("50 > PA 10 id=0 sum=7 \n 50.1 > PA 10 seq=-10 id=0 sum=9 if=1"))
    assert is_copy(copied("50 > PA 10 id=0 sum=7 \n 50.1 > PA 10 seq=-10 id=0 sum=7 if=1"))


def test_a_retransmission_with_another_checksum_has_another_identification():
    followed = copied("50 > PA 10 id=500 sum=7 \n 50.1 > PA 10 seq=-10 id=501 sum=9 if=1")
    assert followed.of_segments("kind")[-1] == "retransmission"


def test_another_length_makes_it_no_copy():
    assert not is_copy(copied("50 > PA 10 off=100 id=500 \n 50.1 > PA 11 off=100 id=500 if=1"))


def test_a_segment_sent_again_at_once_is_no_copy():
    # Another IP ID: the sender made another packet.
    followed = copied("50 > PA 10 \n 50.1 > PA 10 seq=-10")
    assert followed.of_segments("kind")[-1] == "retransmission"


def test_pure_acks_and_syns_and_resets_have_copies_too():
    for script in ("0 > S seq=1 \n 0.1 > copy", "0 > A seq=1 ack=1 \n 0.1 > copy", "0 > R 5 seq=1 \n 0.1 > copy"):
        assert track(script).one("duplicates", "client_segments") == (1, 1)


def test_a_duplicate_acknowledgment_is_no_copy():
    assert not is_copy(copied("50 < A \n 50.1 < A"))


def test_copies_are_excluded_from_every_other_count():
    followed = copied("50 > FA 10 \n 50.1 > copy if=1")
    assert followed.one("duplicates", "client_segments", "client_bytes") == (1, 4, 110)
    assert followed.one("client_retransmissions", "client_retransmitted_bytes", "end_ns") == (0, 0, 50_000_000)
    last = {name: followed.of_segments(name)[-1] for name in ("offset", "acked_offset", "new_bytes", "window_bytes")}
    assert last == {"offset": 100, "acked_offset": None, "new_bytes": 0, "window_bytes": None}
    assert followed.unseen == {"capture_duplicate": [1, 0, 7]}


def test_each_segment_may_be_captured_twice():
    lines = [line.strip() for line in HANDSHAKE.strip().splitlines()]
    script = "\n".join(f"{line} \n {line.split()[0]}.1 {line.split()[1]} copy if=1" for line in lines)
    followed = track(script)
    assert followed.one("duplicates", "connect_attempts", "state") == (5, 1, "open")
    assert followed.one("server_handshake_rtt_ns", "client_handshake_rtt_ns") == (10_000_000, 10_000_000)


def burst(n: int, step_ms: float, copies_from_ms: float, interface: int, opened: str = HANDSHAKE) -> Followed:
    """Give n segments and then, in a second burst, their copies."""
    lines = [f"{50 + i * step_ms:.6f} > PA 10 off={100 + 10 * i} id={1000 + i}" for i in range(n)]
    lines += [
        f"{copies_from_ms + i * step_ms:.6f} > PA 10 off={100 + 10 * i} id={1000 + i} if={interface}" for i in range(n)
    ]
    return track(opened + "\n".join(lines))


@pytest.mark.parametrize("n", [4, 5, 16, 64, 200, 1000])
def test_copies_may_come_in_a_burst_after_a_burst_of_originals(n: int):
    followed = burst(n, 0.9 / n, 50.95, 0)
    assert followed.one("duplicates", "client_retransmissions", "client_bytes") == (n, 0, 100 + 10 * n)


def test_a_burst_from_another_interface_may_be_longer():
    # Known to be on two interfaces since its SYN.
    opened = HANDSHAKE.replace("10  < SA", "0.1 > copy if=1 \n 10 < SA")
    followed = burst(500, 0.1, 100.05, 1, opened)
    assert followed.one("duplicates", "client_retransmissions") == (501, 0)


def test_no_more_than_4096_segments_of_a_direction_are_remembered():
    followed = burst(4200, 0.0001, 50.5, 1)
    assert followed.one("duplicates") == 0
    assert followed.one("client_retransmissions") == 4200


def test_what_is_too_old_to_be_copied_is_forgotten():
    def with_between(n: int, last_ms: float) -> Followed:
        between = "\n".join(f"{75.1 + i / 1000} > PA 10" for i in range(n))
        return copied(f"50 > PA 10 id=7 \n {between} \n {last_ms} > PA 10 off=100 id=7 if=1")

    # What is younger than 25 ms is kept; older ones are found while they are there.
    assert is_copy(with_between(3, 80))
    assert not is_copy(with_between(4, 80))


def test_a_segment_sent_again_later_and_captured_twice_has_one_copy():
    script = "50 > PA 10 id=0 ts=5/5 \n 150 > copy \n 150.5 > copy"
    assert copied(script).of_segments("kind")[-3:] == ["new", "retransmission", "duplicate"]


def test_acknowledgments_without_data_are_all_alike_unless_copies_are_known():
    opened = "0 > S seq=1000 v6 \n {} 1 < SA v6 \n 2 > A v6 ts=5/5 \n 2.5 > copy"
    followed = track(opened.format(""))
    assert followed.of_segments("kind")[-1] == "new"
    assert followed.unseen == {"ambiguous_duplicate": [1, 0, 4]}
    # A SYN is not sent again so soon: what was copied once is copied again.
    assert track(opened.format("0.001 > copy \n")).of_segments("kind") == [
        "new",
        "duplicate",
        "new",
        "new",
        "duplicate",
    ]


def test_without_identification_or_timestamps_a_copy_is_ambiguous():
    opened = "0 > S seq=1000 v6 \n 1 > PA 10 seq=1001 ack=1 v6 \n"
    followed = track(opened + "1.5 > copy")
    assert followed.of_segments("kind")[-1] == "retransmission"
    assert followed.unseen == {"ambiguous_duplicate": [1, 0, 3]}
    # IPv4 with ID 0 (atomic datagrams, RFC 6864) tells no more.
    assert copied("50 > PA 10 id=0 \n 50.5 > copy").unseen == {"ambiguous_duplicate": [1, 0, 7]}


def test_timestamps_or_another_interface_resolve_the_doubt():
    opened = "0 > S seq=1000 v6 \n 1 > PA 10 seq=1001 ack=1 v6 {} \n"
    assert is_copy(track(opened.format("ts=1/1") + "1.5 > copy"))
    assert is_copy(track(opened.format("") + "1.5 > copy if=1"))


def test_a_copy_of_a_probe_is_a_copy():
    assert is_copy(copied("50 < A win=0 \n 60 > A 1 off=100 \n 60.1 > copy"))


def test_the_clock_of_copies_is_exact_over_seconds():
    # 2^32 ns later is not "within a millisecond".
    later = 50 + 2**32 / 1e6
    assert not is_copy(copied(f"50 > A id=5 \n {later:.6f} > copy"))


def test_the_same_header_in_the_next_file_much_later_was_sent_again():
    # Files that follow each other have interfaces of their own.
    followed = track(HANDSHAKE + "30 > PA 10 id=0 \n 1030 > copy if=1")
    assert followed.one("duplicates", "client_retransmissions") == (0, 1)


def test_the_devices_behind_any_are_interfaces():
    followed = track(HANDSHAKE + "30 > PA 10 if=768 \n 32 > copy if=1024")
    assert followed.one("duplicates", "client_retransmissions") == (1, 0)


def test_lengths_alone_tell_copies_on_another_interface_and_nothing_else():
    followed = track("""
        0    > ? 10 id=0
        0.1  > copy if=1
        0.2  > copy
        60   < ? 20 id=0
        60.1 < copy if=1
        200  > copy if=1
    """)
    assert followed.of_segments("kind") == ["new", "duplicate", "new", "new", "duplicate", "new"]
    (row,) = followed.connections
    assert (row["client_bytes"], row["server_bytes"], row["duplicates"]) == (30, 20, 2)
    assert followed.unseen["capture_duplicate"][0] == 2
    assert "ambiguous_duplicate" not in followed.unseen
