"""The slow, obvious twin of the network kernel: of every direction it keeps all segments, and looks at all of them.

Longer than other files: the twin of a whole room is read from top to bottom beside its rules.

Nothing here is shared with the kernel: no rings, no bins, no bits. What was sent is a list of things sent, oldest
first; a question about it is a look through the list. Four limits of the kernel show in its rows and are mirrored:
no more than 4,096 segments in flight are timed, the last 8 retransmissions are remembered until it is known whether
they were needed, the last 1,024 holes until it is known what they were, and 8 timestamps until they are echoed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tcpsight.tables import (
    BOUNDARIES,
    DIRECTIONS,
    FLAG_ACK,
    FLAG_FIN,
    FLAG_PSH,
    FLAG_RST,
    FLAG_SYN,
    INT64_MIN,
    KINDS,
    OPTION_MSS,
    OPTION_SACK_PERMITTED,
    OPTION_TIMESTAMPS,
    OPTION_UNSEQUENCED,
    VANTAGES,
    Network,
)
from tests.reference.network.evidence import Evidence

Row = dict[str, Any]

MS = 1_000_000
HOUR = 3_600_000 * MS
OPENING = -(2**63)
"""The time before the first: none."""
MOST_TIMED = 4096
MOST_RESENT = 8
MOST_HOLES = 1024
MOST_STAMPS = 8
CAUSES = ("timeout", "fast", "tail_loss_probe", "spurious")
UNSEQUENCED_KNOWS = {
    *("connection_id", "direction", "client_port", "server_port", "ip_version", "start_ns", "end_ns"),
    *("is_approximate", "segments", "wire_segments", "vantage", "vantage_confidence"),
}
"""What is known of a direction without sequence numbers."""


@dataclass
class Sent:
    """A segment that took numbers of its own: from `start` to before `end`."""

    start: int
    end: int
    time_ns: int
    value: int | None
    numbers_without_data: int
    is_control: bool
    in_flight: int  # bytes, its own included
    steps: int  # of the capture's clock, when it was sent
    was_resent: bool = False
    is_held: bool = False

    @property
    def payload(self) -> int:
        return self.end - self.start - self.numbers_without_data


@dataclass
class Resent:
    """A retransmission."""

    start: int
    end: int
    time_ns: int
    value: int | None
    place: int  # its cause, in `Side.causes`
    is_only_one: bool = True
    is_settled: bool = False

    def meets(self, start: int, end: int) -> bool:
        return not self.is_settled and max(self.start, start) < min(self.end, end)


@dataclass
class Hole:
    """Numbers below those of a segment that came at `shown_ns`."""

    start: int
    end: int
    shown_ns: int
    value: int | None
    # Whether the clock went back since.
    is_untimed: bool = False


@dataclass
class Stamp:
    """A timestamp of this side, and when it was seen first."""

    value: int
    time_ns: int
    is_waiting: bool = True


class Spans:
    """When something was so: spans of time, of which the last may be open."""

    def __init__(self) -> None:
        self.spans: list[list[int]] = []

    @property
    def is_open(self) -> bool:
        return bool(self.spans) and len(self.spans[-1]) == 1

    def set(self, now: int, *, is_so: bool) -> None:
        if is_so and not self.is_open:
            self.spans.append([now])
        elif not is_so and self.is_open:
            self.spans[-1].append(now)

    def total(self, now: int) -> int:
        return sum((span[1] if len(span) == 2 else now) - span[0] for span in self.spans)

    def replace(self, time: int, by: int) -> None:
        self.spans = [[by if instant == time else instant for instant in span] for span in self.spans]


@dataclass
class Side:
    """One direction: what it sent, and what the other side said of that."""

    counts: dict[str, int] = field(default_factory=dict)
    in_flight: list[Sent] = field(default_factory=list)
    resent: list[Resent] = field(default_factory=list)
    holes: list[Hole] = field(default_factory=list)
    causes: list[str] = field(default_factory=list)
    top: int | None = None  # one past the highest number known to be sent, SYN and FIN included
    data_top: int | None = None  # the same of data
    acked: int | None = None
    sacked: int | None = None
    fin_end: int | None = None
    is_acked_ahead: bool = False  # of what lies before `data_top` the last was acknowledged, but not captured
    progress_ns: int = 0
    repeats: int = 0
    recovery: str = ""
    recovery_point: int = 0
    busy: Spans = field(default_factory=lambda: Spans())
    closed: Spans = field(default_factory=lambda: Spans())
    raw_window: int | None = None
    window: int = -1
    window_max: int = -1
    most_in_flight: int = 0
    mss: int | None = None
    offers_sack: bool = False
    uses_timestamps: bool = False
    largest: int = 0
    wire_segments: int = 0
    behind: list[int] = field(default_factory=list)
    last_value: int | None = None  # what the next data will echo, if they are sent after the pause
    has_more: bool = False
    pauses: list[tuple[int, bool]] = field(default_factory=list)  # that may be none at the sender; whether it had more
    is_approximate: bool = False
    clean: list[int] = field(default_factory=list)
    delayed: list[int] = field(default_factory=list)
    # Of both, those within which no clock may have been set back.
    safe: list[int] = field(default_factory=list)
    smoothed: tuple[int, int] | None = None
    stamps: list[Stamp] = field(default_factory=list)
    echoes: list[int] = field(default_factory=list)
    echoed_ns: int | None = None  # when the other side last sent data
    is_window_unknown: bool = False
    full: Spans = field(default_factory=lambda: Spans())
    below_mss: Spans = field(default_factory=lambda: Spans())
    evidence: Evidence = field(default_factory=Evidence)

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    # ------------------------------------------------------------------ being acknowledged

    def outstanding(self) -> int:
        return (self.data_top or 0) - (self.acked or 0)

    def time_out(self) -> int:
        """RFC 6298 §2, but not below what Linux waits at least."""
        if self.smoothed is None:
            return 1000 * MS
        return max(200 * MS, self.smoothed[0] + 4 * self.smoothed[1])

    def shortest(self) -> int | None:
        """Give the shortest round trip within which no clock may have been set back; of all, if there is none such."""
        return min(self.safe or self.clean + self.delayed, default=None)

    def take_round_trip(self, round_trip: int, *, is_delayed: bool, is_safe: bool) -> None:
        if is_safe:
            self.safe.append(round_trip)
        if self.smoothed is None:
            self.smoothed = (round_trip, round_trip // 2)
        else:
            # In whole nanoseconds, rounded down: RFC 6298 §2.3.
            srtt, rttvar = self.smoothed
            self.smoothed = (srtt - (srtt - round_trip) // 8, rttvar + (abs(srtt - round_trip) - rttvar) // 4)
        (self.delayed if is_delayed else self.clean).append(round_trip)

    def full_size(self, mss_of_peer: int | None) -> int | None:
        """Payload of a full-size segment."""
        if mss_of_peer:
            return mss_of_peer - (12 if self.uses_timestamps and mss_of_peer > 24 else 0)
        return self.largest if self.largest >= 512 else None


class Conversation:
    def __init__(self, opened: Row) -> None:
        self.opened = opened
        self.sides = (Side(), Side())
        self.start = self.now = opened["time_ns"]
        # The first time of a connection may be one that nothing confirms, too.
        self.before_leap: int | None = OPENING
        self.is_first = True
        self.steps = 0  # how often the capture's clock may have been set back
        self.is_unsequenced = False
        self.is_behind = False
        self.lags: list[int] = []  # the farthest of each time that the clock was behind
        self.has_caught_up = True
        self.late_in_a_row = 0

    # ------------------------------------------------------------------ time

    def look_at_the_clock(self, time: int) -> None:
        """Clocks that are set, either way, spoil the timing of what is under way."""
        was_first, self.is_first = self.is_first, False
        if was_first and time == self.now:
            return
        if self.before_leap is not None and time < self.now - HOUR:
            self.take_back_leap(time)
        is_leap = time - self.now > HOUR
        self.before_leap = self.now if is_leap else None
        was_behind, self.is_behind = self.is_behind, time < max(time, self.now) - MS
        if is_leap or was_behind or self.is_behind:
            self.distrust()
        self.now = max(self.now, time)
        self.look_at_steps(self.now - time)

    def look_at_steps(self, lag: int) -> None:
        """Keep how far the clock was set back, until it is back where it was."""
        self.late_in_a_row = self.late_in_a_row + 1 if self.is_behind else 0
        if not self.is_behind:
            self.has_caught_up = True
        elif lag >= 10 * MS and self.late_in_a_row >= 3:
            if self.has_caught_up:
                self.lags.append(lag)
            self.lags[-1] = max(self.lags[-1], lag)
            self.has_caught_up = False

    def distrust(self) -> None:
        for side in self.sides:
            for x in side.in_flight:
                x.is_held = True
            for stamp in side.stamps:
                stamp.is_waiting = False
            for hole in side.holes:
                hole.is_untimed = True

    def take_back_leap(self, time: int) -> None:
        """That time did not pass: whatever was then was right after what had been before."""
        assert self.before_leap is not None
        leap, was = self.now, self.before_leap
        if was == OPENING:
            was = self.start = time
        for side in self.sides:
            for spans in (side.busy, side.closed, side.full, side.below_mss):
                spans.replace(leap, was)
            under_way: list[Sent | Resent] = [*side.in_flight, *side.resent]
            for x in under_way:
                x.time_ns = was if x.time_ns == leap else x.time_ns
            for hole in side.holes:
                hole.shown_ns = was if hole.shown_ns == leap else hole.shown_ns
            side.progress_ns = was if side.progress_ns == leap else side.progress_ns
            side.echoed_ns = was if side.echoed_ns == leap else side.echoed_ns
            side.evidence.take_back(leap, was)
        self.distrust()
        self.now, self.before_leap = was, None

    def end(self, time: int) -> None:
        """The connection ended: a leap that reached beyond that was none."""
        if self.before_leap is not None and time < self.now:
            self.take_back_leap(time)

    def stamp(self, s: Row) -> int:
        """A segment's own time, unless clocks were set back."""
        return self.now if s["time_ns"] < self.now - MS else int(s["time_ns"])

    # ------------------------------------------------------------------ one segment

    def take(self, s: Row) -> None:
        own, peer = self.sides[s["direction"]], self.sides[1 - s["direction"]]
        self.look_at_the_clock(s["time_ns"])
        self.is_unsequenced |= bool(s["options"] & OPTION_UNSEQUENCED)
        own.uses_timestamps |= bool(s["options"] & OPTION_TIMESTAMPS)
        own.count("segments")
        full = own.full_size(peer.mss) if peer.mss else None
        is_offloaded = full is not None and s["payload_bytes"] > 512
        own.wire_segments += max(1, -(-s["payload_bytes"] // full)) if is_offloaded and full else 1
        if s["offset"] == INT64_MIN or s["flags"] & FLAG_RST:
            if s["flags"] & FLAG_SYN and KINDS[s["kind"]] == "retransmission":
                # It is held, for it may begin another connection; this one bears it until then.
                own.causes.append("timeout")
                own.count("repeated_syn_acks" if s["flags"] & FLAG_ACK else "repeated_syns")
                for name in ("retransmissions", "control_retransmissions"):
                    own.count(name)
                own.count("retransmitted_bytes", s["payload_bytes"])
            return
        if s["flags"] & FLAG_SYN:
            own.mss = s["mss_bytes"] if s["options"] & OPTION_MSS else own.mss
            own.offers_sack |= bool(s["options"] & OPTION_SACK_PERMITTED)
        if s["flags"] & FLAG_ACK and s["acked_offset"] != INT64_MIN:
            self.acknowledge(s, own, peer)
        self.offer(s, own)
        if s["options"] & OPTION_TIMESTAMPS:
            self.take_timestamps(s, own, peer)
        self.send(s, own, peer)
        self.look_for_room(peer, own)
        self.look_for_room(own, peer)

    def take_timestamps(self, s: Row, own: Side, peer: Side) -> None:
        """Remember when a timestamp was seen first, and how long it took until it was echoed within a run of data."""
        is_fresh = not own.stamps or older(own.stamps[-1].value, s["timestamp_value"])
        if is_fresh and not (len(own.stamps) >= MOST_STAMPS and own.stamps[-MOST_STAMPS].is_waiting):
            # The first value of a side whose beginning was not captured may have been in an earlier segment.
            is_sure = bool(own.stamps or s["flags"] & FLAG_SYN)
            own.stamps.append(Stamp(s["timestamp_value"], self.stamp(s), is_waiting=is_sure))
        if s["new_bytes"] == 0 or not s["flags"] & FLAG_ACK:
            return
        is_running = peer.echoed_ns is not None and self.now - peer.echoed_ns <= 20 * MS
        peer.echoed_ns = self.now
        for stamp in peer.stamps[-MOST_STAMPS:]:
            if stamp.is_waiting and not older(s["timestamp_echo"], stamp.value):
                stamp.is_waiting = False
                if is_running and stamp.value == s["timestamp_echo"] and s["time_ns"] >= stamp.time_ns:
                    sample = s["time_ns"] - stamp.time_ns
                    peer.echoes.append(sample)
                    if sample - min(peer.echoes) >= 100 * MS and sample >= 2 * min(peer.echoes):
                        peer.evidence.echo_high.append(self.now)

    def look_for_room(self, side: Side, peer: Side) -> None:
        """Is there room for another segment of `side` in the window of its peer?"""
        if side.acked is not None and side.outstanding() > 0 and peer.window > 0:
            full, room = side.full_size(peer.mss) or 0, peer.window - side.outstanding()
            # Nobody sends beyond the window: then acknowledgments were not captured.
            has_room = full <= room or peer.window_max <= 2 * room or room < -full - peer.window // 8
        else:
            has_room = True
        side.full.set(self.now, is_so=not has_room)

    def acknowledge(self, s: Row, own: Side, other: Side) -> None:
        """`own` acknowledges what `other` has sent."""
        acked = s["acked_offset"]
        if other.acked is None or acked > other.acked:
            self.progress(s, own, other)
        elif (
            acked == other.acked
            and other.outstanding() > 0
            and s["payload_bytes"] == 0
            and not s["flags"] & (FLAG_SYN | FLAG_FIN)
            and s["window"] == own.raw_window
            and KINDS[s["kind"]] == "new"
        ):
            own.count("duplicate_acks")
            other.repeats += 1
        self.take_blocks(s, other)

    def progress(self, s: Row, own: Side, other: Side) -> None:
        acked = s["acked_offset"]
        covered = [x for x in other.in_flight if x.end <= acked]
        other.in_flight = other.in_flight[len(covered) :]
        other.evidence.acked_payloads += [x.payload for x in covered]
        was_held = other.sacked is not None and other.acked is not None and other.sacked > other.acked
        # A hole held it back, whether it was seen to be filled or not; of holes forgotten nobody knows.
        was_held |= any(hole.start < acked for hole in other.holes) or (other.is_approximate and bool(other.holes))
        if covered and covered[-1].end == acked and not was_held and not any(x.is_held for x in covered):
            self.measure(s, own, other, covered)
        if s["options"] & OPTION_TIMESTAMPS and any(x.was_resent for x in covered):
            self.take_echo_of_original(s, other)
        other.evidence.end_run(own.counts["segments"] - 1, answered_ns=self.now)
        other.acked = acked
        other.progress_ns = self.now
        other.repeats = 0
        if other.top is None or acked > other.top:
            other.top = other.data_top = acked
            other.is_acked_ahead = True
        assert other.data_top is not None
        if acked >= other.data_top:
            if other.busy.is_open:
                is_told = s["options"] & OPTION_TIMESTAMPS and own.acked is not None and s["offset"] <= own.acked
                other.last_value = s["timestamp_value"] if is_told else None
            other.busy.set(self.now, is_so=False)
        if other.recovery and acked >= other.recovery_point:
            other.recovery = ""
        other.holes = [hole for hole in other.holes if hole.end > acked]

    def take_echo_of_original(self, s: Row, other: Side) -> None:
        """RFC 3522: what fills the gap that the receiver waits for is echoed, and no later echo is older."""
        for x in other.resent:
            # Where nothing was acknowledged before, what is at or before offset 0 is the first that can be missing.
            is_first_missing = x.start <= 0 if other.acked is None else x.start <= other.acked < x.end
            if x.is_settled or not x.is_only_one or not is_first_missing or x.end > s["acked_offset"]:
                continue
            if x.value is not None and older(s["timestamp_echo"], x.value):
                self.needless(other, x)
                return

    def measure(self, s: Row, own: Side, other: Side, covered: list[Sent]) -> None:
        last = covered[-1]
        since = last.time_ns
        if any(x.was_resent for x in covered):
            # Karn's rule, but for a segment that was sent twice and whose timestamps tell which one was answered.
            again = [x for x in other.resent if not x.is_settled and x.start < last.end <= x.end]
            echo = s["timestamp_echo"] if s["options"] & OPTION_TIMESTAMPS else None
            if len(covered) > 1 or not again or not again[0].is_only_one:
                return
            resent = again[0]
            if echo is None or resent.value is None or last.value is None:
                return
            if echo != resent.value or resent.value == last.value:
                return
            since = resent.time_ns
        full = other.full_size(own.mss)
        is_prompt = False
        if full is not None and other.acked is not None and s["payload_bytes"] == 0:
            # Two full segments are acknowledged at once; and one that has two more behind it was not waited for.
            behind = (other.data_top or 0) - s["acked_offset"]
            is_full = last.payload >= full
            is_prompt = s["acked_offset"] - other.acked >= 2 * full or (is_full and behind >= 2 * full)
        is_prompt |= last.is_control
        if s["time_ns"] < since:
            return
        round_trip = s["time_ns"] - since
        other.take_round_trip(round_trip, is_delayed=not is_prompt, is_safe=last.steps == self.steps)
        shortest = other.shortest() or 0
        if is_prompt and not last.is_control:
            other.evidence.take_clean(last.in_flight, round_trip, shortest, self.now)
        is_alone = s["acked_offset"] >= (other.data_top or 0) and last.in_flight == last.payload < (full or 0)
        if not is_prompt and s["payload_bytes"] == 0 and is_alone and 25 * MS <= round_trip - shortest <= 500 * MS:
            other.evidence.delayed_ns = self.now

    def needless(self, side: Side, resent: Resent) -> None:
        side.causes[resent.place] = "spurious"
        resent.is_settled = True

    def take_blocks(self, s: Row, other: Side) -> None:
        """SACK blocks: what the receiver has beyond its acknowledgment; the first may tell what it has twice."""
        edges = [s["acked_offset"] + signed(edge - s["acknowledgment_number"]) for edge in s["sack"]]
        blocks = list(zip(edges[0::2], edges[1::2], strict=True))[: s["sack_count"]]
        if not blocks:
            return
        (start, end), others = blocks[0], blocks[1:]
        if start < s["acked_offset"] or (others and others[0][0] <= start and end <= others[0][1]):
            blocks = others
            found = [x for x in other.resent if not x.is_settled and start <= x.start and x.end <= end + 1]
            if found:
                self.needless(other, found[0])
        assert other.top is not None
        reached = [end for start, end in blocks if start < end <= other.top]
        other.sacked = max([*reached, *([] if other.sacked is None else [other.sacked])], default=None)

    # ------------------------------------------------------------------ windows

    def offer(self, s: Row, own: Side) -> None:
        own.raw_window, own.window = s["window"], s["window_bytes"]
        if not s["flags"] & FLAG_SYN:
            own.window_max = max(own.window_max, own.window)
            is_below = own.window < (own.mss or 0)
            if not (is_below and s["flags"] & FLAG_FIN):
                own.below_mss.set(self.now, is_so=is_below)
        own.is_window_unknown |= own.window < 0
        if s["window"] == 0 and not s["flags"] & (FLAG_SYN | FLAG_FIN):
            own.count("zero_windows")
            own.closed.set(self.now, is_so=True)
        elif s["window"]:
            own.closed.set(self.now, is_so=False)

    # ------------------------------------------------------------------ sending

    def send(self, s: Row, own: Side, peer: Side) -> None:
        kind = KINDS[s["kind"]]
        has_syn, has_fin = bool(s["flags"] & FLAG_SYN), bool(s["flags"] & FLAG_FIN)
        start = s["offset"]
        data_end = start + has_syn + s["payload_bytes"]
        end = data_end + has_fin
        own.count("bytes", s["new_bytes"])
        if has_fin and own.fin_end is None and kind != "retransmission":
            in_a_hole = any(hole.start <= end - 1 < hole.end for hole in own.holes)
            if own.data_top is None or end > own.data_top - own.is_acked_ahead or in_a_hole:
                own.fin_end = end
        if kind in ("new", "retransmission", "out_of_order"):
            own.count("retransmitted_bytes", s["payload_bytes"] - s["new_bytes"])
        if kind == "retransmission":
            self.send_again(s, own, peer, (start, end))
        elif kind == "out_of_order":
            self.fill(s, own, start, data_end)
        elif kind == "keep_alive":
            own.count("keep_alives")
            self.take_keep_alive(s, own, peer)
        elif kind == "zero_window_probe":
            own.count("zero_window_probes")
        if kind not in ("new", "out_of_order") or not (s["payload_bytes"] or has_syn or has_fin):
            return
        if own.top is not None and s["payload_bytes"] > s["new_bytes"]:
            self.mark_resent(own, start, min(end, own.top))
        if kind == "out_of_order" and own.top is not None and end <= own.top:
            return
        self.send_new(s, own, peer, (start, data_end, end))

    def send_new(self, s: Row, own: Side, peer: Side, numbers: tuple[int, int, int]) -> None:
        """Send what lies beyond all that was sent, at least in part."""
        start, data_end, end = numbers
        value = s["timestamp_value"] if s["options"] & OPTION_TIMESTAMPS else None
        if own.top is not None and start > own.top:
            own.holes.append(Hole(own.top, start, self.now, value))
            if len(own.holes) > MOST_HOLES:
                own.holes.pop(0)
                own.is_approximate = True
        if s["payload_bytes"]:
            own.evidence.take_sending(self.now, s["payload_bytes"], peer.evidence, self.path(own, peer))
        own.is_acked_ahead &= own.top is not None and own.data_top is not None and data_end <= own.data_top
        own.data_top = data_end if own.top is None or own.data_top is None else max(own.data_top, data_end)
        if s["payload_bytes"]:
            own.largest = max(own.largest, s["payload_bytes"])
            if (own.acked is None or own.data_top > own.acked) and not own.busy.is_open:
                self.end_pause(s, own, peer)
            is_full = bool(own.full_size(peer.mss)) and s["payload_bytes"] >= (own.full_size(peer.mss) or 0)
            own.has_more = is_full and not s["flags"] & FLAG_PSH
            if own.acked is not None:
                own.most_in_flight = max(own.most_in_flight, own.outstanding())
                if 0 < peer.window <= own.outstanding():
                    own.count("window_full")
        if own.top is not None and end <= own.top:
            return
        own.top = end
        is_timed = own.acked is None or end > own.acked
        if is_timed and len(own.in_flight) < MOST_TIMED:
            is_control = bool(s["flags"] & (FLAG_SYN | FLAG_FIN)) and not s["payload_bytes"]
            in_flight = 0 if own.acked is None else own.outstanding()
            without_data = end - start - s["payload_bytes"]
            own.in_flight.append(
                Sent(start, end, self.stamp(s), value, without_data, is_control, in_flight, self.steps)
            )

    def end_pause(self, s: Row, own: Side, peer: Side) -> None:
        """Data are sent while none were outstanding; perhaps they are late, and their sender made no pause."""
        since = own.busy.spans[-1][1] if own.busy.spans else self.start
        has_echo = s["options"] & OPTION_TIMESTAMPS and s["timestamp_echo"] and own.last_value is not None
        if self.before_leap is None and has_echo and older(s["timestamp_echo"], own.last_value or 0):
            own.busy.spans[-1].pop()
            return
        own.busy.set(self.now, is_so=True)
        heard = peer.evidence.sent_ns
        if heard and peer.acked is not None and peer.acked >= (peer.data_top or 0):
            since = max(since, heard)
        if self.before_leap is None:
            own.pauses.append((self.now - since, own.has_more))

    def path(self, own: Side, peer: Side) -> Row:
        """What is known of the path when data are sent."""
        ways = [side.shortest() for side in (own, peer)]
        return {
            "round_trip": 0 if None in ways else sum(way or 0 for way in ways),
            "peer_round_trip": ways[1] or 0,
            "full": own.full_size(peer.mss),
            "is_idle": own.outstanding() == 0,
            "peer_bytes": peer.counts.get("bytes", 0),
            "closings": peer.counts.get("zero_windows", 0),
            "is_closed": peer.closed.is_open,
        }

    def mark_resent(self, own: Side, start: int, end: int) -> None:
        for x in own.in_flight:
            x.was_resent |= max(x.start, start) < min(x.end, end)

    def take_keep_alive(self, s: Row, own: Side, peer: Side) -> None:
        answers = peer.counts.get("segments", 0)
        if own.evidence.runs and own.evidence.runs[-1].peer_before != answers:
            own.evidence.end_run(answers)
        if own.acked is None or s["offset"] <= own.acked:
            own.evidence.take_again(s["offset"], s["payload_bytes"], self.now, self.now, answers)

    def send_again(self, s: Row, own: Side, peer: Side, numbers: tuple[int, int]) -> None:
        start, end = numbers
        own.count("retransmissions")
        if s["flags"] & FLAG_SYN:
            own.count("repeated_syn_acks" if s["flags"] & FLAG_ACK else "repeated_syns")
        repeats_fin = s["flags"] & FLAG_FIN and (end == own.fin_end or s["payload_bytes"] == 0)
        if s["flags"] & FLAG_SYN or repeats_fin:
            own.count("control_retransmissions")
        cause = self.cause(s, own, start, end)
        own.causes.append(cause)
        if cause == "spurious":
            own.evidence.needless_syn_acks += s["flags"] & (FLAG_SYN | FLAG_ACK) == FLAG_SYN | FLAG_ACK
            return
        if cause != "fast" and not s["flags"] & FLAG_SYN and (own.acked is None or start <= own.acked):
            first = [x.time_ns for x in own.in_flight if start < x.end <= end][-1:] or [self.now]
            own.evidence.take_again(start, s["payload_bytes"], first[0], self.now, peer.counts.get("segments", 0))
        if cause in ("fast", "timeout") and own.recovery != cause:
            own.recovery, own.recovery_point = cause, own.top or 0
        value = s["timestamp_value"] if s["options"] & OPTION_TIMESTAMPS else None
        resent = Resent(start, end, self.stamp(s), value, len(own.causes) - 1)
        own.resent = own.resent[-MOST_RESENT + 1 :]
        for x in own.resent:
            if x.meets(start, end):
                x.is_only_one = resent.is_only_one = False
        own.resent.append(resent)
        self.mark_resent(own, start, end)

    def cause(self, s: Row, own: Side, start: int, end: int) -> str:
        if own.acked is not None and end <= own.acked:
            return "spurious"
        if s["flags"] & FLAG_SYN or own.recovery == "timeout":
            return "timeout"
        inside = [x for x in own.in_flight if start < x.end <= end]
        was_resent = bool(inside) and inside[-1].was_resent
        is_told = own.recovery == "fast" or own.repeats >= 3 or (own.sacked is not None and own.sacked >= end)
        if is_told:
            waited = [inside[-1].time_ns] if inside else []
            waited += [own.progress_ns] + [x.time_ns for x in own.resent if x.meets(start, start + 1)]
            return "timeout" if was_resent and self.now - max(waited) >= own.time_out() else "fast"
        is_last = own.top is not None and end >= own.top
        return "tail_loss_probe" if is_last and own.offers_sack and not was_resent else "timeout"

    def fill(self, s: Row, own: Side, start: int, end: int) -> None:
        holes = [hole for hole in own.holes if hole.start < end and start < hole.end]
        # Stamped a little before what showed the hole, or acknowledged it: it is the file that is out of order.
        if not 0 < (holes[0].shown_ns if holes else self.now) - s["time_ns"] < 10 * MS:
            own.count("out_of_order")
            if holes and self.was_overtaken(s, holes[0]):
                own.behind.append(max(0, (own.data_top or 0) - end))
        for x in own.in_flight:
            x.is_held |= x.end > start

    def was_overtaken(self, s: Row, hole: Hole) -> bool:
        if hole.value is not None and s["options"] & OPTION_TIMESTAMPS and s["timestamp_value"] != hole.value:
            return older(s["timestamp_value"], hole.value)
        if hole.is_untimed:
            return False
        ways = [side.shortest() for side in self.sides]
        if None not in ways and sum(way or 0 for way in ways) > 0:
            round_trip = sum(way or 0 for way in ways)
            return bool(self.now - hole.shown_ns < round_trip - round_trip // 8)
        return bool(self.now - hole.shown_ns < 3 * MS)

    # ------------------------------------------------------------------ rows out

    def rows(self) -> list[Row]:
        return [self.row(d) for d in range(len(DIRECTIONS))]

    def row(self, direction: int) -> Row:
        side = self.sides[direction]
        names = [
            *("segments", "bytes", "retransmissions", "control_retransmissions", "retransmitted_bytes", "keep_alives"),
            *("zero_window_probes", "out_of_order", "duplicate_acks", "zero_windows", "window_full"),
            *("repeated_syns", "repeated_syn_acks"),
        ]
        row: Row = {name: side.counts.get(name, 0) for name in names}
        row |= {f"{c}_retransmissions": side.causes.count(c) for c in CAUSES if c != "tail_loss_probe"}
        row["tail_loss_probes"] = side.causes.count("tail_loss_probe")
        row |= {name: self.opened[name] for name in ("connection_id", "client_port", "server_port", "ip_version")}
        row |= {"direction": direction, "start_ns": self.start, "end_ns": self.now}
        row |= {"is_approximate": int(side.is_approximate), "wire_segments": side.wire_segments}
        row |= {"vantage": VANTAGES.index("unknown"), "vantage_confidence": -1.0}  # others know
        row |= {"reordered": len(side.behind), "reordering_max_bytes": max(side.behind, default=-1)}
        row["zero_window_ns"] = side.closed.total(self.now)
        row["window_limited_ns"] = side.full.total(self.now)
        is_known = side.mss and not side.is_window_unknown
        row["window_below_mss_ns"] = side.below_mss.total(self.now) if is_known else -1
        row |= {"window_max_bytes": -1 if side.is_window_unknown else side.window_max, "mss_bytes": side.mss or -1}
        row["in_flight_max_bytes"] = -1 if side.acked is None and side.counts.get("bytes") else side.most_in_flight
        row |= round_trips(side) | self.rates(side)
        row |= side.evidence.row(self.sides[1 - direction].counts.get("segments", 0), side.closed.spans, self.now)
        if self.is_unsequenced:
            known = UNSEQUENCED_KNOWS | {c.name for c in Network.columns if c.internal}
            row |= dict.fromkeys(row.keys() - known, -1)
        return row

    def rates(self, side: Side) -> Row:
        first, again = side.counts.get("bytes", 0), side.counts.get("retransmitted_bytes", 0)
        duration = self.now - self.start
        non_idle = side.busy.total(self.now)
        return {
            "non_idle_ns": non_idle,
            "unseen_pause_ns": sum(pause for pause, _ in side.pauses),
            "doubtful_pause_ns": sum(pause for pause, had_more in side.pauses if had_more),
            "stepped_back_ns": sum(self.lags),
            "throughput_bits_per_s": rate(first + again, duration),
            "goodput_bits_per_s": rate(first, duration),
            "non_idle_goodput_bits_per_s": rate(first, non_idle),
        }


class Twin:
    """Takes events (segments with their headers, and boundaries) in capture order; `network` grows."""

    def __init__(self, conversation: type[Conversation] = Conversation) -> None:
        self.conversation = conversation
        self.open: dict[int, Conversation] = {}
        self.network: list[Row] = []

    def take(self, events: list[Row]) -> None:
        for event in events:
            if "step" in event:
                for conversation in self.open.values():
                    conversation.steps += 1
            elif "boundary" not in event:
                if KINDS[event["kind"]] != "duplicate":
                    self.open[event["connection_id"]].take(event)
            elif BOUNDARIES[event["boundary"]] == "opened":
                self.open[event["connection_id"]] = self.conversation(event)
            else:
                conversation = self.open.pop(event["connection_id"])
                conversation.end(event["time_ns"])
                self.network += conversation.rows()


def round_trips(side: Side) -> Row:
    """Percentiles exact, by nearest rank, of the clean round trips if there are any."""
    everything, chosen = side.clean + side.delayed, sorted(side.clean or side.delayed)
    row = {"rtt_samples": len(everything), "rtt_delayed_samples": len(side.delayed)}
    srtt, rttvar = side.smoothed or (-1, -1)
    row |= {"srtt_ns": srtt, "rttvar_ns": rttvar, "rto_ns": min(srtt + 4 * rttvar, 2**63 - 1) if everything else -1}
    row |= {"echo_rtt_samples": len(side.echoes)}
    row |= {"echo_rtt_min_ns": min(side.echoes, default=-1), "echo_rtt_max_ns": max(side.echoes, default=-1)}
    row |= {"rtt_min_ns": min(side.safe or everything, default=-1), "rtt_max_ns": max(chosen, default=-1)}
    for percent in (50, 95):
        row[f"rtt_p{percent}_ns"] = chosen[max(1, -(-percent * len(chosen) // 100)) - 1] if chosen else -1
    # Those within which a clock was set back may be shorter than what counts as the shortest.
    return row | {name: max(row[name], row["rtt_min_ns"]) for name in ("rtt_p50_ns", "rtt_p95_ns", "rtt_max_ns")}


def rate(byte_count: int, duration_ns: int) -> int:
    return int(min(byte_count * 8e9 / duration_ns, 9e18)) if duration_ns > 0 else -1


def signed(difference: int) -> int:
    """A difference of 32-bit numbers, the nearer way."""
    return (difference + 2**31) % 2**32 - 2**31


def older(value: int, other: int) -> bool:
    """RFC 7323 §5.2: timestamps are compared modulo 2³²."""
    return signed(value - other) < 0
