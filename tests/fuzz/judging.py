"""What is made of hostile rows behind the connections: the time account, the vantage, exchanges that are judged.

Programs of `judged` rows make exchanges long enough to be judged: a step sends many segments, or sends some again.
"""

from __future__ import annotations

import zlib
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from tcpsight.capture.reader import TIME_LIMIT_NS
from tcpsight.connections import ConnectionTracking, Timeouts
from tcpsight.network import Accounted, RequestMatching, TimeAccounting
from tcpsight.network.policing import PolicingDetection
from tcpsight.requests import RequestPairing
from tcpsight.tables import (
    FLAG_ACK,
    FLAG_FIN,
    FLAG_RST,
    FLAG_SYN,
    OPTION_MSS,
    OPTION_SACK,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    POLICING_VERDICTS,
    TIME_PARTS,
    VANTAGES,
    AccountedRequests,
    ConnectionAccounts,
    Connections,
    Headers,
    Policed,
    Table,
)
from tests.fuzz.features import Features
from tests.fuzz.rooms import ADDRESSES, STEPS_NS, columns_of, cuts_of, headers_in
from tests.fuzz.whole import check_signs
from tests.reference import test_policing
from tests.reference.network import test_accounting

MS = 1_000_000
PARTS = tuple(f"{part}_ns" for part in TIME_PARTS)
MOST_SEGMENTS = 1200
STEP_BYTES = 6


# --- the time account


def run_account(data: bytes) -> Features:
    """Account for the time of connections and requests that hostile headers make; at once and in other cuts."""
    headers = headers_in(data)
    whole, pieces = _accounted(headers, [0, len(headers)]), _accounted(headers, cuts_of(len(headers), zlib.crc32(data)))
    for one, other in zip(whole, pieces, strict=True):
        assert columns_of(one) == columns_of(other), "the account depends on how rows are cut into batches"
    accounts, requests, connections = whole
    assert accounts.connection_id.tolist() == connections.connection_id.tolist()
    check_accounts(connections.connect_ns, connections.duration_ns, accounts)
    check_requests(requests)
    told = {f"limited {value}" for value in np.unique(accounts.limited_by).tolist()}
    told |= {f"vantage {value}" for value in np.unique(accounts.vantage).tolist()}
    told |= {f"{name} {int(value).bit_length()}" for name in PARTS[1:] for value in np.unique(accounts.rows[name])}
    return told | {f"request {value}" for value in np.unique(requests.limited_by).tolist()}


def run_account_twin(data: bytes) -> Features:
    """Account for the time of hostile headers twice."""
    events, rows, batch = test_accounting.tracked(headers_in(data), Timeouts())
    test_accounting.check(events, rows, batch)
    return {f"{event['kind']} {event['flags']}" for event in events if "kind" in event}


def _accounted(headers: Headers, cuts: list[int]) -> tuple[ConnectionAccounts, AccountedRequests, Connections]:
    tracking, pairing = ConnectionTracking(), RequestPairing()
    accounting, matching = TimeAccounting(with_requests=True), RequestMatching()
    accounts, requests, connections = [], [], []
    for begin, end in [*pairwise(cuts), (-1, -1)]:
        batch = headers[begin:end] if end >= 0 else Headers()
        tracked = tracking.feed(batch) if end >= 0 else tracking.finish()
        accounted: Accounted = accounting.feed(tracked.segments, batch, tracked.boundaries, tracked.connections)
        paired = pairing.feed(tracked.segments, tracked.boundaries)
        requests.append(matching.feed(paired.requests, accounted))
        accounts.append(accounted.connections.copy())
        connections.append(tracked.connections.copy())
    return (
        ConnectionAccounts.concatenate(accounts),
        AccountedRequests.concatenate(requests),
        Connections.concatenate(connections),
    )


def check_accounts(connect_ns: Any, duration_ns: Any, accounts: Table) -> None:
    """Check that the parts of each connection's time add up to it, and that the largest is named."""
    parts = np.stack([np.maximum(connect_ns, 0), *(accounts.rows[name] for name in PARTS[1:])])
    assert (parts >= 0).all()
    assert (parts.sum(axis=0) == duration_ns).all(), "the parts of an account do not add up to the time"
    named, is_any = accounts.rows["limited_by"], np.asarray(duration_ns) > 0
    assert (named[~is_any] == 255).all()
    at = np.flatnonzero(is_any)
    assert (parts[named[at], at] == parts[:, at].max(axis=0)).all()
    assert (accounts.rows["vantage"] < len(VANTAGES)).all()
    confidence = accounts.rows["vantage_confidence"]
    assert ((confidence == -1) | ((confidence >= 0) & (confidence <= 1))).all()
    assert ((confidence == -1) == (accounts.rows["vantage"] == VANTAGES.index("unknown"))).all()


def check_requests(requests: AccountedRequests) -> None:
    """Check that the parts of each request's time add up to it."""
    names = [name for name in PARTS if name in requests.rows.dtype.names]
    parts = np.stack([requests.rows[name] for name in names]) if len(requests) else np.zeros((1, 0), np.int64)
    assert (parts >= 0).all()
    total = np.maximum(requests.response_last_ns - requests.request_first_ns, 0)
    assert (parts.sum(axis=0) == total).all(), "the parts of a request's time do not add up to it"
    assert ((requests.limited_by == 255) == (total == 0)).all()


# --- policing


class _Talker:
    """What was sent so far by both sides of one connection, as numbers that wrap."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.next = [1000, 2**32 - 20_000]  # the server's numbers wrap soon
        self.mss = 1460


class _Step(NamedTuple):
    """One step of a program: what is sent, by whom, how many times, how long after what came before."""

    what: int
    side: int
    which: int
    times: int
    wait_ns: int
    more: int
    flags: int


SIZES = (1460, 1460, 100, 1, 0, 536, 9000, 65_160)


def _step_of(step: bytes) -> _Step:
    wait_ns = (step[2] & 0x7F) ** 2 * 10_000 if step[2] < 0x80 else STEPS_NS[step[2] % len(STEPS_NS)]
    return _Step(step[0] & 7, step[0] >> 3 & 1, step[0] >> 4 & 1, 1 + step[1] % 60, wait_ns, step[3], step[4])


def exchanges_in(data: bytes) -> Headers:
    """Read 6 bytes a step; a step gives one segment or many."""
    talkers, rows, now = [_Talker(40_000), _Talker(40_001)], [], 1_700_000_000 * 10**9
    for i in range(0, len(data) - STEP_BYTES + 1, STEP_BYTES):
        step = _step_of(data[i : i + STEP_BYTES])
        talker = talkers[step.which]
        for turn in range(step.times if step.what < 4 else 1):
            now = min(max(now + step.wait_ns, -TIME_LIMIT_NS), TIME_LIMIT_NS)
            rows.append((now, talker, step, turn))
            if len(rows) == MOST_SEGMENTS:
                return _headers(rows)
    return _headers(rows)


def _headers(rows: list[tuple[int, _Talker, _Step, int]]) -> Headers:
    table = Headers.allocate(len(rows))
    for i, (now, talker, step, turn) in enumerate(rows):
        row = table.rows[i]
        row["frame_number"] = row["frame_in_file"] = i + 1
        row["time_ns"], row["ip_version"], row["ttl"], row["window"] = now, 4, 64, 60_000
        ends = [(ADDRESSES[0], talker.port), (ADDRESSES[2], 80)]
        (source, source_port), (destination, destination_port) = ends[:: 1 - 2 * step.side]
        row["source_address"], row["destination_address"] = np.frombuffer(source + destination, np.uint8).reshape(2, 16)
        row["source_port"], row["destination_port"], row["ip_id"] = source_port, destination_port, i % 65_536
        _number(row, talker, step, turn)
        if step.flags & 1:
            row["options"] |= OPTION_TIMESTAMPS
            row["timestamp_value"] = now // MS % 2**32
            row["timestamp_echo"] = (now // MS - step.more) % 2**32
    return table


def _number(row: np.void, talker: _Talker, step: _Step, turn: int) -> None:
    """Give a segment its numbers: new data, data again, a gap, an acknowledgment, the ends of a connection."""
    mine, other, size = talker.next[step.side], talker.next[1 - step.side], SIZES[step.more % len(SIZES)]
    flags, payload, acked = FLAG_ACK, 0, other
    if step.what == 0:
        payload = size
    elif step.what == 1:
        payload, mine = size, mine - (1 + step.more // 8 - turn) * size
    elif step.what == 2:
        payload, mine = size, mine + size * (turn % 2)
    elif step.what == 3:
        acked = other - size * (step.times - 1 - turn)
        row["sack_count"] = step.flags % 5
        blocks = [(other + size * (k - step.more // 16)) % 2**32 for k in range(2 * (step.flags % 5))]
        row["sack"][: len(blocks)] = blocks
        row["options"] |= OPTION_SACK if blocks else 0
    elif step.what == 4:
        flags = FLAG_SYN | FLAG_ACK if step.side else FLAG_SYN
        row["options"], row["mss_bytes"] = OPTION_MSS | OPTION_SACK_PERMITTED, SIZES[step.more % len(SIZES)] % 2**16
    elif step.what == 5:
        flags = (FLAG_FIN | FLAG_ACK, FLAG_RST, FLAG_RST | FLAG_ACK, FLAG_FIN)[step.more % 4]
    elif step.what == 6:
        mine += int.from_bytes(bytes([0, step.flags, step.more, 1]), "little")
    else:
        payload = 1 + step.more
    row["flags"], row["payload_bytes"], row["captured_payload_bytes"] = flags, payload, 0
    row["sequence_number"], row["acknowledgment_number"] = mine % 2**32, acked % 2**32
    end = mine + payload + (flags & FLAG_FIN) + (flags >> 1 & 1)
    if step.what != 1:
        talker.next[step.side] = end


def run_policing(data: bytes) -> Features:
    """Judge the exchanges of a program; at once and in other cuts."""
    headers = exchanges_in(data)
    whole, pieces = _judged(headers, [0, len(headers)]), _judged(headers, cuts_of(len(headers), zlib.crc32(data)))
    assert columns_of(whole) == columns_of(pieces), "judgments depend on how rows are cut into batches"
    check_policed(whole)
    told = {f"verdict {value}" for value in np.unique(whole.verdict).tolist()}
    for name in ("is_policed", "is_shaped", "is_cut", "is_lost_before", "slices_with_loss"):
        told |= {f"{name} {value}" for value in np.unique(whole.rows[name]).tolist()}
    for name in ("losses", "passes", "bucket_bytes", "shaped_rate_bits_per_s", "queue_max_ns", "rtt_p50_ns"):
        told |= {f"{name} {int(value).bit_length()}" for value in np.unique(whole.rows[name])}
    return told | {f"exchanges {len(whole)}"}


def _judged(headers: Headers, cuts: list[int]) -> Policed:
    tracking, detection, parts = ConnectionTracking(), PolicingDetection(), []
    for begin, end in [*pairwise(cuts), (-1, -1)]:
        batch = headers[begin:end] if end >= 0 else Headers()
        tracked = tracking.feed(batch) if end >= 0 else tracking.finish()
        parts.append(detection.feed(tracked.segments, batch, tracked.boundaries).copy())
    return Policed.concatenate(parts)


def check_policed(policed: Policed) -> None:
    """Check judgments against each other."""
    check_signs("policed", policed)
    rows = policed.rows
    assert (rows["losses"] + rows["passes"] == rows["segments"]).all()
    assert (rows["verdict"] < len(POLICING_VERDICTS)).all()
    assert (rows["trimmed_verdict"] < len(POLICING_VERDICTS)).all()
    for name in ("order_fraction", "queued_fraction"):
        share = rows[name][~np.isnan(rows[name])]
        assert ((share == -1) | ((share >= 0) & (share <= 1))).all(), name
    is_policed, is_shaped = rows["is_policed"] != 0, rows["is_shaped"] != 0
    assert ((rows["rate_bits_per_s"] >= 0) == is_policed).all()
    assert ((rows["bucket_bytes"] >= 0) == is_policed).all()
    assert ((rows["shaped_rate_bits_per_s"] > 0) == is_shaped).all()
    assert (rows["shaped_start_ns"] <= rows["shaped_end_ns"])[is_shaped].all()


def run_policing_twin(data: bytes) -> Features:
    """Log an exchange twice; follow a bucket twice."""
    if data[:1] and data[0] & 1:
        script = [(step & 7, step >= 0xC0) for step in data[2:62]] or [(0, True)]
        seed = data[1] if data[1:2] else 0
        test_policing.check_bucket(script, 1 + seed % 20, fills=seed >= 128)
        return {f"bucket {sum(lost for _, lost in script)}"}
    steps = [data[i : i + 3].ljust(3, b"\0") for i in range(1, min(len(data), 600), 3)]
    waits = (0, 1, 2, 4, 30)
    log = [("NNNNRGFA"[step[0] & 7], step[1] % 41, waits[step[2] % len(waits)]) for step in steps]
    test_policing.check_log(log)
    return {f"log {name} {sum(step[0] == name for step in log).bit_length()}" for name in "NRGFA"}
