"""Whoever does the work: every real capture and a rotated set give the same rows, by hash: ``make workers``.

Each capture is read by one worker, two and five threads, and by clusters of one, two and three processes; the rotated
set in shuffled orders, too. Hashed are all columns of all tables in their order, what was not understood, and notes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from tcpsight.analysis import Analysis
from tcpsight.batches import Options
from tcpsight.cli.notes import note_lines
from tcpsight.cluster.engine import Cluster
from tcpsight.clustered import Engine
from tcpsight.errors import CaptureError
from tcpsight.tables import Findings

ROOT = Path(__file__).resolve().parents[1]
CAPTURES = ROOT.parent / "shared" / "corpus" / "captures"
EXAMPLE = ROOT / "examples" / "postgresql-pgbench.pcap"
TABLES = ("requests", "unanswered", "connections", "network", "policed")
THREADS = (1, 2, 5)
PROCESSES = (1, 2, 3)
FILES = 200
ORDERS = 3
HEADER_BYTES, RECORD_BYTES = 24, 16


def rotated(folder: Path) -> list[Path]:
    """Write the example as files that are cut anywhere; most of its connections span many."""
    data = EXAMPLE.read_bytes()
    places, at = [], HEADER_BYTES
    while at < len(data):
        places.append(at)
        at += RECORD_BYTES + int.from_bytes(data[at + 8 : at + 12], "little")
    cuts = [HEADER_BYTES, *sorted(random.Random(9).sample(places[1:], FILES - 1)), len(data)]
    paths = []
    for number in range(FILES):
        paths.append(folder / f"{number:05}.pcap")
        paths[-1].write_bytes(data[:HEADER_BYTES] + data[cuts[number] : cuts[number + 1]])
    return paths


def told(sources: Sequence[Path], workers: int, engine: Engine | None) -> str:
    """Hash everything that a pass tells; where a capture cannot be read, what is said."""
    found = {name: sha256() for name in TABLES}
    options = Options(with_network=True, with_policing=True, account="requests", workers=workers)
    try:
        with Analysis([str(each) for each in sources], options, engine=engine).run(Findings) as run:
            for batch in run:
                for name in TABLES:
                    table = getattr(batch, name)
                    rows = table.rows[[c.name for c in table.columns if not c.internal]]
                    found[name].update(packed(rows))
            pipeline = run.pipeline
            rest = [
                pipeline.unseen.table().rows.tolist(),
                [pipeline.frames, pipeline.segments, pipeline.joined_fragments, str(pipeline.broken)],
                list(note_lines(run)),
                run.tags.vlan_tags,
                run.tags.has_others,
                pipeline.silences.spans,
                sorted(each.path for each in run.capture.files),
            ]
    except CaptureError as error:
        rest = [str(error)]
    digest = sha256(repr(rest).encode())
    for each in found.values():
        digest.update(each.digest())
    return digest.hexdigest()


def packed(rows: np.ndarray[Any, Any]) -> bytes:
    """Give rows without what lies between their columns."""
    names = rows.dtype.names or ()
    kinds = np.dtype([(name, *_shape(rows.dtype[name])) for name in names])
    packed = np.zeros(len(rows), kinds)
    for name in names:
        packed[name] = rows[name]
    return packed.tobytes()


def _shape(kind: np.dtype[Any]) -> tuple[Any, ...]:
    return (kind.base, kind.shape) if kind.shape else (kind,)


def compared(sets: Sequence[Sequence[Path]], engines: Sequence[tuple[str, int, Engine | None]]) -> Iterator[str]:
    """Tell what differs from what one worker tells."""
    for number, sources in enumerate(sets):
        expected = told(sources, 1, None)
        for name, workers, engine in engines:
            orders = range(ORDERS if len(sources) > 1 else 1)
            for seed in orders:
                mixed = random.Random(seed).sample(list(sources), len(sources))
                if told(mixed, workers, engine) != expected:
                    yield f"{sources[0]} ({len(sources)} files, order {seed}): {name}"
        if number % 50 == 0:
            print(f"{number + 1} of {len(sets)}", file=sys.stderr)


def main() -> int:
    """Compare; 1 if something differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--captures", type=Path, default=CAPTURES)
    parser.add_argument("--every", type=int, default=1, help="only every so manieth capture")
    parser.add_argument("--store", action="store_true", help="keep the result in benchmarks/results")
    given = parser.parse_args()
    captures = sorted(each for each in given.captures.rglob("*") if each.is_file())[:: given.every]
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        engines: list[tuple[str, int, Engine | None]] = [(f"{count} threads", count, None) for count in THREADS]
        for count in PROCESSES:
            engines.append((f"{count} processes", 1, stack.enter_context(Cluster("local", count))))
        different = list(compared([rotated(Path(folder)), *([each] for each in captures)], engines))
    result = {
        "captures": len(captures),
        "rotated_files": FILES,
        "orders": ORDERS,
        "compared": [name for name, _, _ in engines],
        "different": different,
        "seconds": round(time.perf_counter() - began),
    }
    print(json.dumps(result, indent=1))
    if given.store:
        (ROOT / "benchmarks" / "results" / "workers.json").write_text(json.dumps(result, indent=1) + "\n")
    return 1 if different or not captures else 0


if __name__ == "__main__":
    sys.exit(main())
