"""Let a watch run for long beside everything that happens on a host: ``make soak``, as root, half an hour by default.

Two virtual interfaces in a network namespace of this process carry generated segments, of which the number of frames,
requests and connections is known, and loopback carries a real Redis server under load. Meanwhile

* the server is restarted, the interface goes down and up, and who receives the feed is killed and comes back,
* a recording of the same interface is killed (SIGKILL) and begun anew, and must be readable afterwards,
* the watch itself is killed at the end, and another one begun at once.

What came in by the interface's own counter must be what the watch received or said it lost; its memory must be flat,
but for connections that are open.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live import ROOT, TCPSIGHT, Sender, network

RESULT = Path(__file__).resolve().parent / "results" / "soak.json"
CONNECTIONS = 4_000
CLIENT_NET = 10  # generated clients are 10.x.y.z, and each turn has an x of its own
REDIS_PORT, FEED_PORT, METRICS_PORT = 6_390, 9_999, 9_470
SAMPLE_S = 10
SERVER_EVERY_S, CABLE_EVERY_S, RECEIVER_EVERY_S, RECORDING_EVERY_S = 120, 180, 150, 400
FLAT = 1.10
CONNECTION_MB = 6 / 1024
"""Memory at the end, by that when a third of the time was over and this for each connection that is open beyond those
of that time: of connections whose end was lost with the cable nobody can know that they are over."""


@dataclass
class Result:
    """What happened, and what the watch said of it."""

    seconds: float = 0
    sent: int = 0
    rate_per_s: float = 0
    arrived: int = 0
    arrived_on_loopback: int = 0
    received: int = 0
    dropped: int = 0
    unaccounted: int = 0
    requests_known: int = 0
    requests_told: int = 0
    slices: int = 0
    slices_missing: int = 0
    latest_slice_s: float = 0
    cpu_share: float = 0
    memory_mb: list[float] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    memory_growth: float = 0
    feed_lines: int = 0
    recordings: dict[str, int] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    last_words: list[str] = field(default_factory=list)
    after_kill_slices: int = 0
    failures: list[str] = field(default_factory=list)


class Turning(Sender):
    """Sends the same frames again and again, each time from other clients."""

    def __init__(self, path: Path, interface: str) -> None:
        super().__init__(path, interface)
        self._data = np.fromfile(path, np.uint8)
        self._base = self._data.ctypes.data
        source = self.places + 26
        # Of the two addresses of IPv4 behind Ethernet, the client's.
        self._clients = np.where(self._data[source] == CLIENT_NET, source, source + 4) + 1
        self.turns = 0

    def turn(self, rate_per_s: float) -> tuple[int, float]:
        """Send all frames once."""
        self.turns += 1
        self._data[self._clients] = self.turns % 250
        self.begin()
        return self.send(rate_per_s, 3600)


class Watched:
    """The watch, and what it writes."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.rows: list[dict[str, Any]] = []
        self.came_s: list[float] = []
        self._said = (folder / f"said-{time.monotonic_ns()}").open("w+b")
        command = [*TCPSIGHT, "watch", "-i", "b", "-i", "lo", "--json", *arguments]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self._said)
        threading.Thread(target=self._read, daemon=True).start()
        deadline = time.monotonic() + 30
        while "watching" not in self.said() and time.monotonic() < deadline:
            time.sleep(0.05)

    def said(self) -> str:
        return Path(self._said.name).read_text()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            row = json.loads(line)
            self.rows.append(
                {name: row[name] for name in ("start_ns", "length_ns", "completions", "late", "server_port")}
            )
            self.came_s.append(time.time() - (row["start_ns"] + row["length_ns"]) / 1e9)

    def memory_mb(self) -> float:
        """Give what it has for itself: the rings are the kernel's."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"RssAnon:\s+(\d+)", text)[0]) / 1024

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Receiver:
    """Who receives the feed, for as long as it lives."""

    def __init__(self) -> None:
        self.lines = 0
        self._listener: socket.socket | None = None

    def begin(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", FEED_PORT))
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def kill(self) -> None:
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _serve(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
            with connection:
                while data := connection.recv(1 << 16):
                    self.lines += data.count(b"\n")
                    if listener is not self._listener:
                        return
        except OSError:
            return


class Events:
    """What happens on the host meanwhile."""

    def __init__(self, folder: Path, result: Result) -> None:
        self._folder = folder
        self._result = result
        self._begun = time.monotonic()
        self._server: subprocess.Popen[bytes] | None = None
        self._load: subprocess.Popen[bytes] | None = None
        self._recording: subprocess.Popen[bytes] | None = None
        self.recordings: list[Path] = []
        self.receiver = Receiver()
        self._next = {
            self.restart_server: 0.0,
            self.restart_receiver: 0.0,
            self.restart_recording: 0.0,
            self.flap: float(CABLE_EVERY_S),
        }
        self._every = {
            self.restart_server: SERVER_EVERY_S,
            self.restart_receiver: RECEIVER_EVERY_S,
            self.restart_recording: RECORDING_EVERY_S,
            self.flap: CABLE_EVERY_S,
        }

    def run(self, until: float) -> None:
        """Let things happen."""
        while (now := time.monotonic()) < until:
            for act, due in self._next.items():
                if now - self._begun >= due:
                    self._next[act] = due + self._every[act]
                    self._result.events.append(f"{now - self._begun:.0f} s: {act.__name__}")
                    act()
            if self._load is None or self._load.poll() is not None:
                command = ["redis-benchmark", "-p", str(REDIS_PORT), "-c", "10", "-n", "20000", "-q", "-t", "get,set"]
                self._load = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.5)
        self.end()

    def restart_server(self) -> None:
        if self._server is not None:
            if self._load is not None:
                self._load.kill()  # it would ask for ever
                self._load.wait()
            self._server.kill()
            self._server.wait()
            time.sleep(2)
        command = ["redis-server", "--port", str(REDIS_PORT), "--save", "", "--dir", str(self._folder)]
        self._server = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def restart_receiver(self) -> None:
        self.receiver.kill()
        time.sleep(5)
        self.receiver.begin()

    def restart_recording(self) -> None:
        if self._recording is not None:
            self._recording.kill()
            self._recording.wait()
        path = self._folder / f"recording-{len(self.recordings)}.pcapng.zst"
        self.recordings.append(path)
        self._recording = subprocess.Popen(
            [*TCPSIGHT, "capture", "-i", "b", "-w", str(path), "tcp"], stderr=subprocess.DEVNULL
        )

    def flap(self) -> None:
        for state, seconds in (("down", 3), ("up", 0)):
            subprocess.run(["ip", "link", "set", "dev", "b", state], check=True)
            time.sleep(seconds)

    def end(self) -> None:
        for process in (self._load, self._server, self._recording):
            if process is not None:
                process.kill()
                process.wait()


def received(name: str) -> int:
    """Tell how many frames have come in by an interface."""
    (line,) = re.findall(rf"^\s*{name}:\s*\d+\s+(\d+)", Path("/proc/thread-self/net/dev").read_text(), re.MULTILINE)
    return int(line)


def soak(sender: Turning, known: dict[str, int], rate: float, seconds: float, folder: Path) -> Result:
    """Run everything for so long."""
    result = Result(seconds=seconds)
    watch = Watched(
        folder, "--lateness", "1s", "--listen", f"127.0.0.1:{METRICS_PORT}", "--feed", f"tcp://127.0.0.1:{FEED_PORT}",
        "--feed", f"statsd://127.0.0.1:{FEED_PORT + 1}", "--record", str(folder / "found"), "--record-memory", "64MiB",
    )  # fmt: skip
    before = received("b")
    begun, cpu_s = time.monotonic(), watch.cpu_s()
    events = Events(folder, result)
    happening = threading.Thread(target=events.run, args=(begun + seconds,))
    happening.start()
    sampling = threading.Thread(target=_sample, args=(watch, result, begun + seconds))
    sampling.start()
    while time.monotonic() - begun < seconds:
        sent, _ = sender.turn(rate)
        result.sent += sent
    took = time.monotonic() - begun
    happening.join()
    sampling.join()
    time.sleep(5)
    result.cpu_share = (watch.cpu_s() - cpu_s) / took
    result.rate_per_s = result.sent / took
    result.arrived = received("b") - before
    result.arrived_on_loopback = received("lo")
    watch.process.send_signal(signal.SIGINT)
    watch.process.wait(timeout=60)
    result.requests_known = sender.turns * known["requests"]
    _tell(watch, events, result)
    _look_at_recordings(events, result)
    _kill_and_begin_anew(sender, rate, folder, result)
    return result


def _sample(watch: Watched, result: Result, until: float) -> None:
    while time.monotonic() < until:
        result.memory_mb.append(round(watch.memory_mb(), 1))
        result.connections.append(_connections())
        time.sleep(SAMPLE_S)


def _connections() -> int:
    """Ask how many connections the watch knows of."""
    with urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/metrics", timeout=10) as answer:
        found = re.findall(r"^tcpsight_tracked_connections (\S+)", answer.read().decode(), re.MULTILINE)
    return int(float(found[0])) if found else 0  # before the first slice nothing is told


def _tell(watch: Watched, events: Events, result: Result) -> None:
    """Compare what the watch said with what happened."""
    said = watch.said()
    result.last_words = [line for line in said.splitlines() if "note" in line or "received" in line][-12:]
    found = re.findall(r"([\d,]+) frames received, ([\d,]+) dropped by the kernel", said)
    if not found:
        result.failures.append(f"the watch ended without its last words: {said[-500:]}")
        return
    result.received, result.dropped = (int(number.replace(",", "")) for number in found[0])
    # What was dropped was received by then, as the kernel counts.
    result.unaccounted = result.arrived + result.arrived_on_loopback - result.received
    generated = [row for row in watch.rows if row["server_port"] not in (REDIS_PORT, FEED_PORT, METRICS_PORT, None)]
    result.requests_told = sum(row["completions"] for row in generated)
    starts = sorted({row["start_ns"] for row in watch.rows})
    result.slices = len(starts)
    steps = np.diff([start // 10**9 for start in starts])
    result.slices_missing = int((steps - 1).sum())
    result.latest_slice_s = round(max(watch.came_s[2:], default=0), 2)
    third = len(result.memory_mb) // 3
    more = max(result.connections[-1] - result.connections[third], 0)
    known_mb = result.memory_mb[third] + more * CONNECTION_MB
    result.memory_growth = round(result.memory_mb[-1] / max(known_mb, 1), 3)
    result.feed_lines = events.receiver.lines
    if result.slices_missing:
        result.failures.append(f"{result.slices_missing} slices were never told")
    if result.memory_growth > FLAT:
        result.failures.append(f"memory grew by {result.memory_growth}")
    if not result.feed_lines:
        result.failures.append("nobody received the feed")


def _look_at_recordings(events: Events, result: Result) -> None:
    """Read what was recorded until the recording was killed."""
    for path in events.recordings:
        command = [*TCPSIGHT, "connections", str(path), "--format", "csv", "-o", "/dev/null", "--no-progress"]
        done = subprocess.run(command, capture_output=True, check=False)
        result.recordings[path.name] = _frames_in(path)
        if b"Traceback" in done.stderr or done.returncode not in (0, 2) or not path.stat().st_size:
            result.failures.append(f"{path.name} cannot be read: {done.stderr.decode()[-300:]}")


def _frames_in(path: Path) -> int:
    """Count the frames of a recording, to where it was cut."""
    from tcpsight.capture import open_capture
    from tcpsight.errors import CaptureError

    count = 0
    try:
        with open_capture([path]) as capture:
            for frames in capture:
                count += len(frames)
    except CaptureError:
        pass
    return count


def _kill_and_begin_anew(sender: Turning, rate: float, folder: Path, result: Result) -> None:
    """Kill a watch in the middle of it, and begin another one."""
    for is_last in (False, True):
        watch = Watched(folder)
        sender.begin()
        sender.send(rate, 5)
        time.sleep(3)
        watch.process.send_signal(signal.SIGINT if is_last else signal.SIGKILL)
        watch.process.wait(timeout=30)
    result.after_kill_slices = len(watch.rows)
    if not watch.rows:
        result.failures.append("a watch after one that was killed told nothing")


def main() -> int:
    """Run, print, store; status 1 where something failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=1900)
    parser.add_argument("--rate", type=float, default=50_000)
    parser.add_argument("--segments", type=int, default=1_000_000)
    parser.add_argument("--store", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    asked = parser.parse_args()
    os.environ["PYTHONPATH"] = str(ROOT / "src")
    network()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "segments.traffic"
        generate = [sys.executable, str(ROOT / "benchmarks" / "generate.py"), str(path)]
        generate += ["--segments", str(asked.segments), "--connections", str(CONNECTIONS), "--concurrent", "1000"]
        subprocess.run(generate, check=True, stdout=subprocess.DEVNULL)
        known = json.loads(Path(f"{path}.truth.json").read_text())
        result = soak(Turning(path, "a"), known, asked.rate, asked.seconds, folder)
    text = json.dumps(asdict(result), indent=1) + "\n"
    print(text)
    if asked.store:
        RESULT.write_text(text, encoding="utf-8")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main())
