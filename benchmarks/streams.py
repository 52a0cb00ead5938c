"""Speed of ``tcpsight streams`` on captures that it generates: ``python benchmarks/streams.py [--store]``.

Each ratio is of two commands that ran one after the other, in turns; the median of the turns is told. Frames of
1,500 bytes are listed against ``cat``; small ones (96 bytes) are listed by themselves, on one core; the screen is
opened on a pseudo-terminal until the first connection is on it, without an index and with one; a string that is
nowhere is searched for, on one core, and once more in a capture of many connections with one segment in a hundred
sent again, one in two hundred late; all streams are extracted against ``tcpflow``, to the same file system, and
compared byte by byte; how fast they could be at most is told by ``cp``, which copies the extracted files there and
does nothing else. Of these three the CPU time is told, too.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import platform
import pty
import resource
import select
import shutil
import statistics
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "streams.json"
COMMAND = [sys.executable, "-m", "tcpsight", "streams"]
MSS = 1448
WORDS = b"the quick brown fox jumps over the lazy dog; GET /index.html HTTP/1.1 Host: example.org Accept: text/html "
FRAME = np.dtype(
    [
        *(("seconds", "<u4"), ("micros", "<u4"), ("captured", "<u4"), ("wire", "<u4"), ("ethernet", "u1", 12)),
        *(("ether_type", ">u2"), ("version", "u1"), ("service", "u1"), ("length", ">u2"), ("id", ">u2")),
        *(("fragment", ">u2"), ("ttl", "u1"), ("protocol", "u1"), ("checksum", ">u2"), ("source", ">u4")),
        *(("destination", ">u4"), ("source_port", ">u2"), ("destination_port", ">u2"), ("sequence", ">u4")),
        *(("acknowledgment", ">u4"), ("offset", "u1"), ("flags", "u1"), ("window", ">u2"), ("tcp_checksum", ">u2")),
        *(("urgent", ">u2"), ("options", "u1", 12), ("payload", "u1", MSS)),
    ]
)
HEADER = FRAME.itemsize - MSS - 12
CLIENT, SERVER, PORT, SYN, ACK, FIN = 0x0A000001, 0x0A800001, 8080, 2, 16, 1


def controls(connections: int, micros: int, steps: tuple[tuple[int, Any, Any, bool], ...]) -> np.ndarray[Any, Any]:
    """Make segments without payload, cut behind their header: (flags, sequence, acknowledgment, from the server)."""
    rows = np.zeros(connections * len(steps), FRAME)
    who = np.repeat(np.arange(connections), len(steps))
    for i, (flags, sequence, acknowledgment, is_server) in enumerate(steps):
        some = rows[i :: len(steps)]
        some["flags"], some["sequence"], some["acknowledgment"] = flags, sequence, acknowledgment
        number = who[i :: len(steps)]
        ends = [(CLIENT + number, 20_000 + number), (np.full(connections, SERVER), np.full(connections, PORT))]
        (some["source"], some["source_port"]), (some["destination"], some["destination_port"]) = ends[
            :: -1 if is_server else 1
        ]
    rows["captured"] = rows["wire"] = HEADER - 16
    rows["length"], rows["offset"] = HEADER - 16 - 14, 0x50
    return stamped(rows, micros)


def stamped(rows: np.ndarray[Any, Any], micros: int) -> np.ndarray[Any, Any]:
    """Fill in what all frames have, a microsecond apart."""
    times = micros + np.arange(len(rows))
    rows["seconds"], rows["micros"] = times // 10**6, times % 10**6
    rows["ether_type"], rows["version"], rows["ttl"], rows["protocol"], rows["window"] = 0x800, 0x45, 64, 6, 65_000
    return rows


def disturbed(rows: np.ndarray[Any, Any], random: np.random.Generator) -> np.ndarray[Any, Any]:
    """Send one segment in a hundred again, some time later, and let one in two hundred come late."""
    n = len(rows)
    again = np.flatnonzero(random.random(n) < 0.01)
    late = np.where(random.random(n) < 0.005, 9.5, 0)
    when = np.concatenate((np.arange(n) + late, again + 200.5))
    # By index: to concatenate rows would put their fields into this machine's byte order.
    order = np.argsort(when, kind="stable")
    found = rows[np.concatenate((np.arange(n), again))[order]]
    # With an identification of its own, or it would be the same packet captured twice.
    found["id"] += order >= n
    return found


def generate(path: Path, frames: int, connections: int, *, is_lossy: bool = False) -> None:
    """Write a capture of downloads that go on side by side, four segments at a time, all of them whole."""
    random = np.random.default_rng(8)
    text = np.frombuffer((WORDS * (1 + (1 << 20) // len(WORDS)))[: 1 << 20], np.uint8)
    sent = np.zeros(connections, np.int64)
    micros = 1_700_000_000 * 10**6
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1))
        opening = ((SYN, 999, 0, False), (SYN | ACK, 4999, 1000, True), (ACK, 1000, 5000, False))
        write_cut(file, controls(connections, micros, opening))
        micros += 3 * connections
        for done in range(0, frames, 4096):
            n = min(4096, frames - done)
            who = (np.arange(done, done + n) // 4) % connections
            order = np.argsort(who, kind="stable")
            first = np.searchsorted(who[order], who[order])
            rank = np.empty(n, np.int64)
            rank[order] = np.arange(n) - first
            at = sent[who] + rank * MSS
            np.add.at(sent, who, MSS)
            rows = stamped(np.zeros(n, FRAME), micros)
            micros += n
            rows["captured"] = rows["wire"] = FRAME.itemsize - 16
            rows["length"], rows["id"], rows["offset"], rows["flags"] = FRAME.itemsize - 30, done % 65_536, 0x80, ACK
            rows["source"], rows["source_port"] = SERVER, PORT
            rows["destination"], rows["destination_port"] = CLIENT + who, 20_000 + who
            rows["sequence"], rows["acknowledgment"] = (5000 + at) % 2**32, 1000
            rows["options"] = np.array([1] * 12, np.uint8)
            rows["payload"] = text[(at % ((1 << 20) - MSS))[:, None] + np.arange(MSS)]
            if is_lossy:
                rows = stamped(disturbed(rows, random), micros - n)
                micros += len(rows) - n
            rows.tofile(file)
        ends = (5000 + sent) % 2**32
        closing = ((FIN | ACK, 1000, ends, False), (FIN | ACK, ends, 1001, True), (ACK, 1001, ends + 1, False))
        write_cut(file, controls(connections, micros, closing))


def write_cut(file: Any, rows: np.ndarray[Any, Any]) -> None:
    """Write frames without the room for options and payload."""
    file.write(rows.view(np.uint8).reshape(len(rows), -1)[:, :HEADER].tobytes())


def seconds(*command: str | Path, cpu: int | None = None) -> float:
    """Tell how long a command takes."""
    pinned = ["taskset", "-c", str(cpu)] if cpu is not None else []
    begin = time.perf_counter()
    subprocess.run([*pinned, *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def spent(*command: str | Path, cpu: int | None = None) -> tuple[float, float]:
    """Tell how long a command takes, and how much CPU time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    wall = seconds(*command, cpu=cpu)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def streams(path: Path, commands: str, *options: str, cpu: int | None = None) -> float:
    """Tell how long it takes to obey commands."""
    return seconds(*COMMAND, path, "--no-progress", *options, "-c", commands, cpu=cpu)


def opening(path: Path, *options: str) -> float:
    """Tell how long it takes until the browser shows the first connection."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    begin = time.perf_counter()
    process = subprocess.Popen(
        [*COMMAND, str(path), "--no-progress", *options], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    )
    seen = b""
    while b"10.128.0.1:8080" not in seen:
        if not select.select([ours], [], [], 60)[0]:
            process.kill()
            raise SystemExit("the browser shows nothing")
        seen += os.read(ours, 65_536)
    took = time.perf_counter() - begin
    os.write(ours, b"q")
    while process.poll() is None:
        if select.select([ours], [], [], 0.1)[0]:
            os.read(ours, 65_536)
    process.wait(10)
    os.close(ours)
    os.close(theirs)
    return took


def digests(folder: Path) -> list[str]:
    """Give the sorted hashes of what files hold."""
    return sorted(
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.name not in ("report.xml", "holes.jsonl") and path.stat().st_size
    )


def extraction(path: Path, folder: Path) -> dict[str, tuple[float, float]]:
    """Tell what tcpflow takes, and we, to extract all streams, which must be the same; and cp to write them again."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    size = path.stat().st_size
    warm(folder, size)
    theirs = spent("tcpflow", "-q", "-r", path, "-o", folder / "theirs")
    expected = digests(folder / "theirs")
    shutil.rmtree(folder / "theirs")
    warm(folder, size)
    ours = spent(*COMMAND, path, "--no-progress", "--no-index", "-c", f"dump {folder}/ours")
    same = expected == digests(folder / "ours")
    warm(folder, size)
    copied = spent("cp", "-r", folder / "ours", folder / "copied")
    shutil.rmtree(folder)
    if not same:
        raise SystemExit("tcpflow has other bytes")
    return {"tcpflow": theirs, "dump": ours, "cp": copied}


def warm(folder: Path, size: int) -> None:
    """Have the memory at hand: a virtual machine gives back what is free, and to get it again takes long."""
    with (folder / "warm").open("wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    (folder / "warm").unlink()


def captures(folder: Path, frames: int) -> dict[str, Path]:
    """Make the captures that are not there yet."""
    found = {name: folder / f"streams-{name}.pcap" for name in ("1500", "96", "1500-half", "1500-lossy", "tiny")}
    made = {
        "1500": lambda path: generate(path, frames, 64),
        "96": lambda path: small_frames(path, 8 * frames),
        "1500-half": lambda path: generate(path, frames // 2, 256),
        "1500-lossy": lambda path: generate(path, frames // 5, max(frames // 660, 2), is_lossy=True),
        "tiny": lambda path: generate(path, 4, 1),
    }
    for name, path in found.items():
        if not path.exists():
            made[name](path)
    return found


def small_frames(path: Path, segments: int) -> None:
    """Write requests and answers in frames of 96 bytes."""
    counts = ("--segments", str(segments), "--connections", str(max(segments // 500, 100)))
    subprocess.run([sys.executable, ROOT / "benchmarks" / "generate.py", path, *counts], check=True)


def as_installed(folder: Path, tiny: Path) -> None:
    """Have modules compiled once and for all, and a cache of our own."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    streams(tiny, f"list; match text zebra-nowhere; dump {folder / 'dumped'} --overwrite", "--no-index")
    shutil.rmtree(folder / "dumped")


def of_lists(paths: dict[str, Path], frames: int) -> dict[str, float]:
    """Tell how fast captures are indexed and listed."""
    cat, listed = seconds("cat", paths["1500"]), streams(paths["1500"], "list", "--no-index")
    started = streams(paths["tiny"], "list", "--no-index")
    commands = ("--no-progress", "--no-index", "-c", "filter requests < 0; list")
    wall, cpu = spent(*COMMAND, paths["96"], *commands, cpu=0)
    return {
        "cat_seconds": cat,
        "list_seconds": listed,
        "start_seconds": started,
        "list_rate_against_cat": cat / listed,
        "list_rate_against_cat_without_start": cat / max(listed - started, 1e-3),
        "small_frames_per_s": 8 * frames / wall,
        "small_frames_per_cpu_s": 8 * frames / cpu,
    }


def of_searches(paths: dict[str, Path]) -> dict[str, float]:
    """Tell how many bytes of a capture a second are searched, on one core, what a list takes left out."""
    found = {}
    for name, path in (("search_bytes_per_s", paths["1500"]), ("search_lossy_bytes_per_s", paths["1500-lossy"])):
        streams(path, "list")
        indexed = streams(path, "list", cpu=0)
        looked = streams(path, "match text zebra-nowhere", cpu=0)
        found[name] = path.stat().st_size / max(looked - indexed, 1e-3)
    return found


def measure(folder: Path, rounds: int, frames: int) -> dict[str, Any]:
    """Measure everything."""
    paths = captures(folder, frames)
    as_installed(folder, paths["tiny"])
    turns: dict[str, list[float]] = {}
    for _ in range(rounds):
        shutil.rmtree(folder / "cache", ignore_errors=True)
        half = paths["1500-half"]
        found = of_lists(paths, frames)
        found["open_without_index_seconds"] = opening(half, "--no-index")
        streams(half, "list")
        found["open_with_index_seconds"] = opening(half)
        found |= of_searches(paths)
        if shutil.which("tcpflow"):
            took = extraction(half, Path("/dev/shm") / f"tcpsight-bench-{os.getpid()}")
            for name, (wall, cpu) in took.items():
                found |= {f"{name}_seconds": wall, f"{name}_cpu_seconds": cpu}
            found["dump_against_tcpflow"] = took["tcpflow"][0] / took["dump"][0]
            found["cp_against_tcpflow"] = took["tcpflow"][0] / took["cp"][0]
        for name, value in found.items():
            turns.setdefault(name, []).append(value)
    return {"frames": frames, "rounds": rounds} | {name: statistics.median(some) for name, some in turns.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="where captures are made")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=1_320_000, help="of the large capture: 2 GB by default")
    parser.add_argument("--store", action="store_true", help=f"write {RESULTS.relative_to(ROOT)}")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    told = {"machine": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    told |= measure(chosen.folder, chosen.rounds, chosen.frames)
    text = json.dumps(told, indent=2) + "\n"
    print(text, end="")
    if chosen.store:
        RESULTS.write_text(text)


if __name__ == "__main__":
    main()
