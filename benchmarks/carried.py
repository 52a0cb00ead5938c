"""Ingested hour by hour or at once: every real capture, cut anywhere, gives the same lake, by hash: ``make carried``.

Each capture is written as files that are cut at random frames, ingested together, and one by one into another lake.
Hashed is what a pass over either tells: all columns of all tables in their order, what was not understood, and notes.
Where a file begins before the one before it ends, files that are read together are merged, so lakes may differ: those
are counted apart.
"""

from __future__ import annotations

import argparse
import json
import random
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.workers import CAPTURES, ROOT, TABLES, packed
from tcpsight.analysis import Analysis
from tcpsight.batches import Options
from tcpsight.capture import open_capture
from tcpsight.cli.notes import note_lines
from tcpsight.continuing import Continuing
from tcpsight.errors import CaptureError, TcpsightError, UsageError
from tcpsight.lake.ingesting import Ingest
from tcpsight.lake.replaying import StoredCaptures
from tcpsight.tables import Findings, Sketches

MOST_FILES = 5
PCAP_HEADER = struct.Struct("<IHHiIII")
RECORD = struct.Struct("<IIII")
NANOSECONDS = 0xA1B23C4D


def cut(path: Path, folder: Path, cuts: random.Random) -> tuple[list[str], bool]:
    """Write a capture as files that are cut anywhere; tell whether none begins before the one before it ends."""
    link_type, times, records = None, [], []
    with open_capture([str(path)]) as capture:
        try:
            for frames in capture:
                view = memoryview(frames.data)
                for row in frames.rows:
                    if link_type is None:
                        link_type = int(row["link_type"])
                    at, size = int(row["position"]), int(row["captured_bytes"])
                    if row["link_type"] == link_type and row["time_ns"] >= 0:
                        seconds, rest = divmod(int(row["time_ns"]), 10**9)
                        times.append(int(row["time_ns"]))
                        head = RECORD.pack(seconds & 0xFFFFFFFF, rest, size, int(row["wire_bytes"]))
                        records.append(head + bytes(view[at : at + size]))
        except CaptureError:
            pass
    files = min(cuts.randint(2, MOST_FILES), len(records))
    if files < 2 or max(times) >> 62 or max(times) >= 10**9 << 32:
        return [], True
    places = [0, *sorted(cuts.sample(range(1, len(records)), files - 1)), len(records)]
    header = PCAP_HEADER.pack(NANOSECONDS, 2, 4, 0, 0, 262_144, link_type or 0)
    names = []
    for number, (begin, end) in enumerate(pairwise(places)):
        names.append(str(folder / f"{number}.pcap"))
        Path(names[-1]).write_bytes(header + b"".join(records[begin:end]))
    highest = np.maximum.accumulate(times)
    # Files that begin in the same instant are ranked by what they hold.
    return names, all(
        times[begin] >= highest[begin - 1] and times[begin] > times[before] for before, begin in pairwise(places[:-1])
    )


def ingest(names: Sequence[str], lake: Path, workers: int) -> list[str]:
    """Add a capture to a lake; give the notes."""
    options = Options(with_network=True, with_policing=True, account="requests", workers=workers)
    with Ingest(lake) as adding, Analysis(list(names), options).run(through=Continuing) as run:
        return list(adding.take(run, iter(run), adding.new(names).files, {}).notes)


def told(lake: Path) -> dict[str, str]:
    """Hash everything that a lake tells."""
    found = {name: sha256() for name in TABLES}
    options = Options(with_network=True, with_policing=True, account="requests")
    with Analysis([str(lake)], replace(options)).run(Findings) as run:
        for batch in run:
            for name in TABLES:
                table = getattr(batch, name)
                found[name].update(packed(table.rows[[c.name for c in table.columns if not c.internal]]))
        pipeline = run.pipeline
        if pipeline.broken is not None:
            raise pipeline.broken
        rest = {
            "unseen": pipeline.unseen.table().rows.tolist(),
            "counts": [pipeline.frames, pipeline.segments, pipeline.joined_fragments],
            "notes": list(note_lines(run)),
            "tags": [run.tags.vlan_tags, run.tags.has_others],
            "silences": pipeline.silences.spans,
            "clock": [pipeline.clock_steps.steps, pipeline.clock_steps.back_ns, pipeline.clock_leaps.leaps],
            "span": [pipeline.span, pipeline.elapsed_ns],
        }
    rest["sketches"] = _added_up(StoredCaptures(str(lake)).sketches())
    return {name: each.hexdigest() for name, each in found.items()} | {name: repr(each) for name, each in rest.items()}


def _added_up(parts: Iterator[Sketches]) -> list[Any]:
    """Add up counts of the same service, minute and bucket."""
    total: dict[tuple[object, ...], int] = {}
    for rows in parts:
        for row in rows.rows:
            key = (row["server_address"].tobytes(), *(int(row[name]) for name in ("server_port", "start_ns", "low_ns")))
            total[key] = total.get(key, 0) + int(row["requests"])
    return sorted(total.items())


def compared(path: Path, seed: int) -> tuple[str | None, bool, list[str]]:
    """Give what differs of a capture, None if it cannot be compared; whether files follow each other; and notes."""
    cuts = random.Random(f"{path.name} {seed}")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        try:
            names, is_in_order = cut(path, folder, cuts)
            if not names:
                return None, True, ["too short"]
            ingest(names, folder / "once", 1)
        except TcpsightError as error:
            return None, True, [str(error)]
        try:
            notes = [note for name in names for note in ingest([name], folder / "hourly", cuts.choice((1, 2)))]
        except UsageError as error:  # a short file begins as another one: it seems to have grown
            return None, True, [str(error)]
        once, hourly = told(folder / "once"), told(folder / "hourly")
    return " ".join(name for name in once if once[name] != hourly[name]), is_in_order, notes


def main() -> int:
    """Compare; 1 if something differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--captures", type=Path, default=CAPTURES)
    parser.add_argument("--every", type=int, default=1, help="only every so manieth capture")
    parser.add_argument("--seed", type=int, default=9)
    parser.add_argument("--store", action="store_true", help="keep the result in benchmarks/results")
    given = parser.parse_args()
    captures = sorted(each for each in given.captures.rglob("*") if each.is_file())[:: given.every]
    captures += sorted((ROOT / "examples").glob("*.pcap"))
    began = time.perf_counter()
    result: dict[str, object] = {"captures": len(captures), "seed": given.seed}
    kinds: dict[str, list[str]] = {"left_out": [], "different": [], "different_but_merged": []}
    same = merged = 0
    for path in captures:
        different, is_in_order, notes = compared(path, given.seed)
        merged += not is_in_order
        if different is None:
            kinds["left_out"].append(f"{path.name}: {notes[0]}")
        elif different:
            kinds["different" if is_in_order else "different_but_merged"].append(f"{path.name}: {different} {notes}")
        else:
            same += is_in_order
    result |= {"left_out": len(kinds["left_out"]), "same": same, "different": kinds["different"], "merged": merged}
    result |= {"different_but_merged": len(kinds["different_but_merged"])}
    result |= {"seconds": round(time.perf_counter() - began)}
    print(json.dumps(result | kinds, indent=1))
    if given.store:
        (ROOT / "benchmarks" / "results" / "carried.json").write_text(json.dumps(result, indent=1) + "\n")
    return 1 if kinds["different"] or not captures else 0


if __name__ == "__main__":
    sys.exit(main())
