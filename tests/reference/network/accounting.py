"""The slow, obvious twin of the time account: a connection's whole story is kept, and read when it ends.

Nothing here is shared with the kernel: no slots, no bits, no running sums. A wait is a triple (from, until, part); what
a wait was is found by looking back over the story.
"""

from __future__ import annotations

from typing import Any

from tcpsight.tables import BOUNDARIES, FLAG_FIN, FLAG_RST, FLAG_SYN, INT64_MIN, KINDS, TIME_PARTS
from tests.reference.network.vantage import vantage

Row = dict[str, Any]

MS = 1_000_000
HOUR = 3600 * 10**9
CHARGED = [part for part in TIME_PARTS if part != "connect"]
OF_REQUESTS = [part for part in CHARGED if part not in ("think", "unknown")]


class Side:
    def __init__(self) -> None:
        self.edge: int | None = None
        self.acks: list[tuple[int, int, int]] = []  # (place in the story, time, offset), each above those before
        self.window: int | None = None
        self.repeated_until: int | None = None
        self.syns: list[int] = []
        self.is_syn_acked = False
        self.shown: int | None = None  # up to where segments without data showed that something is missing
        self.ttl: int | None = None
        self.round_trip: int | None = None

    @property
    def acked(self) -> int | None:
        return self.acks[-1][2] if self.acks else None

    def has_room(self, mss: int) -> bool:
        if self.window is None:
            return True
        nothing_out = self.edge is None or (self.acked is not None and self.edge <= self.acked)
        if nothing_out and self.window:
            return True
        out = 0 if self.edge is None or self.acked is None else self.edge - self.acked
        return self.edge is None or self.window - out >= mss


class Story:
    def __init__(self, opened: Row) -> None:
        self.opened = opened
        self.sides = (Side(), Side())
        self.now = opened["time_ns"]
        self.waits: list[tuple[int, int, str | None]] = []
        self.place = 0
        self.speaker: int | None = None
        self.speaks_since = 0
        self.has_shaken = False
        self.is_shaking = False
        self.opener: int | None = None
        self.repeated_syn = 0
        self.saw_syn_again = False
        self.mss = 1460
        self.request_begin = 0
        self.asked_ns: list[int] = []
        self.requests: list[list[int]] = []  # where each begins, and its answer ends, in `waits`
        self.is_tight = self.was_tight = False
        self.room_since = 0
        self.fin_ns = 0
        self.leap: int | None = None  # its place in `waits`

    # ------------------------------------------------------------------ time

    def charge(self, until: int, part: str) -> None:
        if until <= self.now:
            return
        kept = None if self.is_shaking else part
        self.waits.append((self.now, until, kept))
        if until - self.now > HOUR:
            self.leap = len(self.waits) - 1
        self.now = until

    def take_back_leap(self) -> None:
        assert self.leap is not None
        since, until, part = self.waits[self.leap]
        self.waits[self.leap] = since, since, part
        self.now -= until - since
        self.leap = None

    def idle_part(self) -> str:
        if self.speaker is None:
            return "think" if self.has_shaken else "unknown"
        return "think" if self.speaker else "server"

    # ------------------------------------------------------------------ one segment

    def take(self, s: Row) -> None:
        self.place += 1
        if KINDS[s["kind"]] == "duplicate":
            return
        if s["offset"] != INT64_MIN:
            self.take_own(s)
        self.take_ack(s)

    def take_own(self, s: Row) -> None:
        d, kind, time = s["direction"], KINDS[s["kind"]], s["time_ns"]
        me = self.sides[d]
        if self.leap is not None:
            if time < self.now - HOUR:
                self.take_back_leap()
            self.leap = None
        if me.ttl is None and not s["flags"] & FLAG_RST:
            me.ttl = s["ttl"]
        if s["flags"] & FLAG_SYN:
            self.take_syn(s)
        if s["new_bytes"] <= 0 and kind != "retransmission":
            self.take_sign(s)
        if self.is_shaking:
            self.shake(s)
        if kind == "retransmission":
            self.take_again(s)
        elif kind == "zero_window_probe" and self.is_tight and self.speaker == d:
            self.charge(time, "receiver_limited")
        if s["new_bytes"] > 0 and kind != "keep_alive":
            is_recovering = me.repeated_until is not None and self.speaker == d
            self.take_data(s, "recovery" if kind == "out_of_order" or is_recovering else None)
            if kind == "out_of_order":
                self.take_again(s)
        elif self.is_shaking:
            self.now = max(self.now, time)
        if s["flags"] & FLAG_FIN and kind != "retransmission":
            self.fin_ns = max(self.now, time)

    def take_again(self, s: Row) -> None:
        me, time = self.sides[s["direction"]], s["time_ns"]
        end = s["offset"] + s["payload_bytes"]
        if not s["flags"] & FLAG_SYN:
            if s["flags"] & FLAG_FIN:
                end += 1
                if s["payload_bytes"] == 0:
                    self.charge(min(self.fin_ns, time), self.idle_part())
            if me.repeated_until is not None:
                end = max(end, me.repeated_until)
            # Already acknowledged, it is not waited for; an earlier repetition still is.
            if me.repeated_until is not None or me.acked is None or end > me.acked:
                me.repeated_until = end
        self.charge(time, "recovery")

    # ------------------------------------------------------------------ the handshake

    def take_syn(self, s: Row) -> None:
        d = s["direction"]
        if self.speaker is None and not self.has_shaken and not self.requests and self.opener is None:
            self.is_shaking = True
            self.opener = d if s["acked_offset"] == INT64_MIN else 1 - d
        if s["mss_bytes"]:
            self.mss = min(self.mss, s["mss_bytes"])
        self.saw_syn_again |= bool(self.sides[d].syns)
        self.sides[d].syns.append(s["time_ns"])
        if self.is_shaking and KINDS[s["kind"]] == "retransmission":
            self.repeated_syn += max(0, s["time_ns"] - self.now)

    def shake(self, s: Row) -> None:
        d, acked = s["direction"], s["acked_offset"]
        other = self.sides[1 - d]
        if acked == INT64_MIN or s["flags"] & FLAG_RST:
            return
        if other.syns and acked >= 0:
            other.is_syn_acked = True
        is_opener_in = d == self.opener and not s["flags"] & FLAG_SYN and s["offset"] >= 0
        if all(side.is_syn_acked for side in self.sides) or (is_opener_in and (not other.syns or acked >= 0)):
            self.is_shaking = False
            self.now = max(self.now, s["time_ns"])
            self.has_shaken = True
            if not self.saw_syn_again and all(side.syns for side in self.sides):
                assert self.opener is not None
                opener, answerer = self.sides[self.opener], self.sides[1 - self.opener]
                answerer.round_trip = answerer.syns[0] - opener.syns[0]
                opener.round_trip = s["time_ns"] - answerer.syns[0]

    def reaction(self, d: int) -> int:
        """Give how soon after an acknowledgment the data may follow that it let go; −1 if that cannot be told."""
        mine, theirs = self.sides[d].round_trip, self.sides[1 - d].round_trip
        if mine is None or theirs is None:
            return MS
        if mine > max(theirs, MS):
            return -1
        return MS + min(max(mine, 0), 1_500_000_000) * 5 // 4

    # ------------------------------------------------------------------ data

    def take_data(self, s: Row, forced: str | None) -> None:
        d, time = s["direction"], s["time_ns"]
        me = self.sides[d]
        first = s["offset"] + s["new_at"]
        end = max(first + s["new_bytes"], s["offset"] + s["payload_bytes"])
        if me.edge is not None and first < me.edge:
            self.charge(time, "recovery")
            if d == 0:
                if not self.requests:
                    self.begin_request(first, time)
                elif len(self.requests) == 1:
                    self.request_begin = min(self.request_begin, first)
        elif self.speaker == d:
            self.charge(time, forced or self.part_between(d, time))
        elif d == 0:
            self.charge(time, forced or ("unknown" if self.idle_part() == "unknown" else "think"))
            self.begin_request(first, time)
        elif self.requests and s["acked_offset"] != INT64_MIN and s["acked_offset"] <= self.request_begin:
            self.charge(time, forced or "response_transfer")
        else:
            self.charge(time, forced or ("unknown" if self.idle_part() == "unknown" else "server"))
            self.speak(1)
        if me.edge is None or end > me.edge:
            me.edge = end
            if self.speaker == d and not me.has_room(self.mss):
                self.is_tight = self.was_tight = True
        if self.speaker == d == 1 and self.requests:
            self.requests[-1][1:] = [len(self.waits)]

    def take_sign(self, s: Row) -> None:
        """The side has sent more than was captured, so the wait for it is over; once for each hole."""
        d = s["direction"]
        me = self.sides[d]
        edge = 0 if me.edge is None and me.syns else me.edge
        # The byte after the last one may be a FIN.
        missing = 1 if s["flags"] & FLAG_FIN else 2
        if edge is None or s["offset"] < edge + missing or (me.shown is not None and me.shown > edge):
            return
        me.shown = s["offset"]
        is_going_on = self.speaker == d
        if is_going_on and me.repeated_until is not None:
            self.charge(s["time_ns"], "recovery")
        elif is_going_on:
            self.charge(s["time_ns"], self.part_between(d, s["time_ns"]))
        elif self.idle_part() == "unknown":
            self.charge(s["time_ns"], "unknown")
        elif d == 0:
            self.charge(s["time_ns"], "think")
        else:
            is_late = self.requests and s["acked_offset"] != INT64_MIN and s["acked_offset"] <= self.request_begin
            self.charge(s["time_ns"], "response_transfer" if is_late else "server")

    def begin_request(self, first: int, time: int) -> None:
        edge = self.sides[0].edge
        self.asked_ns.append(time)
        self.requests.append([len(self.waits)])
        self.request_begin = first if edge is None else min(first, edge)
        self.speak(0)

    def speak(self, d: int) -> None:
        self.speaker = d
        self.speaks_since = self.place
        self.is_tight = self.was_tight = False

    def part_between(self, d: int, time: int) -> str:
        if self.was_tight and not self.is_tight:
            self.was_tight = False
            self.charge(min(self.room_since, time), "receiver_limited")
        released = [at for place, at, _ in self.sides[d].acks if place > self.speaks_since]
        if released and released[-1] > self.now and 0 <= time - released[-1] <= self.reaction(d):
            return "path_limited"
        return ("request_transfer", "response_transfer")[d]

    # ------------------------------------------------------------------ acknowledgments

    def take_ack(self, s: Row) -> None:
        other, acked = self.sides[1 - s["direction"]], s["acked_offset"]
        if acked != INT64_MIN:
            before = other.acked
            if before is None or acked > before:
                other.acks.append((self.place, s["time_ns"], acked))
            if s["window_bytes"] >= 0 and (before is None or acked >= before):
                other.window = s["window_bytes"]
        if self.speaker == 1 - s["direction"] and (self.is_tight or s["window_bytes"] == 0):
            if not other.has_room(self.mss):
                self.is_tight = self.was_tight = True
            elif self.is_tight:
                self.is_tight = False
                self.room_since = s["time_ns"]
        until = other.repeated_until
        if until is not None and other.acked is not None and other.acked >= until:
            other.repeated_until = None
            if s["new_bytes"] <= 0 or s["offset"] == INT64_MIN:
                self.charge(s["time_ns"], "recovery")

    # ------------------------------------------------------------------ the end

    def parts(self, begin: int, end: int) -> dict[str, int]:
        total = dict.fromkeys(CHARGED, 0)
        for since, until, part in self.waits[begin:end]:
            if part is not None:
                total[part] += until - since
        return total

    def request_rows(self) -> list[Row]:
        rows = []
        for index, places in enumerate(self.requests):
            if len(places) == 2:
                parts = self.parts(*places)
                row = {"connection_id": self.opened["connection_id"], "request_index": index}
                row["request_first_ns"] = self.asked_ns[index]
                rows.append(row | {f"{part}_ns": parts[part] for part in OF_REQUESTS})
        return rows

    def account(self, c: Row) -> Row:
        if self.leap is not None and c["end_ns"] < self.now:
            self.take_back_leap()
        self.charge(c["end_ns"], self.idle_part())
        parts = self.parts(0, len(self.waits))
        if not c["client_segments"] or not c["server_segments"]:
            parts = {part: ns if part == "recovery" else 0 for part, ns in parts.items()}
        connect = max(0, c["connect_ns"])
        rest = c["duration_ns"] - connect - sum(parts.values())
        if rest < 0:
            parts = dict.fromkeys(CHARGED, 0)
            rest = max(0, c["duration_ns"] - connect)
        elif c["connect_ns"] < 0:
            repeated = min(self.repeated_syn, rest)
            parts["recovery"] += repeated
            rest -= repeated
        parts["unknown"] += rest
        in_order = [connect, *(parts[part] for part in CHARGED)]
        row = {"connection_id": self.opened["connection_id"]} | {f"{part}_ns": ns for part, ns in parts.items()}
        row["limited_by"] = in_order.index(max(in_order)) if c["duration_ns"] else 255
        return row | vantage(c, self.sides[1].ttl, self.sides[0].ttl)


class Twin:
    """Takes events (segments with their TTL and MSS, and boundaries) and the connections that end."""

    def __init__(self) -> None:
        self.open: dict[int, Story] = {}
        self.connections: list[Row] = []
        self.requests: dict[tuple[int, int], Row] = {}

    def take(self, events: list[Row], connections: dict[int, Row]) -> None:
        for event in events:
            if "boundary" not in event:
                self.open[event["connection_id"]].take(event)
            elif BOUNDARIES[event["boundary"]] == "opened":
                self.open[event["connection_id"]] = Story(event)
            else:
                story = self.open.pop(event["connection_id"])
                for row in story.request_rows():
                    self.requests[row["connection_id"], row["request_index"]] = row
                self.connections.append(story.account(connections[event["connection_id"]]))
