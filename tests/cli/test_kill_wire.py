"""``tcpsight kill -i``: connections that pass an interface end by exact RSTs, and no others do."""

from __future__ import annotations

import json
import os
import pty
import re
import socket
import subprocess
import time
from contextlib import ExitStack, suppress
from functools import partial

import pytest

from tcpsight.local.resets import Made, RawSender
from tcpsight.tables import FLAG_RST, IPV4_PREFIX
from tests.cli.running import COMMAND, Here, process
from tests.cli.test_kill import assert_only_ended
from tests.support.local_connections import Pair, pair_elsewhere, ports_of_connections
from tests.support.packet_sockets import wait_until_it_captures

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network_with_ipv6")]


def record(path: str) -> subprocess.Popen[bytes]:
    command = ["python", "-m", "tcpsight", "capture", "-i", "lo", "-w", path]
    started = subprocess.Popen(command, stderr=subprocess.PIPE)
    wait_until_it_captures(started)
    return started


def stopped(started: subprocess.Popen[bytes]) -> None:
    time.sleep(0.4)  # what the kernel holds is given in blocks
    started.terminate()
    started.communicate(timeout=20)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_busy_ones_that_are_seen_end_and_others_do_not(here: Here, host):
    pairs = [Pair(host) for _ in range(4)]
    for pair in pairs:
        pair.keep_busy()
    ports = f"{pairs[1].port}, {pairs[2].port}"
    done = here("kill", "-i", "lo", "--listen", "500ms", "--where", f"server_port in ({ports})", "--yes")
    assert done.status == 0, done.err
    assert len(re.findall(" ended: ", done.err)) == 2
    assert_only_ended(pairs, pairs[1:3])
    for pair in pairs:
        pair.close()


def test_who_looks_for_a_silent_one_is_told_where_it_is_found(here: Here):
    pair = Pair()
    pair.exchange(10)
    done = here("kill", "-i", "lo", "--listen", "100ms", "--where", f"server_port = {pair.port}", "--yes")
    assert "no connection is chosen; nothing was ended" in done.err
    assert "only those were looked at that spoke within 100 ms (--listen); silent ones are in a capture" in done.err
    pair.close()


def test_a_condition_that_makes_no_sense_is_told_before_anybody_listens(here: Here):
    begin = time.monotonic()
    done = here("kill", "-i", "lo", "--listen", "20s", "--where", "nothing = 1", "--yes")
    assert (done.status, "no column 'nothing'" in done.err) == (2, True)
    assert time.monotonic() - begin < 15


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_idle_ones_of_a_capture_end_by_numbers_that_are_asked_for(here: Here, host, tmp_path):
    path = str(tmp_path / "idle.pcap")
    recording = record(path)
    pairs = [Pair(host) for _ in range(3)]
    for pair in pairs:
        pair.exchange(1000)
    stopped(recording)
    for pair in pairs:
        pair.exchange(500)  # the numbers of the capture are old
    arguments = ["kill", "--capture", path, "--where", f"server_port = {pairs[1].port}"]
    listed = here(*arguments, "--dry-run", "--format", "jsonl")
    assert listed.status == 0
    row = json.loads(listed.out)
    server_isn, client_isn = row["server_isn"], row["client_isn"]
    assert f"to the server needs sequence number {(client_isn + 1001) % 2**32}, " in listed.err
    assert f"to the client {(server_isn + 1001) % 2**32}" in listed.err
    done = here(*arguments, "-i", "lo", "--listen", "100ms", "--yes")
    assert done.status == 0, done.err
    assert " ended: " in done.err
    assert_only_ended(pairs, [pairs[1]])
    for pair in pairs:
        pair.close()


def test_a_connection_that_has_ended_or_been_replaced_is_told_as_that(here: Here, tmp_path):
    path = str(tmp_path / "old.pcap")
    recording = record(path)
    pair = Pair()
    pair.exchange(10)
    port = pair.client.getsockname()[1]
    stopped(recording)
    # Another connection between the same endpoints.
    server_port = pair.port
    for each in (pair.client, pair.server):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        each.close()
    pair.close()
    with socket.socket() as listener, socket.socket() as client:
        for each in (listener, client):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", server_port))
        listener.listen()
        client.bind(("127.0.0.1", port))
        client.connect(("127.0.0.1", server_port))
        with listener.accept()[0] as server:
            done = here("kill", "--capture", path, "-i", "lo", "--listen", "100ms", "--state", "open", "--yes")
            assert done.status == 0, done.err
            assert "spared (its numbers are those of another connection)" in done.err
            client.sendall(b"x")
            assert server.recv(1) == b"x"


def test_an_idle_one_that_speaks_is_spared(here: Here, tmp_path):
    path = str(tmp_path / "idle.pcap")
    recording = record(path)
    pair = Pair()
    pair.exchange(10)
    time.sleep(1)  # idle, in capture time
    stopped(recording)
    pair.keep_busy()
    done = here("kill", "--capture", path, "-i", "lo", "--listen", "100ms", "--idle", "200ms", "--yes")
    assert done.status == 0, done.err
    assert "no connection is chosen" in done.err or "spared (it is idle no longer)" in done.err
    assert pair.is_alive
    pair.close()


def test_the_session_that_it_is_called_from_is_left_out(here: Here, monkeypatch):
    pairs = [Pair(), Pair()]
    for pair in pairs:
        pair.keep_busy()
    port = pairs[0].client.getsockname()[1]
    monkeypatch.setenv("SSH_CONNECTION", f"127.0.0.1 {port} 127.0.0.1 {pairs[0].port}")
    done = here("kill", "-i", "lo", "--listen", "500ms", "--state", "open", "--yes")
    assert done.status == 0, done.err
    assert "your own session" in done.err
    assert_only_ended(pairs, [pairs[1]])
    for pair in pairs:
        pair.close()


def test_a_connection_whose_hosts_say_nothing_is_not_confirmed(here: Here, tmp_path):
    path = str(tmp_path / "silent.pcap")
    recording = record(path)
    pair = Pair()
    pair.exchange(10)
    stopped(recording)
    subprocess.run(["ip", "link", "set", "dev", "lo", "down"], check=True)
    subprocess.run(["ip", "link", "add", "name", "v0", "type", "veth", "peer", "name", "v1"], check=True)
    for words in ("link set dev v0 up", "link set dev v1 up", "route add 127.0.0.1/32 dev v0"):
        subprocess.run(["ip", *words.split()], check=False, stderr=subprocess.DEVNULL)
    done = here(
        "kill", "--capture", path, "-i", "v0", "--listen", "100ms", "--within", "300ms", "--state", "open", "--yes"
    )
    assert done.status in (1, 2), done.err
    assert "not confirmed (no answer)" in done.err or "cannot be sent" in done.err
    pair.close()


def test_a_capture_alone_computes_but_does_not_send(here: Here, examples_dir):
    done = here("kill", "--capture", str(next(examples_dir.glob("*.pcap"))), "--state", "open", "--yes")
    assert done.status == 2
    assert "--capture needs -i" in done.err


def test_without_the_right_it_is_said_which_lacks():
    done = process("--version")
    assert done.status == 0
    command = ["setpriv", "--bounding-set=-net_raw", "python", "-m", "tcpsight", "kill", "-i", "lo", "--state", "open"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 2
    assert "CAP_NET_RAW" in told.stderr


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_rst_in_the_window_that_is_not_exact_ends_nothing(host):
    """What the sender sends is taken by the kernel as RFC 5961 has it: the exact number is not luck."""
    pair = Pair(host)
    pair.exchange(100)
    packed = IPV4_PREFIX + socket.inet_aton(host) if "." in host else socket.inet_pton(socket.AF_INET6, host)
    with RawSender() as sender:
        for wrong in (1, 1000, 2**31):
            sender.send(Made((packed, pair.client.getsockname()[1]), (packed, pair.port), wrong, 0, FLAG_RST, 7))
    time.sleep(0.1)  # that nothing happens can only be waited for
    assert pair.is_alive
    pair.close()


def test_frames_are_taken_while_somebody_thinks_and_what_changed_meanwhile_is_left_alone():
    ours, theirs = pty.openpty()
    # To be heard they need not send as fast as they can.
    busy = partial(pair_elsewhere, is_busy=True, pause_s=0.01)
    with ExitStack() as gone, busy() as second, busy() as third:
        first = gone.enter_context(busy())
        arguments = ["kill", "-i", "lo", "--listen", "3s", "--where", f"server_port in ({first}, {second})"]
        asking = subprocess.Popen([*COMMAND, *arguments], stdin=theirs, stdout=subprocess.DEVNULL, stderr=theirs)
        os.close(theirs)
        said = b""
        while b"Write yes" not in said:
            said += os.read(ours, 4096)
        assert b"end these 2 connections" in said  # both were heard
        gone.close()  # while somebody thinks
        time.sleep(1)  # somebody thinks
        os.write(ours, b"yes\n")
        with suppress(OSError):
            while part := os.read(ours, 4096):
                said += part
        text = said.decode()
        assert asking.wait(timeout=30) == 0, text
        assert text.count("not what it was any more, left alone") == 1, text
        assert text.count(" ended: ") == 1
        left = {port for ports in ports_of_connections() for port in ports}
        assert third in left
        assert second not in left
    os.close(ours)
