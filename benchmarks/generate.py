"""Generate a large capture whose truth is known: ``python benchmarks/generate.py out.pcap``.

Longer than other files: one script that needs nothing else of the repository.

The capture is classic pcap, microseconds, little-endian, Ethernet, IPv4, TCP with timestamps, cut to 96 bytes a
frame. Connections open with a handshake, speak in turns of ten segments (a request, its acknowledgement, five
segments of response in three bursts, three acknowledgements) and close with FIN, FIN, ACK. One segment in a
hundred is a retransmission of data that was captured before. Payload is zeros, and lengths, sequence numbers,
identifications and checksums are right.

Time is cut into windows. In each window every connection of one group speaks one turn, so a window can be built
at once with NumPy and written before the next: memory does not grow with the file. The same seed gives the
same bytes. What was written is told in ``out.pcap.truth.json``.
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Rows = NDArray[np.void]

SNAPLEN = 96
MSS = 1448  # 1500 less 20 of IP, 20 of TCP and 12 of timestamps
START_US = 1_700_000_000_000_000
WINDOW_US = 600_000
LANES_PER_WINDOW = 20_000
CLIENTS = 500
# Ports at which no dissector expects a protocol: payload is zeros.
PORTS = np.array([13306, 15432, 16379, 18080, 21211])
FIN, SYN, PSH, ACK = 0x01, 0x02, 0x08, 0x10

# A turn ends within its window: latest start 200 ms + service 120 ms + retransmission 80 ms + at most 20 other gaps.
LATEST_START_US = 200_000
SERVICE_MEAN_US, SERVICE_MOST_US = 4_000, 120_000
TIMEOUT_US = (20_000, 80_000)
# Wide and paced, so that thousands of segments of other connections come between two of one connection:
# whoever looks up connections finds their state out of the nearest cache.
NETWORK_US = (80, 8_000)
PACING_US = (1, 8_000)


@dataclass(frozen=True, slots=True)
class Slot:
    """One place in a turn where a segment may stand."""

    is_server: bool
    flags: int
    gap_us: tuple[int, int]
    part: str = "turn"  # or "open", "close": only in a connection's first and last turn
    role: str = "ack"  # or "request", "response", "repeat", "control"


def template(*, bursts: tuple[int, ...]) -> list[Slot]:
    """Give the slots of a turn whose response comes in bursts of so many segments each."""
    slots = [
        Slot(False, SYN, PACING_US, "open", "control"),
        Slot(True, SYN | ACK, NETWORK_US, "open", "control"),
        Slot(False, ACK, NETWORK_US, "open"),
        Slot(False, PSH | ACK, PACING_US, role="request"),
        Slot(False, PSH | ACK, TIMEOUT_US, role="repeat"),
        Slot(True, ACK, NETWORK_US),
    ]
    for burst in bursts:
        for place in range(burst):
            slots.append(Slot(True, PSH | ACK, PACING_US if place else NETWORK_US, role="response"))
            slots.append(Slot(True, PSH | ACK, TIMEOUT_US, role="repeat"))
        slots.append(Slot(False, ACK, NETWORK_US))
    slots += [
        Slot(False, FIN | ACK, PACING_US, "close", "control"),
        Slot(True, FIN | ACK, NETWORK_US, "close", "control"),
        Slot(False, ACK, NETWORK_US, "close"),
    ]
    return slots


LONG_TURN = template(bursts=(2, 2, 1))  # ten segments
SHORT_TURN = template(bursts=(1,))  # four segments, where connections are too short for ten


class Turn:
    """The slots of a turn as arrays, one element per slot."""

    def __init__(self, slots: list[Slot]) -> None:
        self.slots = len(slots)
        self.is_server = np.array([slot.is_server for slot in slots])
        self.flags = np.array([slot.flags for slot in slots])
        self.gap_low = np.array([slot.gap_us[0] for slot in slots])
        self.gap_span = np.array([slot.gap_us[1] - slot.gap_us[0] for slot in slots])
        self.is_open = np.array([slot.part == "open" for slot in slots])
        self.is_close = np.array([slot.part == "close" for slot in slots])
        self.is_control = np.array([slot.role == "control" for slot in slots])
        self.is_repeat = np.array([slot.role == "repeat" for slot in slots])
        roles = [slot.role for slot in slots]
        self.request = roles.index("request")
        self.responses = [at for at, role in enumerate(roles) if role == "response"]
        self.repeats = np.flatnonzero(self.is_repeat)
        self.control = int(self.is_open.sum() + self.is_close.sum())
        self.segments = self.slots - self.control - len(self.repeats)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will be written, decided before anything is."""

    turn: Turn
    turns: Ints  # per connection
    has_repeat: Bools  # per turn, in the order in which turns are written
    concurrent: int


def plan(segments: int, connections: int, concurrent: int, rng: np.random.Generator) -> Plan:
    """Share the segments out so that their number comes out exactly, one in a hundred a retransmission.

    Connections so many that each gets a single turn leave fewer retransmissions.
    """
    per_connection = segments / connections
    turn = Turn(LONG_TURN if per_connection >= 16 else SHORT_TURN)
    left = segments - turn.control * connections
    turns = max((left - segments // 100) // turn.segments, connections)
    repeats = left - turns * turn.segments
    if repeats < 0:
        raise SystemExit(f"{segments} segments are too few for {connections} connections")
    weights = rng.uniform(0.5, 1.5, connections)
    shares = 1 + rng.multinomial(turns - connections, weights / weights.sum())
    has_repeat = np.zeros(turns, np.bool_)
    has_repeat[rng.choice(turns, repeats, replace=False)] = True
    return Plan(turn, shares, has_repeat, concurrent)


class Lanes:
    """The connections that are open now; a lane whose connection ends opens the next."""

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        self.plan = plan
        self.rng = rng
        lanes = plan.concurrent
        self.connection = np.arange(lanes)
        self.next_connection = lanes
        self.turns_left = plan.turns[:lanes].copy()
        self.is_new = np.ones(lanes, np.bool_)
        # Staggered over one lifetime, so that connections neither begin nor end together, unless all are to be open.
        spread = plan.turns.mean() if lanes < len(plan.turns) else 0
        self.opens_at = (np.arange(lanes) * spread / lanes).astype(np.int64)
        # Client in row 0, server in row 1.
        self.sequence = rng.integers(0, 1 << 32, (2, lanes))
        self.identification = rng.integers(0, 1 << 16, (2, lanes))
        self.last_us = np.zeros((2, lanes), np.int64)

    def next_turn(self, lanes: Ints) -> None:
        """Take one turn off these lanes; where none is left, open the next connection."""
        self.is_new[lanes] = False
        self.turns_left[lanes] -= 1
        ended = lanes[self.turns_left[lanes] == 0]
        ended = ended[: len(self.plan.turns) - self.next_connection]
        fresh = np.arange(self.next_connection, self.next_connection + len(ended))
        self.next_connection += len(ended)
        self.connection[ended] = fresh
        self.turns_left[ended] = self.plan.turns[fresh]
        self.is_new[ended] = True
        self.sequence[:, ended] = self.rng.integers(0, 1 << 32, (2, len(ended)))
        self.last_us[:, ended] = 0


def before(amounts: Ints) -> Ints:
    """Give, for each slot, the sum over the slots before it."""
    return np.cumsum(amounts, axis=1) - amounts


class Window:
    """One turn of each of these lanes, as arrays of shape (lanes, slots)."""

    def __init__(self, state: Lanes, lanes: Ints, start_us: int, has_repeat: Bools) -> None:
        self.state, self.lanes, self.turn, self.rng = state, lanes, state.plan.turn, state.rng
        self.shape = (len(lanes), self.turn.slots)
        self.present = self._present(has_repeat)
        self.payload = self._payload()
        self.us = self._times(start_us)
        self.sequence, self.acknowledgment = self._numbers()
        self.identification = self._identifications()
        self.timestamp, self.echo = self._timestamps()

    def _present(self, has_repeat: Bools) -> Bools:
        turn, state, lanes = self.turn, self.state, self.lanes
        present = np.ones(self.shape, np.bool_)
        present[:, turn.is_open] = state.is_new[lanes, None]
        present[:, turn.is_close] = (state.turns_left[lanes] == 1)[:, None]
        chosen = self.rng.choice(turn.repeats, len(lanes))
        present[:, turn.repeats] = has_repeat[:, None] & (chosen[:, None] == turn.repeats)
        return present

    def _payload(self) -> Ints:
        turn = self.turn
        payload = np.zeros(self.shape, np.int64)
        payload[:, turn.request] = self.rng.integers(50, 800, len(self.lanes))
        payload[:, turn.responses] = MSS
        payload[:, turn.responses[-1]] = self.rng.integers(1, MSS + 1, len(self.lanes))
        payload[:, turn.repeats] = payload[:, turn.repeats - 1]
        return payload

    def _times(self, start_us: int) -> Ints:
        turn, rng = self.turn, self.rng
        gaps = turn.gap_low + (rng.random(self.shape) * (turn.gap_span + 1)).astype(np.int64)
        service = np.minimum(rng.exponential(SERVICE_MEAN_US, len(self.lanes)), SERVICE_MOST_US)
        gaps[:, turn.responses[0]] += service.astype(np.int64)
        starts = start_us + rng.integers(0, LATEST_START_US, len(self.lanes))
        return np.cumsum(gaps * self.present, axis=1) + starts[:, None]

    def _by_sender(self, client: Ints, server: Ints) -> tuple[Ints, Ints]:
        """Give the sender's and the receiver's value for each slot."""
        is_server = self.turn.is_server
        return np.where(is_server, server, client), np.where(is_server, client, server)

    def _numbers(self) -> tuple[Ints, Ints]:
        turn, state, lanes = self.turn, self.state, self.lanes
        used = np.where(turn.is_repeat, 0, self.payload + turn.is_control) * self.present
        sent = [used * ~turn.is_server, used * turn.is_server]
        client, server = (state.sequence[side, lanes, None] + before(sent[side]) for side in (0, 1))
        sequence, acknowledgment = self._by_sender(client, server)
        sequence -= self.payload * turn.is_repeat
        acknowledgment[:, turn.flags == SYN] = 0
        for side in (0, 1):
            state.sequence[side, lanes] += sent[side].sum(axis=1)
        return sequence & 0xFFFFFFFF, acknowledgment & 0xFFFFFFFF

    def _identifications(self) -> Ints:
        turn, state, lanes = self.turn, self.state, self.lanes
        sent = [self.present * ~turn.is_server, self.present * turn.is_server]
        sides = [state.identification[side, lanes, None] + before(sent[side].astype(np.int64)) for side in (0, 1)]
        for side in (0, 1):
            state.identification[side, lanes] += sent[side].sum(axis=1)
        return self._by_sender(*sides)[0] & 0xFFFF

    def _timestamps(self) -> tuple[Ints, Ints]:
        """Give each sender's clock in ms (it started at some other time) and the last one it heard."""
        turn, state, lanes = self.turn, self.state, self.lanes
        clocks = []
        for side in (0, 1):
            spoke = np.where(self.present & (turn.is_server == side), self.us, state.last_us[side, lanes, None])
            last_us = np.maximum.accumulate(spoke, axis=1)
            state.last_us[side, lanes] = last_us[:, -1]
            offset = state.connection[lanes, None] * (7919 + side)
            clocks.append(np.where(last_us > 0, last_us // 1000 + offset, 0))
        timestamp, echo = self._by_sender(clocks[0], clocks[1])
        return timestamp & 0xFFFFFFFF, echo & 0xFFFFFFFF


RECORD = np.dtype(
    [
        ("seconds", "<u4"), ("micros", "<u4"), ("captured", "<u4"), ("wire", "<u4"),
        ("to_mac", "S6"), ("from_mac", "S6"), ("ethertype", ">u2"),
        ("version", ">u2"), ("ip_bytes", ">u2"), ("id", ">u2"), ("fragment", ">u2"), ("ttl", ">u2"), ("ip_sum", ">u2"),
        ("source", ">u4"), ("destination", ">u4"),
        ("source_port", ">u2"), ("destination_port", ">u2"), ("sequence", ">u4"), ("acknowledgment", ">u4"),
        ("flags", ">u2"), ("window", ">u2"), ("tcp_sum", ">u2"), ("urgent", ">u2"),
        ("options", ">u4"), ("timestamp", ">u4"), ("echo", ">u4"), ("payload", "V30"),
    ]
)  # fmt: skip
# A SYN spends eight bytes more on options, so its timestamps stand elsewhere.
SYN_TAIL = np.dtype([("options", ">u8"), ("timestamp", ">u4"), ("echo", ">u4"), ("more", ">u4"), ("rest", "V22")])
TAIL_AT = RECORD.fields["options"][1] if RECORD.fields else 0
PLAIN_OPTIONS = 0x0101080A  # NOP, NOP, timestamps
SYN_OPTIONS = 0x020405B40402080A  # MSS 1460, SACK permitted, timestamps
SYN_MORE = 0x01030307  # NOP, window scale 7
SYN_OPTIONS_SUM = 0x0204 + 0x05B4 + 0x0402 + 0x080A + 0x0103 + 0x0307


def folded(total: Ints) -> Ints:
    """Give the Internet checksum of a sum of 16-bit words (RFC 1071)."""
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    return ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF


def halves(values: Ints) -> Ints:
    """Give the sum of the two 16-bit halves."""
    return (values >> 16) + (values & 0xFFFF)


def records(window: Window, rows: Ints, slots: Ints, us: Ints) -> bytes:
    """Give the pcap records of these segments, in this order."""
    record = np.zeros(len(rows), RECORD)
    record["seconds"], record["micros"] = us // 1_000_000, us % 1_000_000
    is_server, flags = window.turn.is_server[slots], window.turn.flags[slots]
    is_syn = (flags & SYN) != 0
    tcp_bytes = np.where(is_syn, 40, 32) + window.payload[rows, slots]
    record["wire"] = 34 + tcp_bytes
    record["captured"] = np.minimum(record["wire"], SNAPLEN)
    connection = window.state.connection[window.lanes[rows]]
    write_ip(record, connection, is_server, tcp_bytes, window.identification[rows, slots])
    write_tcp(record, connection, is_server, flags, window, (rows, slots))
    keep = np.arange(RECORD.itemsize) < 16 + record["captured"][:, None]
    return record.view(np.uint8).reshape(len(record), RECORD.itemsize)[keep].tobytes()


def write_ip(record: Rows, connection: Ints, is_server: Bools, tcp_bytes: Ints, identification: Ints) -> None:
    """Fill in Ethernet and IPv4."""
    macs = np.array([b"\x02\x00\x00\x00\x00\x01", b"\x02\x00\x00\x00\x00\x02"], "S6")
    record["from_mac"], record["to_mac"] = macs[is_server.astype(int)], macs[1 - is_server.astype(int)]
    record["ethertype"] = 0x0800
    client, server = 0x0A000001 + connection % CLIENTS, 0xC0A80101 + connection % len(PORTS)
    source, destination = np.where(is_server, server, client), np.where(is_server, client, server)
    record["version"], record["fragment"], record["ttl"] = 0x4500, 0x4000, 0x4006
    record["ip_bytes"], record["id"] = 20 + tcp_bytes, identification
    record["source"], record["destination"] = source, destination
    header = 0x4500 + 0x4000 + 0x4006 + 20 + tcp_bytes + identification
    record["ip_sum"] = folded(header + halves(source) + halves(destination))


def write_tcp(
    record: Rows, connection: Ints, is_server: Bools, flags: Ints, window: Window, at: tuple[Ints, Ints]
) -> None:
    """Fill in TCP and its options."""
    client_port = 32_768 + connection // CLIENTS % 28_232
    server_port = PORTS[connection % len(PORTS)]
    record["source_port"] = np.where(is_server, server_port, client_port)
    record["destination_port"] = np.where(is_server, client_port, server_port)
    is_syn = (flags & SYN) != 0
    timestamp, echo = window.timestamp[at], window.echo[at]
    record["sequence"], record["acknowledgment"] = window.sequence[at], window.acknowledgment[at]
    record["flags"], record["window"] = np.where(is_syn, 10, 8) << 12 | flags, np.where(is_syn, 64_240, 502)
    record["options"], record["timestamp"], record["echo"] = PLAIN_OPTIONS, timestamp, echo

    total = np.where(is_syn, SYN_OPTIONS_SUM, halves(np.array(PLAIN_OPTIONS))) + client_port + server_port
    for name in ("source", "destination", "sequence", "acknowledgment", "timestamp", "echo"):
        total += halves(record[name].astype(np.int64))
    for name in ("flags", "window"):
        total += record[name]
    tcp_bytes = record["ip_bytes"].astype(np.int64) - 20
    record["tcp_sum"] = folded(total + 6 + tcp_bytes)  # the pseudo header's protocol and length; payload is zeros

    tail = np.zeros(int(is_syn.sum()), SYN_TAIL)
    tail["options"], tail["more"] = SYN_OPTIONS, SYN_MORE
    tail["timestamp"], tail["echo"] = timestamp[is_syn], echo[is_syn]
    plain = record.view(np.uint8).reshape(len(record), RECORD.itemsize)
    plain[is_syn, TAIL_AT:] = tail.view(np.uint8).reshape(len(tail), SYN_TAIL.itemsize)


class Truth:
    """Sums over what was written."""

    def __init__(self, plan: Plan) -> None:
        self.connections = len(plan.turns)
        self.requests = int(plan.turns.sum())
        self.segments = self.retransmissions = self.client_retransmissions = 0
        self.client_bytes = self.server_bytes = self.response_time_sum_ns = 0
        self.start_ns = self.end_ns = 0

    def add(self, window: Window, us: Ints, in_order: Ints) -> None:
        """Count a window; ``us`` holds the written times, one per lane and slot."""
        turn, present = window.turn, window.present
        repeated = present & turn.is_repeat
        new = np.where(repeated | ~present, 0, window.payload)
        self.segments += len(in_order)
        self.retransmissions += int(repeated.sum())
        self.client_retransmissions += int(repeated[:, ~turn.is_server].sum())
        self.client_bytes += int(new[:, ~turn.is_server].sum())
        self.server_bytes += int(new[:, turn.is_server].sum())
        self.response_time_sum_ns += 1000 * int((us[:, turn.responses[0]] - us[:, turn.request]).sum())
        self.start_ns = self.start_ns or int(in_order[0]) * 1000
        self.end_ns = int(in_order[-1]) * 1000


def generate(target: BinaryIO, plan: Plan, rng: np.random.Generator) -> Truth:
    """Write the capture window by window."""
    target.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, SNAPLEN, 1))
    state, truth = Lanes(plan, rng), Truth(plan)
    groups = -(-plan.concurrent // LANES_PER_WINDOW)
    last_us, written_turns, number = START_US, 0, 0
    while written_turns < truth.requests:
        group = np.arange(number % groups, plan.concurrent, groups)
        lanes = group[(state.turns_left[group] > 0) & (state.opens_at[group] <= number // groups)]
        has_repeat = plan.has_repeat[written_turns : written_turns + len(lanes)]
        written_turns += len(lanes)
        if len(lanes):
            window = Window(state, lanes, START_US + number * WINDOW_US, has_repeat)
            rows, slots = np.nonzero(window.present)
            order = np.argsort(window.us[rows, slots], kind="stable")
            rows, slots = rows[order], slots[order]
            # Strictly increasing: a tie moves the later segment on by a microsecond.
            step = np.arange(len(rows))
            us = np.maximum(np.maximum.accumulate(window.us[rows, slots] - step), last_us + 1) + step
            last_us = int(us[-1])
            target.write(records(window, rows, slots, us))
            written = np.zeros(window.shape, np.int64)
            written[rows, slots] = us
            truth.add(window, written, us)
            state.next_turn(lanes)
        number += 1
    return truth


def main(arguments: list[str] | None = None) -> int:
    """Write the capture and its truth."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("output", type=Path)
    parser.add_argument("--segments", type=int, default=10_000_000, help="how many to write (default: %(default)s)")
    parser.add_argument("--connections", type=int, default=20_000, help="how many in all (default: %(default)s)")
    parser.add_argument("--concurrent", type=int, help="how many are open at once (default: all)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    concurrent = min(options.concurrent or options.connections, options.connections)
    with options.output.open("wb") as target:
        truth = generate(target, plan(options.segments, options.connections, concurrent, rng), rng)
    facts: dict[str, Any] = {"seed": options.seed, "concurrent": concurrent, **vars(truth)}
    Path(f"{options.output}.truth.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
