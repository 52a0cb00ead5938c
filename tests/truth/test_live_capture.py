"""What is captured live is what was sent: every frame once, byte by byte, whatever it went through.

Longer than other files: one interface and its traffic, set up once.
"""

from __future__ import annotations

import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import tcpsight.capture
from tcpsight.capture.live import LiveCapture, open_live
from tcpsight.decode import Decoding
from tcpsight.errors import CaptureError, UsageError
from tests.conftest import require_program
from tests.support.live_network import Listening, cable_end, ip, tun, veth
from tests.support.packet_sockets import wait_until_it_captures
from tests.support.pcap import tcp_frame

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network")]

ENGINES = ("ring", "libpcap")
SOURCE = str(Path(tcpsight.__file__).parents[1])


def frame(number: int, size: int = 60, *, tag: int | None = None, ethertype: int = 0x88B5) -> bytes:
    """Give an Ethernet frame of a kind for experiments that no host answers."""
    addresses = b"\x02\0\0\0\0\x02\x02\0\0\0\0\x01"
    tagged = b"" if tag is None else struct.pack(">HH", 0x8100, tag)
    head = addresses + tagged + struct.pack(">HI", ethertype, number)
    return head + random.Random(number).randbytes(size - len(head))


def segment(number: int, port: int = 80) -> bytes:
    return tcp_frame("10.0.0.1", "10.0.0.2", 40_000, port, number, 1, "PA", bytes(number % 100))


def send(name: str, frames: list[bytes]) -> None:
    with cable_end(name) as end:
        for each in frames:
            end.send(each)


def talk(count: int) -> None:
    """Let datagrams of all sizes go over loopback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i in range(count):
            s.sendto(struct.pack(">I", i) + bytes(i % 1200), ("127.0.0.1", 9))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_frame_on_loopback_is_seen_once(engine):
    capture = open_live(["lo"], expression="udp", snaplen=1514, engine=engine)
    listening = Listening(capture)
    talk(3000)
    got = listening.stop()
    # The kernel answers that nobody listens, by ICMP, which the filter keeps out.
    assert [struct.unpack_from(">I", g.data, 42)[0] for g in got] == list(range(3000))
    assert [len(g.data) for g in got] == [46 + i % 1200 for i in range(3000)]
    assert [g.number for g in got] == list(range(1, 3001))
    assert capture.received == 3000
    assert capture.dropped == 0
    assert not len(capture.unseen.table())


def test_frames_of_a_tcp_connection_are_those_that_tcpdump_writes(tmp_path):
    tcpdump = require_program("tcpdump")
    path = tmp_path / "theirs.pcap"
    command = [tcpdump, "-i", "lo", "-s", "0", "-Z", "root", "-U", "-B", "32768", "-w", str(path), "tcp"]
    theirs = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until_it_captures(theirs)
    listening = Listening(open_live(["lo"], expression="tcp", snaplen=262_144))
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
        for i in range(200):
            client.sendall(bytes(50 * i))
            peer.sendall(b"ok")
            assert client.recv(2) == b"ok"
        for s in (client, peer):
            s.close()
    time.sleep(2.5)  # tcpdump's own ring hands frames over after up to two seconds
    got = listening.stop()
    theirs.terminate()
    theirs.wait(timeout=10)
    with tcpsight.capture.open_capture([path]) as file:
        expected = Counter(bytes(batch.data[p : p + n]) for batch in file for p, n in _places(batch))
    assert Counter(g.data for g in got) == expected
    assert sum(expected.values()) > 400


def _places(batch):
    return zip(batch.position.tolist(), batch.captured_bytes.tolist(), strict=True)


@pytest.mark.parametrize("engine", ENGINES)
def test_frames_come_off_a_cable_byte_by_byte(engine):
    veth("a", "b")
    sent = [frame(i, 60 + i * 7 % 1400) for i in range(5000)]
    listening = Listening(open_live(["b"], snaplen=1514, engine=engine))
    send("a", sent)
    got = listening.stop()
    assert [g.data for g in got] == sent
    assert {g.link_type for g in got} == {1}


def test_frames_are_cut_at_the_snaplen_and_keep_their_length():
    veth("a", "b")
    listening = Listening(open_live(["b"], snaplen=100))
    send("a", [frame(i, 1000) for i in range(10)])
    got = listening.stop()
    assert [(g.data, g.wire_bytes) for g in got] == [(frame(i, 1000)[:100], 1000) for i in range(10)]


def test_frames_of_several_interfaces_come_in_the_order_in_which_they_were_sent():
    veth("a", "b")
    veth("c", "d")
    listening = Listening(open_live(["b", "d"]))
    with cable_end("a") as first, cable_end("c") as second:
        for i in range(4000):
            (first, second)[i % 3 == 1].send(frame(i))
            if i % 500 == 0:
                time.sleep(0.02)  # no faster than the rings are emptied
    got = listening.stop()
    assert [struct.unpack_from(">I", g.data, 14)[0] for g in got] == list(range(4000))
    assert [g.interface for g in got] == [int(i % 3 == 1) for i in range(4000)]
    assert [g.number for g in got] == list(range(1, 4001))


def test_a_silent_interface_holds_the_other_one_up_for_a_moment_only():
    veth("a", "b")
    veth("c", "d")
    listening = Listening(open_live(["b", "d"], wait_ns=20_000_000))
    send("a", [frame(1)])
    deadline = time.monotonic() + 10
    while not listening.frames and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(listening.frames) == 1
    listening.stop()


def test_a_tunnel_device_gives_packets_without_link_header():
    device = tun("tun7")
    packets = [segment(i)[14:] for i in range(500)]
    listening = Listening(open_live(["tun7"]))
    for packet in packets:
        os.write(device, packet)
    got = listening.stop()
    os.close(device)
    assert [g.data for g in got] == [packet[:256] for packet in packets]
    assert {g.link_type for g in got} == {101}


@pytest.mark.parametrize("expression", [None, "udp", "udp and dst port 9", "len > 100 and udp"])
def test_any_sees_each_interface_and_loopback_once(expression):
    veth("a", "b")
    ip("addr add 10.9.0.1/24 dev a")
    capture = open_live(["any"], expression=expression)
    listening = Listening(capture)
    talk(200)
    send("a", [segment(i) for i in range(100)])
    time.sleep(0.1)  # copies of a moment later would be seen
    got = listening.stop()
    assert {g.link_type for g in got} == {276}
    numbers = {name: number for number, name in socket.if_nameindex()}
    on = [(struct.unpack_from(">I", g.data, 4)[0], g.data[10], g.data[20:]) for g in got]
    datagrams = [d for number, _, d in on if number == numbers["lo"] and d[9] == 17]
    sizes = [32 + i % 1200 for i in range(200)]
    seen = [size for size in sizes if expression is None or "len" not in expression or size + 20 > 100]
    assert [struct.unpack_from(">H", d, 2)[0] for d in datagrams] == seen
    # A cable has two ends: it leaves by one (4) and comes in by the other, for somebody else (3).
    segments = Counter(direction for number, direction, d in on if d[9] == 6)
    assert segments == ({3: 100, 4: 100} if expression is None else {})


def test_a_tag_that_the_kernel_took_off_is_there_again():
    veth("a", "b")
    tagged = [frame(i, 80, tag=i + 1) for i in range(50)]
    listening = Listening(open_live(["b"]))
    send("a", tagged)
    assert [(g.data, g.wire_bytes) for g in listening.stop()] == [(each, 80) for each in tagged]


def test_segments_behind_tags_are_decoded():
    veth("a", "b")
    plain = [segment(i) for i in range(20)]
    listening_capture = open_live(["b"])
    send("a", [each[:12] + struct.pack(">HH", 0x8100, 7) + each[12:] for each in plain])
    decoding, found = Decoding(), 0
    listening_capture.stop()
    for batch in listening_capture:
        headers = decoding.feed(batch)
        found += len(headers)
        assert (headers.destination_port == 80).all()
    assert found == 20
    listening_capture.close()


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("tcp port 81", lambda i, tag: i % 3 == 1),  # tags are off when the kernel looks
        ("vlan and tcp port 81", lambda i, tag: i % 3 == 1 and tag),
        ("not vlan", lambda i, tag: not tag),
        ("vlan 7", lambda i, tag: tag),
        ("greater 100", lambda i, tag: i % 100 + 54 + 4 * tag >= 100),
    ],
)
def test_the_filter_lets_through_what_it_says(expression, wanted):
    veth("a", "b")
    listening = Listening(open_live(["b"], expression=expression))
    sent = []
    for i in range(300):
        each, tag = segment(i, 80 + i % 3), i % 5 == 0
        if expression.startswith("greater") and tag:
            continue  # the kernel's length is without the tag
        sent.append((i, each[:12] + struct.pack(">HH", 0x8100, 7) + each[12:] if tag else each, tag))
    send("a", [each for _, each, _ in sent])
    assert [g.data for g in listening.stop()] == [each for i, each, tag in sent if wanted(i, tag)]


@pytest.mark.parametrize(("expression", "wanted"), [("inbound", [1, 3]), ("outbound", [0, 2]), ("not inbound", [0, 2])])
def test_frames_are_told_apart_by_where_they_go(expression, wanted):
    veth("a", "b")
    listening = Listening(open_live(["a"], expression=f"{expression} and ether proto 0x88b5"))
    for i in range(4):
        send("b" if i % 2 else "a", [frame(i)])
    assert [struct.unpack_from(">I", g.data, 14)[0] for g in listening.stop()] == wanted


def test_nothing_that_came_before_the_filter_is_given():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(20):
            capture = open_live(["lo"], expression="tcp")
            s.sendto(b"x", ("127.0.0.1", 9))
            capture.stop()
            assert sum(map(len, capture)) == 0
            assert capture.received == 0
            capture.close()


@pytest.mark.parametrize("engine", ENGINES)
def test_what_a_full_ring_has_no_room_for_is_counted(engine):
    veth("a", "b")
    capture = open_live(["b"], ring_bytes=128 * 1024, engine=engine)
    send("a", [frame(i, 200) for i in range(20_000)])
    given = Listening(capture).stop()
    assert len(given) + capture.dropped == capture.received == 20_000
    assert capture.dropped > 10_000
    assert [g.data for g in given] == [frame(i, 200) for i in range(len(given))]
    (unseen,) = capture.unseen.table()
    assert unseen["count"] == capture.interfaces[0].kernel_drops == capture.dropped


def test_several_rings_that_are_full_give_what_they_hold():
    veth("a", "b")
    veth("c", "d")
    capture = open_live(["b", "d"], ring_bytes=256 * 1024)
    for name in ("a", "c"):
        send(name, [frame(i, 1000) for i in range(5000)])
    listening = Listening(capture)
    time.sleep(0.3)  # what lies in full rings is given first
    send("a", [frame(9000 + i, 100) for i in range(100)])
    got = listening.stop()
    assert len(got) + capture.dropped == capture.received == 10_100
    assert [struct.unpack_from(">I", g.data, 14)[0] for g in got][-100:] == list(range(9000, 9100))


def test_silence_says_how_far_time_has_come_and_is_right():
    listening = Listening(open_live(["lo"], expression="udp", wait_ns=20_000_000))
    chance = random.Random(1)
    for _ in range(30):
        talk(3)
        time.sleep(chance.uniform(0.01, 0.12))  # silence is what is tried
    got = listening.stop()
    assert len(listening.silences) > 5
    for count, until_ns in listening.silences:
        assert all(g.time_ns >= until_ns for g in got[count:])
        assert 0 < time.time_ns() - until_ns < 60 * 10**9
    instants = [until_ns for _, until_ns in listening.silences]
    assert instants == sorted(instants)


def test_stopping_gives_what_came_before():
    veth("a", "b")
    capture = open_live(["b"], wait_ns=10**9)
    send("a", [frame(i) for i in range(100)])
    capture.stop()
    send("a", [frame(1000)])
    assert 100 <= sum(map(len, capture)) <= 101
    capture.close()


def test_an_interface_that_goes_down_and_up_is_captured_from_again():
    veth("a", "b")
    capture = open_live(["b"], wait_ns=20_000_000)
    listening = Listening(capture)
    _send_until(listening, 1)  # what the interface has not handed over when it goes down is lost
    ip("link set dev b down")
    _wait_for(lambda: capture.down == ["b"])
    ip("link set dev b up")
    _wait_for(lambda: not capture.down)
    _send_until(listening, 2)
    assert {1, 2} <= {struct.unpack_from(">I", g.data, 14)[0] for g in listening.stop()}


def test_an_interface_that_is_made_again_is_found_by_its_name():
    veth("a", "b")
    capture = open_live(["b"], wait_ns=20_000_000)
    listening = Listening(capture)
    _send_until(listening, 1)
    ip("link del dev a")
    _wait_for(lambda: capture.down == ["b"])
    veth("a", "b")
    _send_until(listening, 2)
    assert {1, 2} <= {struct.unpack_from(">I", g.data, 14)[0] for g in listening.stop()}


def test_an_interface_that_is_made_again_is_found_while_another_one_is_busy():
    veth("a", "b")
    veth("c", "d")
    capture = open_live(["b", "d"], wait_ns=20_000_000)
    listening = Listening(capture)
    ended = threading.Event()

    def keep_busy() -> None:
        with cable_end("c") as end:
            while not ended.is_set():
                end.send(frame(10**6))
                time.sleep(0.0005)

    busy = threading.Thread(target=keep_busy)
    busy.start()
    try:
        ip("link del dev a")
        _wait_for(lambda: capture.down == ["b"])
        veth("a", "b")
        _send_until(listening, 2)
    finally:
        ended.set()
        busy.join()
    assert 2 in {struct.unpack_from(">I", g.data, 14)[0] for g in listening.stop()}


def _wait_for(true) -> None:
    deadline = time.monotonic() + 20
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _send_until(listening: Listening, number: int) -> None:
    """Send until it comes: what is sent before the interface was found again is not seen."""
    deadline = time.monotonic() + 20
    while number not in [struct.unpack_from(">I", g.data, 14)[0] for g in listening.frames]:
        assert time.monotonic() < deadline
        send("a", [frame(number)])
        time.sleep(0.05)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["nope", "", "a" * 40, "lo\0x", "../lo"])
def test_an_interface_that_is_not_there_is_told(name, engine):
    with pytest.raises((CaptureError, UsageError)) as told:
        open_live([name], engine=engine)
    assert "\n" not in str(told.value)


def test_the_interfaces_that_there_are_are_named():
    veth("a", "b")
    with pytest.raises(CaptureError, match=r"^eth7: there is no such interface; there are lo, b, a, any$"):
        open_live(["eth7"])


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "no interface was named"),
        (["lo", "lo"], "named twice"),
        (["any", "lo"], "'any' is all interfaces"),
        (["lo"] * 65, "named twice"),
        ([f"v{i}" for i in range(65)], "64 are the most"),
    ],
)
def test_interfaces_that_make_no_sense_together_are_refused(names, told):
    with pytest.raises(UsageError, match=told):
        open_live(names)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_filter_that_does_not_compile_is_told_in_a_line(engine):
    with pytest.raises(UsageError, match=r"^the filter 'tcp prt 80' cannot be used: .*syntax error$"):
        open_live(["lo"], expression="tcp prt 80", engine=engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_right_is_told_with_what_to_do(engine):
    setpriv = require_program("setpriv")
    program = f"""
import sys
sys.path.insert(0, {SOURCE!r})
from tcpsight.capture.live import open_live
from tcpsight.errors import CaptureError
try:
    open_live(["lo"], engine={engine!r})
except CaptureError as error:
    print(error)
"""
    # Root without the right: another account may not be able to read this Python.
    command = [setpriv, "--bounding-set=-net_raw", "--inh-caps=-net_raw", sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout.startswith("lo: capturing needs the right CAP_NET_RAW")
    assert "setcap cap_net_raw+ep" in run.stdout


def test_frames_are_handed_over_one_by_one_where_that_is_asked_for():
    listening = Listening(open_live(["lo"], expression="udp", immediate=True, wait_ns=10**9))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for i in range(1, 20):
            s.sendto(b"x", ("127.0.0.1", 9))
            _wait_for(lambda i=i: len(listening.frames) == i)
    assert len(listening.stop()) == 19


@pytest.mark.parametrize("sizes", [{"snaplen": 0}, {"snaplen": 10**6}, {"ring_bytes": 100}, {"ring_bytes": 2**50}])
def test_sizes_that_cannot_be_are_refused(sizes):
    with pytest.raises(UsageError, match=r"can be kept$|are possible$"):
        open_live(["lo"], **sizes)


def test_a_capture_that_was_closed_reads_zeros_and_nothing_else():
    capture: LiveCapture = open_live(["lo"], expression="udp")
    talk(10)
    capture.stop()
    batch = next(frames for frames in capture if len(frames))
    rows, data = batch.rows.copy(), memoryview(batch.data)
    capture.close()
    assert all(data[p : p + n] == bytes(n) for p, n in zip(rows["position"], rows["captured_bytes"], strict=True))
