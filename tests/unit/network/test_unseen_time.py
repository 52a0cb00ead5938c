"""How long data were outstanding where nobody knows where the capture was taken: told only if it proves right."""

from __future__ import annotations

from tcpsight.network import NetworkMeasuring, agree_on_times, see_from_there
from tcpsight.tables import VANTAGES
from tests.support.headers import follow, headers
from tests.support.network import Directions

MS = 1_000_000
KNOWN = "non_idle_ns", "non_idle_goodput_bits_per_s"


def seen(script: str, **columns: list[int]) -> Directions:
    """Measure a script of unknown vantage; set columns of its connections."""
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
    """The server sends 1,000 B every 100 ms; each is acknowledged 40 ms later, and the client sends 10 B once."""
    lines = [f"0 > PA 10 seq=500 ack=1000 \n {answer_ms} < A seq=1000 ack=510"]
    for i in range(times):
        at, seq = 200 + 100 * i, 1000 + 1000 * i
        lines += [f"{at} < PA 1000 seq={seq} ack=510", f"{at + 40} > A seq=510 ack={seq + 1000}"]
    return "\n".join(lines)


def test_time_is_told_if_the_sender_answered_so_soon_that_little_can_have_escaped():
    assert seen(download(1, 5)).server(*KNOWN) == (5 * 40 * MS, 200_000)
    # Five times 1.2 ms are 3 % of 200 ms, and no more than that.
    assert seen(download(1.2, 5)).server("non_idle_ns") == 200 * MS
    assert seen(download(1.3, 5)).server(*KNOWN) == (None, None)


def test_time_that_was_outstanding_more_often_can_have_lost_more():
    at_once = "200 < PA 1000 seq=1000 ack=510 \n 250 < PA 1000 seq=2000 ack=510 \n 400 > A seq=510 ack=3000"
    asked = "0 > PA 10 seq=500 ack=1000 \n 4 < A seq=1000 ack=510 \n"
    assert seen(asked + at_once).server("non_idle_ns") == 200 * MS
    assert seen(download(4, 5)).server("non_idle_ns") is None


def test_a_sender_that_answered_nothing_may_be_anywhere():
    silent = "\n".join(download(1, 5).splitlines()[2:])
    assert seen(silent).server(*KNOWN) == (None, None)
    assert seen(silent).server("goodput_bits_per_s") == 5000 * 8 * 1000 // 440
    # What the other side never sent was outstanding for no time.
    assert seen(silent).client("non_idle_ns") == 0


def test_what_the_handshake_tells_of_the_sender_counts_too():
    silent = "\n".join(download(1, 5).splitlines()[2:])
    assert seen(silent, server_handshake_rtt_ns=[MS]).server("non_idle_ns") == 200 * MS
    assert seen(silent, client_handshake_rtt_ns=[MS]).server("non_idle_ns") is None


def stamped(echo_ms: int) -> str:
    """The server sends data in runs and echoes the client's timestamps so long after they passed."""
    lines = ["0 < PA 1000 seq=1000 ack=500 ts=1/50", "10 > A seq=500 ack=2000 ts=60/1"]
    for i in range(1, 6):
        at, value = 100 * i, 60 + 100 * i
        lines += [
            f"{at} < PA 1000 seq={1000 + 2000 * i - 1000} ack=500 ts={2 * i}/{value - 100}",
            f"{at + 5} > A seq=500 ack={1000 + 2000 * i} ts={value}/{2 * i}",
            f"{at + 5 + echo_ms} < PA 1000 seq={1000 + 2000 * i} ack=500 ts={2 * i + 1}/{value}",
            f"{at + 90} > A seq=500 ack={2000 + 2000 * i} ts={value + 85}/{2 * i + 1}",
        ]
    return "\n".join(lines)


def test_timestamps_that_the_sender_echoes_tell_how_near_it_is():
    assert seen(stamped(0)).server("non_idle_ns") is not None
    assert seen(stamped(10)).server("non_idle_ns") is None


def test_a_timestamp_that_may_have_passed_before_the_capture_began_tells_nothing():
    # The first acknowledgment captured is not the first with its value: the echo seems to come at once.
    script = (
        "10 < PA 1000 seq=1000 ack=500 ts=1/59 \n 11 > A seq=500 ack=2000 ts=60/1 \n"
        "12 < PA 1000 seq=2000 ack=500 ts=2/60 \n 200 > A seq=500 ack=3000 ts=259/2"
    )
    assert seen(script).client("echo_rtt_samples") == 0
    assert seen(script).server("non_idle_ns") is None
