"""Connections that leave more holes than there is room for: in one direction, and in all of one share."""

from __future__ import annotations

import random

import numpy as np

from tcpsight.tables import OPTION_TIMESTAMPS, Headers
from tests.reference.connections import known_hash
from tests.support.headers import A_ADDRESS, A_PORT, B_ADDRESS, B_PORT, WRAP, Row

ACK, RST = 16, 4
MS, SECOND = 1_000_000, 1_000_000_000
HOLES = 1024
BURST = 4096


def ports_of_a_share(count: int) -> list[int]:
    """Give so many ports of the client whose connections to the server have one share of all room."""
    server = known_hash((B_ADDRESS, B_PORT))
    ports = range(1024, 65536)
    shares = [(known_hash((A_ADDRESS, port)) + server) * 0x9E3779B97F4A7C15 % 2**64 >> 56 for port in ports]
    return [port for port, share in zip(ports, shares, strict=True) if share == shares[0]][:count]


def with_holes(port: int, begin_ns: int) -> Headers:
    """Give the segments of one direction of a connection, a byte each, with two bytes left out before each."""
    table = Headers(np.zeros(1 + HOLES, Headers.dtype))
    rows = table.rows
    rows["time_ns"] = begin_ns + np.arange(len(rows)) * MS
    rows["source_address"], rows["destination_address"] = (np.frombuffer(a, np.uint8) for a in (A_ADDRESS, B_ADDRESS))
    rows["source_port"], rows["destination_port"], rows["ip_version"] = port, B_PORT, 4
    rows["flags"], rows["window"], rows["payload_bytes"] = ACK, 65535, 1
    rows["ip_id"] = np.arange(len(rows)) + 1
    rows["sequence_number"], rows["acknowledgment_number"] = 1000 + 3 * np.arange(len(rows)), 1
    return table


def crowded(connections: int) -> Headers:
    """Give connections one after the other; then the first is reset, and another comes when that is over."""
    ports = ports_of_a_share(connections + 1)
    tables = [with_holes(port, 2 * SECOND * i) for i, port in enumerate(ports[:-1])]
    reset = with_holes(ports[0], 2 * SECOND * connections)[:1]
    reset.rows["flags"] = ACK | RST
    reset.rows["payload_bytes"] = 0
    reset.rows["sequence_number"] = 1000 + 3 * HOLES + 1
    tables += [reset, with_holes(ports[-1], 2 * SECOND * connections + 100 * SECOND)]
    table = Headers.concatenate(tables)
    table.rows["frame_number"] = 1 + np.arange(len(table))
    return table


def with_late_copy(port: int, begin_ns: int) -> Headers:
    """Give a burst in one direction of a connection, a byte a segment, and 10 ms later its first segment again."""
    table = with_holes(port, begin_ns)
    rows = np.resize(table.rows, BURST + 1)
    rows["time_ns"], rows["ip_id"] = begin_ns, np.arange(len(rows)) + 1
    rows["sequence_number"] = 1000 + np.arange(len(rows))
    rows[-1] = rows[0]
    rows["time_ns"][-1] += 10 * MS
    return Headers(rows)


def crowd_of_bursts(connections: int) -> Headers:
    """Give connections one after the other; then the first is reset, and another comes when that is over."""
    ports = ports_of_a_share(connections + 1)
    tables = [with_late_copy(port, SECOND * i) for i, port in enumerate(ports[:-1])]
    reset = with_late_copy(ports[0], SECOND * connections)[:1]
    reset.rows["flags"] = ACK | RST
    reset.rows["payload_bytes"] = 0
    reset.rows["sequence_number"] = 1000 + BURST
    tables += [reset, with_late_copy(ports[-1], SECOND * connections + 100 * SECOND)]
    table = Headers.concatenate(tables)
    table.rows["frame_number"] = 1 + np.arange(len(table))
    return table


def many_holes(seed: int, segments: int, acknowledged: float = 0.02) -> list[Row]:
    """Give a conversation that skips far more often than it comes back: more holes than are kept, split and filled."""
    chance = random.Random(seed)
    first = chance.choice((1000, WRAP - 3000)), chance.choice((5000, WRAP - 7))
    tops, now, width, back, rows = [0, 0], 10**18, chance.choice((3, 20)), 0.0, []
    ends = (A_ADDRESS, A_PORT), (B_ADDRESS, B_PORT)
    neutral: Row = {c.name: 0 for c in Headers.columns if not c.is_address} | {"sack": [0] * 8}
    for i in range(segments):
        if i % 500 == 0:
            back = chance.choice((0.02, 0.3, 0.6))
        side = int(chance.random() < 0.15)
        now += chance.choice((1000, MS, 5 * MS))
        goes_back = chance.random() < back and tops[side] > 50
        length = chance.choice((1, 2, 5, 30, 200)) if goes_back else chance.randint(1, width)
        at = tops[side] + chance.randint(0, 6)
        if goes_back:
            at = max(tops[side] - chance.choice((50, 500, 5000, 50_000)), 0) + chance.randint(0, 40)
        tops[side] = max(tops[side], at + length)
        acked = chance.randint(0, tops[1 - side]) if chance.random() < acknowledged else 0
        (source, source_port), (destination, destination_port) = ends[side], ends[1 - side]
        rows.append(neutral | {
            "time_ns": now, "ip_version": 4, "flags": ACK, "window": 65535, "ip_id": i + 1, "payload_bytes": length,
            "options": OPTION_TIMESTAMPS, "timestamp_value": 100 - 90 * goes_back,
            "source_address": source, "source_port": source_port,
            "destination_address": destination, "destination_port": destination_port,
            "sequence_number": (first[side] + 1 + at) % WRAP,
            "acknowledgment_number": (first[1 - side] + 1 + acked) % WRAP,
        })  # fmt: skip
    return rows
