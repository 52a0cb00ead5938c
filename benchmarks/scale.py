"""How cost grows: connections that are open at once, and the length of what is read: ``make bench-scale``.

``open``    the same number of segments by 20,000 and by a million connections at once: CPU time a segment
``stream``  a billion segments through a pipe, which no disk here would hold: every request must be told, and memory
            must not follow the length
``cluster`` files that follow each other, by threads and by clusters of processes on this machine: what an engine costs

The stream is one generated capture again and again, each time two hundred seconds later, so that its connections have
ended. This program imports nothing heavy before it has started the readers: see `bench`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

from benchmarks.bench import HERE, Cost, capture, run, tcpsight

MILLION = 1_000_000
FEW, MANY = 20_000, 1_000_000
LEAST_OF_FEW = 0.5
MOST_MEMORY_MB = 1024
MOST_GROWTH = 1.1
SHIFT_S = 200
RECORD_BYTES = 16


def crowd(folder: Path, segments: int, connections: int) -> Path:
    """Give a capture of so many connections, all open from the beginning."""
    path = folder / f"crowd-{connections}-{segments}.pcap"
    if not path.exists():
        print(f"generating {path} ...", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, str(HERE / "generate.py"), str(path), f"--segments={segments}"]
        subprocess.run([*command, f"--connections={connections}"], check=True)
    with path.open("rb", buffering=0) as stream:
        while stream.read(4 << 20):
            pass
    return path


def of_crowds(folder: Path, segments: int, rounds: int) -> dict[str, Any]:
    """Measure `connections` on few and on many connections, by turns."""
    costs: dict[int, list[Cost]] = {FEW: [], MANY: []}
    for _ in range(rounds):
        for connections, found in costs.items():
            path = crowd(folder, segments, connections)
            options = ["-o", "/dev/null", "--format", "parquet", "--workers", "1", "--no-progress"]
            options += ["--max-connections", str(4 * MANY)]
            found.append(run([*tcpsight(), "connections", str(path), *options]))
    rates = {each: [segments / cost.cpu_s / MILLION for cost in found] for each, found in costs.items()}
    ratios = sorted(many / few for few, many in zip(rates[FEW], rates[MANY], strict=True))
    return {
        "segments": segments,
        "million_segments_per_cpu_s": {str(each): [round(rate, 3) for rate in found] for each, found in rates.items()},
        "peak_mb": {str(each): round(max(cost.peak_mb for cost in found)) for each, found in costs.items()},
        "many_of_few": round(ratios[len(ratios) // 2], 3),
    }


def of_stream(folder: Path, segments: int) -> dict[str, Any]:
    """Measure `requests` on a stream of so many segments."""
    path = capture(folder, "open", 10 * MILLION)
    truth = json.loads(Path(f"{path}.truth.json").read_text())
    times = -(-segments // truth["segments"])
    rows = folder / "stream.parquet"
    command = [*tcpsight(), "requests", "-", "-o", str(rows), "--no-progress"]
    began = time.perf_counter()
    memory: list[tuple[float, float]] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0) as process:
        watcher = threading.Thread(target=_watch, args=(process, began, memory), daemon=True)
        watcher.start()
        assert process.stdin is not None
        _repeat(path, times, [process.stdin] * times)
        process.stdin.close()
        assert process.stderr is not None
        said = process.stderr.read().decode()
        process.wait()
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{said}")
    wall_s = time.perf_counter() - began
    fifth = len(memory) // 5
    early, late = (max(mb for _, mb in part) for part in (memory[fifth : 2 * fifth], memory[-fifth:]))
    counting = "import sys, pyarrow.parquet as pq; print(pq.read_metadata(sys.argv[1]).num_rows)"
    told = int(subprocess.check_output([sys.executable, "-c", counting, str(rows)]))
    rows.unlink()
    return {
        "segments": times * truth["segments"],
        "requests": times * truth["requests"],
        "requests_told": told,
        "wall_s": round(wall_s, 1),
        "peak_mb": round(max(mb for _, mb in memory)),
        "growth": round(late / early, 3),
        "said": said.strip().splitlines()[:5],
    }


def of_cluster(folder: Path, segments: int) -> dict[str, Any]:
    """Measure `requests` on captures of ten million segments that follow each other, by whoever does the work."""
    path = capture(folder, "open", 10 * MILLION)
    truth = json.loads(Path(f"{path}.truth.json").read_text())
    times = max(1, segments // truth["segments"])
    captures = [folder / f"following-{number}.pcap" for number in range(times)]
    with ExitStack() as stack:
        for each in captures:
            stack.callback(each.unlink, missing_ok=True)
        # By another process: the peak of a child's memory is never below that of this.
        names = [str(path), *map(str, captures)]
        subprocess.run([sys.executable, "-c", "from benchmarks.scale import write; write()", *names], check=True)
        rows = folder / "cluster.parquet"
        stack.callback(rows.unlink, missing_ok=True)
        found: dict[str, Any] = {"segments": times * truth["segments"], "requests": times * truth["requests"]}
        known = set()
        for options in ("--workers 1", "--workers 2", "--engine local --workers 1", "--engine local --workers 2"):
            command = [*tcpsight(), "requests", *map(str, captures), "-o", str(rows), "--no-progress", *options.split()]
            cost = run(command)
            known.add(sha256(rows.read_bytes()).hexdigest())
            found[options] = {
                "wall_s": round(cost.wall_s, 1),
                "cpu_s": round(cost.cpu_s, 1),
                "peak_mb": round(cost.peak_mb),
            }
        found["is_same"] = len(known) == 1
    return found


def write() -> None:
    """Write captures that follow each other; named on the command line, behind what they are made of."""
    path, *captures = map(Path, sys.argv[1:])
    with ExitStack() as stack:
        _repeat(path, len(captures), [stack.enter_context(each.open("wb")) for each in captures])


def _watch(process: subprocess.Popen[bytes], began: float, memory: list[tuple[float, float]]) -> None:
    """Note how much memory the reader has, every second."""
    while process.poll() is None:
        try:
            pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return
        memory.append((time.perf_counter() - began, pages * 4096 / 2**20))
        time.sleep(1)


def _repeat(path: Path, times: int, pipes: list[Any]) -> None:
    """Write a capture again and again, each time later, where that goes; of one in memory only the times change."""
    import numpy as np

    data = np.fromfile(path, np.uint8)
    at, places = 24, []
    lengths = data.tobytes()
    while at < len(lengths):
        places.append(at)
        at += RECORD_BYTES + int.from_bytes(lengths[at + 8 : at + 12], "little")
    del lengths
    starts = np.array(places, np.int64)
    for number in range(times):
        pipe = pipes[number]
        pipe.write(data[24 if number and pipe is pipes[0] else 0 :].data)
        seconds = sum(data[starts + i].astype(np.uint32) << (8 * i) for i in range(4)) + SHIFT_S
        for i in range(4):
            data[starts + i] = (seconds >> (8 * i)) & 0xFF


def main() -> int:
    """Measure; 1 if something is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--folder", type=Path, default=Path("/tmp/tcpsight-bench"))
    parser.add_argument("--segments", type=int, default=1000 * MILLION, help="of the stream")
    parser.add_argument("--cluster-segments", type=int, default=100 * MILLION, help="of the captures for a cluster")
    parser.add_argument("--only", choices=["open", "stream", "cluster"], help="and leave the others as they are stored")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--store", action="store_true", help="keep the result in benchmarks/results")
    given = parser.parse_args()
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "open": lambda: of_crowds(given.folder, 50 * MILLION, given.rounds),
        "stream": lambda: of_stream(given.folder, given.segments),
        "cluster": lambda: of_cluster(given.folder, given.cluster_segments),
    }
    told: dict[str, Any] = json.loads((HERE / "results" / "scale.json").read_text()) if given.only else {}
    told |= {name: part() for name, part in parts.items() if given.only in (None, name)}
    missed = []
    if not told["cluster"]["is_same"]:
        missed.append("the cluster: other rows than one worker's")
    if told["open"]["many_of_few"] < LEAST_OF_FEW:
        share = told["open"]["many_of_few"]
        missed.append(f"a million connections: {share} of the rate of {FEW:,} (at least {LEAST_OF_FEW})")
    if told["stream"]["requests_told"] != told["stream"]["requests"]:
        missed.append(f"the stream: {told['stream']['requests_told']:,} of {told['stream']['requests']:,} requests")
    if told["stream"]["peak_mb"] > MOST_MEMORY_MB or told["stream"]["growth"] > MOST_GROWTH:
        missed.append(f"the stream: {told['stream']['peak_mb']} MB, growing by {told['stream']['growth']}")
    told["missed"] = missed
    print(json.dumps(told, indent=1))
    if given.store:
        (HERE / "results" / "scale.json").write_text(json.dumps(told, indent=1) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
