"""What a watch of an interface tells is what happened: a replay says the same, and so do those who lived it."""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.cli.running import COMMAND, process
from tests.conftest import require_program
from tests.support.live_network import ip, is_listening, until, veth
from tests.support.packet_sockets import wait_until_it_captures
from tests.support.scripts import module_of

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("network")]

REQUESTS = 40_001
"""What redis-benchmark sends in the tests below: twice 20,000, and before them it asks for the configuration."""

ROOT = Path(__file__).parents[2]


class Watching:
    """``tcpsight watch`` of an interface, and what it wrote."""

    def __init__(self, *arguments: str | Path) -> None:
        command = [*COMMAND, "watch", "-i", "lo", "--json", *map(str, arguments)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._lines: list[bytes] = []
        self.errors: list[str] = []
        self._readers = [threading.Thread(target=self._read_out), threading.Thread(target=self._read_errors)]
        self._is_watching = threading.Event()
        for reader in self._readers:
            reader.start()
        assert self._is_watching.wait(60), self.errors

    def _read_out(self) -> None:
        assert self._process.stdout is not None
        self._lines.extend(self._process.stdout)

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.errors.append(line.decode())
            if b"watching" in line:
                self._is_watching.set()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in list(self._lines)]

    def has_more_than(self, count: int) -> bool:
        return len(self._lines) > count

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def stop(self) -> list[dict[str, Any]]:
        """End it; give all that it wrote."""
        if self._process.poll() is None:
            self.signal(signal.SIGINT)
        assert self._process.wait(timeout=60) == 0, self.errors
        for reader in self._readers:
            reader.join()
        return self.rows


@contextmanager
def watching(*arguments: str | Path) -> Iterator[Watching]:
    watch = Watching(*arguments)
    try:
        yield watch
    finally:
        watch.signal(signal.SIGKILL)


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    require_program("redis-server")
    require_program("redis-benchmark")
    port = 16_379
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        until(lambda: is_listening(port), "redis-server")
        try:
            yield port
        finally:
            server.terminate()


@pytest.mark.parametrize("rows", [(), ("--requests",)], ids=["intervals", "requests"])
def test_live_and_replay_are_the_same_for_the_same_frames(tmp_path, rows):
    slices = ("--interval", "200ms", *rows)
    with redis(tmp_path) as port, watching(*slices, "--record", tmp_path / "kept", "tcp", "port", str(port)) as watch:
        load = ["redis-benchmark", "-p", str(port), "-c", "8", "-n", "20000", "-q", "-t", "get,lpush"]
        subprocess.run(load, check=True, stdout=subprocess.DEVNULL)
        # Silence is told, too, and ends the last slices of the load.
        time.sleep(1)
        watch.signal(signal.SIGUSR1)
        until(lambda: bool(list((tmp_path / "kept").glob("*-asked.pcapng.zst"))), "a recording")
        live = watch.stop()
    (saved,) = (path for path in (tmp_path / "kept").iterdir() if "asked" in path.name)
    done = process("watch", saved, "--json", *slices)
    replayed = [json.loads(line) for line in done.text.splitlines()]
    assert any("0 dropped by the kernel" in line for line in watch.errors)
    if rows:
        assert len(live) == REQUESTS
        assert live == replayed
    else:
        # The last slice of a replay ends with the last frame, and live it goes on in silence.
        until_ns = max(row["start_ns"] for row in replayed)
        assert [row for row in live if row["start_ns"] < until_ns] == [r for r in replayed if r["start_ns"] < until_ns]
        assert sum(row["completions"] for row in live) == REQUESTS


def test_a_recording_beside_it_has_as_many_slices_silence_at_the_end_included(tmp_path):
    path = tmp_path / "beside.pcapng"
    slices = ("--interval", "200ms")
    with redis(tmp_path) as port, watching(*slices, "tcp", "port", str(port)) as watch:
        command = [*COMMAND, "capture", "-i", "lo", "-w", str(path), "tcp", "port", str(port)]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as recording:
            wait_until_it_captures(recording)
            load = ["redis-benchmark", "-p", str(port), "-c", "8", "-n", "2000", "-q", "-t", "get"]
            subprocess.run(load, check=True, stdout=subprocess.DEVNULL)
            time.sleep(2)  # silence at the end is what is tried
            recording.send_signal(signal.SIGINT)
            ended_ns = time.time_ns()
        live = watch.stop()
    replayed = [json.loads(line) for line in process("watch", path, "--json", *slices).text.splitlines()]
    assert abs(replayed[-1]["start_ns"] + replayed[-1]["length_ns"] - ended_ns) < 1_000_000_000
    assert [row for row in replayed if row["arrivals"] == 0][1:], "no silence"
    # Each of the two has stamps of its own, some microseconds apart.
    names = ("arrivals", "unanswered_backlog", "is_partial")
    for told, lived in zip(replayed[:-1], live, strict=False):
        assert [told[name] for name in names] == [lived[name] for name in names]
        assert abs(told["start_ns"] - lived["start_ns"]) < 1_000_000
    assert all(row["length_ns"] > 1000 for row in (*live, *replayed))


def test_slices_are_told_within_a_second_of_their_end_and_lateness_even_in_silence(tmp_path):
    with redis(tmp_path) as port, watching("--interval", "500ms", "--lateness", "500ms") as watch:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"PING\r\n")
            assert client.recv(100)
        late_s = []
        for count in range(5):
            until(partial(watch.has_more_than, count), "the next slice")
            last = watch.rows[-1]
            late_s.append(time.time() - (last["start_ns"] + last["length_ns"]) / 1e9)
        watch.stop()
    # Nobody waits, so no slice waits for its lateness. A machine that is busy may take its time for some, not for all.
    assert min(late_s) < 1.0


def recorder() -> ModuleType:
    """Give the script that times requests three times over."""
    folder = ROOT / "examples" / "record"
    sys.path.insert(0, str(folder))
    try:
        return module_of(folder / "response_times.py")
    finally:
        sys.path.remove(str(folder))


def test_mariadb_is_told_as_its_client_and_its_own_clocks_lived_it(tmp_path, monkeypatch):
    for program in ("mariadbd", "mariadb-install-db", "tcpdump"):
        require_program(program)
    monkeypatch.setenv("PATH", os.environ["PATH"] + ":/usr/sbin:/sbin")
    script = recorder()
    tmp_path.chmod(0o755)
    for folder in tmp_path.parents:
        if folder.stat().st_uid == os.getuid() and folder != Path("/tmp") and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    lab, logs = tmp_path / "lab", tmp_path / "logs"
    lab.mkdir(mode=0o755)
    logs.mkdir()
    figures: dict[str, Any] = {}
    lived: dict[str, list[dict[str, str]]] = {}
    with watching("--requests", "tcp", "port", "3306") as watch:
        for case, figure in script.record_mariadb(lab, logs):
            figures[case] = figure
            lines = (logs / f"{case}.client.csv").read_text().splitlines()
            lived[case] = [dict(zip(lines[0].split(","), line.split(",", 4), strict=False)) for line in lines[1:]]
        rows = watch.stop()
    assert any("0 dropped by the kernel" in line for line in watch.errors)
    for case, figure in figures.items():
        ports = {int(row["client_port"]) for row in lived[case]}
        # Beside the statements there are log-ins, which the client did not time.
        own = sorted((row for row in rows if row["client_port"] in ports), key=lambda row: row["arrival_ns"])
        told = [row["response_time_ns"] for row in own if row["request_index"] > 0 and row["request_bytes"] > 5]
        assert len(told) >= len(figure.client)
        live_ns = statistics.median(told)
        client_ns, server_ns = statistics.median(figure.client), statistics.median(figure.server["slow_log_ns"])
        if case == "mariadb_sleep":
            assert live_ns == pytest.approx(server_ns, rel=0.05)
            assert live_ns == pytest.approx(client_ns, rel=0.05)
        else:
            assert server_ns <= live_ns <= client_ns


def test_a_silent_interface_is_told_as_such(tmp_path):
    with watching("--interval", "200ms") as watch:
        time.sleep(1)  # silence is what is tried
        watch.signal(signal.SIGTERM)
        rows = watch.stop()
    assert rows == []
    assert watch.errors[-1] == "tcpsight: 0 frames received, 0 dropped by the kernel\n"


def test_an_interface_that_is_down_from_the_first_is_told_to_who_scrapes(tmp_path):
    veth("a", "b")
    ip("link set dev b down")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with watching("--listen", address, "-i", "a", "-i", "b", "udp") as watch:

        def scraped() -> dict[str, float]:
            with urllib.request.urlopen(f"http://{address}/metrics", timeout=10) as answer:
                lines = answer.read().decode().splitlines()
            return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

        found = scraped()
        assert found["tcpsight_captured_frames_total"] == found["tcpsight_capture_dropped_frames_total"] == 0
        # `a` lacks a carrier, but it is up.
        assert [found[f'tcpsight_interface_up{{interface="{name}"}}'] for name in ("lo", "a", "b")] == [1, 1, 0]
        assert abs(found["tcpsight_slice_end_timestamp_seconds"] - time.time()) < 60
        ip("link set dev b up")
        until(lambda: scraped()['tcpsight_interface_up{interface="b"}'] == 1, "that it is up")
        # Frames count before there is a segment, and so a slice.
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
            s.sendto(b"x", ("127.0.0.1", 9))
        until(lambda: scraped()["tcpsight_captured_frames_total"] == 1, "a frame")
        until(lambda: any("b is up again" in line for line in watch.errors), "that it is told")
        assert watch.stop() == []
    assert any("b is down, or away" in line for line in watch.errors)


def test_no_right_is_left_once_it_watches(tmp_path):
    with watching("--record", tmp_path / "kept") as watch:
        status = Path(f"/proc/{watch.pid}/status").read_text()
        watch.stop()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert {fields[name] for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0000000000000000"}
    assert fields["NoNewPrivs"] == "1"
    assert fields["Seccomp"] == "2"


def test_a_hang_up_without_a_terminal_means_nothing(tmp_path):
    with watching("--interval", "200ms") as watch:
        watch.signal(signal.SIGHUP)
        time.sleep(0.5)  # that nothing happens can only be waited for
        assert watch.stop() == []


def test_it_ends_when_its_time_is_over_even_if_nothing_came():
    done = process("watch", "-i", "lo", "--json", "--duration", "1s")
    assert (done.status, done.out) == (0, b"")
    assert "0 frames received" in done.err
