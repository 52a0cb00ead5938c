"""The list of accepted differences: every one known between tcpsight and its peers, with the class that explains it.

One line stands for all frames of a connection where the same thing differs in the same way. ``make accuracy`` writes
the list anew, and refuses while a difference belongs to no class.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.peers.case import Difference

PATH = Path(__file__).with_name("accepted_differences.csv")
COLUMNS = ("capture", "peer", "what", "connection", "frames", "theirs", "ours", "reason")


def accepted(path: Path = PATH) -> dict[Difference, str]:
    """Read the list: the class of each difference."""
    found = {}
    with path.open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            for frame in row["frames"].split():
                key = (row["capture"], row["peer"], row["what"], int(row["connection"]), int(frame))
                found[Difference(*key, row["theirs"], row["ours"])] = row["reason"]
    return found


def lines_of(differences: Iterable[tuple[Difference, str]]) -> list[tuple[str, ...]]:
    """Put frames that differ in the same way into one line."""
    frames: dict[tuple[str, str, str, int, str, str, str], list[int]] = defaultdict(list)
    for d, reason in differences:
        frames[d.capture, d.peer, d.what, d.connection, d.theirs, d.ours, reason].append(d.frame)
    rows = sorted((key, sorted(numbers)) for key, numbers in frames.items())
    return [(*map(str, key[:4]), " ".join(map(str, numbers)), *key[4:]) for key, numbers in rows]


def write(differences: Iterable[tuple[Difference, str]], path: Path = PATH) -> None:
    """Write the list."""
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.writer(lines, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(lines_of(differences))
