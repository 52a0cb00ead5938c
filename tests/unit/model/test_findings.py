"""Each rule of findings, by conversations that meet it or just fail to."""

from __future__ import annotations

import json

import pytest

from tcpsight.findings import FindingTable, written
from tcpsight.model.findings import Finding, FindingCollection
from tcpsight.tables import FINDINGS, Findings
from tests.support.headers import follow, headers_of, rows_of
from tests.support.network import measure

OPENING = """
    0     > S   seq=1000 mss=1460 ws=7 win=65535 sackok
    50    < SA  seq=5000 mss=1460 ws=7 win=65535 sackok
    50    > A   win=500
"""


def collect(*scripts: str) -> FindingCollection:
    """Judge conversations, each a connection of its own."""
    rows = []
    for number, script in enumerate(scripts):
        rows += [row | {"source_port": _port(row, number), "destination_port": _port(row, number, "destination")}
                 for row in rows_of(script)]  # fmt: skip
    rows.sort(key=lambda row: row["time_ns"])
    table = headers_of(rows)
    followed = follow([table])
    collection = FindingCollection()
    network = measure(table)
    order = followed.connections.connection_id.tolist()
    assert network.connection_id[::2].tolist() == order
    collection.feed(network, followed.connections)
    return collection


def _port(row, number, end="source"):
    port = row[f"{end}_port"]
    return port + number if port == 40000 else port


def found(*scripts: str) -> list[Finding]:
    return collect(*scripts).finish()


def kinds(*scripts: str) -> list[str]:
    return [finding.key.kind for finding in found(*scripts)]


def one(*scripts: str) -> Finding:
    findings = found(*scripts)
    assert len(findings) == 1, [finding.key.kind for finding in findings]
    return findings[0]


def resent(times_ms: list[int], payload: int = 1000, reply: str = "") -> str:
    """Write a connection whose server sends again and again what it sent at 100 ms."""
    lines = [OPENING, f"100 > PA 100 win=500\n150 < PA {payload} win=500"]
    lines += [f"{time} < PA {payload} off=0 win=500\n{reply.format(time=time + 1)}" for time in times_ms]
    return "\n".join(lines)


def test_an_ordinary_connection_is_no_finding():
    assert kinds(f"{OPENING}\n100 > PA 100\n150 < PA 1000\n200 > FA\n250 < FA\n300 > A") == []


def test_data_sent_again_into_silence_are_a_blackhole():
    finding = one(OPENING + "60 > PA 900\n110 < A\n" + "\n".join(
        f"{time} > PA 800 off=900" for time in (200, 450, 850, 1650, 3250)
    ))  # fmt: skip
    assert (finding.key.kind, finding.key.direction, finding.severity) == ("blackhole", 0, "critical")
    assert (finding.start_ns, finding.end_ns) == (200_000_000, 3_250_000_000)
    assert finding.numbers["retransmissions"] == 4
    assert finding.numbers["is_over"] is False


def test_an_outage_that_ends_is_a_blackhole_that_is_over():
    script = OPENING + "60 > PA 900\n110 < A\n"
    script += "\n".join(f"{time} > PA 800 off=900" for time in (200, 450, 850, 1650)) + "\n1700 < A"
    finding = one(script)
    assert (finding.severity, finding.numbers["is_over"]) == ("warning", True)
    assert finding.end_ns == 1_700_000_000


@pytest.mark.parametrize(
    ("times", "reply"),
    [([450, 850], ""), ([300, 500, 900], ""), ([450, 850, 1650], "{time} > A acked=0")],
    ids=["only twice", "within a second", "the other side is there"],
)
def test_less_than_that_is_no_blackhole(times, reply):
    assert kinds(resent(times, 900, reply)) == []


def test_large_segments_that_vanish_while_small_ones_pass_are_a_path_mtu_blackhole():
    script = OPENING + "60 > PA 100\n110 < PA 300\n160 > PA 100\n"
    script += "\n".join(f"{time} < A 1448 off=300" for time in (210, 450, 900, 1800))
    finding = one(script)
    assert (finding.key.kind, finding.key.direction) == ("path_mtu_blackhole", 1)
    assert finding.numbers["payload_bytes"] == 1448
    assert finding.numbers["largest_acknowledged_bytes"] == 300
    assert finding.confidence == 0.9


def transfer(trips_ms: list[float], size: int = 1460) -> str:
    """Write a transfer that keeps sending, and whose acknowledgments take so long each; more in flight with each."""
    lines = [OPENING, "60 > PA 100 win=500"]
    events: list[tuple[float, str]] = []
    for number, trip in enumerate(trips_ms):
        begin = 100 + 30 * number
        events.append((begin, f"< A {2 * size} off={2 * size * number} acked=100 win=500"))
        events.append((begin + trip, f"> A acked={2 * size * (number + 1)} win=500"))
    lines += [f"{time} {line}" for time, line in sorted(events)]
    return "\n".join(lines)


def test_round_trips_that_rise_with_bytes_in_flight_are_bufferbloat():
    finding = one(transfer([50 + 10 * number for number in range(40)]))
    assert (finding.key.kind, finding.key.direction, finding.severity) == ("bufferbloat", 1, "warning")
    assert finding.numbers["rtt_min_ns"] < 60_000_000
    assert finding.numbers["correlation"] > 0.9
    assert finding.start_ns > 300_000_000


@pytest.mark.parametrize(
    "trips",
    [[50 + 1 * number for number in range(40)], [50 + 12 * number for number in range(15)], [300] * 40],
    ids=["rises little", "few round trips", "far away"],
)
def test_less_than_that_is_no_bufferbloat(trips):
    assert "bufferbloat" not in kinds(transfer(trips))


def test_a_window_closed_while_data_wait_is_a_stall():
    script = OPENING + "60 > PA 100\n110 < PA 1000\n160 > A win=0\n"
    script += (
        "400 < PA 1 off=1000\n401 > A acked=1000 win=0\n900 > A acked=1000 win=500\n950 < PA 1000 off=1000\n1000 > A"
    )
    finding = one(script)
    assert (finding.key.kind, finding.key.direction) == ("zero_window_stall", 1)
    assert (finding.start_ns, finding.end_ns) == (160_000_000, 900_000_000)
    assert finding.numbers["longest_ns"] == 740_000_000


def test_a_window_that_nobody_waits_for_is_no_stall():
    assert kinds(f"{OPENING}\n60 > PA 100\n110 < PA 1000\n160 > A win=0\n900 > A acked=1000 win=500\n950 < FA") == []


def test_a_transfer_that_always_fills_the_window_is_limited_by_it():
    lines = [OPENING.replace("win=500", "win=32").replace("win=65535", "win=4096"), "60 > PA 100 win=32"]
    for number in range(20):
        lines += [f"{100 + 50 * number} < A 2048 off={4096 * number} win=500"]
        lines += [f"{100.1 + 50 * number} < A 2048 off={4096 * number + 2048} win=500"]
        lines += [f"{149 + 50 * number} > A acked={4096 * (number + 1)} win=32"]
    finding = one("\n".join(lines))
    assert (finding.key.kind, finding.key.direction, finding.severity) == ("window_limited", 1, "info")
    assert finding.numbers["window_max_bytes"] == 4096
    assert finding.numbers["window_limited_ns"] > 900_000_000


def told(*scripts: str) -> str:
    """Give the sentence of the only finding."""
    return str(written([one(*scripts)]).summary[0], "utf-8")


def test_captured_at_the_receiver_a_window_each_round_trip_is_told_by_what_came():
    lines = ["0 > S seq=1000 mss=1460 ws=7 win=4096", "50 < SA seq=5000 mss=1460 ws=7 win=65535", "50 > A win=32"]
    lines += ["50 > PA 100 win=32"]
    for number in range(40):
        begin = 100 + 50 * number
        lines += [f"{begin} < A 2048 off={4096 * number + half} win=500" for half in (0, 2048)]
        lines += [f"{begin} > A acked={4096 * (number + 1)} win=32"]
    finding = one("\n".join(lines))
    assert (finding.key.kind, finding.numbers["window_limited_ns"], finding.numbers["non_idle_ns"]) == (
        "window_limited", None, None,
    )  # fmt: skip
    assert finding.numbers["bytes_per_round_trip"] == pytest.approx(4096, rel=0.1)
    assert told("\n".join(lines)).endswith("window of 4.00 KiB held the sender back to 3.90 KiB in each round trip")


def test_captured_at_the_receiver_a_queue_is_told_by_round_trips_of_timestamps():
    lines = ["0 > S seq=1000 mss=1460 ws=7 ts=1/0", "50 < SA seq=5000 mss=1460 ws=7 ts=1/1", "50 > A ts=2/1 win=500"]
    lines += ["50 > PA 100 ts=2/1 win=500"]
    stamps = [(50, 2)]  # when the receiver stamped what
    for number in range(200):
        now = 100 + 10 * number
        behind = min(200, 50 + 5 * max(number - 20, 0))  # the round trip that this segment ends
        echoed = max((s for s in stamps if s[0] <= now - behind), default=stamps[0])[1]
        lines += [f"{now} < A 1460 off={1460 * number} win=500 ts={now}/{echoed}"]
        lines += [f"{now} > A acked={1460 * (number + 1)} win=500 ts={now}/{now}"]
        stamps.append((now, now))
    finding = one("\n".join(lines))
    assert (finding.key.kind, finding.numbers["rtt_p95_ns"], finding.numbers["correlation"]) == (
        "bufferbloat", None, None,
    )  # fmt: skip
    assert told("\n".join(lines)) == "round trips by the receiver's timestamps rise from 50.0 ms to 200 ms"


def nagle(times: int, wait_ms: float = 40) -> str:
    lines = [OPENING]
    for number in range(times):
        begin = 100 + 200 * number
        lines += [f"{begin} > PA 60", f"{begin + 50 + wait_ms} < A", f"{begin + 50 + wait_ms + 0.1} > PA 60"]
        lines += [f"{begin + 150} < PA 200"]
    return "\n".join(lines)


def test_small_segments_that_wait_for_delayed_acknowledgments_are_a_finding():
    finding = one(nagle(4))
    assert (finding.key.kind, finding.key.direction, finding.numbers["times"]) == ("nagle_delayed_ack", 0, 4)


def test_twice_or_without_delay_is_none():
    assert kinds(nagle(2)) == []
    assert kinds(nagle(4, 5)) == []


def test_a_request_after_an_answer_waited_for_the_answer_and_not_for_an_acknowledgment():
    # The server thinks for a little longer than it delays its acknowledgments; the client asks again at once.
    lines = [OPENING]
    for number in range(5):
        begin = 100 + 90 * number
        lines += [f"{begin} > PA 60", f"{begin + 89.7} < A", f"{begin + 89.8} < PA 200"]
    assert kinds("\n".join([*lines, "600 > PA 60"])) == []
    assert kinds("\n".join(line for line in lines if "PA 200" not in line)) == ["nagle_delayed_ack"]


def burst(begin_ms: float, offset: int, segments: int) -> tuple[list[str], int]:
    lines = [f"{begin_ms + 0.01 * i} < A 1448 off={offset + 1448 * i} acked=100 win=500" for i in range(segments)]
    lines.append(f"{begin_ms + 50} > A acked={offset + 1448 * segments} win=9000")
    return lines, offset + 1448 * segments


@pytest.mark.parametrize(("again", "expected"), [(10, ["slow_start_after_idle"]), (40, [])])
def test_a_sender_that_begins_slowly_after_each_pause_is_a_finding(again, expected):
    lines, offset = [OPENING, "60 > PA 100 win=9000"], 0
    for round_number in range(3):
        start = 100 + 1500 * round_number
        for trip, segments in enumerate((again if round_number else 10, 20, 40)):
            more, offset = burst(start + 50.2 * trip, offset, segments)
            lines += more
    assert kinds("\n".join(lines)) == expected


def test_a_syn_that_was_lost():
    finding = one("0 > S seq=1\n1000 > S seq=1\n1050 < SA\n1050 > A\n1060 > PA 100\n1110 < PA 100\n1160 > A")
    assert (finding.key.kind, finding.numbers["connect_attempts"]) == ("syn_loss", 2)
    assert finding.key.direction == -1  # a SYN or its answer: nobody can tell


def test_a_syn_ack_that_was_lost_behind_the_capture_point():
    finding = one("""
        0 > S seq=1 \n 0.1 < SA seq=5 \n 1000 > S seq=1 \n 1000.1 < SA seq=5 \n 1020 < SA seq=5 \n 1050 > A
        1060 > PA 100 \n 1061 < PA 100 \n 1160 > A
    """)
    assert (finding.key.kind, finding.numbers["syns"], finding.numbers["connect_attempts"]) == ("syn_loss", 2, 1)
    assert finding.numbers["server_control_retransmissions"] == 2


def test_a_syn_ack_that_was_late_and_one_that_was_needless_are_no_loss():
    talk = "1050 > A\n1060 > PA 100\n1061 < PA 100\n1160 > A"
    # The client's timer was too short, and the server knew that its answer had arrived.
    assert kinds("0 > S seq=1\n0.1 < SA seq=5\n1000 > S seq=1\n" + talk) == []
    assert kinds("0 > S seq=1\n0.1 < SA seq=5\n1000 < SA seq=5\n" + talk) == []


def test_a_handshake_that_the_server_dropped_is_its_full_queue():
    finding = one(OPENING + "1050 < SA seq=5000 mss=1460 ws=7 win=65535 sackok\n1050 > A acked=0 win=500")
    assert (finding.key.kind, finding.key.direction, finding.severity) == ("listen_overflow", -1, "critical")


def untaken(begin_ms: float) -> str:
    """Write a connection whose first data have no answer, captured at the client."""
    times = (60, 260, 700, 1500, 3100)
    return "\n".join(
        [f"{begin_ms} > S seq=1000\n{begin_ms + 50} < SA seq=5000\n{begin_ms + 50} > A"]
        + [f"{begin_ms + time} > PA 200 off=0" for time in times]
    )


def taken(begin_ms: float, data: str = "") -> str:
    """Write a connection whose first request is answered."""
    times = [begin_ms + time for time in (0, 50, 50, 60, 110)]
    return "{} > S\n{} < SA\n{} > A\n{} > PA 200\n{} < PA 200\n".format(*times) + data


def test_first_data_without_an_answer_on_many_connections_are_a_full_queue_and_no_blackhole():
    scripts = [taken(0), taken(5), *(untaken(10 + 5 * n) for n in range(4))]
    finding = one(*scripts)
    assert (finding.key.kind, finding.connections) == ("listen_overflow", 4)
    assert finding.numbers["handshakes_not_taken_up"] == 4
    assert kinds(*scripts[:-1]) == ["blackhole"]  # three may be the path


def test_one_at_the_server_is_enough():
    assert kinds(untaken(0).replace("50 < SA", "0.1 < SA")) == ["listen_overflow"]


def test_what_was_not_taken_up_for_a_moment_after_dropped_syns_is_no_loss_on_the_way():
    script = """
        0 > S seq=1000 \n 1000 > S seq=1000 \n 3000 > S seq=1000 \n 3050 < SA \n 3050 > A \n 3060 > PA 200
        3270 > PA 200 off=0 \n 3320 < A \n 3330 < PA 200 \n 3380 > A
    """
    assert kinds(script) == ["syn_loss"]
    assert kinds(*[script] * 4) == ["listen_overflow"]


def test_later_data_without_an_answer_are_the_path():
    later = [taken(5 * n, "\n".join(f"{5 * n + t} > PA 200 off=200" for t in (200, 400, 850, 1650))) for n in range(5)]
    assert kinds(*later) == ["blackhole"]


def test_refused_connections_are_one_finding_of_their_service():
    finding = one(*["0 > S\n1 < RA"] * 7)
    assert (finding.key.kind, finding.connections) == ("refused", 7)
    assert len(finding.examples) == 5


def test_syns_without_an_answer():
    finding = one("0 > S seq=1\n1000 > S seq=1\n3000 > S seq=1")
    assert (finding.key.kind, finding.numbers["waited_ns"]) == ("unanswered", 3_000_000_000)
    assert kinds("0 > S seq=1") == []


def test_many_resets_at_once_are_a_storm():
    scripts = [f"{n} > S\n{n + 1} < SA\n{n + 1} > A\n{n + 2} > PA 10\n{n + 3} < RA" for n in range(0, 180, 10)]
    finding = one(*scripts)
    assert (finding.key.kind, finding.key.direction, finding.connections) == ("reset_storm", 1, 18)
    assert kinds(*scripts[:14]) == []


def test_connections_that_only_one_side_closed_are_a_leak():
    scripts = [f"{n} > S\n{n + 1} < SA\n{n + 1} > A\n{n + 2} > FA\n{n + 3} < A" for n in range(4)]
    last = "0 > S\n1 < SA\n1 > A\n5000 > PA 10\n5001 < A"
    finding = one(*scripts, last)
    assert (finding.key.kind, finding.key.direction, finding.connections) == ("half_open_leak", 1, 4)
    assert kinds(*scripts) == []  # nothing tells that time went on


def test_of_one_direction_alone_nobody_knows_whether_the_other_closed():
    last = "0 > S\n1 < SA\n1 > A\n9000 > PA 10\n9001 < A"
    half = "0 < SA seq=5000\n20 < PA 100\n30 < FA"
    assert set(kinds(half, half, half, half, last)) == {"one_way_capture"}


def test_one_direction_alone_was_captured():
    finding = one("0 > A seq=1000\n10 > PA 100\n20 > PA 100\n30 > A")
    assert (finding.key.kind, finding.severity) == ("one_way_capture", "info")


def test_connections_that_live_hardly_longer_than_it_takes_to_open_them_are_churn():
    scripts = [
        f"{n} > S\n{n + 20} < SA\n{n + 20} > A\n{n + 20} > PA 10\n{n + 41} < PA 10\n"
        f"{n + 42} > FA\n{n + 62} < FA\n{n + 62} > A"
        for n in range(0, 2500, 100)
    ]
    finding = one(*scripts)
    assert (finding.key.kind, finding.severity, finding.connections) == ("connection_churn", "info", 25)


def test_findings_are_sorted_worst_first_and_say_why():
    collection = FindingTable()
    assert len(collection.table()) == 0
    scripts = ["0 > S\n1 < RA"] * 3 + ["0 > S seq=1\n1000 > S seq=1\n3000 > S seq=1"]
    findings = found(*scripts)
    assert [f.severity for f in findings] == sorted(
        (f.severity for f in findings), key=["critical", "warning", "info"].index
    )
    assert all(f.rule for f in findings)


def test_every_kind_has_a_sentence():
    from tcpsight.findings import _SENTENCES

    assert set(_SENTENCES) == set(FINDINGS)


def test_evidence_is_json_that_fits():
    from tcpsight.findings import _write

    table = Findings.allocate(1)
    finding = one("0 > S seq=1\n1000 > S seq=1\n3000 > S seq=1")
    _write(table, 0, finding)
    evidence = json.loads(table.evidence[0])
    assert evidence["rule"] == finding.rule
    assert evidence["connect_attempts"] == 3
    assert table.subject[0] == b"10.0.0.9:80"
