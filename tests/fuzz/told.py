"""What is told at the very end, on hostile captures: findings, streams, two captures that are split, tables of points.

As in `whole`, nothing here knows the right answer; what is told must agree with the rows it was made from, and no
stream may have a byte that no frame had.
"""

from __future__ import annotations

import io
import json
import warnings
import zlib
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, BinaryIO, cast

import numpy as np

from tcpsight import open as open_analysis
from tcpsight.analysis import Analysis
from tcpsight.capture import open_capture
from tcpsight.errors import CaptureError, CaptureWarning, TcpsightError, UsageError
from tcpsight.findings import FindingTable
from tcpsight.output import scalability_page
from tcpsight.output import split as split_page
from tcpsight.output.json_lines import json_text
from tcpsight.pipeline import Options, Pipeline
from tcpsight.point_tables import is_table, read
from tcpsight.scalability import facts_of_table
from tcpsight.split_captures import Split
from tcpsight.streams import CapturedStreams, Conversation
from tcpsight.tables import (
    FINDINGS,
    FLAG_RST,
    FLAG_SYN,
    INT64_MIN,
    KINDS,
    SPLITS,
    AccountedRequests,
    Connections,
    Findings,
    Headers,
    Policed,
    SegmentDetails,
    Table,
)
from tests.fuzz.features import Features, shape_of
from tests.fuzz.judging import check_accounts, check_policed, check_requests
from tests.fuzz.limits import measured
from tests.fuzz.rooms import columns_of
from tests.fuzz.whole import Pipe, assert_printable, is_damaged_inside, is_of_a_dialect, options_of, refuse, written

JUDGED: dict[str, type[Table]] = {"connections": Connections, "requests": AccountedRequests, "policed": Policed}
SPLIT_PARTS = ("request_path_ns", "server_ns", "response_path_ns")


# --- findings


def run_findings(data: bytes) -> Features:
    """Read some bytes as a capture, whole and trickled, and judge it; check judgments and their sentences."""
    seed = zlib.crc32(data)
    with measured(len(data)):
        whole, broken = _judged(io.BytesIO(data), seed, is_small=False)
    slow, slow_broken = _judged(Pipe(data, seed), seed, is_small=True)
    is_same = broken == slow_broken and all(columns_of(whole[name]) == columns_of(slow[name]) for name in whole)
    if not is_same and not is_damaged_inside(broken, slow_broken) and not is_of_a_dialect(data):
        assert broken == slow_broken
        for name, table in whole.items():
            assert columns_of(table) == columns_of(slow[name]), f"{name} depend on how bytes arrive"
    if not whole:
        return {f"broken {shape_of(broken)}"}
    connections, found = whole["connections"], cast("Findings", whole["findings"])
    check_accounts(connections.rows["connect_ns"], connections.rows["duration_ns"], connections)
    check_requests(cast("AccountedRequests", whole["requests"]))
    check_policed(cast("Policed", whole["policed"]))
    check_findings(found, connections)
    told = {f"{FINDINGS[row['kind']]} {row['severity']} {int(row['connections']).bit_length()}" for row in found.rows}
    told |= {f"policed {row['is_policed']} {row['is_shaped']} {row['verdict']}" for row in whole["policed"].rows}
    return told | {f"limited {value}" for value in np.unique(connections.rows["limited_by"]).tolist()}


def _judged(source: io.BytesIO | Pipe, seed: int, *, is_small: bool) -> tuple[dict[str, Table], str]:
    """Give the tables of one pass, and why it ended early."""
    blocks: dict[str, list[Table]] = defaultdict(list)
    findings = FindingTable()
    options = Options(with_network=True, with_policing=True, account="requests")
    try:
        capture = open_capture([cast("BinaryIO", source)], **options_of(seed, is_small=is_small))
    except CaptureError as error:
        return {}, str(error)
    with capture:
        pipeline = Pipeline(capture, options)
        for batch in pipeline:
            for name in JUDGED:
                blocks[name].append(getattr(batch, name).copy())
            findings.add(batch)
    tables: dict[str, Table] = {name: kind.concatenate(blocks[name]) for name, kind in JUDGED.items()}
    return tables | {"findings": findings.table()}, str(pipeline.broken or "")


def check_findings(found: Findings, connections: Table) -> None:
    """Check that each finding is a whole sentence about connections that there are."""
    ids = set(connections.rows["connection_id"].tolist())
    for row in found.rows:
        assert row["start_ns"] <= row["end_ns"]
        assert 0 <= row["confidence"] <= 1
        assert 1 <= row["connections"] <= len(ids)
        assert int(row["connection_id"]) in ids
        evidence = json.loads(row["evidence"], parse_constant=refuse)
        assert evidence["rule"]
        assert set(evidence["connection_ids"]) <= ids
        assert row["summary"]
    for form in ("table", "csv", "jsonl") if len(found) else ():
        assert_printable(written(found, form))


# --- streams


def run_streams(data: bytes) -> Features:
    """Reassemble every stream, whole and trickled; no byte is there that no frame had, and none of one twice."""
    seed = zlib.crc32(data)
    policy = ("first", "last")[seed & 1]
    try:
        with measured(len(data)):
            first = CapturedStreams(Analysis([io.BytesIO(data)]), policy)  # type: ignore[arg-type]
        second = CapturedStreams(Analysis([cast("BinaryIO", Pipe(data, seed))]), policy)  # type: ignore[arg-type]
    except CaptureError as error:
        return {f"broken {shape_of(str(error))}"}
    with first, second:
        if not is_damaged_inside(str(first.broken), str(second.broken)):
            is_same = [_told(each) for each in first] == [_told(each) for each in second]
            assert is_same or is_of_a_dialect(data), "streams depend on how bytes arrive"
        captured = _captured(data)
        told: Features = set()
        for conversation in first:
            for side in (0, 1):
                sent = captured.get((conversation.connection_id, side), {})
                told |= _check_stream(conversation, side, sent, policy)
            blocks = list(conversation.dialogue())
            both = len(conversation.client) + len(conversation.server)
            assert sum(len(block.data) + block.missing_bytes for block in blocks) == both
        return told


def _told(conversation: Conversation) -> tuple[Any, ...]:
    return conversation.connection_id, *map(tuple, (conversation.dialogue(), conversation.client.conflicts()))


Sent = dict[int, list[int]]


def _captured(data: bytes) -> dict[tuple[int, int], Sent]:
    """Give for each stream and offset all bytes that frames had there, in the order of capture."""
    payloads: list[bytes] = []

    def keep(frames: Any, headers: Headers, positions: Any) -> Any:
        sizes = headers.captured_payload_bytes.tolist()
        payloads.extend(
            bytes(frames.data[at : at + size]) if at >= 0 else b""
            for at, size in zip(positions.tolist(), sizes, strict=True)
        )
        return np.full(len(headers), -1, np.int64)

    segments = []
    with open_capture([io.BytesIO(data)]) as capture:
        for batch in Pipeline(capture, Options(with_segments=True), keep=keep):
            segments.append(batch.segments.copy())
    sent: dict[tuple[int, int], Sent] = defaultdict(lambda: defaultdict(list))
    left_out = {KINDS.index("keep_alive"), KINDS.index("duplicate")}
    for row, payload in zip(SegmentDetails.concatenate(segments).rows, payloads, strict=True):
        if row["offset"] == INT64_MIN or row["kind"] in left_out or row["flags"] & FLAG_RST:
            continue
        is_probe = row["kind"] == KINDS.index("zero_window_probe")
        begin = int(row["offset"]) + (1 if row["flags"] & FLAG_SYN else 0)
        there = sent[int(row["connection_id"]), int(row["direction"])]
        for at, byte in enumerate(payload, begin):
            # A probe's octet is the last that is believed.
            there[at].append(-1 - byte if is_probe else byte)
    return sent


def _expected(copies: list[int], policy: str) -> int:
    sure = [byte for byte in copies if byte >= 0]
    if sure:
        return sure[0 if policy == "first" else -1]
    return -1 - copies[0]


def _check_stream(conversation: Conversation, side: int, sent: Sent, policy: str) -> Features:
    stream = (conversation.client, conversation.server)[side]
    at = stream.start
    for block in stream.blocks(most=1000):
        assert block.offset == at
        for offset, byte in enumerate(block.data, at):
            assert byte == _expected(sent.get(offset, [0x100]), policy), "a byte that no frame had there"
        for offset in range(at, at + min(block.missing_bytes, 100)):
            assert offset not in sent, "a hole where a frame had a byte"
        at += len(block.data) + block.missing_bytes
    assert at == stream.end
    assert stream.captured_bytes == sum(stream.start <= offset < stream.end for offset in sent)
    for conflict in stream.conflicts():
        for i, (kept, other) in enumerate(zip(conflict.kept, conflict.other, strict=True)):
            assert kept != other
            assert other in sent[conflict.offset + i]
    return {
        f"holes {len(stream.holes()).bit_length()} whole {stream.is_whole} {stream.is_finished}",
        f"cut {stream.cut_bytes.bit_length()} again {stream.repeated_bytes.bit_length()}",
        f"conflicts {len(list(stream.conflicts())).bit_length()}",
    }


# --- two captures


def run_split(data: bytes) -> Features:
    """Read some bytes as two captures, cut where their first four bytes say, of the same traffic."""
    at = 4 + int.from_bytes(data[:4], "little")
    sides = [open_analysis(io.BytesIO(part), start_end=_start_end(data)) for part in (data[4:at], data[at:])]
    both = Split(*sides)
    try:
        with warnings.catch_warnings(), measured(len(data)):
            warnings.simplefilter("ignore", CaptureWarning)
            rows = both.requests.to_numpy()
            told = both.facts
    except (CaptureError, UsageError) as error:
        return {f"refused {shape_of(str(error))}"}
    text = json_text(told)
    json.loads(text, parse_constant=refuse)
    assert_printable(text)
    assert_printable(split_page.page(told))
    is_split = rows["outcome"] == SPLITS.index("split")
    parts = np.stack([rows[name] for name in SPLIT_PARTS]) if len(rows) else np.zeros((1, 0), np.int64)
    assert (parts[:, is_split] >= 0).all()
    assert (parts[:, ~is_split] == -1).all()
    assert (rows["client_ns"] >= 0).all()
    sent = rows["arrival_ns"] if _start_end(data)[0] == "request_last" else rows["arrival_ns"] + rows["client_ns"]
    total = np.maximum(rows["completion_ns"] - sent, 0)
    assert (parts.sum(axis=0) == total)[is_split].all(), "the parts do not add up to the response time"
    features = {f"outcome {SPLITS[value]}" for value in np.unique(rows["outcome"]).tolist()}
    features |= {f"{name} {shape_of(json.dumps(value))}" for name, value in told.items() if name not in ("requests",)}
    return features | {f"clock {len(told['clock'])}"}


def _start_end(data: bytes) -> tuple[str, str]:
    kind = zlib.crc32(data)
    return ("request_last", "request_first")[kind & 1], ("response_first", "response_last")[kind >> 1 & 1]


# --- tables of points

COLUMNS: tuple[Sequence[str] | None, ...] = (None, None, None, ("1", "2"), ("clients", "tps"), ("2", "x"))


def run_points(data: bytes) -> Features:
    """Read some bytes as a table of concurrency and throughput, and fit the law to it."""
    content = data[1:]
    is_known = is_table(content[:65_536])
    try:
        with measured(len(data)):
            table = read(io.BytesIO(content), "table", COLUMNS[data[0] % len(COLUMNS)] if data else None)
        told = facts_of_table(table)
    except TcpsightError as error:
        if "\n" in str(error):
            raise AssertionError("an error of more than a line") from error
        return {f"refused {is_known} {shape_of(str(error))}"}
    assert len(table.concurrency) == len(table.throughput_per_s)
    assert told["points"]["used"] + told["points"]["outliers"] + told["points"]["warm_up"] == len(table.concurrency)
    for name in ("sigma", "kappa", "lambda"):
        interval = told[name]
        assert interval is None or interval["low"] <= interval["value"] <= interval["high"], name
    assert told["refusal"] is None or told["refusal"]
    json.loads(json_text(told), parse_constant=refuse)
    assert_printable(scalability_page.page(told))
    counts = {f"{name} {value.bit_length()}" for name, value in told["points"].items() if isinstance(value, int)}
    return counts | {f"{is_known} {told['is_superlinear']} {shape_of(told['refusal'] or '')}"}
