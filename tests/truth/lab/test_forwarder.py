"""Each rule of the path, on packets made by hand: no privileges, no kernel in between.

The forwarder does not know TUN devices: it reads and writes packets from descriptors, here two pairs of sockets.
"""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import require_program
from tests.truth.lab.path import DOWN, FATES, UP, Direction, Forwarder, Link, build

MS = 1_000_000
MTU = 1500
NO_OFFLOAD = bytes(10)
TCP_V4, TCP_V6, NEEDS_CSUM = 1, 4, 1  # virtio: VIRTIO_NET_HDR_GSO_TCPV4, _TCPV6, VIRTIO_NET_HDR_F_NEEDS_CSUM
SYN, PSH, FIN, ACK = 2, 8, 1, 16
PORTS = (40000, 80)


def segment(
    offset: int,
    payload: int = 0,
    flags: int = ACK,
    *,
    isn: int = 1000,
    ports: tuple[int, int] = PORTS,
    version: int = 4,
) -> bytes:
    """Make a packet of a stream: offset 0 is the first byte, the SYN is at −1."""
    tcp = struct.pack(">HHIIBBHHH", *ports, (isn + 1 + offset) % 2**32, 1, 5 << 4, flags, 65535, 0, 0) + bytes(payload)
    if version == 6:
        return struct.pack(">IHBB", 6 << 28, len(tcp), 6, 64) + bytes(range(32)) + tcp
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(tcp), 7, 0, 64, 6, 0) + bytes((10, 0, 0, 1, 10, 0, 0, 2)) + tcp


@dataclass
class Ends:
    """Both ends of a running path, and its log when it has ended."""

    client: socket.socket
    server: socket.socket
    log: np.ndarray[Any, Any]

    def send(self, packets: Iterable[bytes], *, direction: int = UP, gap_s: float = 0.0) -> None:
        end = self.client if direction == UP else self.server
        for packet in packets:
            end.send(NO_OFFLOAD + packet)
            time.sleep(gap_s)  # gaps are what is tried

    def received(self, direction: int = UP) -> list[bytes]:
        """Give what has come out."""
        end = self.server if direction == UP else self.client
        found: list[bytes] = []
        while True:
            try:
                data = end.recv(70000)
            except BlockingIOError:
                return found
            if not data:  # the path has ended
                return found
            found.append(data[len(NO_OFFLOAD) :])

    @property
    def fates(self) -> list[str]:
        return [FATES[f] for f in self.log["fate"]]


@pytest.fixture(scope="module")
def program() -> Path:
    require_program("cc")
    return build()


@contextmanager
def path(program: Path, folder: Path, link: Link, *, wait_s: float = 0.08) -> Iterator[Ends]:
    """Run a path; the log is there when the block has ended and `wait_s` have passed."""
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
    for pair in pairs:
        for end in pair:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        pair[0].setblocking(False)
    forwarder = Forwarder(program, (pairs[0][1].fileno(), pairs[1][1].fileno()), link, folder)
    ends = Ends(pairs[0][0], pairs[1][0], np.zeros(0))
    try:
        yield ends
        time.sleep(wait_s)  # delays of the path are what is tried
    finally:
        ends.log = forwarder.finish()
        pairs[0][1].close()
        pairs[1][1].close()


def test_packets_arrive_whole_in_order_and_not_before_their_delay(program: Path, tmp_path: Path) -> None:
    packets = [segment(100 * i, 100) for i in range(50)]
    with path(program, tmp_path, Link(Direction(delay_ns=5 * MS))) as ends:
        ends.send(packets)
    assert ends.received() == packets
    assert (ends.log["due_ns"] - ends.log["in_ns"] == 5 * MS).all()
    assert (ends.log["out_ns"] >= ends.log["due_ns"]).all()


def test_directions_have_rules_of_their_own(program: Path, tmp_path: Path) -> None:
    with path(program, tmp_path, Link(down=Direction(mtu=500))) as ends:
        ends.send([segment(0, 1000)])
        ends.send([segment(0, 1000), segment(0, 100)], direction=DOWN)
    assert len(ends.received(UP)) == 1
    assert ends.received(DOWN) == [segment(0, 100)]
    assert sorted(ends.fates) == ["forwarded", "forwarded", "mtu"]


def test_a_bottleneck_lets_bits_out_at_its_rate(program: Path, tmp_path: Path) -> None:
    rate = 40_000_000
    with path(program, tmp_path, Link(Direction(rate=rate))) as ends:
        ends.send([segment(1460 * i, 1460) for i in range(40)])
    waits = np.diff(ends.log["due_ns"])
    queued = ends.log["queued"][1:] > MTU
    assert waits[queued] == pytest.approx(MTU * 8e9 / rate, abs=5000)


def test_a_full_queue_drops_what_comes(program: Path, tmp_path: Path) -> None:
    with path(program, tmp_path, Link(Direction(rate=1_000_000, queue=5 * MTU))) as ends:
        ends.send([segment(1460 * i, 1460) for i in range(20)])
    for i, one in enumerate(ends.log):
        before = ends.log[:i]
        waiting = before[(before["fate"] == 0) & (before["due_ns"] > one["in_ns"])]["wire_bytes"].sum()
        assert (FATES[one["fate"]] == "queue") == (waiting + MTU > 5 * MTU)
    assert ends.fates[:5] == ["forwarded"] * 5
    assert "queue" in ends.fates


def test_a_shaper_lets_a_burst_through_first(program: Path, tmp_path: Path) -> None:
    with path(program, tmp_path, Link(Direction(rate=2_000_000, burst=10 * MTU))) as ends:
        ends.send([segment(1460 * i, 1460) for i in range(20)])
    waits = ends.log["due_ns"] - ends.log["in_ns"]
    assert (waits[:10] == 0).all()
    queued = ends.log["queued"][1:] > MTU
    assert queued.any()
    assert np.diff(ends.log["due_ns"])[queued][1:] == pytest.approx(MTU * 8e9 / 2e6, abs=5000)


def test_a_policer_passes_its_burst_and_then_its_rate(program: Path, tmp_path: Path) -> None:
    rate, burst = 4_000_000, 10 * MTU
    with path(program, tmp_path, Link(Direction(policer_rate=rate, policer_burst=burst))) as ends:
        ends.send([segment(1460 * i, 1460) for i in range(200)], gap_s=0.0002)
    tokens, last_ns = float(burst), int(ends.log["in_ns"][0])
    for one in ends.log:
        tokens, last_ns = min(burst, tokens + (int(one["in_ns"]) - last_ns) * rate / 8e9), int(one["in_ns"])
        if abs(tokens - MTU) > 50:  # nearer than the clocks agree
            assert (FATES[one["fate"]] == "forwarded") == (tokens >= MTU)
        tokens -= MTU if FATES[one["fate"]] == "forwarded" else 0
    assert ends.fates[:10] == ["forwarded"] * 10
    assert "policer" in ends.fates


def test_listed_segments_are_lost_as_often_as_was_said(program: Path, tmp_path: Path) -> None:
    stream = [segment(-1, flags=SYN), *[segment(100 * i, 100) for i in range(6)]]
    with path(program, tmp_path, Link(Direction(listed=(2, 5), listed_copies=2))) as ends:
        ends.send([*stream, segment(100, 100), segment(100, 100), segment(0, 100)])
    lost = [bool(f) for f in ends.log["fate"]]
    assert lost == [False, False, True, False, False, True, False, True, False, False]
    assert set(ends.fates) == {"forwarded", "listed"}


def test_tails_are_lost_once(program: Path, tmp_path: Path) -> None:
    stream = [segment(-1, flags=SYN), *[segment(100 * i, 100) for i in range(6)], segment(500, 100)]
    with path(program, tmp_path, Link(Direction(tail_from=500))) as ends:
        ends.send(stream)
    assert ends.fates == ["forwarded"] * 6 + ["tail", "forwarded"]


def test_syns_are_lost_per_connection(program: Path, tmp_path: Path) -> None:
    first, second = [segment(-1, flags=SYN, isn=1)], [segment(-1, flags=SYN, isn=9, ports=(40001, 80))]
    with path(program, tmp_path, Link(Direction(syn=2))) as ends:
        ends.send(first * 3 + second * 3 + [segment(-1, flags=SYN, isn=5)])
    assert ends.fates == ["syn", "syn", "forwarded"] * 2 + ["syn"]


def test_sequence_numbers_may_wrap(program: Path, tmp_path: Path) -> None:
    isn = 2**32 - 150
    stream = [segment(-1, flags=SYN, isn=isn), *[segment(100 * i, 100, isn=isn) for i in range(4)]]
    with path(program, tmp_path, Link(Direction(listed=(3,)))) as ends:
        ends.send([*stream, segment(200, 100, isn=isn)])
    assert ends.fates == ["forwarded"] * 3 + ["listed"] + ["forwarded"] * 2


def test_an_outage_begins_behind_its_mark_on_both_sides(program: Path, tmp_path: Path) -> None:
    rules = Direction(outage_after=250, outage_ns=10**12, outage_both=True)
    with path(program, tmp_path, Link(rules)) as ends:
        ends.send([segment(-1, flags=SYN), *[segment(100 * i, 100) for i in range(5)]])
        time.sleep(0.01)  # behind what went the other way
        ends.send([segment(0, 10, ports=PORTS[::-1])], direction=DOWN)
    assert ends.fates == ["forwarded"] * 3 + ["outage"] * 4


def test_chance_is_the_seed_s_and_about_what_was_said(program: Path, tmp_path: Path) -> None:
    packets = [segment(100 * i, 100) for i in range(500)]
    fates = []
    for seed in (3, 3, 4):
        with path(program, tmp_path, Link(Direction(loss=0.2), seed=seed)) as ends:
            for some in range(0, 500, 50):
                ends.send(packets[some : some + 50])
                time.sleep(0.002)  # no faster than the path takes packets
                ends.received()
        fates.append(ends.fates)
    assert fates[0] == fates[1] != fates[2]
    assert 60 < fates[0].count("random") < 140


def test_bursts_of_loss_come_together(program: Path, tmp_path: Path) -> None:
    with path(program, tmp_path, Link(Direction(to_bad=0.05, to_good=0.25, bad_loss=1), seed=5)) as ends:
        for i in range(0, 1000, 50):
            ends.send([segment(100 * i, 100)] * 50)
            time.sleep(0.002)  # no faster than the path takes packets
            ends.received()
    lost = ends.log["fate"] > 0
    runs = np.diff(np.flatnonzero(np.diff(np.concatenate(([0], lost, [0])))))[::2]
    assert 2 < runs.mean() < 7  # 1 / 0.25 packets on average
    assert 0.08 < lost.mean() < 0.27  # 0.05 / (0.05 + 0.25)


def test_jitter_keeps_order_unless_told_otherwise(program: Path, tmp_path: Path) -> None:
    packets = [segment(100 * i, 100) for i in range(100)]
    for keeps in (True, False):
        rules = Direction(delay_ns=MS, jitter_ns=5 * MS, keep_order=keeps)
        with path(program, tmp_path, Link(rules)) as ends:
            ends.send(packets)
        arrived = ends.received()
        assert sorted(arrived) == sorted(packets)
        assert (arrived == packets) == keeps


def test_duplicates_are_logged_as_copies(program: Path, tmp_path: Path) -> None:
    with path(program, tmp_path, Link(Direction(duplicate=0.5))) as ends:
        ends.send([segment(100 * i, 100) for i in range(60)])
    assert len(ends.received()) == 60 + ends.log["copy"].sum()
    assert 15 < ends.log["copy"].sum() < 45


def _sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@pytest.mark.parametrize("version", [4, 6])
def test_super_segments_are_cut_as_a_network_card_does(program: Path, tmp_path: Path, version: int) -> None:
    whole = segment(0, 5001, ACK | PSH | FIN, version=version)
    offload = struct.pack("<BBHHHH", NEEDS_CSUM, TCP_V4 if version == 4 else TCP_V6, 40, 1460, 20, 16)
    with path(program, tmp_path, Link()) as ends:
        ends.client.send(offload + whole)
    parts = ends.received()
    ip = 20 if version == 4 else 40
    assert [len(p) - ip - 20 for p in parts] == [1460, 1460, 1460, 621]
    assert [p[ip + 13] for p in parts] == [ACK, ACK, ACK, ACK | PSH | FIN]
    assert [struct.unpack_from(">I", p, ip + 4)[0] - 1001 for p in parts] == [0, 1460, 2920, 4380]
    for part in parts:
        addresses, tcp = part[12:20] if version == 4 else part[8:40], part[ip:]
        assert _sum(addresses + struct.pack(">II", 6, len(tcp)) + tcp + bytes(len(tcp) & 1)) == 0xFFFF
        if version == 4:
            assert _sum(part[:20]) == 0xFFFF
            assert struct.unpack_from(">H", part, 2)[0] == len(part)
