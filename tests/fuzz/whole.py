"""The whole chain on hostile bytes: read at once and as a pipe that trickles; and all that must hold of what comes out.

Nothing here knows the right answer. What is checked is that there is an answer or an error made for people, that the
answer does not depend on how bytes arrive, that its parts agree with each other, and that nothing in it can be obeyed
by a terminal.
"""

from __future__ import annotations

import io
import json
import os
import random
import unicodedata
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, BinaryIO, cast

import numpy as np

from tcpsight.analysis import Run
from tcpsight.capture import Capture, open_capture
from tcpsight.capture.formats import PCAP, unpacked
from tcpsight.capture.pcap import VIEW_BYTES
from tcpsight.capture.pcap_variants import HEADER_BYTES, dialect_of
from tcpsight.capture.source import open_source
from tcpsight.capture.tags import TagSurvey
from tcpsight.errors import CaptureError
from tcpsight.facts import facts
from tcpsight.output.json_lines import json_text
from tcpsight.output.report import page
from tcpsight.output.writers import open_writer
from tcpsight.pipeline import Options, Pipeline
from tcpsight.reporting import Report, ReportCollection
from tcpsight.slices import IntervalCollection
from tcpsight.tables import REASONS, Connections, Network, Requests, SegmentDetails, Table, Unanswered
from tests.fuzz.features import Features, shape_of
from tests.fuzz.limits import measured
from tests.support.columns import IN_BATCH

TABLES: dict[str, type[Table]] = {
    "requests": Requests,
    "unanswered": Unanswered,
    "connections": Connections,
    "segments": SegmentDetails,
    "network": Network,
}

CAUSES = ("timeout_retransmissions", "fast_retransmissions", "tail_loss_probes", "spurious_retransmissions")

DECODED = REASONS[: REASONS.index("unreadable_text")]
"""Why a frame gives no segment; of every frame there is a segment or one of these."""

FRAME_COLUMNS = ("time_ns", "frame_number", "position", "captured_bytes", "wire_bytes", "link_type", "interface_id")

TRICKLED_BYTE_BY_BYTE = 1500
"""Longer inputs trickle in chunks."""


class Pipe(io.RawIOBase):
    """Gives a few bytes at a time, as a pipe does."""

    def __init__(self, data: bytes, seed: int) -> None:
        super().__init__()
        self._rest = memoryview(data)
        self._random = random.Random(seed)
        self._most = 1 if len(data) <= TRICKLED_BYTE_BY_BYTE and seed % 2 else 1 + len(data) // 16

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        count = min(len(view), len(self._rest), 1 if self._most == 1 else self._random.randint(1, self._most))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


@dataclass
class Lived:
    """What one pass over some captures gave."""

    tables: dict[str, Table] = field(default_factory=dict)
    unseen: list[list[int]] = field(default_factory=list)
    frames: int = 0
    joined: int = 0
    segments: int = 0
    broken: str = ""
    interfaces: list[str] = field(default_factory=list)
    pipeline: Pipeline | None = None
    capture: Capture | None = None
    report: Report | None = None

    def same(self) -> dict[str, Any]:
        """Give what must not depend on how the bytes came."""
        columns = {
            name: {c.name: table.rows[c.name].tobytes() for c in type(table).columns if c.name not in IN_BATCH}
            for name, table in self.tables.items()
        }
        counted = (self.unseen, self.frames, self.joined, self.segments, self.broken, self.interfaces)
        return columns | {"counted": counted}


def run_pipeline(data: bytes) -> Features:
    """Read some bytes as a capture, whole and trickled; check all that comes out."""
    seed = zlib.crc32(data)
    with measured(len(data)):
        whole = lived([io.BytesIO(data)], seed)
    trickled = lived([Pipe(data, seed)], seed >> 8, is_small=True)
    assert_same(whole, trickled, data)
    check(whole)
    if seed % 8 == 0:
        check_outputs(whole)
    return features_of(whole)


def run_reader(data: bytes) -> Features:
    """Read some bytes as a capture, frames only; whole and trickled."""
    seed = zlib.crc32(data)
    with measured(len(data)):
        whole = _read(io.BytesIO(data), seed)
    slow = _read(Pipe(data, seed), seed >> 8, is_small=True)
    with stored(data) as path:
        rows, error, files = _read(path, seed)
        assert (rows, error.replace(path, "<stream>"), files) == whole, "what is mapped is not what is read"
    if is_damaged_inside(whole[1], slow[1]):
        # The last frame of text may lack lines of its dump.
        both = max(min(len(whole[0]), len(slow[0])) - 1, 0)
        assert whole[0][:both] == slow[0][:both] or is_of_a_dialect(data)
    else:
        assert whole == slow or is_of_a_dialect(data), "what is read depends on how bytes arrive"
    rows, error, files = whole
    told = {shape_of(error), f"rows {len(rows).bit_length()}", *(shape_of(text) for text in files)}
    return told | {f"link {row[3]}" for row in rows}


@contextmanager
def stored(data: bytes) -> Iterator[str]:
    """Put bytes into a regular file, which is mapped where it is named."""
    descriptor = os.memfd_create("stored")
    try:
        with os.fdopen(descriptor, "wb", closefd=False) as file:
            file.write(data)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _read(
    source: io.BytesIO | Pipe | str, seed: int, *, is_small: bool = False
) -> tuple[list[tuple[Any, ...]], str, list[str]]:
    """Give every frame and its bytes, why reading ended, and what was counted."""
    rows: list[tuple[Any, ...]] = []
    capture = None
    error = ""
    try:
        how = options_of(seed, is_small=is_small)
        capture = open_capture([cast("BinaryIO", source)], **how, mapped_bytes=isinstance(source, str))
        for batch in capture:
            view = memoryview(batch.data)
            for time_ns, number, at, captured, wire, link, interface in batch.rows[list(FRAME_COLUMNS)].tolist():
                assert 0 <= at <= at + captured <= len(batch.data)
                data = zlib.crc32(view[at : at + captured])
                rows.append((number, time_ns, captured, link, wire, interface, data))
    except CaptureError as failure:
        error = str(failure)
    if capture is None:
        return rows, error, []
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
    files = [f"{f.format} {f.compression} {f.unseen.counts.tolist()} {f.interfaces!r}" for f in capture.files]
    return rows, error, files


def options_of(seed: int, *, is_small: bool) -> dict[str, Any]:
    if is_small:
        return {"batch_frames": 1 + seed % 7, "buffer_bytes": 1 + seed % 300}
    # The defaults cost a millisecond.
    return {"batch_frames": 1024, "buffer_bytes": 1 << 16} if seed % 16 else {}


def run_merge(data: bytes) -> Features:
    """Read some bytes as two captures, cut where their first two bytes say; merged, whole and trickled."""
    seed = zlib.crc32(data)
    at = 2 + int.from_bytes(data[:2], "little")
    parts = [part for part in (data[2:at], data[at:]) if part] or [b""]
    with measured(len(data)):
        whole = lived([io.BytesIO(part) for part in parts], seed)
    trickled = lived([Pipe(part, seed + i) for i, part in enumerate(parts)], seed >> 8, is_small=True)
    assert_same(whole, trickled, *parts)
    check(whole)
    return features_of(whole)


def lived(sources: Sequence[io.BytesIO | io.RawIOBase], seed: int, *, is_small: bool = False) -> Lived:
    """Run the whole chain over open streams."""
    found = Lived()
    try:
        capture = open_capture(cast("list[BinaryIO]", list(sources)), **options_of(seed, is_small=is_small))
    except CaptureError as error:
        found.broken = str(error)
        return found
    with capture:
        _run(capture, found)
    return found


def _run(capture: Capture, found: Lived) -> None:
    tags = TagSurvey()
    pipeline = Pipeline(capture, Options(with_segments=True, with_network=True), tags)
    blocks: dict[str, list[Table]] = defaultdict(list)
    intervals, report = IntervalCollection(), ReportCollection()
    for batch in pipeline:
        for name in TABLES:
            table = getattr(batch, name)
            if len(table):
                blocks[name].append(table.copy())
        intervals.feed(batch)
        report.feed(batch)
    found.tables = {name: kind.concatenate(blocks[name]) for name, kind in TABLES.items()}
    if is_short(pipeline):
        rows = [block.copy() for block in intervals.rows(pipeline.span)]
        found.tables["intervals"] = intervals.table_type.concatenate(rows)
    found.unseen = pipeline.unseen.counts.tolist()
    found.frames, found.segments, found.joined = pipeline.frames, pipeline.segments, pipeline.joined_fragments
    found.broken = str(pipeline.broken or "")
    found.interfaces = [repr(each) for each in capture.interfaces]
    found.capture, found.pipeline = capture, pipeline
    found.report = report.report(Run(capture, pipeline, None, tags))


def is_short(pipeline: Pipeline) -> bool:
    """Tell whether the series of slices has a size worth testing: three centuries in milliseconds do not fit a test."""
    span = pipeline.span
    return span is not None and span[1] - span[0] < 10**12


def is_damaged_inside(*reasons: str) -> bool:
    """Tell whether data were damaged whose decompressor drops a little of what it had made of them so far."""
    return any(f"the {name} data is damaged" in reason for name in ("gzip", "xz", "bzip2", "lz4") for reason in reasons)


def is_of_a_dialect(data: bytes) -> bool:
    """Tell whether a classic file's dialect depends on how many of its first records arrive with its header.

    Asked only where answers differ: it tries every number of bytes.
    """
    start = unpacked(open_source(io.BytesIO(data)))[0].peek(VIEW_BYTES)
    if len(start) < HEADER_BYTES or not start.startswith(PCAP.magics):
        return False
    usual = dialect_of(start[:HEADER_BYTES])
    return any(dialect_of(start[:count]) != usual for count in range(HEADER_BYTES, len(start) + 1))


def assert_same(whole: Lived, trickled: Lived, *parts: bytes) -> None:
    """Check that all is the same, unless the captures in `parts` are such that it need not be."""
    one, other = whole.same(), trickled.same()
    if one == other or is_damaged_inside(whole.broken, trickled.broken) or any(map(is_of_a_dialect, parts)):
        return
    assert one["counted"] == other["counted"], "what was counted depends on how bytes arrive"
    assert one.keys() == other.keys()
    for name in whole.tables:
        for column, values in one[name].items():
            assert values == other[name][column], f"{name}.{column} depends on how bytes arrive"


def check(found: Lived) -> None:
    """Check that the parts of an answer agree."""
    if not found.tables:
        assert found.broken
        return
    reasons = dict(zip(REASONS, found.unseen, strict=True))
    assert found.frames == found.segments + found.joined + sum(reasons[name][0] for name in DECODED)
    assert all(count >= 0 and size >= 0 for count, size, _ in found.unseen)
    for name, table in found.tables.items():
        check_signs(name, table)
    connections, requests = found.tables["connections"], found.tables["requests"]
    unanswered, segments = found.tables["unanswered"], found.tables["segments"]
    assert len(segments) == found.segments
    assert int(connections.rows["requests"].sum()) == len(requests)
    assert int(connections.rows["unanswered"].sum()) == len(unanswered)
    assert (connections.rows["start_ns"] <= connections.rows["end_ns"]).all()
    counted = sum(int(connections.rows[f"{side}_segments"].sum()) for side in ("client", "server"))
    assert counted + int(connections.rows["duplicates"].sum()) == found.segments
    assert set(segments.rows["connection_id"].tolist()) == set(connections.rows["connection_id"].tolist())
    check_network(found)
    check_slices(found)


def check_network(found: Lived) -> None:
    """Check what the network did against what the connections say."""
    network, connections = found.tables["network"].rows, found.tables["connections"].rows
    assert len(network) == 2 * len(connections)
    network, connections = (
        np.sort(network, order=["connection_id", "direction"]),
        np.sort(connections, order="connection_id"),
    )
    assert (network["connection_id"][::2] == connections["connection_id"]).all()
    assert int(network["segments"].sum()) + int(connections["duplicates"].sum()) == found.segments
    assert (network["wire_segments"] >= network["segments"]).all()
    known = network[network["retransmissions"] >= 0]
    assert np.array_equal(sum(known[cause] for cause in CAUSES), known["retransmissions"])
    assert (known["non_idle_ns"] <= known["end_ns"] - known["start_ns"]).all()
    for low, high in pairwise(("rtt_min_ns", "rtt_p50_ns", "rtt_p95_ns", "rtt_max_ns")):
        assert (network[low] <= network[high]).all()
    segments = found.tables["segments"].rows
    # A SYN that was held counts where it was met, and for the connection that it begins.
    began = segments["connection_id"][segments["frame_number"] == segments["connection_id"]]
    is_clear = np.isin(connections["connection_id"], began)
    for i, side in enumerate(("client", "server")):
        both = (connections["is_sequenced"] != 0) & is_clear
        for name in ("retransmissions", "control_retransmissions", "retransmitted_bytes"):
            assert (network[name][i::2][both] == connections[f"{side}_{name}"][both]).all(), name


def check_signs(name: str, table: Table) -> None:
    """Check that nothing but an instant, an offset or a correlation is negative, except for the null."""
    for column in type(table).columns:
        values = table.rows[column.name]
        if column.dtype not in ("int32", "int64", "float64") or column.unit == "epoch ns":
            continue
        if any(word in column.name for word in ("offset", "correlation", "made_by")):
            continue
        low = values < 0
        if column.null is not None:
            low &= values != column.null
        assert not low.any(), f"{name}.{column.name}: {values[low][:3]}"


def check_slices(found: Lived) -> None:
    slices = found.tables.get("intervals")
    if slices is None or len(slices) == 0:
        return
    rows = slices.rows
    assert (rows["length_ns"] >= 0).all()
    # All of a capture in one instant has none.
    assert not (rows["utilization_fraction"] > 1).any()
    assert int(rows["arrivals"].sum()) <= len(found.tables["requests"])
    assert (rows["start_ns"][1:] == rows["start_ns"][:-1] + rows["length_ns"][:-1]).all()


def check_outputs(found: Lived) -> None:
    """Write what was found in every way; nothing may be cut, unreadable, or obeyed by a terminal."""
    if found.report is None:
        return
    told = facts(found.report)
    assert json.loads(json_text(told), parse_constant=refuse)["capture"]["frames"] == found.frames
    assert_printable(page(told))
    for name, table in found.tables.items():
        assert_printable(written(table, "table"))
        text = written(table, "csv")
        assert_printable(text)
        assert text.count("\n") == len(table) + 1
        lines = written(table, "jsonl").splitlines()
        assert len(lines) == len(table), name
        for line in lines[:50]:
            json.loads(line, parse_constant=refuse)


def refuse(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def written(table: Table, form: str) -> str:
    target = io.BytesIO()
    with open_writer(target, type(table), form) as writer:
        writer.write(table)
    return target.getvalue().decode()


def assert_printable(text: str) -> None:
    bad = {c for c in set(text) if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")}
    assert not bad, f"control characters in the output: {sorted(bad)!r}"


def features_of(found: Lived) -> Features:
    """Tell what kind of input this was, so that others of a new kind are kept."""
    told = {f"broken {shape_of(found.broken)}"}
    told |= {f"{name} {row[0].bit_length()}" for name, row in zip(REASONS, found.unseen, strict=False) if row[0]}
    for name, table in found.tables.items():
        told.add(f"{name} {len(table).bit_length()}")
    if found.tables:
        connections, segments = found.tables["connections"].rows, found.tables["segments"].rows
        for column in ("state", "role_source", "is_approximate", "encapsulation", "ip_version", "is_farewell"):
            told |= {f"{column} {value}" for value in np.unique(connections[column]).tolist()}
        for column in ("client_gap_bytes", "ignored_resets", "duplicates", "connect_attempts", "requests"):
            told |= {f"{column} {int(value).bit_length()}" for value in np.unique(connections[column])[:64]}
        told |= {f"kind {value}" for value in np.unique(segments["kind"]).tolist()}
    if found.capture is not None:
        told |= {f"format {f.format} {f.compression}" for f in found.capture.files}
        told |= {f"link {i.link_type}" for i in found.capture.interfaces[:20]}
    return told
