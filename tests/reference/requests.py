"""The slow, obvious twin of the request pairing kernel: every turn of a connection is kept, with all its pieces.

Nothing here is shared with the kernel: no slots, no running sums, no minima. A turn is a list of pieces (instant,
bytes); who owns a byte is found by looking at all turns, newest first; a row is worked out when it is due.
"""

from __future__ import annotations

from typing import Any

from tcpsight.tables import BOUNDARIES, DIRECTIONS, FLAG_FIN, FLAG_RST, INT64_MIN, KINDS

Row = dict[str, Any]

FAREWELL_NS = 300_000_000


class Turn:
    def __init__(self, index: int, number: int, request_begin: int | None) -> None:
        self.index = index
        self.number = number
        self.request_begin = request_begin
        self.response_begin: int | None = None
        self.request: list[tuple[int, int]] = []
        self.late_request: list[tuple[int, int]] = []
        self.response: list[tuple[int, int]] = []
        self.is_overlapped = False
        self.is_final = False
        self.ending = ""
        self.begins_handshake = False
        self.finished: int | None = None
        self.is_ticket = False


class Conversation:
    def __init__(self, opened: Row) -> None:
        self.opened = opened
        self.turns: list[Turn] = []
        self.client_edge: int | None = None
        self.server_edge: int | None = None
        self.unsolicited_bytes = 0
        self.may_answer = True


class Twin:
    """Takes events (segments and boundaries) in capture order; `requests`, `unanswered`, `counts` grow."""

    def __init__(
        self, start: str = "request_last", end: str = "response_first", by: str = "stream", given_at: str = "final"
    ) -> None:
        self.start, self.end = start, end
        self.by, self.given_at = by, given_at
        self.opened = 0
        self.open: dict[int, Conversation] = {}
        self.requests: list[Row] = []
        self.unanswered: list[Row] = []
        self.counts: list[Row] = []

    def take(self, events: list[Row]) -> None:
        for event in events:
            if "boundary" not in event:
                self.take_segment(event)
            elif BOUNDARIES[event["boundary"]] == "opened":
                self.open[event["connection_id"]] = Conversation(event)
            else:
                self.end_connection(self.open.pop(event["connection_id"]), event["time_ns"], event["is_open"])

    # ------------------------------------------------------------------ one segment

    def take_segment(self, s: Row) -> None:
        talk = self.open[s["connection_id"]]
        if self.by == "capture":
            s = without_numbers(s)
        acked = known(s["acked_offset"])
        if s["new_bytes"] > 0:
            first = end = None
            if known(s["offset"]) is not None:
                first = s["offset"] + s["new_at"]
                end = max(first + s["new_bytes"], s["offset"] + s["payload_bytes"])
            if DIRECTIONS[s["direction"]] == "client":
                self.client_bytes(talk, s, first, acked)
                talk.client_edge, talk.server_edge = further(talk.client_edge, end), further(talk.server_edge, acked)
            else:
                self.server_bytes(talk, s, first, acked)
                talk.client_edge, talk.server_edge = further(talk.client_edge, acked), further(talk.server_edge, end)
        is_believed = KINDS[s["kind"]] != "duplicate" and s["offset"] != INT64_MIN
        if is_believed and (
            s["flags"] & FLAG_RST or (s["flags"] & FLAG_FIN and DIRECTIONS[s["direction"]] == "server")
        ):
            talk.may_answer = False
        if is_believed and s["flags"] & (FLAG_FIN | FLAG_RST) and talk.turns and not talk.turns[-1].ending:
            now = talk.turns[-1]
            said = max(t for t, _ in now.request)
            is_goodbye = DIRECTIONS[s["direction"]] == "client" and not s["flags"] & FLAG_RST
            now.ending = "farewell" if is_goodbye and s["time_ns"] - said <= FAREWELL_NS else "other"

    def client_bytes(self, talk: Conversation, s: Row, first: int | None, acked: int | None) -> None:
        piece = (s["time_ns"], s["new_bytes"])
        fills = below(first, talk.client_edge)
        speaks_over = below(acked, talk.server_edge)
        now = talk.turns[-1] if talk.turns else None
        if now is None or (now.response and not fills):
            self.begin_turn(talk, first, acked)
            now = talk.turns[-1]
            now.request.append(piece)
            now.is_overlapped = speaks_over
            now.begins_handshake = bool(s.get("hello"))
            now.finished = finished(talk.turns)
            return
        owner = now
        if fills:
            assert first is not None
            owner = next(t for t in reversed(talk.turns) if owns(t.request_begin, first) or t.index == 0)
            if owner.is_final:
                return
            owner.request_begin = None if owner.request_begin is None else min(owner.request_begin, first)
        if owner.response:
            owner.late_request.append(piece)
            self.settle(talk)
        else:
            owner.request.append(piece)
            owner.is_overlapped |= speaks_over

    def begin_turn(self, talk: Conversation, first: int | None, acked: int | None) -> None:
        no_numbers = first is None or acked is None
        for turn in talk.turns[: len(talk.turns) if no_numbers else -1]:
            self.give(talk, turn)
        begin = first if first is None or talk.client_edge is None else min(first, talk.client_edge)
        talk.turns.append(Turn(len(talk.turns), self.opened, begin))
        self.opened += 1

    def server_bytes(self, talk: Conversation, s: Row, first: int | None, acked: int | None) -> None:
        piece = (s["time_ns"], s["new_bytes"])
        if not talk.turns:
            talk.unsolicited_bytes += s["new_bytes"]
            return
        now = talk.turns[-1]
        before = talk.turns[-2] if len(talk.turns) > 1 and not talk.turns[-2].is_final else None
        if below(first, talk.server_edge):
            assert first is not None
            answered = [t for t in talk.turns if t.response]
            owner = next((t for t in reversed(answered) if owns(t.response_begin, first)), None)
            if owner is None:
                talk.unsolicited_bytes += s["new_bytes"]
            elif not owner.is_final:
                owner.response.append(piece)
        elif now.response:
            now.response.append(piece)
        elif acked is not None and now.request_begin is not None and acked <= now.request_begin:
            if before is None:
                talk.unsolicited_bytes += s["new_bytes"]
            else:
                before.response.append(piece)
                now.is_overlapped = True
        else:
            now.response_begin = first if first is None or talk.server_edge is None else min(first, talk.server_edge)
            now.response.append(piece)
            now.is_ticket = s["payload_bytes"] == now.finished
            if self.given_at == "answer":
                self.give(talk, now, is_answer=True)
        self.settle(talk)

    # ------------------------------------------------------------------ rows out

    def settle(self, talk: Conversation) -> None:
        """Give the turn before the current one, if the current one is answered and nothing of it is missing."""
        if len(talk.turns) < 2 or not talk.turns[-1].response:
            return
        before, now = talk.turns[-2:]
        asked = sum(n for _, n in before.request + before.late_request)
        told = sum(n for _, n in before.response)
        for begin, end, seen in (
            (before.request_begin, now.request_begin, asked),
            (before.response_begin, now.response_begin, told),
        ):
            if begin is not None and end is not None and end - begin > seen:
                return
        self.give(talk, before)

    def give(self, talk: Conversation, turn: Turn, *, is_answer: bool = False) -> None:
        if not is_answer:
            if turn.is_final:
                return
            turn.is_final = True
            if self.given_at == "answer":
                return
        row = self.row(talk, turn)
        row["response_first_ns"] = min(t for t, _ in turn.response)
        row["response_last_ns"] = max(t for t, _ in turn.response)
        row["response_bytes"] = sum(n for _, n in turn.response)
        row["completion_ns"] = row[f"{self.end}_ns"]
        row["response_time_ns"] = max(0, row["completion_ns"] - row["arrival_ns"])
        self.requests.append(row)

    def row(self, talk: Conversation, turn: Turn) -> Row:
        pieces = turn.request + turn.late_request
        row = {
            "connection_id": talk.opened["connection_id"],
            "request_index": turn.index,
            "request_number": turn.number,
            "client_port": talk.opened["client_port"],
            "server_port": talk.opened["server_port"],
            "request_first_ns": min(t for t, _ in pieces),
            "request_last_ns": max(t for t, _ in turn.request),
            "request_bytes": sum(n for _, n in pieces),
            "response_first_ns": -1,
            "response_last_ns": -1,
            "response_bytes": 0,
            "completion_ns": -1,
            "response_time_ns": -1,
            "is_overlapped": int(turn.is_overlapped),
            "is_first": int(turn.index == 0),
            "is_handshake": int(is_handshake(talk.turns, turn.index) or turn.is_ticket),
        }
        row["arrival_ns"] = row[f"{self.start}_ns"]
        return row

    def end_connection(self, talk: Conversation, end_ns: int, is_open: int) -> None:
        answered = [t for t in talk.turns if t.response]
        waiting = [t for t in talk.turns if not t.response]
        for turn in answered:
            self.give(talk, turn)
        is_farewell = bool(waiting) and waiting[-1].ending == "farewell"
        if waiting and not is_farewell:
            row = self.row(talk, waiting[0])
            self.unanswered.append(
                row | {"end_ns": max(end_ns, row["arrival_ns"]), "is_open": is_open and int(talk.may_answer)}
            )
        self.counts.append(
            {
                "connection_id": talk.opened["connection_id"],
                "requests": len(answered),
                "unanswered": int(bool(waiting) and not is_farewell),
                "unsolicited_bytes": talk.unsolicited_bytes,
                "is_farewell": int(is_farewell),
            }
        )


def is_hello(turns: list[Turn], index: int) -> bool:
    return index >= 0 and turns[index].begins_handshake and not is_handshake(turns, index - 1)


def is_handshake(turns: list[Turn], index: int) -> bool:
    if index < 0:
        return False
    return turns[index].begins_handshake or turns[index].is_ticket or is_hello(turns, index - 1)


def finished(turns: list[Turn]) -> int | None:
    """Give how long the answer to a client's Finished was, if that was what the last turn follows, and alone."""
    if len(turns) < 3 or turns[-1].begins_handshake or not is_hello(turns, len(turns) - 3):
        return None
    before = turns[-2]
    asked = sum(n for _, n in before.request + before.late_request)
    return sum(n for _, n in before.response) if asked <= 80 else None


def known(offset: int) -> int | None:
    return None if offset == INT64_MIN else offset


def without_numbers(s: Row) -> Row:
    """Take every payload byte for new, unless the segment is a copy, a keep-alive or a probe; forget where it lies."""
    is_data = s["new_bytes"] > 0 or KINDS[s["kind"]] == "retransmission"
    return s | {
        "offset": INT64_MIN,
        "acked_offset": INT64_MIN,
        "new_at": 0,
        "new_bytes": s["payload_bytes"] if is_data else 0,
    }


def further(edge: int | None, offset: int | None) -> int | None:
    return max((x for x in (edge, offset) if x is not None), default=None)


def below(offset: int | None, edge: int | None) -> bool:
    return offset is not None and edge is not None and offset < edge


def owns(begin: int | None, offset: int) -> bool:
    return begin is None or begin <= offset
