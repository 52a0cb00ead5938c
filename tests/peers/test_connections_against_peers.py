"""Connections of the corpus, as tshark and tcptrace saw them and as we see them.

Agreement is measured and has a floor; run with ``-s`` to read the largest disagreements. Known reasons for the rest:

* tshark takes capture duplicates for retransmissions, and a FIN that follows a pure ACK; what fills a hole is a
  retransmission to it unless it comes within a few milliseconds. Bytes, not retransmissions, are compared with it.
* tcptrace begins another connection after some minutes of silence and for a segment after both FINs, counts data on
  RSTs and a byte for some FINs, and takes a segment with some new bytes for a retransmission.
* Bytes before the first one seen, where the handshake was not captured, are retransmissions here; tcptrace takes them
  for new ones.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.peers.connections_peers import (
    Endpoint,
    Talk,
    is_plain,
    our_talks,
    tcptrace_talks,
    track,
    tshark_rows,
    tshark_talks,
)

pytestmark = pytest.mark.peers

SHOWN = 25


def captures(corpus_dir: Path, ending: str) -> Iterator[tuple[str, Path, Path]]:
    """Give name, capture and peer's words of each capture that a peer read."""
    for table in sorted(corpus_dir.glob(f"peers/**/*.{ending}")):
        name = table.relative_to(corpus_dir / "peers").as_posix().removesuffix(f".{ending}")
        capture = corpus_dir / "captures" / name
        if capture.is_file():
            yield name, capture, table


def report(peer: str, tally: Counter[str], disagreements: list[str]) -> None:
    print(f"\n{peer}: " + ", ".join(f"{count} {what}" for what, count in tally.items()))
    for line in disagreements[:SHOWN]:
        print("  " + line)


def test_connections_equal_those_of_tshark(corpus_dir):
    tally: Counter[str] = Counter()
    disagreements = []
    for name, capture, table in captures(corpus_dir, "tshark.tsv.xz"):
        segments, connections, _ = track(capture)
        lengths = dict(zip(segments.frame_number.tolist(), segments.payload_bytes.tolist(), strict=True))
        rows = {int(row["frame.number"]): row for row in tshark_rows(table) if is_plain(row)}
        # Where snaplen or damage makes tshark read another length, the rooms before this one differ.
        differing = {
            number for number in rows.keys() & lengths.keys() if int(rows[number]["tcp.len"]) != lengths[number]
        }
        frames = rows.keys() & lengths.keys()
        ours = {tuple(talk.frames): talk for talk in our_talks(segments, connections, frames)}
        for theirs in tshark_talks(rows.values(), frames):
            tally["connections"] += 1
            mine = ours.get(tuple(theirs.frames))
            if mine is None:
                disagreements.append(f"{name} stream {theirs.number}: other frames than in any of our connections")
                continue
            tally["of the same frames"] += 1
            if differing & set(theirs.frames):
                tally["with lengths read differently"] += 1
                continue
            for end, half in theirs.halves.items():
                tally["directions"] += 1
                tally["directions with the same bytes"] += half.bytes == mine.halves[end].bytes
                tally["directions with the same retransmissions"] += (
                    half.retransmissions == mine.halves[end].retransmissions
                )
                if half.bytes != mine.halves[end].bytes:
                    disagreements.append(
                        f"{name} stream {theirs.number} from {end}: {half.bytes} B, ours {mine.halves[end].bytes} B"
                    )
    report("tshark", tally, disagreements)
    assert tally["connections"] > 2000
    assert tally["of the same frames"] >= 0.995 * tally["connections"]
    assert tally["directions with the same bytes"] >= 0.995 * tally["directions"]
    assert tally["directions with the same retransmissions"] >= 0.96 * tally["directions"]


def by_endpoints(talks: list[Talk]) -> dict[frozenset[Endpoint], list[Talk]]:
    grouped: dict[frozenset[Endpoint], list[Talk]] = defaultdict(list)
    for talk in talks:
        grouped[frozenset(talk.halves)].append(talk)
    return grouped


def compare(theirs: Talk, ours: Talk, tally: Counter[str]) -> list[str]:
    """Compare both directions of a connection; give what differs."""
    differing = []
    for what in ("segments", "bytes", "retransmissions"):
        pairs = [(getattr(theirs.halves[end], what), getattr(ours.halves[end], what)) for end in theirs.halves]
        is_same = all(one == other for one, other in pairs)
        tally[f"with the same {what}"] += is_same
        if not is_same:
            differing.append(f"{what} " + ", ".join(f"{one} ours {other}" for one, other in pairs))
    tally["the same in all"] += not differing
    return differing


def test_connections_equal_those_of_tcptrace(corpus_dir):
    tally: Counter[str] = Counter()
    disagreements = []
    for name, capture, table in captures(corpus_dir, "tcptrace.txt.xz"):
        segments, connections, _ = track(capture)
        frames = set(segments.frame_number.tolist())
        ours = by_endpoints(sorted(our_talks(segments, connections, frames), key=lambda talk: talk.number))
        for ends, theirs in by_endpoints(list(tcptrace_talks(table))).items():
            mine = ours.get(ends)
            if mine is None:
                # Fragments, tunnels and link types that are not decoded.
                tally["not decoded"] += len(theirs)
                continue
            tally["connections"] += len(theirs)
            if len(mine) != len(theirs):
                disagreements.append(f"{name} {sorted(ends)}: {len(theirs)} connections, ours {len(mine)}")
                continue
            tally["compared"] += len(theirs)
            for one, other in zip(theirs, mine, strict=True):
                differing = compare(one, other, tally)
                if differing:
                    disagreements.append(f"{name} connection {one.number}: " + "; ".join(differing))
    report("tcptrace", tally, disagreements)
    assert tally["connections"] > 2000
    assert tally["compared"] >= 0.97 * tally["connections"]
    assert tally["with the same segments"] >= 0.99 * tally["compared"]
    assert tally["with the same bytes"] >= 0.98 * tally["compared"]
    assert tally["the same in all"] >= 0.94 * tally["compared"]
