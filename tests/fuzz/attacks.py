"""Attacks at full size: what they cost in memory and time, each in a process of its own.

``python -m tests.fuzz.attacks [--store] [--connections 5000000] [--only syn-flood]``
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.floods import bomb, garbage, many_interfaces, syn_flood
from tests.fuzz.limits import FREE_BYTES, MEGABYTE, MEMORY_FACTOR
from tests.fuzz.mutation import mutate_frame
from tests.fuzz.run import RESULTS
from tests.support.pcap import pcap_bytes, pcap_header, pcap_record
from tests.support.traffic import Talk, answered

REPORT = ["report", "--format", "json"]
COMMANDS = {"syn-flood-report": REPORT}
"""What is run; `connections` if nothing else is said."""

MOST_EMBRYONIC, OPEN_BYTES = 125_000, 4500
"""Connections whose handshake is not over, open at most if nothing else is said, and what each may take where the
network is measured. A SYN of 70 bytes opens one, so of floods the cap is the limit, not the size of the file."""

START_SECONDS = 1.0
"""What a process takes before it reads: not counted against a second per MB."""


def mutated(megabytes: int) -> Iterator[bytes]:
    """Give a long capture of which half of the frames were mutated."""
    chance = Random(11)
    frames = Talk(answered(*range(1, 60))).frames()
    left = megabytes * MEGABYTE
    yield pcap_header()
    while left > 0:
        changed = (f._replace(data=mutate_frame(f.data, chance)) if chance.random() < 0.5 else f for f in frames)
        piece = b"".join(map(pcap_record, changed))
        left -= len(piece)
        yield piece


def bomb_of(form: str) -> Callable[[], Iterable[bytes]]:
    return lambda: [bomb(form, 2000)]


def attacks(connections: int) -> Mapping[str, Callable[[], Iterable[bytes]]]:
    """Name every attack, and what makes its capture."""
    frames = Talk(answered(*[5] * 200)).frames()
    return {
        "syn-flood": lambda: syn_flood(connections),
        "syn-flood-slow": lambda: syn_flood(connections, per_second=10_000),
        "syn-flood-strided": lambda: syn_flood(connections, spread=65_536),
        "syn-flood-report": lambda: syn_flood(connections),
        "garbage": lambda: [pcap_bytes(garbage(frames, Random(5), 2000))],
        "interfaces": lambda: [many_interfaces(65_000)],
        "mutated": lambda: mutated(20),
        **{f"bomb-{form}": bomb_of(form) for form in ("gzip", "zstd", "xz", "bzip2")},
    }


def measure(name: str, parts: Iterable[bytes], folder: Path) -> dict[str, Any]:
    """Run the command on one attack; give its cost."""
    path = folder / f"{name}.pcap"
    with path.open("wb") as file:
        for part in parts:
            file.write(part)
    size = path.stat().st_size
    begin = time.monotonic()
    chosen = COMMANDS.get(name, ["connections", "--format", "csv"])
    command = [sys.executable, "-m", "tcpsight", *chosen, str(path), "-o", os.devnull]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    path.unlink()
    seconds = usage.ru_utime + usage.ru_stime
    peak = usage.ru_maxrss * 1024
    most = FREE_BYTES + max(MEMORY_FACTOR * size, OPEN_BYTES * MOST_EMBRYONIC if name.startswith("syn-flood") else 0)
    return {
        "file_mb": round(size / MEGABYTE, 1),
        "peak_mb": round(peak / MEGABYTE, 1),
        "cpu_seconds": round(seconds, 2),
        "wall_seconds": round(time.monotonic() - begin, 2),
        "status": process.returncode,
        "said": said.replace(str(path), path.name).splitlines()[-1:],
        "is_within_memory": peak <= most,
        "is_within_time": seconds <= START_SECONDS + max(size, MEGABYTE) / MEGABYTE,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description="attack at full size")
    parser.add_argument("--connections", type=int, default=5_000_000)
    parser.add_argument("--only", help="one attack")
    parser.add_argument("--store", action="store_true", help="write the result below tests/fuzz/results/")
    options = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, make in attacks(options.connections).items():
            if options.only in (None, name):
                found[name] = measure(name, make(), Path(folder))
                print(name, json.dumps(found[name]), flush=True)
    if options.store:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "attacks.json").write_text(json.dumps(found, indent=1) + "\n")
    is_fine = all(
        each["is_within_memory"] and each["is_within_time"] and each["status"] in (0, 2) for each in found.values()
    )
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
