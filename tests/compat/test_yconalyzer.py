"""yconalyzer: every recorded command gives the recorded bytes, and the rules behind them hold elsewhere.

Longer than other files: the whole of one older tool.
"""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

import tcpsight
from tcpsight.compat.live import first_up
from tests.cli.running import COMMAND, Here, Outcome
from tests.conftest import BESIDE
from tests.support.packet_sockets import wait_until_it_captures
from tests.support.pcap import Frame, pcap_bytes, pcapng_bytes, tcp_frame
from tests.support.thorough import some_of

FOLDER = BESIDE / "fixtures" / "yconalyzer"
S = 10**9
MS = 10**6
START_NS = 1_700_000_000 * S

Step = tuple[float, str, str, int, int, int]
"""Milliseconds, who sends (``>`` the client, ``<`` the server), flags, sequence and acknowledgment number, payload."""


def recorded() -> list[tuple[str, str, int]]:
    path = FOLDER / "commands.tsv"
    if not path.is_file():
        return []
    rows = [line.split("\t") for line in path.read_text().splitlines()]
    return [(name, command, int(status.removeprefix("exit "))) for name, command, status in rows]


@pytest.mark.parametrize(
    ("name", "command", "status"), some_of(recorded(), 3), ids=[name for name, _, _ in some_of(recorded(), 3)]
)
def test_a_recorded_command_gives_its_recorded_output(fixtures_dir, name, command, status):
    done = subprocess.run(
        [*COMMAND, "compat", *shlex.split(command)],
        cwd=fixtures_dir / "synthetic",
        env=os.environ | {"TZ": "UTC", "LC_ALL": "C"},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == (FOLDER / f"{name}.stdout.txt").read_bytes()
    errors = FOLDER / f"{name}.stderr.txt"
    assert done.stderr == (errors.read_bytes() if errors.is_file() else b"")
    assert done.returncode == status


def test_the_recorded_commands_are_there(fixtures_dir):
    assert len(recorded()) >= 20


@pytest.fixture(autouse=True)
def _utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def frames(
    steps: Iterable[Step], client: str = "10.0.0.1", port: int = 40_000, server: str = "10.0.0.9"
) -> list[Frame]:
    """Write one connection to port 80."""
    made = []
    for ms, sender, flags, seq, ack, size in steps:
        ends = (client, server) if sender == ">" else (server, client)
        ports = (port, 80) if sender == ">" else (80, port)
        made.append(Frame(START_NS + round(ms * MS), tcp_frame(*ends, *ports, seq, ack, flags, bytes(size))))
    return made


def opened(at: float = 0, isn: int = 1000, server_isn: int = 5000) -> list[Step]:
    return [(at, ">", "S", isn, 0, 0), (at + 1, "<", "SA", server_isn, isn + 1, 0)]


def exchange(at: float = 0, duration: float = 40, sent: int = 100, received: int = 2000) -> list[Step]:
    """Write a connection that the client ends after `duration` milliseconds."""
    client, server = 1001 + sent, 5001 + received
    end = at + duration
    return [
        *opened(at),
        (at + 2, ">", "PA", 1001, 5001, sent),
        (end, ">", "FA", client, server, 0),
        (end + 5, "<", "FA", server, client + 1, 0),
        (end + 6, ">", "A", client + 1, server + 1, 0),
    ]


@pytest.fixture
def here(capsysbinary) -> Here:
    return Here(capsysbinary)


@pytest.fixture
def run(here, tmp_path):
    """Run yconalyzer on port 80 of frames."""

    def run(made: list[Frame], *arguments: str) -> Outcome:
        path = tmp_path / "made.pcap"
        in_order: list[Frame] = sorted(made, key=lambda frame: frame.time_ns)
        path.write_bytes(pcap_bytes(in_order))
        done: Outcome = here("compat", "yconalyzer", "-p", "80", "-r", path, *arguments)
        return done

    return run


def value(done: Outcome, label: str) -> str:
    """Give what stands behind a label of the report."""
    (line,) = [line for line in done.text.splitlines() if line.startswith(f"{label}:")]
    return line.partition(": ")[2]


def test_bytes_are_one_more_than_was_sent_because_the_syn_takes_a_number(run):
    done = run(frames(exchange(sent=100, received=2000)))
    assert value(done, "Avg Client Data") == "101 bytes"
    assert value(done, "Avg Server Data") == "2001 bytes"


def test_a_repeated_syn_starts_the_clock_anew(run):
    steps = [(0, ">", "S", 1000, 0, 0), *exchange(at=3000)]
    done = run(frames(steps))
    assert value(done, "Avg conn duration") == "40 msecs"
    assert value(done, "Total number of SYNs") == "2 (duplicates: 1)"
    assert done.text.splitlines()[16].endswith("2:1,")


def test_a_second_syn_replaces_the_connection_when_the_server_acknowledges_it(run):
    second = [(500.5, ">", "S", 900_000, 0, 0), (501, "<", "SA", 700_000, 900_001, 0)]
    end = [(600, ">", "FA", 900_011, 700_021, 0)]
    done = run(frames([*opened(), *second, *end]))
    assert value(done, "Avg Client Data") == "11 bytes"
    assert value(done, "Avg Server Data") == "21 bytes"
    assert value(done, "Avg conn duration") == "99 msecs"
    assert value(done, "Total number of SYNs") == "1 (duplicates: 0)"


def test_a_second_syn_that_the_server_does_not_acknowledge_changes_nothing(run):
    second = [(500.5, ">", "S", 900_000, 0, 0), (501, "<", "SA", 5000, 1001, 0)]
    done = run(frames([*opened(), *second, (600, ">", "FA", 1101, 7001, 0)]), "-d")
    assert value(done, "Avg Client Data") == "101 bytes"
    assert value(done, "Avg conn duration") == "600 msecs"
    assert "10.0.0.9:80 > 10.0.0.1:40000 SA SEQ:5000,DROPPED\n" in done.text


def test_a_reset_forgets_the_connection_and_only_counts_it(run):
    done = run(frames([*opened(), (9, ">", "R", 1001, 0, 0), (12, ">", "FA", 1101, 7001, 0)]))
    assert value(done, "Connections terminated by RESET") == "1"
    assert value(done, "Total Connections (terminated by FIN)") == "0"
    assert done.text.endswith("No connections\n")


def test_a_reset_after_a_fin_is_not_counted(run):
    done = run(frames([*exchange()[:-2], (50, "<", "R", 7001, 0, 0)]))
    assert value(done, "Connections terminated by RESET") == "0"
    assert value(done, "Number of connections in closing state") == "0"


def test_data_on_the_fin_counts_and_data_after_it_does_not(run):
    steps = [
        *opened(),
        (9, "<", "FPA", 5001, 1101, 1000),
        (20, ">", "PA", 1101, 6002, 500),
        (30, ">", "FA", 1601, 6002, 0),
    ]
    done = run(frames(steps))
    assert value(done, "Avg Client Data") == "101 bytes"
    assert value(done, "Avg Server Data") == "1001 bytes"
    # Half a round trip and half a pause: it looks like the former.
    assert value(done, "Avg Round Trip Time") == "21 msecs"


def test_a_connection_without_syn_or_without_syn_ack_is_not_counted_as_ended(run):
    unanswered = frames([(0, ">", "S", 1, 0, 0), (5, ">", "FA", 2, 1, 0)], client="10.0.0.2")
    done = run([*frames(exchange()[2:]), *unanswered])
    assert value(done, "Total Connections (terminated by FIN)") == "0"
    assert value(done, "Number of unique connections dropped by the server") == "1"


def test_numbers_that_wrap_are_counted_right_and_judged_wrong(run):
    high = 2**32 - 100
    steps = [
        (0, ">", "S", high, 0, 0),
        (1, "<", "SA", high, high + 1, 0),
        (9, ">", "FA", 101, 901, 0),
    ]
    done = run(frames(steps))
    assert value(done, "Avg Client Data") == "201 bytes"
    assert value(done, "Avg Server Data") == "1001 bytes"
    assert value(run(frames(steps), "-X", "5000"), "Total Connections (terminated by FIN)") == "0"
    assert value(run(frames(steps), "-Y", "5000"), "Total Connections (terminated by FIN)") == "1"


def test_throughput_has_three_meanings_in_three_tables(run):
    made = frames(exchange(duration=40, sent=100, received=2000))
    assert run(made, "-n", "1", "-s", "100").text.splitlines()[20].endswith("    51.00")
    assert run(made, "-S", "-n", "1", "-s", "100").text.splitlines()[20].endswith("  51")
    # Into a bucket of -P goes the larger of both directions: 2001 bytes in 40 ms.
    assert run(made, "-P", "-n", "9", "-s", "50").text.splitlines()[21].startswith("  50 - 100       1(100.00%)")


def test_raw_rows_of_bytes_lose_a_comma_with_rtt(run):
    made = frames(exchange(duration=40, sent=100, received=2000))
    assert run(made, "-R", "-C", "-n", "1").text.splitlines()[21] == "0,20,1,100.00%,101,2001,40,,51.00"
    assert run(made, "-R", "-C", "-n", "1", "-T").text.splitlines()[21] == "0,20,1,100.00%,101,2001,40,151.00"


def test_limits_on_bytes_leave_out_the_buckets_they_keep_empty(run):
    made = frames(exchange(sent=100, received=5000))
    done = run(made, "-S", "-s", "2", "-n", "9", "-Y", "3000", "-X", "7000")
    assert [line.split("(")[0].split() for line in done.text.splitlines()[22:]] == [
        ["2", "-", "4", "0"],
        ["4", "-", "6", "1"],
        ["6", "-", "8", "0"],
        ["8+", "0"],
    ]


def test_the_old_layout_has_no_tables(run):
    done = run(frames(exchange()), "-V", "1")
    assert done.text == (
        "Results of monitoring port 80 for 1.045000 seconds\n"
        "Total Connections: 1\n"
        "Avg Client Data: 101 bytes\n"
        "Avg Server Data: 2001 bytes\n"
        "Avg conn time: 40 msecs\n"
        "Total number of SYNs: 1 (duplicates: 0)\n"
        "Number of SYNs taken to establish connections: 1\n"
        "Avg no. of SYNs to establish a connection:  1.00\n"
        "Number of unique connections that never completed: 0\n"
        "Number of SYNs from incomplete connections: 0\n"
        "Number of established connections in progress: 0\n"
        "Distribution of SYNs to establsh connections (nSYNs:nConns): 1:1,\n"
    )


def test_a_bucket_beyond_the_last_edge_is_drilled_without_an_upper_bound(run):
    made = frames(exchange(duration=900))
    done = run(made, "-n", "2", "-s", "50", "-D", "100")
    assert done.text.endswith(
        "Connections for which duration was 100+ msecs:\nhost 10.0.0.1 and host 10.0.0.9 and port 40000\n"
    )
    done = run(made, "-S", "-n", "3", "-s", "1", "-D", "1")
    assert "Connections for which client sent data between 1 and 2 KB:\nhost 10.0.0.1 and" in done.text


@pytest.mark.parametrize(
    ("since", "connections"),
    [("22:13:25", "1"), ("22:13:19", "2"), ("22:13:26", "0"), ("2023-11-14.22:13:25", "1"), (" 22: 13:25", "1")],
)
def test_time_begins_behind_the_second_that_was_named(run, since, connections):
    made = [*frames(exchange()), *frames(exchange(at=6000), port=40_001)]
    assert value(run(made, "-I", since), "Total Connections (terminated by FIN)") == connections


def test_a_time_of_day_is_that_of_the_local_zone(run, monkeypatch):
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    made = [*frames(exchange()), *frames(exchange(at=6000), port=40_001)]
    done = run(made, "-I", "17:13:25")
    assert value(done, "Total Connections (terminated by FIN)") == "1"
    assert value(done, "Start time") == "Tue Nov 14 17:13:20 2023"


@pytest.mark.parametrize(
    ("since", "message"), [("25:00:00", ""), ("22:13", ""), ("22:13:25x", ": x"), ("2023-13-01.00:00:00", ""), ("", "")]
)
def test_a_time_that_is_none_is_refused(here, since, message):
    done = here("compat", "yconalyzer", "-p", "80", "-r", "none", "-I", since)
    assert (done.status, done.text) == (1, "")
    assert done.err.startswith(f"Illegal time string{message}\nUsage: yconalyzer -p port ")


@pytest.mark.parametrize(
    ("arguments", "output", "message"),
    [
        (["-z"], "", "yconalyzer: invalid option -- 'z'\nUsage:"),
        (["-p"], "", "yconalyzer: option requires an argument -- 'p'\nUsage:"),
        (["-p", "x"], "", "Port must be specified\nUsage:"),
        (["-p", "80", "-P", "-C"], "", "Only one of -S,-P or -C please\nUsage:"),
        (["-p", "80", "-r", "a", "-r", "b"], "", "Usage:"),
        (["-p", "80", "-n", "-1"], "", "Illegal value for options\n"),
        (["-p", "80", "-x", "5", "-y", "5"], "", "Client requests < 5 and > 5?\nUsage:"),
        (["-p", "80", "-X", "5", "-Y", "9"], "", "Server responses < 5 and > 9?\nUsage:"),
        (["-p", "80", "-m", "5"], "yconalyzer: illegal option -- m\n", "Usage:"),
    ],
)
def test_a_wrong_command_line_ends_with_status_1(here, arguments, output, message):
    done = here("compat", "yconalyzer", *arguments)
    assert (done.status, done.text) == (1, output)
    assert done.err.startswith(message)


def test_filter_words_behind_the_options_choose_frames(run):
    made = [*frames(exchange()), *frames(exchange(), client="10.0.0.2")]
    assert value(run(made, "host", "10.0.0.2"), "Total Connections (terminated by FIN)") == "1"
    done = run(made, "host", "nonsense", "and")
    assert (done.status, done.text) == (1, "")
    assert len(done.err.splitlines()) == 1


def test_ipv6_is_counted_too(run):
    made = frames(exchange(), client="2001:db8::1", server="2001:db8::9")
    done = run(made, "-c", "1", "-D", "0")
    assert value(done, "Total Connections (terminated by FIN)") == "1"
    assert done.text.startswith("NSYNS=1:host 2001:db8::1 and port 40000\n")


def test_a_capture_that_is_cut_short_gives_its_report_and_says_so(here, tmp_path):
    path = tmp_path / "cut.pcap"
    path.write_bytes(pcap_bytes(frames(exchange()))[:-7])
    done = here("compat", "yconalyzer", "-p", "80", "-r", path)
    assert done.status == 2
    assert value(done, "Total Connections (terminated by FIN)") == "1"
    assert "cut short" in done.err


def test_what_is_written_gives_the_same_report(here, fixtures_dir, tmp_path):
    source, copy = fixtures_dir / "synthetic" / "connections-80.pcap", tmp_path / "copy.pcap"
    done = here("compat", "yconalyzer", "-p", "80", "-r", source, "-w", copy, "-n", "3", "-T")
    assert (done.status, done.text, done.err) == (0, "", "-n ignored\n-T ignored\n")
    assert copy.stat().st_size < source.stat().st_size
    reports = [here("compat", "yconalyzer", "-p", "80", "-r", path, "-T", "-D", "0").text for path in (source, copy)]
    assert reports[0] == reports[1]


@pytest.mark.parametrize("content", [pcap_bytes([]), pcapng_bytes([]), pcapng_bytes([], interfaces=())])
def test_what_is_written_of_no_frames_is_a_capture_of_none(here, tmp_path, content):
    source, copy = tmp_path / "source", tmp_path / "copy.pcap"
    source.write_bytes(content)
    assert here("compat", "yconalyzer", "-p", "80", "-r", source, "-w", copy) == (0, b"", "")
    done = here("compat", "yconalyzer", "-p", "80", "-r", copy)
    assert (done.status, done.err) == (0, "")
    assert done.text.endswith("No connections\n")


def test_nothing_on_the_port_is_no_connections(run):
    done = run(frames(exchange()), "-p", "81")
    assert done.status == 0
    assert done.text.startswith(
        "Results of monitoring port 81 for 0.000000 seconds\nStart time: Thu Jan  1 00:00:00 1970\n"
    )
    assert done.text.endswith("No connections\n")


class Server:
    """A real server on loopback that answers every connection with some bytes and closes it."""

    def __init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listening.getsockname()[1]
        self.client_ports = itertools.count(10_000)
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listening.accept()
            except OSError:
                return
            with connection:
                connection.recv(100)
                connection.sendall(bytes(3000))

    def ask(self, times: int) -> None:
        for _ in range(times):
            # Each its own port: with one that comes again the old tool mixes two connections, and so do we.
            mine = ("127.0.0.7", next(self.client_ports))
            with socket.create_connection(("127.0.0.1", self.port), source_address=mine) as connection:
                connection.sendall(bytes(50))
                while connection.recv(4096):
                    pass

    def close(self) -> None:
        self.listening.close()


@pytest.fixture
def server(require_program):
    if os.geteuid() != 0:
        pytest.skip("needs root to capture")
    server = Server()
    yield server
    server.close()


def live(server: Server, *arguments: str) -> subprocess.Popen[bytes]:
    """Start yconalyzer on the loopback; it takes a moment until it captures."""
    command = [*COMMAND, "compat", "yconalyzer", "-p", str(server.port), "-i", "lo", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def ask_while_it_captures(server: Server, process: subprocess.Popen[bytes], for_s: float = 2) -> int:
    """Load the server while all of it is captured; give how often it was asked."""
    wait_until_it_captures(process)
    time.sleep(1)  # the filter is attached after the socket is bound
    asked = 0
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        server.ask(5)
        asked += 5
        time.sleep(0.02)
    return asked


@pytest.mark.live
def test_live_counts_the_connections_of_a_real_server(server):
    process = live(server, "-t", "6")
    asked = ask_while_it_captures(server, process)
    out, err = process.communicate()
    done = Outcome(process.returncode, out, err.decode())
    assert done.status == 0, done.err
    counted = int(value(done, "Total Connections (terminated by FIN)"))
    assert counted == asked
    assert value(done, "Avg Client Data") == "51 bytes"
    assert value(done, "Avg Server Data") == "3001 bytes"
    received, dropped = done.err.splitlines()
    assert int(received.removesuffix(" Packets received")) >= 4 * counted
    assert dropped == "0 Packets dropped"


@pytest.mark.live
def test_live_ends_with_its_report_on_ctrl_c(server):
    process = live(server, "-t", "600")
    ask_while_it_captures(server, process, 1)
    time.sleep(1.5)  # what the kernel holds is given in blocks
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    done = Outcome(process.returncode, out, err.decode())
    assert done.status == 0, done.err
    assert int(value(done, "Total Connections (terminated by FIN)")) > 0


@pytest.mark.live
def test_what_was_recorded_live_is_read_later(server, tmp_path):
    path = tmp_path / "live.pcap"
    process = live(server, "-t", "6", "-w", str(path))
    ask_while_it_captures(server, process)
    assert process.wait() == 0
    command = [*COMMAND, "compat", "yconalyzer", "-p", str(server.port), "-r", str(path)]
    read = subprocess.run(command, capture_output=True, check=False, timeout=60)
    done = Outcome(read.returncode, read.stdout, read.stderr.decode())
    assert value(done, "Avg Server Data") == "3001 bytes"


@pytest.mark.live
def test_an_interface_that_is_not_there_is_one_line(require_program):
    command = [*COMMAND, "compat", "yconalyzer", "-p", "80", "-i", "nonesuch0", "-t", "1"]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (1, b"")
    assert len(done.stderr.splitlines()) == 1
    assert b"nonesuch0" in done.stderr


@pytest.mark.live
def test_without_a_name_the_interface_is_the_one_that_libpcap_would_choose(require_program):
    """That one first which is up, in tcpdump's own list."""
    listed = subprocess.run([require_program("tcpdump"), "-D"], capture_output=True, text=True, check=True).stdout
    names = [line.split(".", 1)[1].split()[0] for line in listed.splitlines() if "[Up" in line]
    assert first_up() == next(name for name in names if name != "any")


@pytest.mark.live
def test_an_interface_without_a_cable_is_not_taken_where_another_one_has_one(require_program):
    if os.geteuid() != 0:
        pytest.skip("needs root for a network of its own")
    made = "; ".join([
        "mount -t sysfs sysfs /sys", "ip link set lo up",
        *(f"ip link add {name} type veth peer name {peer}" for name, peer in (("aaa0", "zzz0"), ("bbb0", "zzz1"))),
        "ip link set aaa0 up", "ip link set bbb0 up", "ip link set zzz1 up",
    ])  # fmt: skip
    asked = "from tcpsight.compat.live import first_up; print(first_up())"
    both = f'{made}; {sys.executable} -c "{asked}"; {require_program("tcpdump")} -D'
    environment = os.environ | {"PYTHONPATH": str(Path(tcpsight.__file__).parents[1])}
    command = [require_program("unshare"), "-nm", "sh", "-c", both]
    chosen, *listed = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment
    ).stdout.splitlines()
    assert chosen == listed[0].split(".", 1)[1].split()[0] != "aaa0"
