"""``tcpsight capture``, as a process, on networks of its own."""

from __future__ import annotations

import os
import pty
import re
import resource
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tcpsight.capture import CaptureInterface
from tests.cli.running import COMMAND, assert_one_line, environment, process
from tests.conftest import require_program
from tests.support.capture import read_capture
from tests.support.live_network import ip, tun, veth
from tests.support.packet_sockets import wait_until_it_captures

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network")]

ENDING = re.compile(
    r"tcpsight: (\d+) frames received, (\d+) written to (.*?)(?:, (\d+) left out as asked)?, (\d+) dropped"
)


class Recorder:
    """A recording under way."""

    def __init__(self, *arguments: str | Path, **options: Any) -> None:
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        self.process = subprocess.Popen([*COMMAND, "capture", *map(str, arguments)], **options)
        try:
            wait_until_it_captures(self.process)
        except TimeoutError:
            self.process.kill()
            raise AssertionError(self.process.communicate()[1].decode()) from None
        assert self.process.stderr is not None
        self.first_line = self.process.stderr.readline().decode()

    def end(self, number: int = signal.SIGINT, status: int = 0) -> list[str]:
        """End it; give what it said last."""
        time.sleep(0.3)  # what was sent has come: a signal that overtakes it would only leave it to be drained
        self.process.send_signal(number)
        _, told = self.process.communicate(timeout=30)
        assert self.process.returncode == status, told
        found = ENDING.match(told.decode().splitlines()[-1])
        assert found, told
        return list(found.groups())


def talk(connections: int = 5, exchanges: int = 10, size: int = 300) -> None:
    """Let clients ask a server on loopback, and close."""
    with socket.create_server(("127.0.0.1", 8000), reuse_port=True) as server:
        for _ in range(connections):
            with socket.create_connection(("127.0.0.1", 8000)) as client:
                peer, _ = server.accept()
                with peer:
                    for _ in range(exchanges):
                        client.sendall(b"q" * size)
                        peer.sendall(peer.recv(size, socket.MSG_WAITALL)[:50])
                        assert len(client.recv(50, socket.MSG_WAITALL)) == 50


def header_bytes(frame: bytes) -> int:
    """Tell where the TCP header of an Ethernet frame with IPv4 ends."""
    at = 14 + (frame[14] & 15) * 4
    return at + (frame[at + 12] >> 4) * 4


def test_headers_are_kept_exactly_and_answers_are_those_of_a_whole_capture(tmp_path):
    tcpdump = require_program("tcpdump")
    whole, headers = tmp_path / "whole.pcap", tmp_path / "headers.pcap"
    command = [tcpdump, "-i", "lo", "-Z", "root", "-U", "-j", "host", "--nano", "-w", str(whole), "tcp port 8000"]
    theirs = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until_it_captures(theirs)
    ours = Recorder("-i", "lo", "-w", headers, "tcp", "port", "8000")
    assert ours.first_line == "tcpsight: capturing on lo (Ethernet)\n"
    talk()
    time.sleep(2.5)  # tcpdump's own ring hands frames over after up to two seconds
    theirs.terminate()
    theirs.wait(timeout=10)
    received, written, name, _, dropped = ours.end()
    rows = read_capture(str(headers)).rows
    assert int(received) == int(written) == len(rows) > 100
    assert (name, dropped) == (str(headers), "0")
    assert all(len(row.data) == header_bytes(row.data) for row in rows)
    assert {row.wire_bytes for row in rows} >= {366, 116}
    columns = "request_bytes,response_bytes,client_port,server_port,request_index"
    answers = [process("requests", path, "--format", "csv", "--columns", columns).out for path in (whole, headers)]
    assert answers[0] == answers[1]
    assert answers[0].count(b"\n") == 51


def test_payload_is_kept_when_asked_for(tmp_path):
    path = tmp_path / "trace.pcap"
    recorder = Recorder("-i", "lo", "-w", path, "--payload", "100", "tcp")
    talk()
    recorder.end()
    rows = read_capture(str(path)).rows
    assert {len(row.data) - header_bytes(row.data) for row in rows} == {0, 50, 100}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("name", ["trace.pcap", "trace.pcapng.zst"])
def test_a_signal_ends_it_in_good_order(tmp_path, number, name):
    recorder = Recorder("-i", "lo", "-w", tmp_path / name, "udp")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(100):
            s.sendto(b"x", ("127.0.0.1", 9))
    _, written, *_ = recorder.end(number)
    assert int(written) == len(read_capture(str(tmp_path / name)).rows) == 100


def test_a_kill_leaves_what_came_until_a_second_before(tmp_path):
    path = tmp_path / "trace.pcapng.zst"
    recorder = Recorder("-i", "lo", "-w", path)
    talk()
    deadline = time.monotonic() + 20
    while len(read_capture(str(path)).rows) < 100:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    recorder.process.kill()
    recorder.process.communicate()
    got = read_capture(str(path))
    assert got.error is None
    assert process("report", path).status == 0


def test_it_ends_after_so_many_frames(tmp_path):
    path = tmp_path / "trace.pcap"
    recorder = Recorder("-i", "lo", "-w", path, "-c", "17")
    talk()
    _, told = recorder.process.communicate(timeout=30)
    assert recorder.process.returncode == 0
    assert b", 17 written to" in told
    assert len(read_capture(str(path)).rows) == 17
    # Whatever was received is accounted for.
    last = told.decode().splitlines()[-1]
    received, written, _, left_out, dropped = ENDING.match(last).groups()  # type: ignore[union-attr]
    more = re.search(r"; (\d+) more lay in the ring", last)
    assert int(received) == int(written) + int(left_out or 0) + int(dropped) + int(more[1] if more else 0)


def test_what_the_filter_does_not_ask_for_is_counted_too(tmp_path):
    recorder = Recorder("-i", "lo", "-w", tmp_path / "trace.pcap", "vlan", "or", "tcp", "port", "8000")
    talk()
    recorder.process.send_signal(signal.SIGINT)
    _, told = recorder.process.communicate(timeout=30)
    last = told.decode().splitlines()[-1]
    received, written, *_ = ENDING.match(last).groups()  # type: ignore[union-attr]
    more = re.search(r"; (\d+) more lay in the ring at the end, or are not what the filter asks for", last)
    assert int(received) > 0
    assert int(received) == int(written) + int(more[1] if more else 0)


def test_it_ends_after_so_long(tmp_path):
    outcome = process("capture", "-i", "lo", "-w", tmp_path / "trace.pcap", "--duration", "200ms")
    assert outcome.status == 0
    assert "0 frames received, 0 written" in outcome.err


def test_one_in_so_many_connections_is_kept_whole(tmp_path):
    whole, some = tmp_path / "whole.pcap", tmp_path / "some.pcap"
    both = [Recorder("-i", "lo", "-w", whole), Recorder("-i", "lo", "-w", some, "--sample", "1/4")]
    talk(connections=60)
    both[0].end()
    _, written, _, left_out, _ = both[1].end()
    frames = [[(row.data, row.wire_bytes) for row in read_capture(str(path)).rows] for path in (whole, some)]
    ports = {_port(data) for data, _ in frames[1]}
    assert 4 <= len(ports) <= 28
    assert frames[1] == [(data, wire) for data, wire in frames[0] if _port(data) in ports]
    assert int(written) + int(left_out) == len(frames[0])


def _interfaces(path: Path) -> list[CaptureInterface]:
    capture = read_capture(str(path)).capture
    assert capture is not None
    return capture.interfaces


def _port(frame: bytes) -> int:
    """Tell which client's segment it is."""
    ports = (int.from_bytes(frame[34:36], "big"), int.from_bytes(frame[36:38], "big"))
    return ports[0] if ports[1] == 8000 else ports[1]


def test_only_what_opens_and_closes_connections_is_kept_when_asked_for(tmp_path):
    path = tmp_path / "trace.pcap"
    recorder = Recorder("-i", "lo", "-w", path, "--control")
    talk(connections=7)
    recorder.end()
    flags = [row.data[47] & 7 for row in read_capture(str(path)).rows]
    assert all(flags)
    assert flags.count(2) == 14
    out = process("connections", path, "--format", "csv", "--columns", "client_bytes,server_bytes").text
    assert out.split() == ["client_bytes,server_bytes", *["3000,500"] * 7]


def test_a_set_of_files_is_read_as_one(tmp_path):
    recorder = Recorder("-i", "lo", "-w", tmp_path / "trace.pcapng", "--rotate-size", "20kB")
    talk(connections=30)
    name = recorder.end()[2]
    files = sorted(tmp_path.iterdir())
    assert name.startswith(f"{len(files)} files, the last of them {files[-1]}")
    assert len(files) > 3
    got = process("connections", str(tmp_path / "trace-*"), "--format", "csv", "--columns", "client_bytes,state")
    assert got.text.split() == ["client_bytes,state", *["3000,closed"] * 30]


def test_sighup_begins_another_file(tmp_path):
    path = tmp_path / "trace.pcap"
    recorder = Recorder("-i", "lo", "-w", path)
    talk()
    deadline = time.monotonic() + 20
    while not path.exists() or len(read_capture(str(path)).rows) <= 100:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    path.rename(tmp_path / "moved.pcap")
    recorder.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    talk()
    _, written, *_ = recorder.end()
    rows = [len(read_capture(str(tmp_path / name)).rows) for name in ("moved.pcap", "trace.pcap")]
    assert sum(rows) == int(written)
    assert min(rows) > 100


def test_a_terminal_that_goes_away_ends_it_in_good_order(tmp_path):
    path = tmp_path / "trace.pcap"
    child, ours = pty.fork()
    if child == 0:
        os.execv(COMMAND[0], [*COMMAND, "capture", "-i", "lo", "-w", str(path), "udp"])
    said = b""
    while b"capturing on lo" not in said:
        said += os.read(ours, 1000)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(10):
            s.sendto(b"x", ("127.0.0.1", 9))
    os.close(ours)  # hangs up
    deadline = time.monotonic() + 20
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert os.waitstatus_to_exitcode(ended[1]) == 0
    assert len(read_capture(str(path)).rows) == 10


def test_a_pipe_is_written_as_frames_come():
    recorder = Recorder("-i", "lo", "-w", "-", "tcp")
    assert recorder.process.stdout is not None
    reader = subprocess.Popen(
        [*COMMAND, "requests", "-", "--format", "csv", "--columns", "request_bytes"],
        stdin=recorder.process.stdout,
        stdout=subprocess.PIPE,
    )
    recorder.process.stdout.close()
    recorder.process.stdout = None
    talk()
    recorder.end()
    out, _ = reader.communicate(timeout=30)
    assert out.split() == [b"request_bytes", *[b"300"] * 50]


def test_a_pipe_that_nobody_reads_any_more_ends_it_quietly():
    recorder = Recorder("-i", "lo", "-w", "-", "tcp")
    assert recorder.process.stdout is not None
    recorder.process.stdout.close()
    recorder.process.stdout = None
    talk()
    _, told = recorder.process.communicate(timeout=30)
    assert recorder.process.returncode == 0
    assert ENDING.match(told.decode())
    assert told.count(b"\n") == 1


def test_a_full_disk_ends_it_with_a_file_that_can_be_read(tmp_path):
    path = tmp_path / "trace.pcap"
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # noqa: E731
    recorder = Recorder("-i", "lo", "-w", path, preexec_fn=limit)
    deadline = time.monotonic() + 20
    while recorder.process.poll() is None:
        assert time.monotonic() < deadline
        talk()
        time.sleep(0.05)
    _, told = recorder.process.communicate(timeout=30)
    assert recorder.process.returncode == 2
    assert told.decode().splitlines()[-1] == f"tcpsight: {path}: File too large"
    got = read_capture(str(path))
    assert got.error is None
    assert got.rows


def test_what_was_dropped_is_told_and_stands_in_the_file(tmp_path):
    veth("a", "b")
    path = tmp_path / "trace.pcapng"
    recorder = Recorder("-i", "b", "-w", path, "--ring", "128kB")
    recorder.process.send_signal(signal.SIGSTOP)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
        s.bind(("a", 0))
        for i in range(20_000):
            s.send(bytes(12) + b"\x88\xb5" + i.to_bytes(4, "big") + bytes(42))
    recorder.process.send_signal(signal.SIGCONT)
    received, written, _, _, dropped = recorder.end()
    assert int(received) == int(written) + int(dropped) == 20_000
    assert int(dropped) > 10_000
    (interface,) = _interfaces(path)
    assert interface.kernel_drops == int(dropped)
    assert f"{int(dropped)}" in process("report", path, "--format", "json").text


def test_interfaces_have_their_names_in_the_file(tmp_path):
    veth("a", "b")
    device = tun("tun5")
    path = tmp_path / "trace.pcapng"
    recorder = Recorder("-i", "lo", "-i", "a", "-i", "tun5", "-w", path)
    assert recorder.first_line == "tcpsight: capturing on lo (Ethernet), a (Ethernet), tun5 (raw IP)\n"
    recorder.end()
    os.close(device)
    interfaces = _interfaces(path)
    assert [(i.name, i.link_type) for i in interfaces] == [("lo", 1), ("a", 1), ("tun5", 101)]


def test_a_pcap_file_refuses_interfaces_of_several_kinds(tmp_path):
    device = tun("tun5")
    outcome = process("capture", "-i", "lo", "-i", "tun5", "-w", tmp_path / "trace.pcap")
    os.close(device)
    assert outcome.status == 2
    assert_one_line(outcome.err, "lo, tun5", "pcapng")


def test_an_interface_that_is_down_is_told(tmp_path):
    veth("a", "b")
    ip("link set dev b down")
    recorder = Recorder("-i", "b", "-w", tmp_path / "trace.pcap")
    assert recorder.first_line == "tcpsight: capturing on b (Ethernet, which is down)\n"
    recorder.end()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["-w", "x.pcap"], ["no interface: name one with -i; there are lo, any"]),
        (["-i", "nope", "-w", "x.pcap"], ["nope: there is no such interface; there are lo, any"]),
        (["-i", "lo", "-w", "x.pcap", "tcp", "prt", "80"], ["'tcp prt 80'", "syntax error"]),
        (["-i", "lo", "-w", "x.pcap", "ip", "and", "ip6"], ["it can match nothing on this interface"]),
        (["-i", "lo", "-w", "nowhere/x.pcap"], ["nowhere/x.pcap: No such file or directory"]),
        (["-i", "lo", "-w", "/dev/full"], ["/dev/full: No space left on device"]),
        (["-i", "lo", "-w", ""], ["names no file"]),
        (["-i", "lo"], ["Missing option", "--write"]),
        (["-i", "lo", "-i", "lo", "-w", "x.pcap"], ["named twice"]),
        (["-i", "lo", "-w", "x.pcap", "--sample", "2/3"], ["1/10"]),
        (["-i", "lo", "-w", "x.pcap", "--rotate-size", "big"], ["no size"]),
        (["-i", "lo", "-w", "x.pcap", "--rotate-size", "10"], ["--rotate-size", "552 bytes; 10 are too few"]),
        (["-i", "lo", "-w", "x.pcapng", "--rotate-size", "551"], ["--rotate-size", "551 are too few"]),
        (["-i", "any", "-w", "x.pcapng", "--rotate-size", "10kB"], ["--rotate-size", "10,000 are too few"]),
        (["-i", "lo", "-w", "x.pcap", "--rotate-size", "1kB", "--payload", "1000"], ["1,552 bytes; 1,000 are too few"]),
        (["-i", "lo", "-w", "x.pcap", "--keep-total", "1GB"], ["--rotate-size"]),
        (["-i", "lo", "-w", "x.pcap", "--keep-total", "1GB", "--rotate-size", "1GB"], ["two files"]),
        (["-i", "lo", "-w", "-", "--rotate-size", "1GB"], ["standard output is one file"]),
        (["-i", "lo", "-w", "x.pcap", "--ring", "1kB"], ["a ring of 1,000 bytes"]),
        (["-i", "lo", "-w", "x.pcap", "--ring", "9999TB"], ["a ring of", "are possible"]),
    ],
)
def test_what_cannot_be_done_is_told_in_a_line(arguments, words, tmp_path):
    outcome = process("capture", *arguments, cwd=tmp_path)
    assert outcome.status == 2
    assert_one_line(outcome.err, *words)
    assert not (tmp_path / "x.pcap").exists()


def test_frames_are_not_written_to_a_terminal():
    ours, theirs = pty.openpty()
    run = subprocess.run(
        [*COMMAND, "capture", "-i", "lo", "-w", "-"], stdout=theirs, stderr=subprocess.PIPE, timeout=30, check=False
    )
    for each in (ours, theirs):
        os.close(each)
    assert run.returncode == 2
    assert_one_line(run.stderr.decode(), "terminal")


def test_a_missing_right_is_told_with_what_to_do(tmp_path):
    setpriv = require_program("setpriv")
    # Root without the right: another account may not be able to read this Python.
    command = [setpriv, "--bounding-set=-net_raw", "--inh-caps=-net_raw", *COMMAND]
    run = subprocess.run(
        [*command, "capture", "-i", "lo", "-w", str(tmp_path / "x.pcap")],
        capture_output=True, timeout=30, check=False, env=environment(),
    )  # fmt: skip
    assert run.returncode == 2
    assert_one_line(run.stderr.decode(), "CAP_NET_RAW", "setcap cap_net_raw+ep")
