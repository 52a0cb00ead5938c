"""The same endpoints again: when it is another connection, and when it is not."""

from __future__ import annotations

import numpy as np

from tests.support.headers import server, track

IN_USE = """
    0   > S  seq=1000
    10  < SA seq=5000
    20  > A
    30  > PA 100
    40  < A
"""


def test_another_number_after_a_fin_is_another_connection():
    followed = track(IN_USE + "50 > FA \n 60 > S seq=90000 \n 70 < SA seq=95000 \n 80 > PA 7")
    assert followed.named("connection_id") == [1, 7]
    assert followed.named("state") == ["half_closed", "open"]
    assert followed.named("client_bytes") == [100, 7]
    assert followed.turns() == [(0, "opened", 1), (6, "ended", 1), (6, "opened", 7), (9, "ended", 7)]


def test_another_number_after_a_reset_is_another_connection():
    followed = track(IN_USE + "50 < R \n 60 > S seq=90000")
    assert followed.named("state") == ["server_reset", "unanswered"]


def test_another_number_after_a_long_silence_is_another_connection():
    assert len(track(IN_USE + "60041 > S seq=90000").connections) == 2
    assert len(track(IN_USE + "60040 > S seq=90000").connections) == 1


def test_another_number_before_the_handshake_is_over_is_another_attempt():
    followed = track("0 > S seq=1000 \n 1000 > S seq=2000 \n 1010 < SA seq=5000 \n 1020 > A")
    assert followed.named("state") == ["unanswered", "open"]
    assert followed.named("connect_attempts") == [1, 1]


def test_the_same_number_again_is_the_same_connection():
    followed = track(IN_USE + "50 > FA \n 60 < FA \n 70 > A \n 80 > S seq=1000")
    assert followed.one("client_control_retransmissions") == 1


def test_a_syn_into_a_connection_in_use_is_held():
    followed = track(IN_USE + "50 > S seq=90000 \n 60 > PA 10 seq=1101")
    assert followed.one("client_bytes", "client_segments", "state", "end_ns") == (110, 5, "open", 60_000_000)
    assert followed.of_segments("offset")[5] is None
    assert followed.unseen == {"segment_outside_window": [1, 0, 6]}


def test_a_held_syn_takes_over_when_it_is_answered():
    followed = track("""
        0     > S  seq=1000
        10    < SA seq=5000
        20    > A
        50    > S  seq=90000 ts=3/0 ws=7
        1050  > S  seq=90000 ts=4/0 ws=7
        1060  < SA seq=95000 ts=9/4 ws=7
        1065  > A  ts=5/9
        1070  > PA 7 win=10
    """)
    assert followed.named("connection_id") == [1, 4]
    assert followed.named("state") == ["open", "open"]
    assert followed.named("start_ns") == [0, 50_000_000]
    assert followed.named("end_ns") == [20_000_000, 1_070_000_000]
    assert followed.named("client_segments") == [2, 4]
    assert followed.named("server_segments") == [1, 1]
    assert followed.named("connect_attempts") == [1, 2]
    assert followed.named("client_control_retransmissions") == [0, 1]
    assert followed.named("client_retransmissions") == [0, 1]
    assert followed.named("connect_ns") == [20_000_000, 1_015_000_000]
    assert followed.named("server_handshake_rtt_ns") == [10_000_000, 10_000_000]
    assert followed.of_segments("window_bytes")[-1] == 10 << 7
    assert followed.turns() == [(0, "opened", 1), (5, "ended", 1), (5, "opened", 4), (8, "ended", 4)]
    assert followed.unseen == {}


def test_a_held_syn_with_data_takes_over_with_its_data():
    followed = track(IN_USE + "50 > S 20 seq=90000 \n 60 < SA seq=95000 ack=90021 \n 70 > PA 5")
    assert followed.named("client_bytes") == [100, 25]
    assert followed.named("client_gap_bytes") == [0, 0]


def test_a_held_syn_does_not_take_over_by_an_answer_to_something_else():
    followed = track(IN_USE + "50 > S seq=90000 \n 60 < SA seq=95000 ack=90002 \n 70 > PA 10 seq=1101 ack=5001")
    assert followed.one("client_bytes") == 110
    assert followed.unseen == {"segment_outside_window": [2, 0, 6]}


def test_a_held_syn_that_is_held_again_counts_each_time():
    followed = track(IN_USE + "50 > S seq=90000 \n 60 > S seq=90000 \n 70 > S seq=80000")
    assert followed.one("client_segments", "client_control_retransmissions") == (6, 1)
    assert followed.of_segments("kind")[5:] == ["new", "retransmission", "new"]
    assert followed.unseen == {"segment_outside_window": [3, 0, 6]}


def test_a_held_syn_begins_its_connection_when_the_old_one_is_reset():
    # RFC 9293 §3.5.1: a challenge ACK makes the client reset what the server still holds, and send its SYN again.
    followed = track(
        IN_USE
        + """
        100   > S  seq=90000
        110   < A  ack=1101
        120   > R  seq=1101
        1100  > S  seq=90000
        1110  < SA seq=95000 ack=90001
        1120  > A  seq=90001 ack=95001
    """
    )
    assert followed.named("connection_id") == [1, 6]
    assert followed.named("state") == ["client_reset", "open"]
    assert followed.named("connect_attempts") == [1, 2]
    assert followed.named("connect_ns") == [20_000_000, 1_020_000_000]


def test_a_held_syn_is_held_from_either_side():
    followed = track(IN_USE + "50 < S seq=70000 \n 60 > SA seq=80000 ack=70001 \n 70 < A seq=70001 ack=80001")
    assert followed.named("role_source") == ["syn", "syn"]
    assert followed.named("client_port") == [40000, 80]
    assert followed.named("client_isn") == [1000, 70000]
    assert followed.of_segments("direction")[5:] == ["server", "server", "client"]


def test_the_users_word_outweighs_a_held_syn():
    followed = track(
        IN_USE + "50 < S seq=70000 \n 60 > SA seq=80000 ack=70001 \n 70 < A seq=70001 ack=80001",
        servers=[server("B")],
    )
    assert followed.named("role_source") == ["option", "option"]
    assert followed.named("client_port") == [40000, 40000]
    assert followed.named("server_isn") == [5000, 70000]
    assert followed.named("connect_attempts") == [1, 1]
    assert followed.named("connect_ns") == [20_000_000, 20_000_000]


def test_a_held_syn_captured_twice_is_one():
    followed = track(
        IN_USE
        + "50 > S seq=90000 id=77 \n 50.1 > copy if=1 \n 60 < SA seq=95000 ack=90001 \n 60.1 > S seq=90000 id=77 if=1"
    )
    assert followed.named("client_segments") == [3, 1]
    assert followed.named("duplicates") == [1, 1]
    assert followed.named("connect_attempts") == [1, 1]
    assert followed.named("end_ns") == [40_000_000, 60_000_000]


def test_a_syn_ack_after_both_fins_begins_a_connection_whose_syn_was_not_captured():
    followed = track(IN_USE + "50 > FA \n 60 < FA \n 70 > A \n 80 < SA seq=95000 ack=90001")
    assert followed.named("role_source") == ["syn", "syn_ack"]
    assert followed.named("state") == ["closed", "handshaking"]


def test_a_stray_syn_ack_into_a_connection_in_use_is_ignored():
    followed = track(IN_USE + "50 < SA seq=95000 ack=90001 \n 60 < PA 10 seq=5001 ack=1101")
    assert followed.one("server_bytes", "server_isn") == (10, 5000)
    assert followed.unseen == {"segment_outside_window": [1, 0, 6]}


def test_a_late_syn_ack_of_a_closed_connection_begins_nothing():
    followed = track(IN_USE + "50 > FA \n 60 < FA \n 70 > A \n 80 < SA seq=95000 ack=1001")
    assert followed.one("state") == "closed"


def test_another_client_port_is_another_connection():
    followed = track("0 > S seq=1 port=40000 \n 1 > S seq=1 port=40001 \n 2 < SA seq=9 port=40001")
    assert followed.named("connection_id") == [1, 2]
    assert followed.named("state") == ["unanswered", "handshaking"]


def test_the_same_numbers_over_ipv4_and_ipv6_are_two_connections():
    followed = track("0 > S seq=1 \n 1 > S seq=1 v6")
    assert followed.named("ip_version") == [4, 6]


def test_the_same_endpoints_inside_and_outside_of_a_tunnel_are_two_connections():
    followed = track("""
        0 > S seq=1
        1 > S seq=1 in=vxlan tunnel=7
        2 < SA seq=9 ack=2 in=vxlan tunnel=7
        3 < RA seq=0 ack=2
    """)
    assert followed.named("connection_id") == [1, 2]
    assert followed.named("encapsulation") == [None, "vxlan"]
    assert followed.named("state") == ["refused", "handshaking"]


def test_the_same_endpoints_in_other_tunnels_are_other_connections():
    followed = track("0 > S seq=1 in=vxlan tunnel=7 \n 1 > S seq=1 in=vxlan tunnel=8 \n 2 > S seq=1 in=geneve tunnel=8")
    assert followed.named("encapsulation") == ["vxlan", "vxlan", "geneve"]


def test_a_held_syn_stays_in_its_tunnel():
    tunnel = " in=gre tunnel=3"
    lines = [*IN_USE.strip().splitlines(), "50 > S seq=77000", "51 < SA seq=88000 ack=77001", "52 > A"]
    followed = track("\n".join(line + tunnel for line in lines))
    assert followed.named("encapsulation") == ["gre", "gre"]


def test_paths_never_give_the_same_endpoints_the_same_hash():
    # Kind and number of the tunnel are 24 bits; they are added at bit 8 and multiplied modulo 2⁶⁴, and the hash is
    # bits 32 to 63. Two paths have different hashes if the product of their difference is farther from 0 than 2³².
    multiplier = np.uint64(0xBF58476D1CE4E5B9)
    for start in range(0, 2**24, 2**20):
        product = (np.arange(max(start, 1), start + 2**20, dtype=np.uint64) << np.uint64(8)) * multiplier
        assert np.minimum(product, -product).min() >= 2**33


def test_timestamps_of_the_connection_before_tell_no_copies():
    """Linux gives each connection timestamps of its own: the next ones may be lower."""
    before = """
        0     > S  seq=1000 ts=9000/0 v6
        10    < SA seq=5000 ts=1/9000 v6
        20    > A           ts=9020/1 v6
        30    > A           ts=9030/1 v6
    """
    again = """
        60    > S  seq=90000 ts=100/0 v6
        70    < SA seq=95000 ts=2/100 v6
        80    > A            ts=120/2 v6
        90    < PA 10 off=10 ts=3/120 v6
        100   > A            ts=140/2 v6
        105   > copy
        110   > copy
    """
    followed = track(before + again)
    assert followed.named("connection_id") == [1, 5]
    assert followed.named("duplicates") == [0, 0]
    assert followed.named("client_segments") == [3, 5]
