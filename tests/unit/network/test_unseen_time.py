"""How long data were outstanding: told only if what can have escaped the capture point is little."""

from __future__ import annotations

from tcpsight.network import NetworkMeasuring, agree_on_times, see_from_there
from tcpsight.tables import VANTAGES
from tests.support.headers import follow, headers
from tests.support.network import Directions

MS = 1_000_000
KNOWN = "non_idle_ns", "non_idle_goodput_bits_per_s"


def seen(script: str, **columns: list[int]) -> Directions:
    """Measure a script of unknown vantage, unless another is set; set columns of its connections."""
    table = headers(script)
    followed = follow([table])
    network = NetworkMeasuring().feed(followed.segments, table, followed.boundaries)
    agree_on_times(network, followed.connections)
    followed.connections.rows["vantage"] = VANTAGES.index("unknown")
    for name, values in columns.items():
        followed.connections.rows[name] = values
    see_from_there(network, followed.connections)
    return Directions(network)


def download(answer_ms: float, times: int) -> str:
    """The server answers every 100 ms, so long after it was asked; 40 ms later the client acknowledges that."""
    lines = []
    for i in range(times):
        at, asked, sent = 100 * i, 500 + 10 * i, 1000 + 1000 * i
        lines += [
            f"{at} > PA 10 seq={asked} ack={sent}",
            f"{at + answer_ms} < PA 1000 seq={sent} ack={asked + 10}",
            f"{at + answer_ms + 40} > A seq={asked + 10} ack={sent + 1000}",
        ]
    return "\n".join(lines)


def pushed(pauses_ms: list[float], flags: str = "PA", stamps: list[tuple[int, int]] | None = None) -> str:
    """The server, asked once, sends 1,000 B again and again; each is acknowledged 40 ms later, and a pause follows."""
    lines, at = ["0 > PA 10 seq=500 ack=1000 ts=10/1"], 0.1
    for i, pause_ms in enumerate([*pauses_ms, 0]):
        sent, (own, peer) = 1000 + 1000 * i, (stamps[i] if stamps else (2, 10))
        ts = f"ts={own}/{peer}"
        lines.append(f"{at} < {flags} 1000 seq={sent} ack=510 {ts}")
        lines.append(f"{at + 40} > A seq=510 ack={sent + 1000} ts={20 + 10 * i}/{own}")
        at += 40 + pause_ms
    return "\n".join(lines)


def test_time_is_told_if_what_asked_for_the_data_came_so_late_that_little_can_have_escaped():
    assert seen(download(0.9, 5)).server(*KNOWN) == (5 * 40 * MS, 200_000)
    # Five pauses of 1 ms and the way to the sender once, 1 ms, are 3 % of 200 ms, and no more than that.
    assert seen(download(1, 5)).server("non_idle_ns") == 200 * MS
    assert seen(download(1.1, 5)).server(*KNOWN) == (None, None)


def test_pauses_that_nobody_asked_to_end_may_be_none_at_the_sender():
    assert seen(pushed([])).server("non_idle_ns") == 40 * MS
    assert seen(pushed([0.1, 0.1], stamps=[(2, 10), (3, 20), (4, 30)])).server("non_idle_ns") is not None
    late = seen(pushed([0.1, 60], stamps=[(2, 10), (3, 20), (4, 30)]))
    assert late.server(*KNOWN) == (None, None)
    assert late.server("goodput_bits_per_s") is not None


def test_data_that_echo_an_older_timestamp_were_on_their_way_during_the_pause():
    # The second and the third were stamped before the acknowledgment of those before them came.
    early = seen(pushed([60, 60], stamps=[(2, 10), (3, 10), (4, 20)]))
    assert early.server(*KNOWN) == (240 * MS, 100_000)
    # The second was, the third was not: its pause may be one.
    assert seen(pushed([60, 60], stamps=[(2, 10), (3, 10), (4, 30)])).server("non_idle_ns") is None


def test_at_the_sender_pauses_are_believed_but_those_before_which_it_had_more_to_send():
    stamps = [(2, 10), (3, 20), (4, 30)]
    for place, told in (("server", 120 * MS), ("between", 120 * MS), ("unknown", None)):
        script = pushed([60, 60], stamps=stamps)
        assert seen(script, vantage=[VANTAGES.index(place)]).server("non_idle_ns") == told
    more = pushed([60, 60], "A", stamps)
    for place in ("server", "between"):
        assert seen(more, vantage=[VANTAGES.index(place)]).server(*KNOWN) == (None, None)


def test_what_is_no_full_segment_may_have_been_all_there_was():
    script = """
        0   > S seq=499 mss=1000
        1   < SA seq=999 ack=500 mss=1000
        1.1 > PA 10 seq=500 ack=1000
        2   < A {size} seq=1000 ack=510
        42  > A seq=510 ack={acked}
        100 < A {size} seq={acked} ack=510
        140 > A seq=510 ack={end}
    """
    for size, told in ((999, 80 * MS), (1000, None), (3000, None)):
        found = seen(script.format(size=size, acked=1000 + size, end=1000 + 2 * size), vantage=[0])
        assert found.server("non_idle_ns") == told


def test_a_sender_that_answered_nothing_may_be_anywhere():
    silent = "10 < PA 1000 seq=1000 ack=500 \n 210 > A seq=500 ack=2000"
    assert seen(silent).server(*KNOWN) == (None, None)
    assert seen(silent).server("goodput_bits_per_s") == 1000 * 8 * 1000 // 200
    # What the other side never sent was outstanding for no time.
    assert seen(silent).client("non_idle_ns") == 0


def test_what_the_handshake_tells_of_the_sender_counts_too():
    silent = "10 < PA 1000 seq=1000 ack=500 \n 210 > A seq=500 ack=2000"
    assert seen(silent, server_handshake_rtt_ns=[6 * MS]).server("non_idle_ns") == 200 * MS
    assert seen(silent, server_handshake_rtt_ns=[7 * MS]).server("non_idle_ns") is None
    assert seen(silent, client_handshake_rtt_ns=[MS]).server("non_idle_ns") is None


def stamped(echo_ms: int) -> str:
    """The server sends data in runs and echoes the client's timestamps so long after they passed."""
    lines = ["0 < PA 1000 seq=1000 ack=500 ts=1/50", "0.5 < PA 1000 seq=2000 ack=500 ts=1/50"]
    for i in range(1, 6):
        at, value = 100 * i, 60 + 100 * i
        lines += [
            f"{at} < PA 1000 seq={1000 + 2000 * i} ack=500 ts={2 * i}/{value - 100}",
            f"{at + 5} > A seq=500 ack={1000 + 2000 * i} ts={value}/{2 * i}",
            f"{at + 5 + echo_ms} < PA 1000 seq={2000 + 2000 * i} ack=500 ts={2 * i + 1}/{value}",
        ]
    lines.append("700 > A seq=500 ack=13000 ts=660/12")
    return "\n".join(lines)


def test_timestamps_that_the_sender_echoes_tell_how_near_it_is():
    assert seen(stamped(0)).server("non_idle_ns") == 700 * MS
    assert seen(stamped(30)).server("non_idle_ns") is None


def test_a_timestamp_that_may_have_passed_before_the_capture_began_tells_nothing():
    # The first acknowledgment captured is not the first with its value: the echo seems to come at once.
    script = (
        "10 < PA 1000 seq=1000 ack=500 ts=1/59 \n 11 > A seq=500 ack=2000 ts=60/1 \n"
        "12 < PA 1000 seq=2000 ack=500 ts=2/60 \n 200 > A seq=500 ack=3000 ts=259/2"
    )
    assert seen(script).client("echo_rtt_samples") == 0
    assert seen(script).server("non_idle_ns") is None
