"""Measure live capture against tcpdump on a cable of two virtual interfaces: ``make bench-live``, as root.

One core sends generated segments, the other one runs the program that captures them; both interfaces are in a network
namespace of this process. Programs take turns, and each ratio is of one round. CPU is that of the program
(``/proc/PID/schedstat``) once it has seen all connections, of which there are 1,000 and then 20,000: what is known of
few lies in the caches, of many in memory. They open within the first 600,000 segments, or what of these comes in 10 s.
Start-up, and what is done for the first time, are left out. Where it
is paced it takes five times as long, since findings are looked for twice a minute. What the kernel does to receive a
frame on such a cable is done by whoever sends it, and counted for nobody.

``flood``   as fast as one core can send: what is lost
``paced``   at so many segments a second: CPU for each
"""

from __future__ import annotations

import argparse
import ctypes
import json
import mmap
import os
import platform
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
RESULT = Path(__file__).resolve().parent / "results" / "live.json"
CLONE_NEWNET = 0x40000000
SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
BATCH = 256
WARM_UP_SEGMENTS, LONGEST_WARM_UP_S = 600_000, 10.0
TCPSIGHT = [sys.executable, "-m", "tcpsight"]
TCPDUMP = ["tcpdump", "-i", "b", "-s", "256", "-B", "65536", "-Z", "root", "-w"]

# What the project promises.
MOST_OF_A_CORE = 0.15
"""At the highest rate."""
MOST_OF_TCPDUMP = 2.0
"""At 100,000 segments a second."""
MOST_AT_10K = 0.03
"""Of a core, at 10,000."""
KINDS = (("flood", None, 1), ("paced 100k", 100_000.0, 5), ("paced 10k", 10_000.0, 5))

Integers = np.ndarray[Any, np.dtype[np.int64]]

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Outcome:
    """One program, one round."""

    sent: int
    lost: int
    rate_per_s: float
    cpu_ns_per_segment: float
    core_share: float
    peak_mb: float


@dataclass
class Result:
    """Everything measured, as stored by ``--store``."""

    machine: dict[str, str]
    seconds: float
    rounds: dict[str, dict[str, list[Outcome]]] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)


class Sender:
    """Sends the frames of a pcap file by an interface, many with one system call."""

    def __init__(self, path: Path, interface: str) -> None:
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.bind((interface, 0))
        self._socket.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        whole = np.frombuffer(self._map, np.uint8)
        self._base = whole.ctypes.data
        self.places, self.lengths = _frames(path)
        vectors = np.zeros(BATCH, np.dtype([("base", "u8"), ("length", "u8")]))
        message = [("name", "u8"), ("namelen", "u8"), ("iov", "u8"), ("count", "u8"), ("rest", "u8", 4)]
        messages = np.zeros(BATCH, np.dtype(message))
        messages["iov"] = vectors.ctypes.data + np.arange(BATCH) * 16
        messages["count"] = 1
        self._vectors, self._messages = vectors, messages
        self._sent = 0

    def begin(self) -> None:
        """Send from the first frame on."""
        self._sent = 0

    def send(self, rate_per_s: float | None, seconds: float, most: int = 10**9) -> tuple[int, float]:
        """Send for so long or so many, at a rate or as fast as it goes; give how many and in what time."""
        places, lengths, vectors = self.places[self._sent :], self.lengths[self._sent :], self._vectors
        batch = BATCH if rate_per_s is None else max(1, min(BATCH, int(rate_per_s / 1000)))
        begun = now = time.perf_counter()
        sent = 0
        while now - begun < seconds and sent + batch <= min(len(places), most):
            vectors["base"][:batch] = self._base + places[sent : sent + batch]
            vectors["length"][:batch] = lengths[sent : sent + batch]
            done = _libc.sendmmsg(self._socket.fileno(), ctypes.c_void_p(self._messages.ctypes.data), batch, 0)
            if done < 0:
                if ctypes.get_errno() not in (105, 11):  # no room now
                    raise OSError(ctypes.get_errno(), "sendmmsg")
                done = 0
            sent += done
            now = time.perf_counter()
            if rate_per_s is not None and (ahead := begun + sent / rate_per_s - now) > 0:
                time.sleep(ahead)
        self._sent += sent
        return sent, time.perf_counter() - begun


def _frames(path: Path) -> tuple[Integers, Integers]:
    """Find where the frames of a classic pcap file lie, and how long they are."""
    from tcpsight.capture import open_capture

    with open_capture([path]) as capture:
        sizes = np.concatenate([batch.captured_bytes.astype(np.int64) for batch in capture])
    return 24 + np.cumsum(sizes + 16) - sizes, sizes


def capture_command(name: str, folder: Path) -> list[str]:
    """Give what is run."""
    return {
        "tcpdump": [*TCPDUMP, str(folder / "tcpdump.pcap"), "tcp"],
        "capture": [*TCPSIGHT, "capture", "-i", "b", "-w", str(folder / "capture.pcap"), "tcp"],
        "capture.zst": [*TCPSIGHT, "capture", "-i", "b", "-w", str(folder / "capture.pcapng.zst"), "tcp"],
        "watch": [*TCPSIGHT, "watch", "-i", "b", "--json", "tcp"],
    }[name]


def measure(name: str, sender: Sender, rate_per_s: float | None, seconds: float, folder: Path) -> Outcome:
    """Run one program while segments are sent."""
    core = str(_cores()[-1])
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OPENBLAS_NUM_THREADS": "1"}
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            ["taskset", "-c", core, *capture_command(name, folder)],
            stdout=subprocess.DEVNULL,
            stderr=said,
            env=environment,
        )
    deadline = time.monotonic() + 20
    while not re.search(r"capturing on|watching|listening on", (folder / "said").read_text()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"{name} does not capture: {(folder / 'said').read_text()}")
        time.sleep(0.05)
    time.sleep(1)
    received = _received()
    sender.begin()
    first, _ = sender.send(rate_per_s, LONGEST_WARM_UP_S, WARM_UP_SEGMENTS)
    before = _cpu_ns(process.pid)
    sent, took = sender.send(rate_per_s, seconds)
    cpu_ns = _cpu_ns(process.pid) - before
    time.sleep(2.2)  # until tcpdump's ring has handed over everything
    arrived = _received() - received
    peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process.pid}/status").read_text())[0]) / 1024
    process.send_signal(signal.SIGINT)
    process.wait(timeout=30)
    lost = _dropped(name, (folder / "said").read_text()) + first + sent - arrived
    for each in folder.glob("*.pcap*"):
        each.unlink()
    return Outcome(first + sent, lost, sent / took, cpu_ns / max(sent, 1), cpu_ns / 1e9 / took, peak)


def _cores() -> list[int]:
    return sorted(os.sched_getaffinity(os.getppid()))


def _cpu_ns(pid: int) -> int:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks)


def _received() -> int:
    """Tell how many frames have come in by the cable."""
    (line,) = re.findall(r"^\s*b:\s*\d+\s+(\d+)", Path("/proc/thread-self/net/dev").read_text(), re.MULTILINE)
    return int(line)


def _dropped(name: str, said: str) -> int:
    """Read how many the program says that it lost."""
    if name == "tcpdump":
        return int(re.findall(r"(\d+) packets dropped by kernel", said)[0])
    found = re.findall(r"(\d+) dropped by the kernel|(\d+) frames that the capturing machine says it dropped", said)
    return sum(int(a or b) for a, b in found)


def network() -> None:
    """Be in a network of our own, with a cable from a to b."""
    if _libc.unshare(CLONE_NEWNET):
        raise SystemExit("bench-live makes a network namespace: run it as root")
    Path("/proc/sys/net/ipv6/conf/default/disable_ipv6").write_text("1")
    text = "link add name a type veth peer name b\nlink set dev a up\nlink set dev b up"
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True)


def report(result: Result, kind: str) -> None:
    """Print the medians of one kind of run, as they are and against tcpdump."""
    rounds = result.rounds[kind]
    print(f"\n{kind}: medians of {len(rounds['tcpdump'])} rounds; CPU of the program alone")
    print(f"{'':14}{'k/s sent':>10}{'lost':>12}{'ns/segment':>12}{'of a core':>11}{'peak MB':>9}{'× tcpdump':>11}")
    for name, outcomes in rounds.items():
        pairs = zip(outcomes, rounds["tcpdump"], strict=True)
        ratio = statistics.median(o.cpu_ns_per_segment / t.cpu_ns_per_segment for o, t in pairs)
        middle = {key: statistics.median(asdict(o)[key] for o in outcomes) for key in asdict(outcomes[0])}
        lost = sum(o.lost for o in outcomes)
        print(
            f"{name:14}{middle['rate_per_s'] / 1000:10.0f}{lost:12}{middle['cpu_ns_per_segment']:12.0f}"
            f"{middle['core_share']:11.1%}{middle['peak_mb']:9.0f}{ratio:11.2f}"
        )
        if kind.startswith("flood") and lost and name != "tcpdump":
            result.missed.append(f"{kind}: {name} lost {lost} of {sum(o.sent for o in outcomes)}")
        if kind.startswith("flood") and name == "watch" and middle["core_share"] > MOST_OF_A_CORE:
            result.missed.append(f"{kind}: {name} takes {middle['core_share']:.1%} of a core")
        if kind.startswith("paced 100k") and name != "tcpdump" and ratio > MOST_OF_TCPDUMP:
            result.missed.append(f"{kind}: {name} takes {ratio:.2f} times the CPU of tcpdump")
        if kind.startswith("paced 10k") and name == "watch" and middle["core_share"] > MOST_AT_10K:
            result.missed.append(f"{kind}: {name} takes {middle['core_share']:.1%} of a core")


def _sender(folder: Path, connections: int, seconds: float) -> Sender:
    """Generate what is sent; the first core is the sender's from here on."""
    path = folder / "segments.traffic"
    most = int(800_000 * seconds + WARM_UP_SEGMENTS)
    generate = [sys.executable, str(ROOT / "benchmarks" / "generate.py"), str(path)]
    sizes = ["--segments", str(most), "--connections", str(connections)]
    subprocess.run([*generate, *sizes], check=True, stdout=subprocess.DEVNULL)
    os.sched_setaffinity(0, _cores()[:1])
    return Sender(path, "a")


def main() -> int:
    """Measure and print; status 1 where a promise was not kept."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--connections", default="1000,20000")
    parser.add_argument("--programs", default="tcpdump,capture,capture.zst,watch")
    parser.add_argument("--store", action="store_true", help=f"write {RESULT.relative_to(ROOT)}")
    asked = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    if shutil.which("tcpdump") is None:
        raise SystemExit("tcpdump is not installed")
    network()
    machine = {"cpu": _cpu_name(), "kernel": platform.release(), "cores": str(os.cpu_count())}
    result = Result(machine, asked.seconds)
    with tempfile.TemporaryDirectory() as name:
        for connections in asked.connections.split(","):
            sender = _sender(Path(name), int(connections), asked.seconds)
            for kind, rate, times in KINDS:
                rounds: dict[str, list[Outcome]] = {program: [] for program in asked.programs.split(",")}
                for _ in range(asked.rounds):
                    for program, outcomes in rounds.items():
                        outcomes.append(measure(program, sender, rate, asked.seconds * times, Path(name)))
                result.rounds[f"{kind}, {int(connections):,} connections"] = rounds
                report(result, f"{kind}, {int(connections):,} connections")
    if asked.store:
        RESULT.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
    for line in result.missed:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if result.missed else 0


def _cpu_name() -> str:
    found = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


if __name__ == "__main__":
    sys.exit(main())
