"""Counts connections as yconalyzer did: by their SYNs, FINs and RSTs alone.

Theory of operation
-------------------
Segments come from the pipeline as they were on the wire; those with SYN, FIN or RST on the watched port drive one
small record per client endpoint, in the states *connecting*, *connected* and *closing*. A SYN opens a record; the
same SYN again, or any SYN while connecting, counts as another attempt and starts the clock anew. The first FIN of
either side ends the connection: bytes are the differences of the numbers it carries and the initial ones, so that
each is one too many, the SYN's. A RST forgets the connection, and nothing of it but its number is counted.

These rules differ from those of our own tables on purpose, and stay in this file. What they cannot see: data after
the first FIN, connections whose SYN was not captured, bytes beyond 2³², two servers that talk to one client endpoint.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tcpsight.compat.c_numbers import signed
from tcpsight.compat.yconalyzer_options import RTT_ENABLED, Options, complain, since_second
from tcpsight.tables import FLAG_ACK, FLAG_FIN, FLAG_RST, FLAG_SYN, IPV4_PREFIX

if TYPE_CHECKING:
    from tcpsight.tables import Headers

MOST_RTT_MS = 1100
"""A time between the FINs of both sides that is longer is a pause, no round trip."""

CONNECTING, CONNECTED, CLOSING = 1, 2, 3

Say = Callable[[str], object]


class Packet(NamedTuple):
    """A segment that opens or ends a connection; addresses are 16 bytes."""

    time_us: int
    source: bytes
    destination: bytes
    source_port: int
    destination_port: int
    sequence: int
    acknowledged: int
    payload_bytes: int
    flags: int


@dataclass(slots=True)
class Connection:
    """What is known of one client endpoint."""

    client: bytes
    port: int
    start_us: int
    client_isn: int
    state: int = CONNECTING
    attempts: int = 1
    server_isn: int = 0
    second_start_us: int = 0
    second_isn: int = 0
    closing_us: int = 0
    rtt_ms: int = 0
    syn_acks: int = 0
    fin_sender: bytes = b""
    bucket: int = -1


@dataclass(slots=True)
class Bucket:
    """Sums over connections; throughput is a sum of whole bytes per millisecond."""

    connections: int = 0
    client_bytes: int = 0
    server_bytes: int = 0
    rtt_ms: int = 0
    duration_ms: int = 0
    throughput: int = 0

    def add(self, client_bytes: int, server_bytes: int, duration_ms: int, rtt_ms: int) -> None:
        """Count one connection."""
        self.connections += 1
        self.client_bytes += client_bytes
        self.server_bytes += server_bytes
        self.duration_ms += duration_ms
        self.rtt_ms += rtt_ms
        self.throughput += (client_bytes + server_bytes) % 2**32 // (duration_ms + 1)


class Accounting:
    """Everything that the report tells.

    Parameters
    ----------
    options : Options
        What was asked for.
    say : callable
        Takes the lines that come before the report.

    Attributes
    ----------
    buckets : dict of int to Bucket
        Those that hold connections.
    total : Bucket
        All of them together.
    open : dict of str to Connection
        Connections that have not ended, by the key of the old tool, whose order is that of its lists.
    drilled : list of tuple
        Source, destination and port of the connections in the bucket that ``-D`` names.
    has_rtt : bool
        Whether round trips are taken from the handshake: with ``-T``, or once one of `local_addresses` was a client.
    first_us, since_us, last_us : int
        The first segment, the time up to which segments are left out, and the last segment; where the capture is
        live, its begin and its end.
    """

    def __init__(self, options: Options, say: Say) -> None:
        self.buckets: dict[int, Bucket] = {}
        self.total = Bucket()
        self.open: dict[str, Connection] = {}
        self.drilled: list[tuple[bytes, bytes, int]] = []
        self.syns = self.repeated_syns = self.syns_to_establish = self.resets = 0
        self.attempts: Counter[int] = Counter()
        self.first_us = self.last_us = self.since_us = 0
        self.packets = 0
        self.has_rtt = options.has_rtt
        self.local_addresses: frozenset[bytes] = frozenset()
        self._options = options
        self._say = say

    def feed(self, headers: Headers) -> None:
        """Take the next segments of the capture."""
        for packet in self._packets(headers):
            self._arrive(packet)

    def end(self, time_us: int) -> None:
        """End a live capture, which may have seen nothing, at a time."""
        if self.packets == 0:
            self._begin(self.first_us)
        self.last_us = time_us

    def _packets(self, headers: Headers) -> Iterator[Packet]:
        """Give the segments with SYN, FIN or RST on the watched port."""
        rows, port = headers.rows, self._options.port
        wanted = rows["flags"] & (FLAG_SYN | FLAG_FIN | FLAG_RST) != 0
        wanted &= (rows["source_port"] == port) | (rows["destination_port"] == port)
        if not wanted.any():
            return
        rows = rows[wanted]
        names = (
            "source_port",
            "destination_port",
            "sequence_number",
            "acknowledgment_number",
            "payload_bytes",
            "flags",
        )
        sources, destinations = (rows[f"{end}_address"].tobytes() for end in ("source", "destination"))
        times = (rows["time_ns"] // 1000).tolist()
        for i, values in enumerate(zip(*(rows[name].tolist() for name in names), strict=True)):
            place = slice(16 * i, 16 * i + 16)
            yield Packet(times[i], sources[place], destinations[place], *values)

    def _arrive(self, packet: Packet) -> None:
        if self.packets == 0:
            self.first_us = self.first_us or packet.time_us
        self.last_us = packet.time_us
        long_ms = self._options.long_ms
        if long_ms and self.packets % max(long_ms // 10, 1) == 0:
            self._say(self.long_line(packet.time_us))
        if self.packets == 0:
            self._begin(packet.time_us)
        self.packets += 1
        if self.since_us // 10**6 >= packet.time_us // 10**6:
            return
        if packet.flags & FLAG_RST:
            self._end(packet)
        elif packet.flags & FLAG_SYN:
            (self._syn_ack if packet.flags & FLAG_ACK else self._syn)(packet)
        else:
            self._end(packet)

    def _begin(self, time_us: int) -> None:
        """Set the time from which segments count: that of ``-I``, or a second before the first."""
        if self._options.since is not None:
            self.since_us = since_second(self._options.since, time_us // 10**6) * 10**6
        else:
            self.since_us = self.first_us - 10**6

    def _syn(self, packet: Packet) -> None:
        key = key_of(packet.source, packet.source_port)
        known = self.open.get(key)
        if known is None:
            self.syns += 1
            known = Connection(packet.source, packet.source_port, packet.time_us, packet.sequence)
            self.open[key] = known
        elif known.state == CONNECTING or (known.state == CONNECTED and known.client_isn == packet.sequence):
            self.syns += 1
            self.repeated_syns += 1
            known.attempts += 1
            known.start_us, known.client_isn, known.state = packet.time_us, packet.sequence, CONNECTING
            known.rtt_ms = known.syn_acks = 0
        else:
            # Whether this replaces the connection, the server's answer will tell.
            known.second_isn, known.second_start_us = packet.sequence, packet.time_us
        if self._options.debug:
            self._trace(packet, f"S SEQ:{known.client_isn}")

    def _syn_ack(self, packet: Packet) -> None:
        known = self.open.get(self._client_key(packet))
        if known is None:
            return
        # A second SYN at a whole second is taken for none: the old tool looked at both parts of its time.
        if known.state == CONNECTED and known.second_start_us // 10**6 and known.second_start_us % 10**6:
            if packet.acknowledged != known.second_isn + 1:
                if self._options.debug:
                    self._trace(packet, f"SA SEQ:{packet.sequence},DROPPED")
                return
            known.start_us, known.client_isn, known.syn_acks = known.second_start_us, known.second_isn, 0
        known.server_isn = packet.sequence
        known.syn_acks += 1
        rtt_ms = milliseconds(known.start_us, packet.time_us)
        if self._options.debug:
            self._trace(packet, f"SA SEQ:{packet.sequence},MSECS:{rtt_ms}")
        if known.state == CONNECTING and self._takes_rtt(packet):
            known.rtt_ms = rtt_ms
        known.state = CONNECTED

    def _takes_rtt(self, packet: Packet) -> bool:
        if not self.has_rtt and packet.destination in self.local_addresses:
            self.has_rtt = True
            complain(RTT_ENABLED)
        return self.has_rtt

    def _end(self, packet: Packet) -> None:
        key = self._client_key(packet)
        known = self.open.get(key)
        if known is None:
            return
        is_reset = packet.flags & FLAG_RST != 0
        if known.state == CLOSING:
            if is_reset or not self._closes_again(known, packet):
                del self.open[key]
        elif is_reset:
            self.resets += 1
            del self.open[key]
        elif known.state == CONNECTED:
            self._close(known, packet)

    def _closes_again(self, known: Connection, packet: Packet) -> bool:
        """Take a further FIN; tell whether it is the same side's, once more."""
        if known.fin_sender == packet.source:
            known.closing_us = packet.time_us
            return True
        rtt_ms = milliseconds(known.closing_us, packet.time_us)
        if 0 < rtt_ms < MOST_RTT_MS and known.rtt_ms == 0 and known.bucket >= 0:
            self.buckets[known.bucket].rtt_ms += rtt_ms
            self.total.rtt_ms += rtt_ms
        return False

    def _close(self, known: Connection, packet: Packet) -> None:
        """Take the first FIN: here the connection is counted."""
        own = (packet.sequence + packet.payload_bytes) % 2**32
        is_from_client = packet.source_port != self._options.port
        ends = (own, packet.acknowledged) if is_from_client else (packet.acknowledged, own)
        # In 64 bits a connection whose numbers wrapped has sent almost 2**64 bytes; the limits look at that.
        client_bytes = (ends[0] - known.client_isn) % 2**64
        server_bytes = (ends[1] - known.server_isn) % 2**64
        duration_ms = milliseconds(known.start_us, packet.time_us)
        known.closing_us, known.state, known.fin_sender = packet.time_us, CLOSING, packet.source
        if not self._is_wanted(client_bytes, server_bytes):
            return
        if self._options.debug:
            sides = ((ends[0], client_bytes), (ends[1], server_bytes))
            (sequence, sent), (acknowledged, received) = sides if is_from_client else sides[::-1]
            text = f"F SEQ:{sequence}({sent}),ACK:{acknowledged}({received}),MSECS:{duration_ms}"
            self._trace(packet, text)
        self._count(known, packet, client_bytes, server_bytes, duration_ms)

    def _is_wanted(self, client_bytes: int, server_bytes: int) -> bool:
        options = self._options
        return all(
            (not most or sent <= most) and (not least or sent >= least)
            for sent, least, most in (
                (client_bytes, options.least_client_bytes, options.most_client_bytes),
                (server_bytes, options.least_server_bytes, options.most_server_bytes),
            )
        )

    def _count(self, known: Connection, packet: Packet, client_bytes: int, server_bytes: int, duration_ms: int) -> None:
        options = self._options
        client, server = client_bytes % 2**32, server_bytes % 2**32
        self.total.add(client, server, duration_ms, known.rtt_ms)
        value, drilled = duration_ms, duration_ms
        if options.kind == "throughput":
            # Here a duration of 0 is 1 for all that follows.
            duration_ms = duration_ms or 1
            value = drilled = max(client, server) // duration_ms
        elif options.kind != "duration":
            is_client = options.kind == "client bytes"
            value = (client if is_client else server) // 1024
            drilled = signed((client_bytes if is_client else server_bytes) // 1024, 32)
        known.bucket = min(max(value // options.bucket_size - options.lowest_bucket, 0), options.buckets)
        self.buckets.setdefault(known.bucket, Bucket()).add(client, server, duration_ms, known.rtt_ms)
        if options.drill_low != -1 and self._is_drilled(drilled):
            port = packet.source_port if packet.source_port != options.port else packet.destination_port
            self.drilled.append((packet.source, packet.destination, port))
        if options.least_attempts and known.attempts >= options.least_attempts:
            self._say(f"NSYNS={known.attempts}:host {address(known.client)} and port {known.port}\n")
        self.syns_to_establish += known.attempts
        self.attempts[known.attempts] += 1

    def _is_drilled(self, value: int) -> bool:
        low, high = self._options.drill_low, self._options.drill_high
        return value >= low and (high == -1 or value < high)

    def _client_key(self, packet: Packet) -> str:
        """Give the key of the side that does not use the watched port."""
        if packet.source_port != self._options.port:
            return key_of(packet.source, packet.source_port)
        return key_of(packet.destination, packet.destination_port)

    def _trace(self, packet: Packet, text: str) -> None:
        source = f"{address(packet.source)}:{packet.source_port}"
        self._say(f"{source} > {address(packet.destination)}:{packet.destination_port} {text}\n")

    def long_line(self, time_us: int) -> str:
        """Tell how many connections are known, the seconds so far, and how many of them are older than ``-m``."""
        passed_ms = max(milliseconds(self.since_us, time_us), 0)
        long = sum(
            1
            for known in self.open.values()
            if known.state >= CONNECTED and milliseconds(known.start_us, time_us) > self._options.long_ms
        )
        return f"{len(self.open)}, {float(np.float32(passed_ms)) / 1000:f} {long}\n"

    def listed(self) -> list[Connection]:
        """Give the connections that have not ended, in the order of the old tool's lists."""
        return [known for _, known in sorted(self.open.items())]


def milliseconds(begin_us: int, end_us: int) -> int:
    """Give whole milliseconds from one time to another; 0 where that is negative, and 32 bits of it."""
    return signed((end_us - begin_us) // 1000, 32) if end_us >= begin_us else 0


def key_of(endpoint: bytes, port: int) -> str:
    """Name an endpoint as the old tool did, so that sorted names come in its order."""
    if endpoint.startswith(IPV4_PREFIX):
        return f"{int.from_bytes(endpoint[12:], 'little'):#8x}{port:#4x}"
    return f"{int.from_bytes(endpoint, 'little'):#32x}{port:#4x}"


def address(endpoint: bytes) -> str:
    """Write an address as tcpdump takes it."""
    if endpoint.startswith(IPV4_PREFIX):
        return ".".join(map(str, endpoint[12:]))
    return str(IPv6Address(endpoint))
