"""What tcpdump printed twice, once for each interface that a frame passed, counts once."""

from __future__ import annotations

from pathlib import Path

import pytest

import tcpsight

CONVERSATION = """
    0.000000 > Flags [S], seq 1000, win 65535, options [mss 1460,sackOK,TS val 1 ecr 0], length 0
    0.000200 < Flags [S.], seq 5000, ack 1001, win 65535, options [mss 1460,sackOK,TS val 7 ecr 1], length 0
    0.000250 > Flags [.], ack 1, win 65535, options [nop,nop,TS val 1 ecr 7], length 0
    0.010000 > Flags [P.], seq 1:101, ack 1, win 65535, options [nop,nop,TS val 2 ecr 7], length 100
    0.017000 < Flags [P.], seq 1:501, ack 101, win 65535, options [nop,nop,TS val 8 ecr 2], length 500
    0.017100 > Flags [.], ack 501, win 65535, options [nop,nop,TS val 3 ecr 8], length 0
    0.020000 > Flags [P.], seq 101:201, ack 501, win 65535, options [nop,nop,TS val 4 ecr 8], length 100
    0.220000 > Flags [P.], seq 101:201, ack 501, win 65535, options [nop,nop,TS val 5 ecr 8], length 100
    0.221000 < Flags [P.], seq 501:1001, ack 201, win 65535, options [nop,nop,TS val 9 ecr 5], length 500
"""
ENDS = {">": "10.0.0.1.40000 > 10.0.0.2.3306", "<": "10.0.0.2.3306 > 10.0.0.1.40000"}
BRIDGED = ("eth0  In  ", "br0   Out ")
SENT_AGAIN = {"client_segments": 6, "client_retransmissions": 1}
"""A repetition on the same interface 200 ms later was sent twice."""


def printed(interfaces: tuple[str, ...], is_quiet: bool) -> str:
    lines = []
    for line in CONVERSATION.strip().splitlines():
        time, side, words = line.split(maxsplit=2)
        if is_quiet:
            words = "tcp " + words.rpartition(" ")[2]
        for index, interface in enumerate(interfaces):
            microseconds = int(time[2:]) + 10 * index
            lines.append(f"2026-01-01 00:00:00.{microseconds:06} {interface}IP {ENDS[side]}: {words}\n")
    return "".join(lines)


def connection_and_requests(path: Path, text: str) -> tuple[dict[str, object], list[dict[str, object]]]:
    path.write_text(text)
    capture = tcpsight.open(path)
    (connection,) = capture.connections.to_arrow().to_pylist()
    connection.pop("end_ns"), connection.pop("duration_ns")
    requests = capture.requests.to_arrow()
    return connection, requests.select(["request_bytes", "response_bytes", "response_time_ns"]).to_pylist()


@pytest.mark.parametrize(
    ("interfaces", "is_quiet"),
    [(BRIDGED, False), (BRIDGED, True), (("", ""), False)],
    ids=["named", "lengths", "unnamed"],
)
def test_a_text_of_two_interfaces_gives_what_the_text_of_one_gives(interfaces, is_quiet, tmp_path):
    once, requests = connection_and_requests(tmp_path / "once", printed(("",), is_quiet))
    twice, same_requests = connection_and_requests(tmp_path / "twice", printed(interfaces, is_quiet))
    assert (once.pop("duplicates"), twice.pop("duplicates")) == (0, 9)
    once.pop("connection_id"), twice.pop("connection_id")
    assert {key: (value, twice[key]) for key, value in once.items() if value != twice[key]} == {}
    assert requests == same_requests
    if not is_quiet:
        assert once.items() >= SENT_AGAIN.items()
