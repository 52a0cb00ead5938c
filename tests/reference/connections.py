"""The slow, obvious twin of the connections kernel: dicts, lists of ranges, plain integers that never wrap.

Longer than other files: the twin of a whole room is read from top to bottom beside its rules.

It says in Python what the method pages (`docs/methods/connections.md` and its neighbours) say in words. Rows are dicts;
addresses are bytes, unknown is None.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from tcpsight.connections import MOST_CONNECTIONS, Server, Timeouts
from tcpsight.tables import ENCAPSULATIONS, INT64_MAX

Row = dict[str, Any]
Range = tuple[int, int]
Path = tuple[int, int, int]

FIN, SYN, RST, ACK = 1, 2, 4, 16
TIMESTAMPS, WINDOW_SCALE, UNSEQUENCED, CUT = 1, 4, 32, 64
SECOND = 1_000_000_000
HOUR = 3600 * SECOND
MEBIBYTE, GIGABYTE = 2**20, 2**30
HOLES_KEPT = 1024
STEADY = 8
REMEMBERED_AT_FIRST, REMEMBERED_AT_MOST = 4, 4096
SOON_NS = 1_000_000
COPY_WITHIN_NS = 100_000_000
REMEMBERED_NS = 25_000_000
WITNESSES = 8
STEP_BACK_NS = 100_000_000
# What a copy of a frame repeats.
REPEATED = (
    "sequence_number",
    "acknowledgment_number",
    "flags",
    "window",
    "ip_id",
    "checksum",
    "options_hash",
    "payload_bytes",
)


@dataclass
class Remembered:
    """A header: what a copy repeats, and whether one was seen on the same interface."""

    mark: tuple[int, ...]
    time_ns: int
    interface: int
    has_copy: bool = False


@dataclass
class Memory:
    """The last headers of one direction."""

    headers: list[Remembered] = field(default_factory=list)
    interface: int | None = None
    is_on_several: bool = False
    room: int = REMEMBERED_AT_FIRST
    ids: set[int] = field(default_factory=set)
    newest: int | None = None
    is_grown_up: bool = False

    def notice(self, h: Row) -> None:
        self.is_on_several |= self.interface not in (None, h["interface_id"])
        self.interface = h["interface_id"]

    def add(self, h: Row, *, has_copies: bool, age_ns: int) -> None:
        """Keep a header; `age_ns` is how long ago the connection began."""
        self.ids |= {h["ip_id"]} - {0}
        if h["options"] & TIMESTAMPS and (self.newest is None or signed(h["timestamp_value"] - self.newest) > 0):
            self.newest = h["timestamp_value"]
        may_have_copies = self.is_on_several or has_copies
        if not self.is_grown_up and age_ns > REMEMBERED_NS:
            self.is_grown_up = True
            if not may_have_copies:
                self.room = REMEMBERED_AT_FIRST
                self.headers = self.headers[-self.room :]
        if len(self.headers) == self.room:
            age = abs(h["time_ns"] - self.headers[0].time_ns)
            within_ns = SOON_NS if self.is_grown_up else REMEMBERED_NS
            if age <= (COPY_WITHIN_NS if may_have_copies else within_ns):
                # A copy of it may still come.
                self.room = min(4 * self.room, REMEMBERED_AT_MOST)
        self.headers = [*self.headers, fingerprint(h)][-self.room :]


@dataclass
class Far:
    """A place far from its stream that nothing has confirmed: the frames that showed it, the number where it ends."""

    frames: list[int]
    number: int
    by_ack: bool
    is_fin: bool
    # The last time of the connection before it.
    since_ns: int


@dataclass
class Side:
    """One direction of a connection."""

    base: int | None = None
    # Whether only the peer's acknowledgments tell the base.
    base_by_ack: bool = False
    isn: int | None = None
    end: int = 0
    acked: int | None = None
    missing: list[Range] = field(default_factory=list)
    given_up: int = 0
    fin: int | None = None
    syn_had_ack: bool = False
    syn_acked: bool = False
    probe_pending: bool = False
    # None: unknown; (): no window scaling; (n,): shift by n
    scale: tuple[int, ...] | None = None
    window: int | None = None
    far: Far | None = None
    gap_is_unknown: bool = False
    remembered: Memory = field(default_factory=lambda: Memory())
    has_copies: bool = False
    segments: int = 0
    retransmissions: int = 0
    control_retransmissions: int = 0
    retransmitted_bytes: int = 0

    def offset(self, number: int) -> int:
        """Unwrap: of all offsets with this sequence number, the nearest to the end."""
        assert self.base is not None
        return self.end + (number - self.base - self.end + 2**31) % 2**32 - 2**31

    def beyond(self, number: int) -> int:
        """How far this number lies beyond the end."""
        return self.offset(number) - self.end

    def pass_over(self, offset: int) -> bool:
        """Note bytes that were sent and not captured; tell whether a hole was given up."""
        if self.missing and self.missing[-1][1] == self.end:
            self.missing[-1] = (self.missing[-1][0], offset)
        else:
            self.missing.append((self.end, offset))
        self.end = offset
        if len(self.missing) > HOLES_KEPT:
            start, stop = self.missing.pop(0)
            self.given_up += stop - start
            return True
        return False

    def fill(self, start: int, stop: int) -> tuple[list[Range], bool]:
        """Take a range out of what is missing; give the pieces that were, and whether a hole was given up."""
        pieces, left = [], []
        for a, b in self.missing:
            inside = (max(a, start), min(b, stop))
            if inside[0] >= inside[1]:
                left.append([(a, b)])
                continue
            pieces.append(inside)
            left.append([rest for rest in ((a, inside[0]), (inside[1], b)) if rest[0] < rest[1]])
        gave_up = False
        if sum(map(len, left)) > HOLES_KEPT:
            gave_up = True
            for rests in left:
                if len(rests) == 2:
                    smaller = rests[0] if size(rests[0]) < size(rests[1]) else rests[1]
                    rests.remove(smaller)
                    self.given_up += size(smaller)
        self.missing = [rest for rests in left for rest in rests]
        return pieces, gave_up

    def settle_probe(self) -> None:
        self.end += 1
        self.probe_pending = False


def signed(number: int) -> int:
    return (number + 2**31) % 2**32 - 2**31


def size(piece: Range) -> int:
    return piece[1] - piece[0]


@dataclass
class Held:
    """A SYN that may begin another connection, and its repetitions."""

    syns: list[Row]
    direction: int
    # The last time of a segment that certainly belongs to the old connection.
    before_ns: int


@dataclass(eq=False)
class Connection:
    """One connection; client is side 0, server side 1."""

    id: int
    ends: tuple[tuple[bytes, int], tuple[bytes, int]]
    path: Path
    role_source: str
    start_ns: int
    last_ns: int
    active_ns: int
    sides: tuple[Side, Side] = field(default_factory=lambda: (Side(), Side()))
    opener: int | None = None
    syns: list[Row] = field(default_factory=list)
    syn_acks: list[Row] = field(default_factory=list)
    saw_syn_ack: bool = False
    asked_again: bool = False
    simultaneous: bool = False
    complete: bool = False
    beyond_handshake: bool = False
    refused: bool = False
    reset_by: int | None = None
    approximate: bool = False
    unsequenced: bool = False
    connect_ns: int | None = None
    rtt_ns: list[int | None] = field(default_factory=lambda: [None, None])
    duplicates: int = 0
    ignored_resets: int = 0
    held: Held | None = None
    # Frames that were held for a while and came to nothing: (reason, frame).
    garbage: list[tuple[str, int]] = field(default_factory=list)

    def drop_far(self, d: int) -> None:
        side = self.sides[d]
        if side.far:
            reason = "acknowledgment_outside_window" if side.far.by_ack else "segment_outside_window"
            self.garbage += [(reason, frame) for frame in side.far.frames]
            side.far = None

    def reach(self, d: int) -> int:
        """How far side d may be beyond what was captured."""
        peer = self.sides[1 - d]
        window = 65535 if peer.window is None else peer.window
        if peer.scale is None:
            window = min(window << 14, 6 * MEBIBYTE)
        else:
            window <<= sum(peer.scale)
        return min(window + MEBIBYTE, GIGABYTE)

    def is_in_place(self, d: int, offset: int) -> bool:
        side, reach = self.sides[d], self.reach(d)
        lowest = side.end if side.acked is None else min(side.end, side.acked)
        return offset - side.end <= reach and offset - lowest >= -reach and offset - side.end >= -GIGABYTE

    def part(self, time_ns: int | None, at_least: int = 0) -> int | None:
        """A time of the handshake; one longer than all of the connection is a clock's that jumped."""
        longest = max(self.last_ns - self.start_ns, at_least)
        return None if time_ns is not None and time_ns > longest else time_ns

    def both_closed(self) -> bool:
        return all(side.fin is not None for side in self.sides)

    def has_ended(self) -> bool:
        return self.reset_by is not None or self.both_closed()

    def awaits_answer(self, d: int) -> bool:
        return (
            bool(self.syns)
            and self.opener == 1 - d
            and not self.saw_syn_ack
            and not self.beyond_handshake
            and self.sides[d].isn is None
        )

    def acknowledges_syn(self, d: int, h: Row) -> bool:
        peer = self.sides[1 - d]
        return bool(h["flags"] & ACK) and 0 <= peer.offset(h["acknowledgment_number"]) <= peer.end

    def window_is_closed(self, d: int) -> bool:
        return self.sides[1 - d].window == 0


Share = tuple[list[Connection], list[tuple[Connection, int]]]


class Twin:
    """Follow connections, one header after the other."""

    def __init__(
        self, servers: Iterable[Server] = (), timeouts: Timeouts | None = None, most: int = MOST_CONNECTIONS
    ) -> None:
        self.servers = list(servers)
        self.timeouts = timeouts or Timeouts()
        # Of each share: those that are not beyond their handshake, and the others as (connection, when looked at).
        self.shares: list[Share] = [([], []) for _ in range(256)]
        self.share_limit = -(-most // 256)
        self.open: dict[frozenset[tuple[Path, bytes, int]], Connection] = {}
        self.segments: list[Row] = []
        self.boundaries: list[Row] = []
        self.connections: list[Row] = []
        self.unseen: dict[str, list[int]] = {}
        self.clock: int | None = None
        self.previous_ns: int | None = None
        # A time far ahead: (time, frame, its connection, whether it is a held SYN).
        self.candidate: tuple[int, int, Connection | None, bool] | None = None

    def note(self, reason: str, frame: int, count: int = 1, byte_count: int = 0) -> None:
        row = self.unseen.setdefault(reason, [0, 0, frame])
        row[:] = [row[0] + count, row[1] + byte_count, min(row[2], frame)]

    # --- time

    def is_jump(self, t: int) -> bool:
        return self.clock is not None and t - self.clock > HOUR

    def advance(self, h: Row) -> bool:
        """Move the clock; tell whether this time has yet to be confirmed."""
        t = h["time_ns"]
        if self.previous_ns is not None and t < self.previous_ns:
            self.note("time_backwards", h["frame_number"])
        self.previous_ns = t
        if self.candidate:
            if self.is_jump(t) and t >= self.candidate[0] - HOUR:
                self.believe()
            else:
                self.reject()
        if self.is_jump(t):
            self.candidate = (t, h["frame_number"], None, False)
            return True
        self.clock = t if self.clock is None else max(self.clock, t)
        return False

    def reject(self) -> None:
        assert self.candidate
        assert self.clock is not None
        t, frame, c, _ = self.candidate
        self.note("time_jump", frame)
        self.candidate = None
        if c is not None and c in self.open.values() and c.start_ns == t:
            c.start_ns = c.last_ns = self.clock

    def believe(self) -> None:
        assert self.candidate
        t, _, c, is_held = self.candidate
        self.candidate = None
        self.clock = t
        if c is not None and c in self.open.values():
            touch(c, t, is_held)
            c.active_ns = t

    def deadline(self, c: Connection) -> int:
        if c.has_ended():
            return c.active_ns + self.timeouts.ended_ns
        if c.beyond_handshake:
            return c.active_ns + self.timeouts.established_ns
        return c.active_ns + self.timeouts.handshake_ns

    def expire(self) -> None:
        assert self.clock is not None
        due = sorted((self.deadline(c), c.id, c) for c in self.open.values() if self.deadline(c) < self.clock)
        for deadline, _, c in due:
            self.end(c, deadline)
            self.boundaries[-1]["due_ns"] = deadline

    # --- the two verbs

    def feed(self, rows: Iterable[Row], until_ns: int | None = None) -> None:
        for h in rows:
            self.take(h)
        if until_ns is not None:
            if self.candidate and until_ns >= self.candidate[0]:
                self.believe()
            self.clock = until_ns if self.clock is None else max(self.clock, until_ns)
            self.expire()

    def finish(self) -> None:
        if self.candidate:
            self.reject()
        for c in sorted(self.open.values(), key=lambda c: c.id):
            assert self.clock is not None
            self.end(c, self.clock)
            self.boundaries[-1] |= {"is_open": int(not c.has_ended()), "due_ns": 0}

    def take(self, h: Row) -> None:
        is_jump = self.advance(h)
        self.expire()
        c, d, verdict = self.choose(h)
        row = {
            "frame_number": h["frame_number"],
            "time_ns": h["time_ns"],
            "offset": None,
            "acked_offset": None,
            "payload_bytes": h["payload_bytes"],
            "new_bytes": 0,
            "new_at": 0,
            "window_bytes": None,
            "flags": h["flags"],
            "kind": "new",
        }
        self.apply(c, d, h, row, verdict)
        row |= {"connection_id": c.id, "direction": ("client", "server")[d]}
        self.segments.append(row)
        self.note_garbage(c)
        if row["kind"] == "duplicate":
            return
        assert self.clock is not None
        c.active_ns = self.clock
        if is_jump:
            assert self.candidate
            self.candidate = (*self.candidate[:2], c, verdict == "hold")
        else:
            touch(c, h["time_ns"], verdict == "hold")
        young, others = self.shares[share_of(c)]
        if c.beyond_handshake and c in young:
            young.remove(c)
            others.append((c, c.active_ns))

    def note_garbage(self, c: Connection) -> None:
        for reason, frame in c.garbage:
            self.note(reason, frame)
        c.garbage = []

    def apply(self, c: Connection, d: int, h: Row, row: Row, verdict: str) -> None:
        side = c.sides[d]
        is_unsequenced = bool(h["options"] & UNSEQUENCED or c.unsequenced)
        side.remembered.notice(h)
        found = find_copy(c, d, h)
        if found == "duplicate":
            row["kind"] = "duplicate"
            row["offset"] = None if side.base is None else side.offset(h["sequence_number"])
            c.duplicates += 1
            self.note("capture_duplicate", h["frame_number"])
            return
        if found == "ambiguous" and not is_unsequenced:
            self.note("ambiguous_duplicate", h["frame_number"])
        has_copies = any(s.has_copies for s in c.sides)
        side.remembered.add(h, has_copies=has_copies, age_ns=h["time_ns"] - c.start_ns)
        side.segments += 1
        if is_unsequenced:
            c.unsequenced = c.beyond_handshake = True
            row |= {"offset": side.end, "new_bytes": h["payload_bytes"]}
            side.end += h["payload_bytes"]
            self.note("unsequenced", h["frame_number"])
            return
        if verdict == "hold":
            self.hold(c, d, h, row)
        elif verdict == "ignore":
            self.note("segment_outside_window", h["frame_number"])
        elif h["flags"] & RST:
            self.take_reset(c, d, h, row)
        else:
            self.take_segment(c, d, h, row)

    # --- which connection

    def choose(self, h: Row) -> tuple[Connection, int, str]:
        key = endpoints(h)
        c = self.open.get(key)
        if c is not None and h["flags"] & (SYN | RST) == SYN and not h["options"] & UNSEQUENCED:
            d = direction(c, h)
            verdict = self.judge_syn_ack(c, d, h) if h["flags"] & ACK else self.judge_syn(c, d, h)
            if verdict in ("hold", "ignore"):
                return c, d, verdict
            if verdict == "another":
                self.end(c, self.now())
            elif verdict == "held":
                self.open_held(c)
        c = self.open.get(key)
        if c is None:
            c = self.open_connection(h)
        return c, direction(c, h), "take"

    def now(self) -> int:
        assert self.clock is not None
        return self.clock

    def is_idle(self, c: Connection) -> bool:
        return self.now() - c.active_ns > 60 * SECOND

    def judge_syn(self, c: Connection, d: int, h: Row) -> str:
        if is_own_syn(c.sides[d], h):
            return "take"
        if c.reset_by is not None or any(side.fin is not None for side in c.sides):
            anew = True
        elif c.beyond_handshake:
            anew = self.is_idle(c)
        else:
            # Anything but the other half of a simultaneous open.
            anew = c.sides[d].isn is not None or c.saw_syn_ack
        if anew:
            return "held" if is_held(c, d, h) else "another"
        return "hold" if c.beyond_handshake else "take"

    def judge_syn_ack(self, c: Connection, d: int, h: Row) -> str:
        side = c.sides[d]
        if c.held and c.held.direction == 1 - d:
            first = c.held.syns[0]
            ahead = (h["acknowledgment_number"] - first["sequence_number"] - 1) % 2**32
            if ahead <= first["payload_bytes"]:
                return "held"
        if is_own_syn(side, h) or (side.isn is None and side.base is None):
            return "take"
        asker = c.sides[1 - d].isn
        is_late_answer = asker is not None and (asker + 1) % 2**32 == h["acknowledgment_number"]
        if not is_late_answer and (c.has_ended() or self.is_idle(c)):
            return "another"
        is_first_of_its_own = side.isn is None and is_late_answer and not c.complete
        if not is_first_of_its_own and (c.beyond_handshake or c.complete or not c.asked_again):
            return "ignore"
        # The answerer chose its number again: what it sent so far never happened; it was counted all the same.
        c.drop_far(d)
        fresh = Side(
            remembered=side.remembered,
            segments=side.segments,
            retransmissions=side.retransmissions,
            control_retransmissions=side.control_retransmissions,
            retransmitted_bytes=side.retransmitted_bytes,
        )
        c.sides = (c.sides[0], fresh) if d == 1 else (fresh, c.sides[1])
        c.syn_acks = []
        return "take"

    def role(self, h: Row) -> tuple[bool, str]:
        """Tell whether the sender is the client, and why."""
        source, destination = (
            (h["source_address"], h["source_port"]),
            (h["destination_address"], h["destination_port"]),
        )
        from_server, to_server = (self.is_server(end, h["ip_version"]) for end in (source, destination))
        if from_server != to_server:
            return to_server, "option"
        if h["flags"] & SYN and not h["options"] & UNSEQUENCED:
            return (False, "syn_ack") if h["flags"] & ACK else (True, "syn")
        if source[1] == destination[1]:
            return True, "first"
        if (source[1] < 32768) != (destination[1] < 32768):
            return destination[1] < 32768, "port"
        return destination[1] < source[1], "port"

    def is_server(self, end: tuple[bytes, int], ip_version: int) -> bool:
        return any(
            s.port in (0, end[1]) and (s.address is None or (s.address, s.ip_version) == (end[0], ip_version))
            for s in self.servers
        )

    def open_connection(self, h: Row) -> Connection:
        from_client, role_source = self.role(h)
        ends = ((h["source_address"], h["source_port"]), (h["destination_address"], h["destination_port"]))
        client, server = ends if from_client else ends[::-1]
        c = Connection(
            h["frame_number"],
            (client, server),
            path_of(h),
            role_source,
            start_ns=h["time_ns"],
            last_ns=h["time_ns"],
            active_ns=self.now(),
        )
        young, others = self.shares[share_of(c)]
        if len(young) + len(others) >= self.share_limit or len(young) >= max(1, self.share_limit // 8):
            self.note("connection_overflow", h["frame_number"])
            self.end(young[0] if young else least_active(others), self.now())
        young.append(c)
        self.open[endpoints(h)] = c
        self.boundaries.append(self.boundary("opened", c, c.start_ns) | named_ends(c) | {"ip_version": c.path[0]})
        return c

    def boundary(self, which: str, c: Connection, time_ns: int) -> Row:
        row = {"boundary": which, "connection_id": c.id, "time_ns": time_ns, "position": len(self.segments)}
        return row | {"is_open": 0, "share": share_of(c), "due_ns": INT64_MAX}

    def hold(self, c: Connection, d: int, h: Row, row: Row) -> None:
        side = c.sides[d]
        if c.held and is_held(c, d, h):
            row["kind"] = "retransmission"
            side.retransmissions += 1
            side.control_retransmissions += 1
            side.retransmitted_bytes += h["payload_bytes"]
            c.held.syns.append(h)
            return
        self.drop_held(c)
        c.held = Held([h], d, c.last_ns)

    def drop_held(self, c: Connection) -> None:
        if c.held:
            self.note("segment_outside_window", c.held.syns[0]["frame_number"], len(c.held.syns))
            c.held = None

    def open_held(self, old: Connection) -> None:
        assert old.held
        held, side = old.held, old.sides[old.held.direction]
        old.held = None
        first, *again = held.syns
        again_bytes = sum(h["payload_bytes"] for h in again)
        old.last_ns = held.before_ns
        side.segments -= len(held.syns)
        side.retransmissions -= len(again)
        side.control_retransmissions -= len(again)
        side.retransmitted_bytes -= again_bytes
        self.end(old, self.now())
        c = self.open_connection(first)
        d = direction(c, first)
        self.take_segment(c, d, first, {"kind": "new", "new_bytes": 0, "offset": None})
        new = c.sides[d]
        new.segments = len(held.syns)
        new.retransmissions = new.control_retransmissions = len(again)
        new.retransmitted_bytes = again_bytes
        new.remembered = side.remembered
        new.remembered.is_grown_up = False
        new.remembered.newest = None
        c.syns = list(held.syns)
        c.last_ns = max(first["time_ns"], held.syns[-1]["time_ns"])

    # --- segments

    def take_reset(self, c: Connection, d: int, h: Row, row: Row) -> None:
        if not is_reset_valid(c, d, h):
            c.ignored_resets += 1
            self.note("reset_outside_window", h["frame_number"])
            return
        if c.reset_by is None:
            c.refused = c.awaits_answer(d)
            c.reset_by = d
        if c.sides[d].base is not None:
            row["offset"] = c.sides[d].offset(h["sequence_number"])

    def take_segment(self, c: Connection, d: int, h: Row, row: Row) -> None:
        flags = h["flags"]
        if c.awaits_answer(d) and not c.acknowledges_syn(d, h) and flags & (SYN | ACK) != SYN:
            self.note("segment_outside_window", h["frame_number"])
            return
        believed, gave_up = take_sequence(c, d, h, row)
        if not believed:
            self.note("segment_outside_window", h["frame_number"])
        if row["offset"] is None:
            return
        if flags & ACK:
            gave_up |= take_acknowledgment(c, d, h, row)
        c.sides[d].window = h["window"]
        row["window_bytes"] = scaled_window(c, d, h)
        if not flags & SYN:
            c.beyond_handshake = True
        if gave_up:
            c.approximate = True
            self.note("hole_overflow", h["frame_number"])

    # --- the end

    def end(self, c: Connection, at_ns: int) -> None:
        young, others = self.shares[share_of(c)]
        young[:] = [other for other in young if other is not c]
        others[:] = [(other, looked_ns) for other, looked_ns in others if other is not c]
        del self.open[frozenset((c.path, *end) for end in c.ends)]
        self.drop_held(c)
        for d in (0, 1):
            c.drop_far(d)
        self.note_garbage(c)
        for side, peer in (c.sides, c.sides[::-1]):
            is_acked = side.acked is not None and side.acked >= side.end
            is_missing = bool(side.missing) and side.missing[-1] == (side.end - 1, side.end)
            if side.fin is None and peer.fin is not None and is_acked and is_missing:
                # What was acknowledged and never captured was its FIN.
                side.missing.pop()
                side.end -= 1
                side.fin = side.end
        ended_itself = c.has_ended()
        self.boundaries.append(self.boundary("ended", c, c.last_ns if ended_itself else max(at_ns, c.last_ns)))
        self.connections.append(self.connection_row(c))

    def connection_row(self, c: Connection) -> Row:
        row = named_ends(c) | {
            "connection_id": c.id,
            "ip_version": c.path[0],
            "encapsulation": ENCAPSULATIONS[c.path[1]] if c.path[1] else None,
            "role_source": c.role_source,
            "state": None if c.unsequenced else state_of(c),
            "fin_from": None if c.unsequenced else fin_sides(c),
            "is_sequenced": not c.unsequenced,
            "is_approximate": c.approximate,
            "start_ns": c.start_ns,
            "end_ns": c.last_ns,
            "duration_ns": c.last_ns - c.start_ns,
            "connect_attempts": len(c.syns),
            "connect_ns": c.part(c.connect_ns),
            "client_handshake_rtt_ns": c.part(known(c.rtt_ns[0]), HOUR),
            "server_handshake_rtt_ns": c.part(known(c.rtt_ns[1]), HOUR),
            "client_handshake_least_ns": c.part(least(c.rtt_ns[0]), HOUR),
            "server_handshake_least_ns": c.part(least(c.rtt_ns[1]), HOUR),
            "duplicates": c.duplicates,
            "ignored_resets": c.ignored_resets,
        }
        for who, side in zip(("client", "server"), c.sides, strict=True):
            gap = sum(map(size, side.missing)) + side.given_up
            if (gap or side.gap_is_unknown) and not c.unsequenced:
                self.note("capture_gap", c.id, byte_count=gap)
            row |= {f"{who}_isn": side.isn, f"{who}_bytes": side.end, f"{who}_segments": side.segments}
            counted = {
                "retransmissions": side.retransmissions,
                "control_retransmissions": side.control_retransmissions,
                "retransmitted_bytes": side.retransmitted_bytes,
                "gap_bytes": None if side.gap_is_unknown else gap,
            }
            row |= {f"{who}_{name}": None if c.unsequenced else count for name, count in counted.items()}
        return row


# --- who is who


def path_of(h: Row) -> Path:
    return h["ip_version"], h["encapsulation"], h["tunnel"]


def endpoints(h: Row) -> frozenset[tuple[Path, bytes, int]]:
    return frozenset(
        (
            (path_of(h), h["source_address"], h["source_port"]),
            (path_of(h), h["destination_address"], h["destination_port"]),
        )
    )


def named_ends(c: Connection) -> Row:
    (client_address, client_port), (server_address, server_port) = c.ends
    return {
        "client_address": client_address,
        "client_port": client_port,
        "server_address": server_address,
        "server_port": server_port,
    }


def direction(c: Connection, h: Row) -> int:
    return 0 if c.ends[0] == (h["source_address"], h["source_port"]) else 1


def is_own_syn(side: Side, h: Row) -> bool:
    number: int = h["sequence_number"]
    return side.base == (number + 1) % 2**32 if side.isn is None else side.isn == number


def is_held(c: Connection, d: int, h: Row) -> bool:
    return bool(c.held and c.held.direction == d and c.held.syns[0]["sequence_number"] == h["sequence_number"])


def touch(c: Connection, time_ns: int, is_held_syn: bool) -> None:
    c.last_ns = max(c.last_ns, time_ns)
    if c.held and not is_held_syn:
        c.held.before_ns = max(c.held.before_ns, time_ns)


# --- how many


def known_hash(end: tuple[bytes, int]) -> int:
    """Both halves of the address, as this machine reads them, and the port, mixed."""
    high, low = (int.from_bytes(end[0][at : at + 8], sys.byteorder) for at in (0, 8))
    value = low ^ high * 0x94D049BB133111EB % 2**64
    value = ((value ^ value >> 32) * 0xBF58476D1CE4E5B9 + end[1]) % 2**64
    value = (value ^ value >> 32) * 0xD6E8FEB86659FD93 % 2**64
    return value ^ value >> 32


def share_of(c: Connection) -> int:
    return sum(map(known_hash, c.ends)) * 0x9E3779B97F4A7C15 % 2**64 // 2**56


def least_active(others: list[tuple[Connection, int]]) -> Connection:
    """Look at one after the other; who was active since goes to the end of the queue."""
    while others[0][0].active_ns != others[0][1]:
        c, _ = others.pop(0)
        others.append((c, c.active_ns))
    return others[0][0]


# --- copies


def fingerprint(h: Row) -> Remembered:
    return Remembered(tuple(h[name] for name in REPEATED), h["time_ns"], h["interface_id"])


def brings_next_bytes(side: Side, h: Row) -> bool:
    if not h["payload_bytes"] or h["flags"] & (RST | SYN) or side.base is None or side.probe_pending:
        return False
    return side.far is None and 0 <= side.beyond(h["sequence_number"]) <= MEBIBYTE


def weigh_repetition(c: Connection, d: int, h: Row, apart_ns: int, *, has_copy: bool, are_copied: bool) -> str:
    """Tell what repeats a header of the same interface to the bit, so long after or before it."""
    side = c.sides[d]
    has_copies = any(s.has_copies for s in c.sides)
    is_soon = is_too_soon = apart_ns <= SOON_NS
    if h["flags"] & SYN or (h["flags"] & RST and not c.beyond_handshake and c.syns):
        came_again = len(c.syns) > 1 or c.sides[1 - d].control_retransmissions > 0
        is_doubtful = h["flags"] & ACK and not h["ip_id"] and came_again
        return "ambiguous" if is_doubtful and not (has_copies and (is_soon or not has_copy)) else "duplicate"
    to_client, to_server = c.rtt_ns
    if to_client is not None and to_server is not None and min(to_client, to_server) >= 0:
        is_too_soon |= apart_ns < (to_client + to_server) // 2
    is_stamped = bool(h["options"] & TIMESTAMPS)
    is_old = is_stamped and signed(h["timestamp_value"] - (side.remembered.newest or 0)) < 0
    has_bytes = bool(h["payload_bytes"] or h["flags"] & FIN)
    reasons = (
        h["ip_id"] and (is_soon or len(side.remembered.ids) > 1 or side.segments == 1),
        has_copies and (h["ip_id"] or are_copied),
        is_old and side.remembered.newest is not None,
        is_stamped and has_bytes and is_too_soon,
    )
    if any(reasons):
        return "duplicate"
    return "ambiguous" if is_soon or (has_bytes and is_too_soon) else ""


def find_copy(c: Connection, d: int, h: Row) -> str:
    """Tell whether this header was captured before: ``duplicate``, ``ambiguous`` or nothing."""
    side = c.sides[d]
    if brings_next_bytes(side, h):
        return ""
    mine = fingerprint(h)
    found = ""
    for at, other in reversed(list(enumerate(side.remembered.headers))):
        if mine.time_ns - other.time_ns > COPY_WITHIN_NS:
            break
        apart_ns = abs(mine.time_ns - other.time_ns)
        is_elsewhere = mine.interface != other.interface and apart_ns <= COPY_WITHIN_NS
        if mine.mark != other.mark:
            # With an identification a packet is itself, whether or not its checksum was filled in by then.
            differ = {name for name, a, b in zip(REPEATED, mine.mark, other.mark, strict=True) if a != b}
            if differ == {"checksum"} and h["ip_id"] and is_elsewhere:
                return "duplicate"
            continue
        if is_elsewhere:
            return "duplicate"
        if apart_ns <= COPY_WITHIN_NS and not h["options"] & UNSEQUENCED:
            before = [each.has_copy for each in side.remembered.headers[max(0, at - WITNESSES) : at]]
            are_copied = not other.has_copy and (2 * sum(before) > len(before) or not before)
            weighed = weigh_repetition(c, d, h, apart_ns, has_copy=other.has_copy, are_copied=are_copied)
            if weighed == "duplicate":
                side.has_copies = other.has_copy = True
                return "duplicate"
            found = weighed or found
    return found


# --- one connection


def elapsed(start: int, stop: int) -> int:
    return max(0, stop - start)


def round_trip(copies: list[Row], answer: Row, *, is_first_certain: bool = True) -> int | None:
    """Time the answer to a segment that may have been sent several times; less than −1: no more than its least."""
    known = known_round_trip(copies, answer, is_first_certain=is_first_certain)
    return -2 - min(elapsed(copies[-1]["time_ns"], answer["time_ns"]), 2**63 - 3) if known is None else known


def known_round_trip(copies: list[Row], answer: Row, *, is_first_certain: bool) -> int | None:
    first, last = copies[0], copies[-1]
    if len(copies) == 1:
        return elapsed(first["time_ns"], answer["time_ns"])
    if not first["options"] & TIMESTAMPS or not answer["options"] & TIMESTAMPS:
        return None
    if first["timestamp_value"] == last["timestamp_value"]:
        return None
    for copy in (last, first) if is_first_certain else (last,):
        if copy["timestamp_value"] == answer["timestamp_echo"]:
            return elapsed(copy["time_ns"], answer["time_ns"])
    return None


def known(round_trip_ns: int | None) -> int | None:
    return None if round_trip_ns is None or round_trip_ns < 0 else round_trip_ns


def least(round_trip_ns: int | None) -> int | None:
    return None if round_trip_ns is None or round_trip_ns >= 0 else -2 - round_trip_ns


def take_syn(c: Connection, d: int, h: Row) -> None:
    side = c.sides[d]
    if side.isn is None:
        side.isn = h["sequence_number"]
        if side.base is None:
            side.base, side.end = (side.isn + 1) % 2**32, 0
        if h["options"] & WINDOW_SCALE:
            side.scale = (h["window_scale"],)
        elif not h["options"] & CUT:
            side.scale = ()
    if c.opener is None:
        c.opener = 1 - d if h["flags"] & ACK else d
    if h["flags"] & ACK:
        side.syn_had_ack = True
        if d != c.opener:
            c.asked_again = False
            if not c.saw_syn_ack:
                c.saw_syn_ack = True
                if c.refused:
                    c.refused, c.reset_by = False, None
                if c.syns:
                    c.rtt_ns[d] = round_trip(c.syns, h, is_first_certain=False)
            c.syn_acks.append(h)
    elif d != c.opener:
        c.simultaneous = True
    elif not c.syns or not c.saw_syn_ack:
        c.syns.append(h)
    else:
        c.asked_again = True


def take_sequence(c: Connection, d: int, h: Row, row: Row) -> tuple[bool, bool]:
    """Place a segment in its stream; tell whether it may be believed, and whether a hole was given up.

    Where it may be believed later its offset stays unknown.
    """
    side, flags, n = c.sides[d], h["flags"], h["payload_bytes"]
    is_syn, is_fin = bool(flags & SYN), bool(flags & FIN)
    repeats_syn = is_syn and side.isn == h["sequence_number"] and (side.syn_had_ack or not flags & ACK)
    if is_syn:
        take_syn(c, d, h)
    number = (h["sequence_number"] + is_syn) % 2**32
    if side.base_by_ack:
        side.base_by_ack = False
        if not c.is_in_place(d, side.offset(number)):
            # Its own number is better evidence.
            c.drop_far(d)
            side.base, side.acked, side.missing, side.given_up = None, None, [], 0
    if side.base is None:
        side.base, side.end = number, 0
    offset, ahead = side.offset(number), (number - side.base) % 2**32
    gave_up = False
    if is_syn:
        if abs(offset - side.end) > GIGABYTE:
            return False, False
    elif is_fin and side.isn is not None and side.end == 0 and c.saw_syn_ack and ahead < 2**32 - 2**16:
        # Nothing but a SYN before this FIN: up to 4 GiB may lie between them.
        c.drop_far(d)
        offset = ahead
    elif c.is_in_place(d, offset):
        c.drop_far(d)
    else:
        is_believed, gave_up = weigh_far(c, d, h, number, by_ack=False)
        if not is_believed:
            return True, False
        offset = side.offset(number)
    row["offset"] = offset - is_syn
    if n:
        gave_up |= take_payload(c, d, h, row, offset)
        if is_syn and row["new_bytes"]:
            row["new_at"] = row.get("new_at", 0) + 1
    elif not is_syn:
        gave_up |= take_bare(c, d, h, row, offset)
    if repeats_syn and row["new_bytes"] == 0:
        row["kind"] = "retransmission"
        side.control_retransmissions += 1
    believed = take_fin(side, row, offset + n) if is_fin else True
    side.retransmissions += row["kind"] == "retransmission"
    return believed, gave_up


def confirms_far(c: Connection, d: int, h: Row, number: int) -> bool:
    side = c.sides[d]
    assert side.far
    if abs(signed(number - side.far.number)) > c.reach(d):
        return False
    return side.beyond(side.far.number) > 0 or h["time_ns"] - side.far.since_ns > STEP_BACK_NS


def repeats_far(c: Connection, d: int, h: Row, number: int) -> bool:
    """A segment sent again is no second witness: with payload or FIN, it must end beyond the one that waits."""
    far = c.sides[d].far
    is_fin = bool(h["flags"] & FIN)
    if far is None or far.by_ack or not (h["payload_bytes"] or is_fin) or abs(signed(number - far.number)) > c.reach(d):
        return False
    return signed(number + h["payload_bytes"] + is_fin - far.number - far.is_fin) <= 0


def weigh_far(c: Connection, d: int, h: Row, number: int, *, by_ack: bool) -> tuple[bool, bool]:
    """Side d sent, or had acknowledged, what is far away; tell whether that is believed, and if a hole was given up."""
    side, frame = c.sides[d], h["frame_number"]
    frames, since_ns = [frame], c.last_ns
    if side.far:
        if not by_ack and repeats_far(c, d, h, number):
            c.garbage.append(("segment_outside_window", frame))
            return False, False
        if confirms_far(c, d, h, number):
            return True, move_end(c, d, side.far.number, is_fin=side.far.is_fin)
        if by_ack and not side.far.by_ack:
            c.garbage.append(("acknowledgment_outside_window", frame))
            return False, False
        step = signed(number - side.far.number)
        goes_on = abs(step) <= c.reach(d) or (step > 0 and side.beyond(number) > 0)
        if by_ack == side.far.by_ack and goes_on:
            frames, since_ns = [*side.far.frames, frame], side.far.since_ns
            if len(frames) >= STEADY and side.beyond(number) > 0:
                return True, move_end(c, d, number, is_fin=False)
        else:
            c.drop_far(d)
    stop = (number + (0 if by_ack else h["payload_bytes"])) % 2**32
    side.far = Far(frames, stop, by_ack, bool(h["flags"] & FIN) and not by_ack, since_ns)
    return False, False


def move_end(c: Connection, d: int, number: int, *, is_fin: bool) -> bool:
    """The stream is at this number now; tell whether a hole was given up."""
    side, gave_up = c.sides[d], False
    side.far = None
    if side.probe_pending:
        side.settle_probe()
    ahead = side.beyond(number)
    if ahead > 0:
        gave_up = side.pass_over(side.end + ahead)
    elif ahead < 0:
        # Two gibibytes or more lie between, or a whole turn of the numbers; which, nobody knows.
        side.base = (number - side.end) % 2**32
        side.gap_is_unknown = c.approximate = True
    if is_fin and side.fin is None:
        side.fin = side.end
    return gave_up


def take_payload(c: Connection, d: int, h: Row, row: Row, offset: int) -> bool:
    side, n, gave_up = c.sides[d], h["payload_bytes"], False
    stop = offset + n
    if offset > side.end and side.probe_pending:
        side.settle_probe()
    if offset >= side.end:
        lone = n == 1 and not h["flags"] & (SYN | FIN) and c.window_is_closed(d)
        if offset == side.end and lone:
            side.probe_pending = True
            row["kind"] = "zero_window_probe"
            return False
        if offset > side.end:
            gave_up = side.pass_over(offset)
        side.probe_pending = False
        side.end = stop
        row["new_bytes"] = n
        return gave_up
    pieces, gave_up = side.fill(offset, min(stop, side.end))
    if pieces:
        row["kind"] = "out_of_order"
    if stop > side.end:
        pieces.append((side.end, stop))
        side.end = stop
        side.probe_pending = False
    new = sum(map(size, pieces))
    is_acked = side.acked is not None and side.acked >= stop
    if new == 0 and n == 1 and stop == side.end and is_acked and not h["flags"] & (SYN | FIN):
        row["kind"] = "zero_window_probe" if c.window_is_closed(d) else "keep_alive"
        return gave_up
    if new == 0:
        row["kind"] = "retransmission"
    else:
        row |= {"new_bytes": new, "new_at": pieces[0][0] - offset}
    side.retransmitted_bytes += n - new
    return gave_up


def take_bare(c: Connection, d: int, h: Row, row: Row, offset: int) -> bool:
    side, is_fin = c.sides[d], bool(h["flags"] & FIN)
    if side.probe_pending and (offset > side.end + 1 or (is_fin and offset > side.end)):
        side.settle_probe()
    reach = side.end + (side.fin is not None or side.probe_pending)
    if offset > reach:
        return side.pass_over(offset)
    if offset == side.end - 1 and side.acked is not None and side.acked >= side.end and not is_fin:
        row["kind"] = "zero_window_probe" if c.window_is_closed(d) else "keep_alive"
    return False


def take_fin(side: Side, row: Row, stop: int) -> bool:
    """Tell whether the stream can end there."""
    if side.fin is not None:
        if stop != side.fin:
            return False
        if row["new_bytes"] == 0:
            row["kind"] = "retransmission"
            side.control_retransmissions += 1
        return True
    if stop < side.end:
        if not side.missing or side.missing[-1][1] != side.end or stop != side.end - 1:
            return False
        # The number passed over last was its own.
        start, _ = side.missing.pop()
        side.end = stop
        if start < stop:
            side.missing.append((start, stop))
    side.fin = stop
    if row["kind"] == "retransmission":
        row["kind"] = "new"
    return True


def take_acknowledgment(c: Connection, d: int, h: Row, row: Row) -> bool:
    """Note what the peer received; tell whether a hole was given up."""
    peer, gave_up = c.sides[1 - d], False
    if peer.base is None:
        peer.base, peer.end, peer.base_by_ack = h["acknowledgment_number"], 0, True
    number, other = h["acknowledgment_number"], 1 - d
    acked = peer.offset(number)
    is_whole_stream = h["flags"] & FIN and peer.isn is not None and peer.end == 0
    reach = GIGABYTE if is_whole_stream else c.reach(other)
    is_in_place = -GIGABYTE <= acked - peer.end <= reach
    if not is_in_place or (peer.far and confirms_far(c, other, h, number)):
        is_believed, gave_up = weigh_far(c, other, h, number, by_ack=True)
        if not is_believed:
            return False
        acked = peer.offset(number)
    elif peer.far and peer.far.by_ack:
        c.drop_far(other)
    if acked > peer.end and peer.probe_pending:
        peer.settle_probe()
    if acked > peer.end + (peer.fin is not None):
        gave_up |= peer.pass_over(acked)
    row["acked_offset"] = acked
    peer.acked = acked if peer.acked is None else max(peer.acked, acked)
    if peer.isn is not None and acked >= 0:
        peer.syn_acked = True
    if not c.complete and c.opener is not None:
        by_opener = d == c.opener and not h["flags"] & SYN and row["offset"] >= 0 and (peer.isn is None or acked >= 0)
        if by_opener or all(side.syn_acked for side in c.sides):
            c.complete = True
            is_certain = c.reset_by is None and not any(side.missing for side in c.sides)
            if c.syns and is_certain:
                c.connect_ns = elapsed(c.syns[0]["time_ns"], h["time_ns"])
            if d == c.opener and c.syn_acks and not c.simultaneous and is_certain:
                c.rtt_ns[d] = round_trip(c.syn_acks, h)
    return gave_up


def is_reset_valid(c: Connection, d: int, h: Row) -> bool:
    side, peer = c.sides[d], c.sides[1 - d]
    if c.awaits_answer(d):
        return c.acknowledges_syn(d, h)
    if side.base is None:
        return True
    offset = side.offset(h["sequence_number"])
    received = side.acked
    lowest = received if received is not None else -1 if side.isn is not None else side.end - GIGABYTE
    if offset < lowest:
        return False
    if offset <= side.end + 1:
        return True
    if not c.beyond_handshake and peer.window is None:
        return False
    shift = 14 if peer.scale is None else sum(peer.scale)
    window = (65535 if peer.window is None else peer.window) << shift
    return offset < (side.end if received is None else received) + window


def scaled_window(c: Connection, d: int, h: Row) -> int | None:
    window: int = h["window"]
    mine, theirs = c.sides[d].scale, c.sides[1 - d].scale
    if h["flags"] & SYN or window == 0 or mine == () or theirs == ():
        return window
    if mine is None or theirs is None:
        return None
    return window << mine[0]


def fin_sides(c: Connection) -> str:
    closers = [who for who, side in zip(("client", "server"), c.sides, strict=True) if side.fin is not None]
    return "both" if len(closers) == 2 else closers[0] if closers else "none"


def state_of(c: Connection) -> str:
    rules: list[tuple[Callable[[], bool], str]] = [
        (c.both_closed, "closed"),
        (lambda: c.refused, "refused"),
        (lambda: c.reset_by == 0, "client_reset"),
        (lambda: c.reset_by == 1, "server_reset"),
        (lambda: any(side.fin is not None for side in c.sides), "half_closed"),
        (lambda: c.beyond_handshake, "open"),
        (lambda: c.saw_syn_ack, "handshaking"),
    ]
    return next((name for holds, name in rules if holds()), "unanswered")
