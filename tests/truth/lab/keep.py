"""Keep a few runs for machines without privileges: ``python -m tests.truth.lab.keep build/lab/A``.

Of each scenario the smallest run is kept in `captures/`, compressed as far as it goes, without the samples of sockets.
"""

from __future__ import annotations

import json
import lzma
import shutil
import sys
from collections import defaultdict
from pathlib import Path

import zstandard

from tests.truth.lab.measure import captures_of, folders, truth_of

KEPT = Path(__file__).resolve().parent / "captures"
MOST_BYTES = 1_500_000


def pack(data: bytes) -> bytes:
    """Compress as far as it goes; the same bytes every time."""
    return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)


def keep(folder: Path, target: Path) -> int:
    """Copy a run; give how many bytes it takes."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    truth = truth_of(folder)
    for connection in truth["connections"]:
        for side in ("client", "server"):
            connection[side].pop("samples", None)
    files = {"truth.json.xz": json.dumps(truth, separators=(",", ":")).encode()}
    for path in captures_of(folder):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(path.read_bytes())
        files[path.name.removesuffix(".zst") + ".xz"] = data
    for name, data in files.items():
        (target / name).write_bytes(pack(data))
    return sum(path.stat().st_size for path in target.iterdir())


def main(arguments: list[str]) -> int:
    """Choose and keep; give the exit status."""
    by_name: dict[str, list[Path]] = defaultdict(list)
    for folder in folders([Path(a) for a in arguments]):
        by_name[folder.parent.name].append(folder)
    total = 0
    for name, some in sorted(by_name.items()):
        smallest = min(some, key=lambda f: sum(p.stat().st_size for p in captures_of(f)))
        size = keep(smallest, KEPT / name)
        total += size
        print(f"{size:8,d}  {name}")
    print(f"{total:8,d}  in all")
    return 0 if total <= MOST_BYTES else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
