"""From the forwarder's log, the sockets and the tracepoints to what is true of every connection.

Everything here is slow and obvious on purpose, and shares nothing with the code under test: numbers come from what
the forwarder did to each packet, not from rules that guess it. A *resent* segment is one none of whose bytes (or SYN,
or FIN) its sender gave to the path for the first time; which of them the kernel called a retransmission, and why, is
counted beside it from tracepoints.
"""

from __future__ import annotations

import ipaddress
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tests.truth.lab.accounts import waits
from tests.truth.lab.expectations import expectation, is_made_up
from tests.truth.lab.kernel import Event
from tests.truth.lab.path import ACK, DOWN, FATES, FIN, FORWARDED, RST, SYN, UP, Link
from tests.truth.lab.run import Raw
from tests.truth.lab.scenario import Scenario
from tests.truth.lab.sockets import NEVER

SIDES = ("client", "server")
MODULUS = 1 << 32
TCP_CA_RECOVERY, TCP_CA_LOSS = 3, 4
LINKTYPE_RAW = 101


class Packet(NamedTuple):
    """One packet of one connection, numbers unwrapped: offset 0 is the first stream byte, the SYN is at −1."""

    record: int
    in_ns: int
    out_ns: int  # 0 if it never left
    side: str  # who sent it
    offset: int
    acked: int
    payload: int
    window: int  # scaled
    flags: int
    fate: int
    is_copy: bool

    @property
    def end(self) -> int:
        """Where its stream bytes end, SYN and FIN taken for one each."""
        return self.offset + self.payload + bool(self.flags & SYN) + bool(self.flags & FIN)


def conversations(log: np.ndarray[Any, Any]) -> dict[int, list[Packet]]:
    """Give each connection's packets in order of arrival at the forwarder, by the client's port."""
    first: dict[tuple[int, int], int] = {}
    scale: dict[tuple[int, int], int] = {}
    found: dict[int, list[Packet]] = defaultdict(list)
    for i, r in enumerate(log):
        if not r["source"]:
            continue
        direction = int(r["direction"])
        port = int(r["source"] if direction == UP else r["destination"])
        flags, seq = int(r["flags"]), int(r["seq"])
        if flags & SYN and (port, direction) not in first:
            first[port, direction] = (seq + 1) % MODULUS
            scale[port, direction] = window_scale(bytes(r["headers"]))
        zero = first.get((port, direction), seq)
        peer = first.get((port, 1 - direction), int(r["ack"]))
        both = (port, UP) in scale and (port, DOWN) in scale and min(scale[port, UP], scale[port, DOWN]) >= 0
        shift = 0 if flags & SYN or not both else scale[port, direction]
        found[port].append(
            Packet(
                i, int(r["in_ns"]), int(r["out_ns"]), SIDES[direction], signed(seq - zero),
                signed(int(r["ack"]) - peer) if flags & ACK else -1, int(r["payload"]), int(r["window"]) << shift,
                flags, int(r["fate"]), bool(r["copy"]),
            )
        )  # fmt: skip
    return dict(found)


def signed(difference: int) -> int:
    """Take a difference of sequence numbers for the nearest it can mean."""
    difference %= MODULUS
    return difference - MODULUS if difference >= MODULUS // 2 else difference


def window_scale(headers: bytes) -> int:
    """Give the shift that a SYN offers; −1 if none."""
    tcp = headers[(headers[0] & 15) * 4 if headers[0] >> 4 == 4 else 40 :]
    options = tcp[20 : (tcp[12] >> 4) * 4]
    while options and options[0]:
        if options[0] == 1:
            options = options[1:]
            continue
        if options[0] == 3:
            return options[2]
        options = options[options[1] :]
    return -1


# --- one direction of one connection


def resent(packets: Iterable[Packet], side: str) -> Iterator[tuple[Packet, bool]]:
    """Give what `side` gave to the path, each with whether it had given all of it before."""
    covered = Covered()
    for p in packets:
        if p.side != side or p.is_copy or p.flags & RST:
            continue
        yield p, p.end > p.offset and not covered.add(p.offset, p.end)


class Covered:
    """The stream offsets seen so far, as intervals."""

    def __init__(self) -> None:
        self.spans: list[tuple[int, int]] = []

    def add(self, start: int, end: int) -> int:
        """Add [start, end); give how much of it was new."""
        new = end - start
        kept = []
        low, high = start, end
        for a, b in self.spans:
            if b < start or a > end:
                kept.append((a, b))
                continue
            new -= max(0, min(b, end) - max(a, start))
            low, high = min(a, low), max(b, high)
        self.spans = sorted([*kept, (low, high)])
        return new


def side_truth(packets: list[Packet], side: str) -> dict[str, Any]:
    """Say what is true of the data that `side` sent, as the log knows it."""
    sent = list(resent(packets, side))
    again = [p for p, is_again in sent if is_again]
    data_again = [p for p in again if p.payload]
    delivered: Covered = Covered()
    reached_first: dict[int, int] = {}
    for p, is_again in sent:
        if not is_again and p.out_ns:
            reached_first[p.offset] = p.end
    spurious = [p for p in data_again if reached_first.get(p.offset, -1) >= p.end]
    arrived = sorted((p for p in packets if p.side == side and p.out_ns), key=lambda p: p.out_ns)
    late = 0
    for p in arrived:
        high = delivered.spans[-1][1] if delivered.spans else -1
        late += bool(delivered.add(p.offset, p.end) and p.payload and p.offset < high and p not in again)
    ends = [p.offset + p.payload for p, _ in sent if p.payload]
    return {
        "segments": sum(p.side == side and not p.is_copy for p in packets),
        "delivered_segments": len(arrived),
        "data_segments": sum(p.payload > 0 for p, _ in sent),
        "bytes": max(ends, default=0),
        "resent": len(again),
        "resent_data": len(data_again),
        "resent_bytes": sum(p.payload for p in data_again),
        "resent_control": len(again) - len(data_again),
        "resent_delivered": sum(p.out_ns > 0 for p in again),
        "resent_spurious": len(spurious),
        "reordered": late,
        "copies": sum(p.is_copy for p in packets if p.side == side),
        "resets": sum(bool(p.flags & RST) for p in packets if p.side == side and not p.is_copy),
        "fates": dict(Counter(FATES[p.fate] for p in packets if p.side == side and p.fate != FORWARDED)),
        "first_ns": min((p.in_ns for p, _ in sent), default=None),
        "last_ns": max((p.in_ns for p, _ in sent), default=None),
        "largest_payload": max((p.payload for p, _ in sent), default=0),
        "duplicate_acks": duplicate_acks(packets, side),
        **outstanding(packets, side),
        **zero_windows(packets, side),
    }


def duplicate_acks(packets: list[Packet], side: str) -> int | None:
    """Count the duplicate ACKs of `side` as the other side gets them: the five conditions of RFC 5681 §2, one by one.

    None where the path made copies: who knows which of the two repeats the other?
    """
    if any(p.is_copy for p in packets):
        return None
    moments = [(p.out_ns if p.side == side else p.in_ns, p.side == side, p) for p in packets]
    sent = acked = found = 0
    window = -1
    for _, is_ack, p in sorted((m for m in moments if m[0]), key=lambda m: (m[0], m[1])):
        if not is_ack:
            sent = max(sent, p.offset + p.payload)
        elif p.flags & ACK and not p.flags & RST:
            has_outstanding, is_bare, is_plain = sent > max(acked, 0), p.payload == 0, not p.flags & (SYN | FIN)
            repeats, keeps_window = p.acked == acked, p.window == window
            found += has_outstanding and is_bare and is_plain and repeats and keeps_window
            acked, window = max(acked, p.acked), p.window
    return found


def outstanding(packets: list[Packet], side: str) -> dict[str, Any]:
    """Say when bytes that `side` sent were outstanding, seen at its own end (the path's log, no capture)."""
    moments = [(p.in_ns, 0, p) for p in packets if p.side == side and p.payload and not p.is_copy]
    moments += [(p.out_ns, 1, p) for p in packets if p.side != side and p.out_ns and p.flags & ACK]
    sent = acked = begun = total = most = 0
    for time_ns, is_ack, p in sorted(moments, key=lambda m: (m[0], m[1])):
        if is_ack:
            was_out = sent > acked
            acked = max(acked, min(p.acked, sent))
            if was_out and sent <= acked:
                total += time_ns - begun
        else:
            if sent <= acked and p.offset + p.payload > acked:
                begun = time_ns
            sent = max(sent, p.offset + p.payload)
            most = max(most, sent - acked)
    if sent > acked and moments:
        total += max(m[0] for m in moments) - begun
    rate = min(acked, sent) * 8e9 / total if total else None
    return {"non_idle_ns": total, "non_idle_goodput_bits_per_s": rate, "in_flight_max_bytes": most}


def zero_windows(packets: list[Packet], side: str) -> dict[str, Any]:
    """Say for how long `side` closed its window, by its own end."""
    since, total, count = 0, 0, 0
    largest = 0
    for p in packets:
        if p.side != side or p.is_copy or p.flags & (SYN | RST):
            continue
        largest = max(largest, p.window)
        count += p.window == 0
        if p.window == 0 and not since:
            since = p.in_ns
        elif p.window and since:
            total, since = total + p.in_ns - since, 0
    if since:
        total += max(p.in_ns for p in packets) - since
    return {"zero_windows": count, "zero_window_ns": total, "window_max_bytes": largest}


def causes(events: list[Event], port: int, client: str, side: str) -> dict[str, int]:
    """Count the kernel's own retransmissions of one sender, by the state its congestion control was in."""
    state, found = 0, Counter[str]()
    for e in events:
        f = e.fields
        sender = address(f)
        if (int(f.get("sport", 0)) if side == "client" else int(f.get("dport", 0))) != port:
            continue
        if (sender == client) != (side == "client"):
            continue
        if e.name == "tcp_cong_state_set":
            state = int(f["cong_state"])
        elif e.name == "tcp_retransmit_synack":
            found["syn_ack"] += 1
        elif e.name == "tcp_retransmit_skb":
            found["all"] += 1
            if "SYN" in f.get("state", ""):
                found["syn"] += 1
            else:
                found["timeout" if state >= TCP_CA_LOSS else "fast" if state == TCP_CA_RECOVERY else "probe"] += 1
    return {name: found[name] for name in ("all", "syn", "syn_ack", "timeout", "fast", "probe")}


def address(fields: dict[str, str]) -> str:
    """Give the sender of a tracepoint's socket."""
    if fields.get("saddr", "0.0.0.0") != "0.0.0.0":
        return fields["saddr"]
    return str(ipaddress.ip_address(fields.get("saddrv6", "::")))


# --- the run


def truth_of(scenario: Scenario, seed: int, raw: Raw, client_address: str) -> dict[str, Any]:
    """Make the record of a run."""
    by_port = conversations(raw.log)
    apps = {side: {r.get("port"): r for r in logs} for side, logs in zip(SIDES, (raw.client, raw.server), strict=True)}
    connections = []
    for port, packets in by_port.items():
        if any(p.flags & SYN and p.offset != -1 for p in packets):
            continue  # a port that was used again: two connections, whose packets are not told apart here
        if is_made_up(port, scenario):
            continue  # no socket tells what is true of it
        one: dict[str, Any] = {"client_port": port, "server_port": scenario.client.port}
        one["waits"] = waits(packets)
        one["first_ns"], one["last_ns"] = packets[0].in_ns, max(max(p.in_ns, p.out_ns) for p in packets)
        for side in SIDES:
            app = dict(apps[side].get(port, {}))
            samples = app.pop("samples", [])
            info = app.pop("info", None)
            one[side] = side_truth(packets, side) | {
                "kernel_retransmissions": causes(raw.events, port, client_address, side),
                "info": info,
                "rtt_min_ns": min_rtt(info),
                "is_rtt_coarse": is_coarse(info, scenario),
                "has_offload": scenario.hosts.has_offload,
                "application": app,
                "samples": samples,
            }
        connections.append(one)
    return {
        "scenario": scenario.name,
        "seed": seed,
        "parameters": dict(scenario.parameters),
        "rewrite": scenario.rewrite,
        "hosts": asdict(scenario.hosts),
        "link": {"up": asdict(scenario.link.up), "down": asdict(scenario.link.down)},
        "expected": [expectation(e, by_port, scenario) for e in scenario.expected],
        "allowed": list(scenario.allowed),
        "addresses": client_address,
        "connections": connections,
        "counters": raw.counters,
        "path": punctuality(raw.log),
        "machine": raw.machine,
    }


def min_rtt(info: dict[str, int] | None) -> int | None:
    """Give the socket's minimum RTT in ns, unless it never had a sample."""
    return info["min_rtt"] * 1000 if info and info.get("min_rtt", NEVER) not in (0, NEVER) else None


def is_coarse(info: dict[str, int] | None, scenario: Scenario) -> bool:
    """Whether the minimum may come from a timestamp: an ACK of what was sent twice is timed in whole milliseconds."""
    return bool(info and scenario.hosts.has_timestamps and info["min_rtt"] % 1000 == 0)


def punctuality(log: np.ndarray[Any, Any]) -> dict[str, Any]:
    """Say how late packets left the forwarder, in ns."""
    out = log[log["out_ns"] > 0]
    late = out["out_ns"] - out["due_ns"]
    names = ("late_p50_ns", "late_p99_ns", "late_max_ns")
    values = np.percentile(late, (50, 99, 100)) if len(out) else (0, 0, 0)
    return {"packets": len(log)} | {name: int(v) for name, v in zip(names, values, strict=True)}


# --- the tap in the middle


def write_middle(log: np.ndarray[Any, Any], link: Link, path: Path, snaplen: int) -> None:
    """Write what a tap inside the path sees: a pcap in nanoseconds of raw IP packets.

    The rules are on the tap's server side, so it sees what the client sent before it is lost, and of what the server
    sent what was not.
    """
    rows = log[(log["source"] > 0) & (log["copy"] == 0) & ((log["direction"] == UP) | (log["out_ns"] > 0))]
    up = rows["in_ns"] + round(link.tap_fraction * link.up.delay_ns)
    down = rows["out_ns"] - round(link.tap_fraction * link.down.delay_ns)
    times = np.where(rows["direction"] == UP, up, down)
    parts = [struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, snaplen, LINKTYPE_RAW)]
    for i in np.argsort(times, kind="stable"):
        data = bytes(rows["headers"][i][: min(int(rows["header_bytes"][i]), snaplen)])
        seconds, fraction = divmod(int(times[i]), 10**9)
        parts += [struct.pack("<IIII", seconds, fraction, len(data), int(rows["wire_bytes"][i])), data]
    path.write_bytes(b"".join(parts))
