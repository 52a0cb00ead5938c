"""Sockets of this machine: the numbers are those of ``ss``, and who holds them is told."""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tcpsight.errors import TcpsightError, UsageError
from tcpsight.local import sock_diag
from tcpsight.local.measured import last_slices
from tcpsight.local.processes import holders
from tcpsight.local.reading import read_again, read_sockets
from tcpsight.local.sock_diag import DiagnosticSocket
from tcpsight.tables import SOCKET_STATES, Sockets
from tcpsight.where import Where
from tests.conftest import require_program
from tests.support.local_connections import Pair

HOSTS: dict[str, dict[str, Any]] = {
    "IPv4": {"host": "127.0.0.1"},
    "IPv6": {"host": "::1"},
    "mapped": {"host": "127.0.0.1", "listener": "::"},
}

# Ours, and what ss calls it with its unit.
OF_SS = {
    "congestion_window_segments": ("cwnd", 1),
    "bytes_sent": ("bytes_sent", 1),
    "bytes_acked": ("bytes_acked", 1),
    "bytes_received": ("bytes_received", 1),
    "segments_sent": ("segs_out", 1),
    "segments_received": ("segs_in", 1),
    "mss_bytes": ("mss", 1),
    "path_mtu_bytes": ("pmtu", 1),
    "rto_ns": ("rto", 1e6),
    "rtt_min_ns": ("minrtt", 1e6),
    "window_bytes": ("snd_wnd", 1),
}


pytestmark = pytest.mark.usefixtures("network_with_ipv6")


def row_of(port: int, *, is_server: bool) -> Any:
    sockets = read_sockets().sockets
    ports = sockets.local_port if is_server else sockets.remote_port
    rows = sockets.rows[(ports == port) & (sockets.state == SOCKET_STATES.index("established"))]
    assert len(rows) == 1
    return rows[0]


def lines_of_ss() -> dict[tuple[int, int], str]:
    """Give what ss tells of each connection, by its ports."""
    done = subprocess.run([require_program("ss"), "-tinOHe"], capture_output=True, text=True, check=True)
    found = {}
    for line in done.stdout.splitlines():
        local, remote = line.split()[3:5]
        found[int(local.rpartition(":")[2]), int(remote.rpartition(":")[2])] = line
    return found


@pytest.mark.live
@pytest.mark.parametrize("kind", HOSTS)
def test_numbers_of_a_connection_are_those_of_ss(kind):
    pair = Pair(**HOSTS[kind])
    pair.exchange(100_000)
    time.sleep(0.3)  # delayed acknowledgments have gone
    told = lines_of_ss()
    for is_server in (False, True):
        row = row_of(pair.port, is_server=is_server)
        line = told[int(row["local_port"]), int(row["remote_port"])]
        for ours, (theirs, unit) in OF_SS.items():
            found = re.search(rf" {theirs}:([\d.]+)", line)
            assert (float(found[1]) * unit if found else -1) == row[ours], (ours, line)
        rtt, variation = re.search(r" rtt:([\d.]+)/([\d.]+)", line).groups()  # type: ignore[union-attr]
        assert float(rtt) * 1e6 == row["rtt_ns"]
        assert float(variation) * 1e6 == row["rtt_variation_ns"]
        assert f"ino:{row['inode']} " in line
        assert f"sk:{row['cookie']:x} " in line
    pair.close()


@pytest.mark.live
@pytest.mark.parametrize("kind", HOSTS)
def test_addresses_and_roles_are_told_as_they_are_on_the_wire(kind):
    pair = Pair(**HOSTS[kind])
    client, server = row_of(pair.port, is_server=False), row_of(pair.port, is_server=True)
    expected = bytes(10) + b"\xff\xff" + socket.inet_aton("127.0.0.1") if kind != "IPv6" else bytes(15) + b"\1"
    for row in (client, server):
        assert row["local_address"].tobytes() == row["remote_address"].tobytes() == expected
        assert row["ip_version"] == (6 if kind == "IPv6" else 4)
    assert (client["role"], server["role"]) == (0, 1)
    assert (client["is_mapped"], server["is_mapped"]) == (0, kind == "mapped")
    pair.close()


@pytest.mark.live
def test_bytes_queues_and_idleness_are_those_of_the_conversation():
    pair = Pair()
    pair.exchange(5000)
    pair.client.sendall(bytes(700))  # which nobody reads
    time.sleep(0.5)  # idleness is what is measured
    client, server = row_of(pair.port, is_server=False), row_of(pair.port, is_server=True)
    assert client["bytes_sent"] == 5700
    assert client["bytes_acked"] in (5700, 5701)  # the SYN counts
    assert client["bytes_received"] == 5000
    assert server["receive_queue_bytes"] == 700
    assert client["send_queue_bytes"] == client["not_sent_bytes"] == client["retransmissions"] == 0
    assert 300_000_000 <= client["idle_ns"] <= client["least_age_ns"] < 10_000_000_000
    pair.close()


@pytest.mark.live
def test_the_process_behind_a_socket_is_named():
    pair = Pair()
    row = row_of(pair.port, is_server=False)
    assert (row["pid"], row["holders"]) == (os.getpid(), 1)
    assert row["process"].decode() == Path("/proc/self/comm").read_text().strip()
    assert row["uid"] == os.getuid()
    pair.close()


def test_processes_that_cannot_be_seen_are_left_out(tmp_path):
    folder = tmp_path / "7" / "fd"
    folder.mkdir(parents=True)
    (folder / "3").symlink_to("socket:[99]")
    (folder / "4").symlink_to("socket:[not a number]")
    (folder / "5").symlink_to("/dev/null")
    (tmp_path / "8").mkdir()  # has ended, or may not be looked at
    (tmp_path / "9").write_text("no folder")
    assert {inode: (each.pid, each.name) for inode, each in holders(str(tmp_path)).items()} == {99: (7, "")}


@pytest.mark.live
def test_a_connection_in_time_wait_has_no_numbers_that_nobody_knows():
    pair = Pair()
    port = pair.port
    pair.exchange(10)
    pair.client.close()
    pair.server.close()
    sockets = read_sockets().sockets
    rows = sockets.rows[sockets.state == SOCKET_STATES.index("time_wait")]
    assert len(rows) == 1
    assert port in (rows[0]["local_port"], rows[0]["remote_port"])
    for name in ("rtt_ns", "bytes_sent", "idle_ns", "least_age_ns", "congestion_window_segments", "pid"):
        assert rows[0][name] == -1
    pair.close()


@pytest.mark.live
def test_conditions_choose_sockets_by_port_state_and_process():
    one, other = Pair(), Pair("::1")
    sockets = read_sockets().sockets
    process = Path("/proc/self/comm").read_text().strip()
    text = (
        f"state = established and local_port = {one.port} and process = '{process}' and remote_address in 127.0.0.0/8"
    )
    assert Where(text, Sockets).apply(sockets).local_port.tolist() == [one.port]
    one.close()
    other.close()


def told(port: int, start_ns: int, **columns: Any) -> str:
    usual = {"throughput_per_s": 12.5, "concurrency": 0.5, "response_time_p50_ns": 2_000_000}
    row = {"server_address": "127.0.0.1", "server_port": port, "start_ns": start_ns, "response_time_p99_ns": None}
    return json.dumps(row | usual | columns) + "\n"


@pytest.mark.live
def test_what_a_watch_told_last_of_a_service_stands_beside_both_sides(tmp_path):
    pair = Pair()
    file = tmp_path / "slices.jsonl"
    lines = [told(pair.port, 1_000, throughput_per_s=1), '{"finding":{}}\n', "no JSON\n", told(pair.port, 2_000)]
    file.write_text("".join(lines) + told(pair.port, 3_000)[:40])
    sockets = read_sockets(last_slices(str(file))).sockets
    rows = sockets.rows[(sockets.state == 1)]
    assert rows["service_slice_ns"].tolist() == [2_000, 2_000]
    assert rows["service_throughput_per_s"].tolist() == [12.5, 12.5]
    assert rows["service_response_time_p99_ns"].tolist() == [-1, -1]
    pair.close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe{}[",
        b'{"server_address": 3}\n',
        b"[" * 100_000,
        told(80, 10**30).encode(),
        told(80, 0, response_time_p50_ns=-(10**30)).encode(),
    ],
)
def test_a_file_without_slices_is_refused(tmp_path, content):
    file = tmp_path / "slices.jsonl"
    file.write_bytes(content)
    with pytest.raises(UsageError, match="no slice of a service"):
        last_slices(str(file))


def test_one_that_is_being_set_up_is_not_told_how_long_it_was_idle():
    """The kernel counts from its own start as long as nothing was sent."""
    for words in (
        "link add name d0 type veth peer name d1",
        "link set dev d0 up",
        "link set dev d1 up",
        "addr add 10.99.0.1/24 dev d0",
    ):
        subprocess.run(["ip", *words.split()], check=True)
    with socket.socket() as setting_up:
        setting_up.setblocking(False)
        with pytest.raises(BlockingIOError):
            setting_up.connect(("10.99.0.9", 80))
        sockets = read_sockets().sockets
        (row,) = sockets.rows[sockets.state == SOCKET_STATES.index("syn_sent")]
    names = ("last_sent_ns", "last_received_ns", "last_acked_ns", "idle_ns", "least_age_ns")
    assert [int(row[name]) for name in names] == [-1] * 5


def answering(monkeypatch: pytest.MonkeyPatch, *messages: tuple[int, int, bytes]) -> None:
    """Let the kernel answer everything so."""

    class Fake:
        sequence = 0

        def send(self, data: bytes) -> None:
            self.sequence = struct.unpack_from("=I", data, 8)[0]

        def recv(self, size: int) -> bytes:
            return b"".join(
                struct.pack("=IHHII", 16 + len(body), kind, flags, self.sequence, 0) + body
                for kind, flags, body in messages
            )

        def close(self) -> None:
            pass

    fake = Fake()
    begin = DiagnosticSocket.__init__

    def init(self: DiagnosticSocket) -> None:
        begin(self)
        self._socket.close()
        self._socket = fake  # type: ignore[assignment]

    monkeypatch.setattr(DiagnosticSocket, "__init__", init)


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.EINVAL, errno.EPERM])
def test_an_error_of_a_look_up_does_not_mean_that_it_is_gone(monkeypatch, number):
    pair = Pair()
    row = row_of(pair.port, is_server=True)
    answering(monkeypatch, (sock_diag.NLMSG_ERROR, 0, struct.pack("=i", -number)))
    with DiagnosticSocket() as asking, pytest.raises(TcpsightError, match=re.escape(os.strerror(number))):
        read_again(asking, row)
    pair.close()


@pytest.mark.parametrize("number", [errno.ENOENT, errno.ESTALE])
def test_one_that_the_kernel_does_not_find_is_gone(monkeypatch, number):
    pair = Pair()
    row = row_of(pair.port, is_server=True)
    answering(monkeypatch, (sock_diag.NLMSG_ERROR, 0, struct.pack("=i", -number)))
    with DiagnosticSocket() as asking:
        assert len(read_again(asking, row)) == 0
    pair.close()


def test_an_error_at_the_end_of_an_answer_is_told(monkeypatch):
    answering(monkeypatch, (sock_diag.NLMSG_DONE, 0, struct.pack("=i", -errno.ENOENT)))
    with pytest.raises(TcpsightError, match="No such file"):
        read_sockets()


def test_an_answer_under_which_tables_changed_is_asked_for_again_then_told(monkeypatch):
    asked: list[int] = []
    real = DiagnosticSocket._send

    def counted(*given: Any) -> None:
        asked.append(given[3])
        real(*given)

    monkeypatch.setattr(DiagnosticSocket, "_send", counted)
    message = (sock_diag.SOCK_DIAG_BY_FAMILY, sock_diag.NLM_F_DUMP_INTERRUPTED, bytes(72))
    answering(monkeypatch, message, (sock_diag.NLMSG_DONE, 0, bytes(4)))
    with DiagnosticSocket() as asking:
        assert asking.sockets(socket.AF_INET).is_torn
    assert len(asked) == 5
