"""Attempts, round trips and completion of the handshake."""

from __future__ import annotations

from tests.support.headers import server, track

MS = 1_000_000


def test_connect_time_runs_from_the_first_syn_to_the_ack():
    followed = track("""
        0   > S  seq=1000
        10  < SA seq=5000
        15  > A
    """)
    assert followed.one("connect_attempts", "connect_ns") == (1, 15 * MS)
    assert followed.one("server_handshake_rtt_ns", "client_handshake_rtt_ns") == (10 * MS, 5 * MS)
    assert followed.one("client_isn", "server_isn") == (1000, 5000)


def test_syns_are_counted_until_one_is_answered():
    followed = track("""
        0     > S  seq=1000
        1000  > S  seq=1000
        3000  > S  seq=1000
        3010  < SA seq=5000
        3020  > A
        3030  > S  seq=1000      # a late copy, not an attempt
    """)
    assert followed.one("connect_attempts", "connect_ns") == (3, 3020 * MS)
    assert followed.one("client_retransmissions", "client_control_retransmissions") == (3, 3)


def test_a_repeated_syn_leaves_the_round_trip_unknown():
    followed = track("""
        0     > S  seq=1000
        1000  > S  seq=1000
        1010  < SA seq=5000
        1015  > A
    """)
    assert followed.one("server_handshake_rtt_ns", "client_handshake_rtt_ns") == (None, 5 * MS)


def test_timestamps_tell_which_syn_was_answered():
    script = """
        0     > S  seq=1000 ts=100/0
        1000  > S  seq=1000 ts=1100/0
        1010  < SA seq=5000 ts=7/{echo}
        1015  > A           ts=1115/7
    """
    assert track(script.format(echo=1100)).one("server_handshake_rtt_ns") == 10 * MS
    # Servers answer a repeated SYN with the answer to the first one, which was lost.
    assert track(script.format(echo=100)).one("server_handshake_rtt_ns", "server_handshake_least_ns") == (None, 10 * MS)
    assert track(script.format(echo=99)).one("server_handshake_rtt_ns") is None


def test_a_repeated_syn_ack_leaves_the_round_trip_unknown_unless_timestamps_tell():
    script = """
        0     > S  seq=1000 {a}
        10    < SA seq=5000 {b}
        1010  < SA seq=5000 {c}
        1015  > A           {d}
    """
    plain = track(script.format(a="", b="", c="", d=""))
    assert plain.one("client_handshake_rtt_ns") is None
    assert plain.one("server_retransmissions", "server_control_retransmissions") == (1, 1)
    stamped = track(script.format(a="ts=1/0", b="ts=50/1", c="ts=60/1", d="ts=2/60"))
    assert stamped.one("client_handshake_rtt_ns") == 5 * MS


def test_a_lost_syn_ack_is_sent_again_after_the_next_syn():
    followed = track("""
        0     > S  seq=1000
        1     < SA seq=5000
        1000  > S  seq=1000
        1001  < SA seq=5000
        1020  > A
    """)
    assert followed.one("connect_attempts", "connect_ns", "state") == (1, 1020 * MS, "open")
    assert followed.one("server_handshake_rtt_ns", "client_handshake_rtt_ns") == (1 * MS, None)
    assert followed.one("server_handshake_least_ns", "client_handshake_least_ns") == (None, 19 * MS)
    assert followed.of_segments("kind") == ["new", "new", "retransmission", "retransmission", "new"]


def test_a_server_that_chooses_its_number_again_is_believed_when_the_client_asked_again():
    followed = track("""
        0     > S  seq=1000
        1     < SA seq=5000
        1000  > S  seq=1000
        1001  < SA seq=90000
        1020  > A  ack=90001
        1030  < PA 100 seq=90001
    """)
    assert followed.one("server_isn", "server_bytes", "server_gap_bytes") == (90000, 100, 0)
    assert followed.one("client_handshake_rtt_ns") == 19 * MS


def test_another_servers_answer_is_ignored_when_the_client_did_not_ask_again():
    followed = track("""
        0   > S  seq=1000
        1   < SA seq=5000
        2   < SA seq=90000
        3   > A  ack=5001
    """)
    assert followed.one("server_isn", "connect_ns") == (5000, 3 * MS)
    assert followed.unseen == {"segment_outside_window": [1, 0, 3]}


def test_each_change_of_the_servers_number_needs_another_question():
    followed = track("""
        0     > S  seq=1000
        1     < SA seq=5000
        1000  > S  seq=1000
        1001  < SA seq=90000
        1500  < SA seq=5000      # the first server again, unasked
        1600  > A  ack=90001
    """)
    assert followed.one("server_isn") == 90000
    assert followed.unseen == {"segment_outside_window": [1, 0, 5]}


def test_a_simultaneous_open_is_one_connection():
    followed = track("""
        0   > S  seq=1000
        5   < S  seq=5000
        20  > SA seq=1000 ack=5001
        25  < SA seq=5000 ack=1001
        30  > PA 10 seq=1001 ack=5001
    """)
    assert followed.one("role_source", "state", "client_bytes") == ("syn", "open", 10)
    assert followed.one("client_isn", "server_isn", "connect_ns") == (1000, 5000, 25 * MS)
    assert followed.one("client_retransmissions", "server_retransmissions") == (0, 0)
    assert followed.one("server_handshake_rtt_ns", "client_handshake_rtt_ns") == (25 * MS, None)


def test_the_clients_ack_completes_a_handshake_whose_syn_ack_was_not_captured():
    followed = track("""
        0   > S  seq=1000
        20  > A  seq=1001 ack=5001
        30  < PA 100 seq=5001 ack=1001
    """)
    assert followed.one("connect_ns", "server_isn", "server_bytes") == (20 * MS, None, 100)
    assert followed.one("server_handshake_rtt_ns", "client_handshake_rtt_ns") == (None, None)


def test_an_ack_that_shows_missing_bytes_does_not_time_the_handshake():
    followed = track("""
        0     > S  seq=1000
        10    < SA seq=5000
        8000  > AF seq=1500 ack=7000      # only SYN and FIN were captured
    """)
    assert followed.one("connect_ns", "client_handshake_rtt_ns") == (None, None)
    assert followed.one("server_handshake_rtt_ns", "server_bytes") == (10 * MS, 1999)


def test_a_handshake_that_was_reset_is_not_timed_by_what_comes_later():
    followed = track("""
        0      > S  seq=1000
        10     < SA seq=5000
        20     > R  seq=1001
        15000  > A  100
    """)
    assert followed.one("state", "connect_ns", "client_handshake_rtt_ns") == ("client_reset", None, None)


def test_a_syn_ack_is_believed_after_an_injected_reset_and_fin():
    followed = track("""
        0   > S  seq=1000
        10  < RA seq=0    ack=1001       # injected
        11  < FA seq=0    ack=1001       # injected
        12  < SA seq=5000 ack=1001
        15  > A  seq=1001 ack=5001
        16  > A  100
        20  < A  50 seq=5001
    """)
    assert followed.one("state", "server_isn", "connect_ns") == ("open", 5000, 15 * MS)
    assert followed.one("client_handshake_rtt_ns", "server_bytes", "server_gap_bytes") == (3 * MS, 50, 0)


def test_without_a_syn_there_are_no_attempts_and_no_connect_time():
    followed = track("""
        0   < SA seq=5000 ack=1001
        5   > A  seq=1001
    """)
    assert followed.one("role_source", "connect_attempts", "connect_ns") == ("syn_ack", 0, None)
    assert followed.one("client_handshake_rtt_ns") == 5 * MS


def test_a_syn_captured_after_its_answer_belongs_to_the_same_connection():
    followed = track("""
        0   < SA seq=5000 ack=1001
        1   > S  seq=1000
        5   > A  seq=1001
    """)
    assert followed.one("connect_attempts", "client_isn", "connect_ns") == (1, 1000, 4 * MS)
    assert followed.one("server_handshake_rtt_ns") is None


def test_a_syn_captured_after_the_first_data_belongs_to_the_same_connection():
    followed = track("""
        0   > PA 10 seq=1001 ack=5001
        1   > S  seq=1000
    """)
    assert followed.one("connect_attempts", "client_isn", "client_bytes") == (1, 1000, 10)


def test_data_on_the_syn_is_part_of_the_stream():
    # RFC 7413: TCP Fast Open.
    followed = track("""
        0   > S  100 seq=1000
        10  < SA seq=5000 ack=1101
        15  > A
        20  > PA 50
    """)
    assert followed.one("client_bytes", "connect_ns", "client_gap_bytes") == (150, 15 * MS, 0)
    assert followed.of_segments("offset") == [-1, -1, 100, 100]
    assert followed.of_segments("new_bytes") == [100, 0, 0, 50]
    assert followed.of_segments("new_at") == [1, 0, 0, 0]


def test_data_on_a_syn_that_was_not_taken_is_a_retransmission_later():
    followed = track("""
        0   > S  100 seq=1000
        10  < SA seq=5000 ack=1001
        15  > PA 100 seq=1001
    """)
    assert followed.one("client_bytes", "client_retransmissions", "client_retransmitted_bytes") == (100, 1, 100)


def test_a_late_answer_to_another_attempt_is_not_believed():
    followed = track("""
        0    > S  seq=1000
        10   > S  seq=2000
        15   < SA seq=5000 ack=1001
        20   < SA seq=6000 ack=2001
        25   > A  seq=2001 ack=6001
    """)
    assert followed.named("state") == ["unanswered", "open"]
    assert followed.named("server_isn") == [None, 6000]
    assert followed.named("server_handshake_rtt_ns") == [None, 10 * MS]
    assert followed.unseen == {"segment_outside_window": [1, 0, 3]}


def test_a_challenge_ack_of_a_forgotten_connection_tells_nothing_of_the_new_one():
    # RFC 9293 §3.5.1, figure 9: the server still has the old connection, which the capture does not show.
    followed = track("""
        0     > S  seq=1000
        1     < A  seq=777000 ack=300000000
        2     > R  seq=300000000
        1000  > S  seq=1000
        1001  < SA seq=5000 ack=1001
        1002  > A  seq=1001
        1003  < PA 100 seq=5001
    """)
    assert followed.one("state", "connect_attempts", "connect_ns") == ("open", 2, 1002 * MS)
    assert followed.one("client_bytes", "server_bytes", "server_gap_bytes") == (0, 100, 0)
    assert followed.one("ignored_resets") == 1


def test_a_refused_client_that_tries_again_with_the_same_number_may_be_taken():
    followed = track("""
        0    > S  seq=1000
        1    < RA seq=0 ack=1001
        500  > S  seq=1000
        501  < SA seq=5000 ack=1001
        502  > A
    """)
    assert followed.one("state", "connect_attempts", "connect_ns") == ("open", 2, 502 * MS)


def test_times_that_go_backwards_give_no_negative_round_trip():
    followed = track("""
        10  > S  seq=1000
        5   < SA seq=5000
        2   > A
    """)
    assert followed.one("connect_ns", "server_handshake_rtt_ns", "client_handshake_rtt_ns", "duration_ns") == (
        0,
        0,
        0,
        0,
    )
    assert followed.unseen == {"time_backwards": [2, 0, 2]}


def test_round_trips_are_named_after_the_side_that_they_reach():
    # The user says that A is the server although it sent the SYN (active FTP): B's answer is the client's round trip.
    followed = track(
        """
        0   > S  seq=1000
        10  < SA seq=5000
        15  > A
        """,
        servers=[server("A")],
    )
    assert followed.one("role_source", "connect_attempts", "connect_ns") == ("option", 1, 15 * MS)
    assert followed.one("client_handshake_rtt_ns", "server_handshake_rtt_ns") == (10 * MS, 5 * MS)


def test_windows_are_scaled_only_if_both_syns_offer_it():
    script = """
        0   > S  seq=1000 win=100 {client}
        10  < SA seq=5000 win=200 {server}
        15  > A  win=300
        20  < A  win=400
        25  < A  win=0
    """
    both = track(script.format(client="ws=7", server="ws=2"))
    assert both.of_segments("window_bytes") == [100, 200, 300 << 7, 400 << 2, 0]
    one = track(script.format(client="ws=7", server=""))
    assert one.of_segments("window_bytes") == [100, 200, 300, 400, 0]
    cut = track(script.format(client="ws=7", server="cut"))
    assert cut.of_segments("window_bytes") == [100, 200, None, None, 0]


def test_the_scale_is_unknown_where_the_handshake_was_not_captured():
    followed = track("""
        0   > PA 10 seq=1 ack=1 win=300
        10  < A  win=0
    """)
    assert followed.of_segments("window_bytes") == [None, 0]
