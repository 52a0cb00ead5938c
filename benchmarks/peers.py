"""Compare tcpsight with every program that tells something of connections, on one capture: part of ``make bench``.

Each does with its output thrown away the least that tells something of every connection; those that are libraries
are asked by a few lines of Python that count segments and bytes of each, as their own documentation does it. What
they tell differs, and the table says what it is. The slowest read the beginning of the capture only. Programs take
turns on one core; the speed is that of the whole process, start-up included, median of the rounds. Where
it is stored, the table of the README is written anew.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench import MILLION, ROOT, capture, machine, median, run, tcpsight

RESULTS = ROOT / "benchmarks" / "results" / "peers.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- speed of peers -->\n", "<!-- end of speed of peers -->"

_NFSTREAM = """
import sys
from nfstream import NFStreamer
for flow in NFStreamer(source=sys.argv[1], statistical_analysis=False, n_dissections=0, n_meters=1):
    pass
"""

_DPKT = """
import sys
from collections import defaultdict
import dpkt
flows = defaultdict(lambda: [0, 0])
with open(sys.argv[1], "rb") as file:
    for number, (time, data) in enumerate(dpkt.pcap.Reader(file), 1):
        ip = dpkt.ethernet.Ethernet(data).data
        tcp = ip.data
        flow = flows[ip.src, tcp.sport, ip.dst, tcp.dport]
        flow[0] += 1
        flow[1] += ip.len - 4 * ip.hl - 4 * tcp.off
        if number == int(sys.argv[2]):
            break
"""

_SCAPY = """
import sys
from collections import defaultdict
from scapy.layers.inet import IP, TCP
from scapy.layers.l2 import Ether
from scapy.utils import PcapReader
flows = defaultdict(lambda: [0, 0])
with PcapReader(sys.argv[1]) as frames:
    for number, frame in enumerate(frames, 1):
        ip, tcp = frame[IP], frame[TCP]
        flow = flows[ip.src, tcp.sport, ip.dst, tcp.dport]
        flow[0] += 1
        flow[1] += ip.len - 4 * ip.ihl - 4 * tcp.dataofs
        if number == int(sys.argv[2]):
            break
"""


@dataclass(frozen=True, slots=True)
class Peer:
    """A program to be compared with.

    Attributes
    ----------
    name : str
        As its table has it.
    tells : str
        What it tells, in a few words.
    command : callable of (path, segments) to list of str
        What to run.
    needs : str
        The program that must be installed, or, with a dot in front, the Python library; nothing: it is ours.
    most_segments : int or None
        It reads so many segments of the capture and no more: it would take too long.
    """

    name: str
    tells: str
    command: Callable[[Path, int], list[str]]
    needs: str = ""
    most_segments: int | None = None

    @property
    def is_installed(self) -> bool:
        """Whether it can be run."""
        if self.needs.startswith("."):
            return importlib.util.find_spec(self.needs[1:]) is not None
        return not self.needs or shutil.which(self.needs) is not None


def _library(script: str) -> Callable[[Path, int], list[str]]:
    return lambda path, segments: [sys.executable, "-c", script, str(path), str(segments)]


def _tcpflow(path: Path, _: int) -> list[str]:
    folder = tempfile.mkdtemp(prefix="tcpflow-", dir="/dev/shm")
    # It has nothing that only reads: what it writes goes where it is cheapest, and away again.
    return ["sh", "-c", 'tcpflow -q -r "$0" -o "$1"; status=$?; rm -r "$1"; exit $status', str(path), folder]


def _ours(command: str, *options: str) -> Callable[[Path, int], list[str]]:
    return lambda path, _: [*tcpsight(), command, str(path), *(options or ("-o", "/dev/null", "--format", "parquet"))]


PEERS = (
    Peer("tcpsight connections", "connections: set-up, ends, bytes, vantage point", _ours("connections")),
    Peer("tcpsight requests", "response time of every request", _ours("requests")),
    Peer("tcpsight network", "round trips, losses by cause, windows, where time went", _ours("network")),
    Peer("tcpsight report", "all of these, percentiles, stalls and findings", _ours("report", "--format", "json")),
    Peer(
        "tcpdump -w",
        "nothing: it copies",
        lambda p, _: ["tcpdump", "-nn", "-r", str(p), "-w", "/dev/null"],
        "tcpdump",
    ),
    Peer("capinfos", "counts and rates of the file", lambda p, _: ["capinfos", str(p)], "capinfos"),
    Peer(
        "argus",
        "flow records with loss, jitter and bytes",
        lambda p, _: ["argus", "-X", "-r", str(p), "-w", "/dev/null"],
        "argus",
    ),
    Peer("tcpflow", "payload of each direction", _tcpflow, "tcpflow"),
    Peer(
        "tcptrace -l",
        "round trips, losses, windows",
        lambda p, _: ["tcptrace", "-n", "-l", "-r", str(p)],
        "tcptrace",
    ),
    Peer("NFStream", "flow records with bytes and durations", _library(_NFSTREAM), ".nfstream"),
    Peer("dpkt", "what a script counts", _library(_DPKT), ".dpkt", 1_000_000),
    Peer(
        "tshark -z conv,tcp",
        "bytes and durations of conversations",
        lambda p, n: ["tshark", "-n", "-q", "-c", str(n), "-z", "conv,tcp", "-r", str(p)],
        "tshark",
        1_000_000,
    ),
    Peer("scapy", "what a script counts", _library(_SCAPY), ".scapy", 100_000),
)


def measure(path: Path, segments: int, rounds: int) -> list[dict[str, Any]]:
    """Let all that are installed take turns; give what each took."""
    costs: dict[str, list[Any]] = {}
    for _ in range(rounds):
        for peer in PEERS:
            if peer.is_installed:
                costs.setdefault(peer.name, []).append(run(peer.command(path, read(peer, segments))))
                print(f"  {peer.name}: {costs[peer.name][-1].cpu_s:.1f} s of CPU", file=sys.stderr)
    found = []
    for peer in PEERS:
        if peer.name not in costs:
            print(f"{peer.name}: not installed, left out", file=sys.stderr)
            continue
        speed = median(read(peer, segments) / MILLION / each.cpu_s for each in costs[peer.name])
        peak = max(each.peak_mb for each in costs[peer.name])
        found.append(
            {
                "name": peer.name,
                "tells": peer.tells,
                "segments": read(peer, segments),
                "million_segments_per_cpu_s": round(speed, 4),
                "peak_mb": round(peak),
            }
        )
    return found


def read(peer: Peer, segments: int) -> int:
    """Tell how many segments it reads."""
    return min(peer.most_segments or segments, segments)


def table(told: dict[str, Any]) -> str:
    """Write what was measured as a table in Markdown, the fastest first."""
    rows = sorted(told["peers"], key=lambda each: -each["million_segments_per_cpu_s"])
    lines = ["| program | million segments a CPU second | peak memory | what it tells |", "|---|---:|---:|---|"]
    for row in rows:
        speed = row["million_segments_per_cpu_s"]
        name = f"**{row['name']}**" if row["name"].startswith("tcpsight") else row["name"]
        lines.append(f"| {name} | {speed:.{1 if speed >= 1 else 2}f} | {row['peak_mb']} MB | {row['tells']} |")
    about = told["machine"]
    rounds = "one round" if told["rounds"] == 1 else f"median of {told['rounds']} rounds"
    lines.append("")
    lines.append(
        f"{told['segments'] / MILLION:g} million segments of {told['connections']:,} connections, one core of a rented "
        f"virtual machine ({about['cpu']}), {about['date']}, start-up "
        f"included, {rounds}; `make bench` measures it where you are."
    )
    return "\n".join(lines) + "\n"


def with_table(text: str, told: dict[str, Any]) -> str:
    """Put the table where a page has its marks."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table(told) + END + rest.partition(END)[2]


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, store."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--segments", type=int, default=10 * MILLION)
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="where captures are kept")
    parser.add_argument("--store", action="store_true", help=f"write {RESULTS.name} and the README's table")
    options, _ = parser.parse_known_args(arguments)
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    path = capture(options.folder, "open", options.segments)
    truth = json.loads(Path(f"{path}.truth.json").read_text())
    told = {
        "machine": machine(),
        "segments": options.segments,
        "connections": truth["connections"],
        "rounds": options.rounds,
        "peers": measure(path, options.segments, options.rounds),
    }
    print(table(told))
    if options.store:
        RESULTS.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        README.write_text(with_table(README.read_text(encoding="utf-8"), told), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
