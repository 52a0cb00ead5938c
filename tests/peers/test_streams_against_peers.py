"""Streams equal those of tcpflow (stored sizes and hashes) and tshark, byte for byte, or the difference is proved."""

from __future__ import annotations

import csv
import hashlib
import lzma
import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_address
from pathlib import Path

import pytest

import tcpsight
from tcpsight.errors import TcpsightError
from tcpsight.streams import Conversation, Stream
from tcpsight.tables import DIRECTIONS, SegmentDetails
from tests.support.thorough import IS_THOROUGH, some_of

pytestmark = pytest.mark.peers

LINK_HEADER_BYTES = {1: 14, 113: 16, 276: 20, 0: 4, 108: 4}
MOST_BYTES = 1 << 20
LARGEST_SEGMENT = 1460

TCPFLOW_DIFFERS = {
    (
        "OISF_suricata-verify/tests/tcp-5379/input.pcap",
        1,
    ): "data and a trailer on a SYN, written at the SYN's own place",
    ("arkime_arkime/tests/pcap/tcpseq_synthetic.pcap", 1): "data on a SYN, written at the SYN's own place",
}
"""Captures and connections where the stored result differs for a reason that is not proved by rule."""


def endpoint(conversation: Conversation, side: str) -> tuple[str, int, int]:
    row = conversation.connection
    address = row[f"{side}_address"].tobytes()
    version = int(row["ip_version"])
    return str(ip_address(address[12:] if version == 4 else address)), int(row[f"{side}_port"]), version


def sides(conversation: Conversation) -> list[tuple[Stream, str, str]]:
    return [(conversation.client, "client", "server"), (conversation.server, "server", "client")]


def is_whole(conversation: Conversation, stream: Stream) -> bool:
    return len(stream) > 0 and stream.is_whole and conversation.connection[f"{stream.direction}_isn"] >= 0


# --- tcpflow


def flow_name(end: tuple[str, int, int]) -> str:
    address, port, version = end
    if version == 4:
        address = ".".join(f"{int(part):03d}" for part in address.split("."))
    return f"{address}.{port:05d}"


def tcpflow_results(corpus: Path) -> list[tuple[str, dict[str, set[tuple[int, str]]]]]:
    """Give per capture the (size, SHA-256) of each flow that tcpflow wrote."""
    found: list[tuple[str, dict[str, set[tuple[int, str]]]]] = []
    for path in sorted(corpus.glob("peers/**/*.tcpflow.tsv")):
        flows: dict[str, set[tuple[int, str]]] = defaultdict(set)
        for line in path.read_text().splitlines()[2:]:
            cells = line.split("\t")
            # A name that was there already got a suffix.
            flows[re.sub(r"(--|c)\d+$", "", cells[0])].add((int(cells[1]), cells[2]))
        name = str(path.relative_to(corpus / "peers")).removesuffix(".tcpflow.tsv")
        if flows:
            found.append((name, flows))
    return found


def digest(data: bytes) -> tuple[int, str]:
    return len(data), hashlib.sha256(data).hexdigest()


def segments_with_trailers(path: Path, isn: int, source: bytes, destination: bytes) -> Iterator[tuple[int, bytes]]:
    """Give (offset, payload and whatever stands behind the packet in its frame) of one direction, over IPv4."""
    with tcpsight.open(path).run() as reading:
        for frames in reading.capture:
            for row in frames.rows:
                start, length = int(row["position"]), int(row["captured_bytes"])
                frame = bytes(memoryview(frames.data)[start : start + length])
                at = LINK_HEADER_BYTES.get(int(row["link_type"]), 0)
                at += 4 if frame[at - 2 : at] == b"\x81\x00" else 0
                tcp = at + 4 * (frame[at] & 15) if length > at else length
                ends = (
                    frame[at + 12 : at + 16] + frame[tcp : tcp + 2],
                    frame[at + 16 : at + 20] + frame[tcp + 2 : tcp + 4],
                )
                if ends == (source, destination) and length >= tcp + 20:
                    offset = (int.from_bytes(frame[tcp + 4 : tcp + 8]) - isn - 1 + 2**31) % 2**32 - 2**31
                    yield offset, frame[tcp + 4 * (frame[tcp + 12] >> 4) :]


def as_tcpflow_reads(path: Path, conversation: Conversation, mine: str, theirs: str) -> Iterator[bytes]:
    """Give a stream whose every frame is taken to its last byte, the last copy counting; with and without its RSTs."""
    row = conversation.connection
    source, destination = (
        row[f"{side}_address"].tobytes()[12:] + int(row[f"{side}_port"]).to_bytes(2) for side in (mine, theirs)
    )
    content = bytearray()
    for offset, data in segments_with_trailers(path, int(row[f"{mine}_isn"]), source, destination):
        if 0 <= offset < MOST_BYTES and data:
            content.extend(bytes(max(offset + len(data) - len(content), 0)))
            content[offset : offset + len(data)] = data
            yield bytes(content)


def without_one_segment(path: Path, conversation: Conversation, mine: str) -> Iterator[bytes]:
    """Give a stream with zeros in the place of one segment of it, for each that is larger than an Ethernet frame."""
    data = getattr(conversation, mine).read()
    with tcpsight.open(path).run(SegmentDetails) as run:
        for batch in run:
            for row in batch.segments.rows[batch.segments.connection_id == conversation.connection_id]:
                offset, length = int(row["offset"]), int(row["payload_bytes"])
                if DIRECTIONS[row["direction"]] == mine and length > LARGEST_SEGMENT:
                    yield data[:offset] + bytes(length) + data[offset + length :]


def explain(
    path: Path, both: tuple[Conversation, Conversation], ends: tuple[str, str], told: set[tuple[int, str]]
) -> str:
    """Prove why tcpflow has something else; empty if that is not known."""
    if digest(getattr(both[1], ends[0]).read()) in told:
        return "the last copy counts"
    if any(digest(content) in told for content in as_tcpflow_reads(path, both[0], *ends)):
        return "what stands behind the packet in its frame counts"
    if any(digest(content) in told for content in without_one_segment(path, both[0], ends[0])):
        return "one segment is left out, and zeros stand in its place"
    return ""


def test_every_whole_stream_equals_that_of_tcpflow(corpus_dir):
    outcomes: Counter[str] = Counter()
    differences = []
    for name, flows in tcpflow_results(corpus_dir):
        path = corpus_dir / "captures" / name
        try:
            first, last = (tcpsight.open(path).streams(policy) for policy in ("first", "last"))
        except TcpsightError:
            continue
        with first, last:
            for one, other in zip(first, last, strict=True):
                for stream, mine, theirs in sides(one):
                    flow = f"{flow_name(endpoint(one, mine))}-{flow_name(endpoint(one, theirs))}"
                    if not is_whole(one, stream) or flow not in flows:
                        continue
                    data = stream.read()
                    assert len(data) == len(stream)
                    if digest(data) in flows[flow]:
                        outcomes["equal"] += 1
                        continue
                    why = explain(path, (one, other), (mine, theirs), flows[flow])
                    outcomes[why] += 1
                    if not why and (name, one.connection_id) not in TCPFLOW_DIFFERS:
                        differences.append((name, one.connection_id, mine, len(data), sorted(flows[flow])))
    assert not differences
    assert outcomes["equal"] > 2500


# --- tshark


TSHARK_DIFFERS = {
    ("OISF_suricata-verify/tests/tcp-fastopen-10-syn-data-ignore/input.pcap", 1): ("43 bytes twice behind a hole", 43),
    (
        "ntop_nDPI/tests/cfgs/default/pcap/heuristic_tcp_ack_payload.pcap",
        161,
    ): ("a byte that a RST carries behind the FIN", 1),
}
"""Captures and connections where tshark shows bytes more than there are, why, and how many in one piece."""


def followed(program: str, path: Path, numbers: list[int]) -> dict[int, tuple[str, list[bytes]]]:
    """Give for each of tshark's streams the first node and the bytes of both, the first node's first."""
    options = [word for number in numbers for word in ("-z", f"follow,tcp,raw,{number}")]
    done = subprocess.run(
        [program, "-nqr", str(path), *options], capture_output=True, text=True, check=False, timeout=120
    )
    found: dict[int, tuple[str, list[bytes]]] = {}
    number = -1
    for line in done.stdout.splitlines():
        if line.startswith("Filter: tcp.stream eq "):
            number = int(line.split()[-1])
        elif line.startswith("Node 0: "):
            found[number] = (line.removeprefix("Node 0: "), [b"", b""])
        elif re.fullmatch(r"\t?[0-9a-f]+", line):
            found[number][1][line.startswith("\t")] += bytes.fromhex(line)
    return found


def stream_numbers(corpus: Path, name: str) -> dict[int, int]:
    """Give tshark's number of the stream of each frame, as it was stored."""
    with lzma.open(corpus / "peers" / f"{name}.tshark.tsv.xz", "rt", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        cells = ((row["frame.number"], row["tcp.stream"].split(",")[-1]) for row in rows)
        return {int(frame): int(number) for frame, number in cells if number}


def has_more(theirs: bytes, ours: bytes, count: int) -> bool:
    """Tell whether they are the same bytes, or there are so many more of theirs in one piece."""
    places = range(len(ours) + 1)
    return theirs == ours or any(theirs[:at] + theirs[at + count :] == ours for at in places)


def different(program: str, corpus: Path, name: str) -> tuple[int, list[tuple[str, int]]]:
    """Compare the complete conversations of a capture; give how many are equal, and those that are not."""
    equal, differences = 0, []
    path = corpus / "captures" / name
    try:
        streams = tcpsight.open(path).streams()
    except TcpsightError:
        return 0, []
    with streams:
        told = [each for each in streams if each.is_complete and len(each.client) + len(each.server)]
        if not told:
            return 0, []
        numbers = stream_numbers(corpus, name)
        peers = followed(program, path, sorted({numbers[each.connection_id] for each in told}))
        for each in told:
            first, content = peers[numbers[each.connection_id]]
            address, port, version = endpoint(each, "client")
            is_client = first == (f"[{address}]:{port}" if version == 6 else f"{address}:{port}")
            theirs, ours = content[:: 1 if is_client else -1], [each.client.read(), each.server.read()]
            count = TSHARK_DIFFERS.get((name, each.connection_id), ("", 0))[1]
            if theirs == ours:
                equal += 1
            elif not count or not all(has_more(*both, count) for both in zip(theirs, ours, strict=True)):
                differences.append((name, each.connection_id))
    return equal, differences


def test_complete_conversations_equal_those_that_tshark_follows(corpus_dir, require_program):
    program = require_program("tshark")
    found = (str(path.relative_to(corpus_dir / "peers")) for path in (corpus_dir / "peers").glob("**/*.tshark.tsv.xz"))
    every = sorted(name.removesuffix(".tshark.tsv.xz") for name in found)
    names = sorted({*some_of(every, 12), *(name for name, _ in TSHARK_DIFFERS)})
    with ThreadPoolExecutor(2) as pool:  # tshark takes a fifth of a second to start, some hundred times
        outcomes = list(pool.map(lambda name: different(program, corpus_dir, name), names))
    assert not [difference for _, some in outcomes for difference in some]
    assert sum(equal for equal, _ in outcomes) > (950 if IS_THOROUGH else 30)
