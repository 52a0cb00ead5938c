"""Simulates downloads over a path and captures them, as the Headers that a capture at either end would give.

Requests and acknowledgments are never lost and never wait. The sender repairs by SACK and time (RFC 8985), with a
retransmission time-out of 200 ms at least; the receiver acknowledges every second segment, and at once what is out of
order.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

import numpy as np

from tcpsight.tables import OPTION_MSS, OPTION_SACK, OPTION_SACK_PERMITTED, OPTION_TIMESTAMPS, Headers
from tests.support.headers import A_ADDRESS, A_PORT, B_ADDRESS, B_PORT
from tests.truth.policing.path import Element, through
from tests.truth.policing.senders import ByLosses, ByRate

MSS, TIMESTAMPS, OVERHEAD, REQUEST = 1460, 12, 54, 100
START_S = 1_700_000_000
LINE_RATE = 100e6
CLIENT, SERVER = 0, 1


class Seen(NamedTuple):
    """One header as it passes a capture point."""

    time_s: float
    direction: int
    sequence: int  # of the first byte behind the SYN
    acked: int
    payload: int
    flags: int
    value: int
    echo: int
    blocks: tuple[tuple[int, int], ...]


@dataclass
class Settings:
    """A connection with a download or several."""

    sizes: tuple[int, ...]
    round_trip_s: float
    path: list[Element]
    sender: ByLosses | ByRate
    has_timestamps: bool = True
    pause_s: float = 0.5
    most_in_flight: int = 10**6  # segments: the receiver's window
    pieces: int = 1  # an application that writes so much of each response at a time, evenly over `spread_s`
    spread_s: float = 0.0


@dataclass
class Outcome:
    """What passed each end, and what the path did."""

    at_server: list[Seen] = field(default_factory=list)
    at_client: list[Seen] = field(default_factory=list)
    waits_s: list[float] = field(default_factory=list)
    dropped: int = 0
    sent: int = 0


class Transfer:
    """One connection, event by event."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.outcome = settings, Outcome()
        self._events: list[tuple[float, int, Any]] = []
        self._order = count()
        self._line_free = 0.0
        self._segment = MSS - TIMESTAMPS * settings.has_timestamps
        self._half = settings.round_trip_s / 2
        # The sender's side.
        self._una = self._next = self._limit = 0  # segments
        self._written = 0
        self._sent_at: dict[int, tuple[float, int, int]] = {}  # time, delivered then, copies
        self._in_order_of_sending: dict[tuple[int, int], float] = {}
        self._held: set[int] = set()
        self._to_repeat: list[int] = []
        self._delivered, self._flying, self._recovery = 0, 0, -1
        self._may_send_at, self._is_waking, self._echo = 0.0, False, 0
        self._round_trip, self._timer = settings.round_trip_s, 0
        # The receiver's.
        self._expected, self._arrived, self._unacked = 0, set[int](), 0
        self._requests, self._last_value = 0, 0

    def run(self) -> Outcome:
        """Give what passed both ends."""
        self._handshake()
        self._at(1.5 * self.settings.round_trip_s, self._request)
        while self._events:
            at, _, what = heapq.heappop(self._events)
            if at > 120:
                break
            what(at)
        for seen in (self.outcome.at_server, self.outcome.at_client):
            seen.sort(key=lambda s: s.time_s)
        return self.outcome

    # --- plumbing

    def _at(self, time_s: float, what: Any) -> None:
        heapq.heappush(self._events, (time_s, next(self._order), what))

    def _note(self, sent_s: float, arrived_s: float | None, seen: Seen) -> None:
        """Show a header to the end that sent it, and if it arrives to the other."""
        mine, theirs = self.outcome.at_client, self.outcome.at_server
        if seen.direction == SERVER:
            mine, theirs = theirs, mine
        mine.append(seen._replace(time_s=sent_s))
        if arrived_s is not None:
            theirs.append(seen._replace(time_s=arrived_s))

    def _handshake(self) -> None:
        for i, (direction, flags) in enumerate(((CLIENT, 2), (SERVER, 18), (CLIENT, 16))):
            sent = i * (self._half + 0.00003)
            self._note(sent, sent + self._half, Seen(sent, direction, 0, 0, 0, flags, _clock(sent), 0, ()))

    def _request(self, now: float) -> None:
        seen = Seen(now, CLIENT, self._requests * REQUEST, self._bytes(self._expected), REQUEST, 24,
                    _clock(now), self._last_value, ())  # fmt: skip
        self._note(now, now + self._half, seen)
        segments = -(-self.settings.sizes[self._requests] // self._segment)
        self._limit += segments
        self._requests += 1
        pieces = self.settings.pieces
        for i in range(pieces):
            share = segments // pieces if i < pieces - 1 else segments - segments // pieces * (pieces - 1)
            self._at(now + self._half + i * self.settings.spread_s / pieces, lambda at, n=share: self._write(at, n))

    def _write(self, now: float, segments: int) -> None:
        self._written += segments
        self._send(now)

    def _bytes(self, segment: int) -> int:
        return segment * self._segment

    # --- the sender

    def _send(self, now: float) -> None:
        """Send what the window and the pace allow."""
        sender = self.settings.sender
        while self._flying < min(sender.window, self.settings.most_in_flight) and (
            self._to_repeat or self._next < self._written
        ):
            if now < self._may_send_at - 1e-9:
                if not self._is_waking:
                    self._is_waking = True
                    self._at(self._may_send_at, self._wake)
                break
            if self._to_repeat:
                number = self._to_repeat.pop(0)
                if number < self._una or number in self._held:
                    continue
            else:
                number, self._next = self._next, self._next + 1
            self._transmit(now, number)
            self._may_send_at = now + sender.interval(now)
        self._arm(now)

    def _wake(self, now: float) -> None:
        self._is_waking = False
        self._send(now)

    def _transmit(self, now: float, number: int) -> None:
        copies = self._sent_at[number][2] + 1 if number in self._sent_at else 0
        self._sent_at[number] = (now, self._delivered, copies)
        self._in_order_of_sending[number, copies] = now
        self._flying += 1
        self._line_free = max(self._line_free, now) + (MSS + OVERHEAD) * 8 / LINE_RATE
        left = through(self.settings.path, self._line_free, MSS + OVERHEAD)
        arrives = None if left is None else left + self._half
        self.outcome.sent += 1
        self.outcome.dropped += left is None
        if left is not None:
            self.outcome.waits_s.append(left - self._line_free)
        echo = self._echo
        self._note(self._line_free, arrives, Seen(now, SERVER, self._bytes(number), self._requests * REQUEST,
                                                  self._segment, 16, _clock(now), echo, ()))  # fmt: skip
        if arrives is not None:
            value = _clock(now)
            self._at(arrives, lambda at: self._arrive(at, number, value))

    def _arm(self, now: float) -> None:
        self._timer += 1
        if self._una < self._next:
            mine = self._timer
            wait = max(0.2, 2 * self._round_trip)
            self._at(now + wait, lambda at: self._time_out(at, mine))

    def _time_out(self, now: float, timer: int) -> None:
        if timer != self._timer or self._una >= self._next:
            return
        self.settings.sender.timed_out(now)
        self._recovery = self._next
        self._to_repeat = [n for n in range(self._una, self._next) if n not in self._held]
        self._in_order_of_sending.clear()
        self._flying = 0
        self._may_send_at = now
        self._send(now)

    def _acknowledge(self, now: float, expected: int, newest: tuple[int, ...], echo: int) -> None:
        """An acknowledgment reaches the sender: up to `expected`, and these newest ones."""
        self._echo = max(self._echo, echo)
        sender = self.settings.sender
        fresh = [n for n in range(self._una, expected) if n not in self._held]
        fresh += [n for n in newest if n >= max(expected, self._una) and n not in self._held]
        newest_sent = 0.0
        for number in fresh:
            sent, delivered, copies = self._sent_at[number]
            flew = self._in_order_of_sending.pop((number, copies), None)
            self._flying -= flew is not None
            self._held.add(number)
            self._delivered += 1
            newest_sent = max(newest_sent, sent)
            if copies == 0:
                self._round_trip = now - sent
                rate = (self._delivered - delivered) / max(now - sent, 1e-6)
                sender.acknowledged(now, 1, now - sent, rate)
            else:
                sender.acknowledged(now, 1, self._round_trip, 0.0)
        self._held.difference_update(range(self._una, expected))
        self._una = max(self._una, expected)
        self._find_lost(now, newest_sent)
        self._send(now)

    def _find_lost(self, now: float, newest_sent: float) -> None:
        """Whatever was sent well before what arrived is lost (RFC 8985)."""
        for (number, copies), sent in list(self._in_order_of_sending.items()):
            if sent >= newest_sent - 0.002:
                break
            del self._in_order_of_sending[number, copies]
            self._flying -= 1
            if number >= self._una and number not in self._held:
                self._to_repeat.append(number)
                if number >= self._recovery:
                    self._recovery = self._next
                    self.settings.sender.lost(now)

    # --- the receiver

    def _arrive(self, now: float, number: int, value: int) -> None:
        is_next = number == self._expected
        self._arrived.add(number)
        while self._expected in self._arrived:
            self._arrived.discard(self._expected)
            self._expected += 1
        if is_next and not self._unacked:
            self._last_value = value
        self._unacked += 1
        is_due = not is_next or self._unacked >= 2 or self._arrived or self._expected == self._limit
        if not is_due:
            return
        acknowledged = (number, number - 1) if self._unacked > 1 else (number,)
        self._unacked = 0
        blocks = self._blocks(number)
        expected, echo = self._expected, _clock(now)
        self._note(now, now + self._half, Seen(now, CLIENT, self._requests * REQUEST, self._bytes(expected), 0, 16,
                                               echo, self._last_value, blocks))  # fmt: skip
        self._at(now + self._half, lambda at: self._acknowledge(at, expected, acknowledged[:1], echo))
        if expected == self._limit and self._requests < len(self.settings.sizes):
            requests = self._requests
            self._at(now + self.settings.pause_s, lambda at: self._request(at) if self._requests == requests else None)

    def _blocks(self, newest: int) -> tuple[tuple[int, int], ...]:
        """The block that holds the newest, and one more if there is one."""
        if newest not in self._arrived:
            others = sorted(self._arrived)[-1:]
        else:
            others = [newest]
        found = []
        for one in others:
            left = right = one
            while left - 1 in self._arrived:
                left -= 1
            while right + 1 in self._arrived:
                right += 1
            found.append((self._bytes(left), self._bytes(right + 1)))
        return tuple(found)


def _clock(time_s: float) -> int:
    """A timestamp of the option: milliseconds."""
    return 1000 + int(time_s * 1000)


def headers_of(seen: list[Seen], *, has_timestamps: bool = True) -> Headers:
    """Make Headers of what passed a capture point."""
    table = Headers.allocate(len(seen))
    isn = {CLIENT: 4_294_000_000, SERVER: 7_000_000}  # the client's wraps
    for i, s in enumerate(seen):
        row = table.rows[i]
        ends = ((A_ADDRESS, A_PORT), (B_ADDRESS, B_PORT))
        (source, source_port), (destination, destination_port) = ends if s.direction == CLIENT else ends[::-1]
        row["source_address"] = np.frombuffer(source, np.uint8)
        row["destination_address"] = np.frombuffer(destination, np.uint8)
        row["source_port"], row["destination_port"] = source_port, destination_port
        row["frame_number"] = row["frame_in_file"] = i + 1
        row["time_ns"] = round((START_S + s.time_s) * 1e9)
        is_syn = bool(s.flags & 2)
        row["sequence_number"] = (isn[s.direction] + s.sequence + (not is_syn)) % 2**32
        row["acknowledgment_number"] = (isn[1 - s.direction] + s.acked + 1) % 2**32 if s.flags & 16 else 0
        row["payload_bytes"] = row["captured_payload_bytes"] = s.payload
        row["flags"], row["window"], row["ip_version"], row["ip_id"] = s.flags, 65535, 4, i % 65536
        row["ttl"], row["checksum"] = 64, i * 7919 % 65536
        options = (OPTION_MSS | OPTION_SACK_PERMITTED) if is_syn else 0
        row["mss_bytes"] = 1460 if is_syn else 0
        if has_timestamps:
            options |= OPTION_TIMESTAMPS
            row["timestamp_value"], row["timestamp_echo"] = s.value, s.echo
        if s.blocks:
            options |= OPTION_SACK
            row["sack_count"] = len(s.blocks)
            for j, (left, right) in enumerate(s.blocks):
                row["sack"][2 * j] = (isn[1 - s.direction] + 1 + left) % 2**32
                row["sack"][2 * j + 1] = (isn[1 - s.direction] + 1 + right) % 2**32
        row["options"] = options
    return table
