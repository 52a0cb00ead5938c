"""The slow, obvious twin of the request pairing kernel: every turn of a connection is kept, with all its pieces.

Longer than other files: the twin of a whole room is read from top to bottom beside its rules.

Nothing here is shared with the kernel: no slots, no running sums, no minima. A turn is a list of pieces (instant,
bytes); who owns a byte is found by looking at all turns, newest first; a row is worked out when it is due.
"""

from __future__ import annotations

from typing import Any

from tcpsight.tables import BOUNDARIES, DIRECTIONS, FLAG_FIN, FLAG_RST, INT64_MIN, KINDS, TLS_RECORDS

Row = dict[str, Any]

FAREWELL_NS = 300_000_000


def first_of(times: list[int]) -> int:
    """Give the earliest of some times in order of capture, but for those a second behind: a clock was set back."""
    first = last = times[0]
    for t in times:
        if 0 <= last - t < 10**9:
            first = min(first, t)
        last = max(last, t)
    return first


class Turn:
    def __init__(self, index: int, number: int, request_begin: int | None) -> None:
        self.index = index
        self.number = number
        self.request_begin = request_begin
        self.response_begin: int | None = None
        self.request: list[tuple[int, int]] = []
        self.late_request: list[tuple[int, int]] = []
        self.more_request = self.more_response = 0
        self.response: list[tuple[int, int]] = []
        self.is_overlapped = False
        self.is_final = False
        self.ending = ""
        self.is_handshake = False
        # Of TLS: "hello", "finished" or nothing; whether the client's Finished was seen; whether it may be a ticket
        # that answers.
        self.step = ""
        self.saw_finished = False
        self.may_be_ticket = False


class Conversation:
    def __init__(self, opened: Row) -> None:
        self.opened = opened
        self.turns: list[Turn] = []
        self.client_edge: int | None = None
        self.server_edge: int | None = None
        self.unsolicited_bytes = 0
        self.may_answer = True
        # Of TLS: whether there is any, segments that wait for what follows them, and session tickets.
        self.has_tls = False
        self.held: list[Row] = []
        self.awaits_tickets = self.may_join = False
        self.ticket_bytes = 0


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
        if s["new_bytes"] > 0:
            self.take_data(talk, s)
        is_believed = KINDS[s["kind"]] != "duplicate" and s["offset"] != INT64_MIN
        if is_believed and (
            s["flags"] & FLAG_RST or (s["flags"] & FLAG_FIN and DIRECTIONS[s["direction"]] == "server")
        ):
            talk.may_answer = False
        if is_believed and (
            s["flags"] & FLAG_RST
            or (s["flags"] & FLAG_FIN and any(each["direction"] == s["direction"] for each in talk.held))
        ):
            talk.held = []
        if is_believed and s["flags"] & (FLAG_FIN | FLAG_RST) and talk.turns and not talk.turns[-1].ending:
            now = talk.turns[-1]
            said = max(t for t, _ in now.request)
            is_goodbye = DIRECTIONS[s["direction"]] == "client" and not s["flags"] & FLAG_RST
            now.ending = "farewell" if is_goodbye and s["time_ns"] - said <= FAREWELL_NS else "other"

    def take_data(self, talk: Conversation, s: Row) -> None:
        """Take new bytes, then see how far both streams have come."""
        acked, first, end = known(s["acked_offset"]), None, None
        if known(s["offset"]) is not None:
            first = s["offset"] + s["new_at"]
            end = max(first + s["new_bytes"], s["offset"] + s["payload_bytes"])
        is_client = DIRECTIONS[s["direction"]] == "client"
        if is_client and (not talk.turns or talk.turns[-1].response) and "tls" in s and tls_of(s) != "none":
            talk.has_tls = True
        own_edge = talk.client_edge if is_client else talk.server_edge
        if talk.has_tls and "tls" in s and first is not None and not below(first, own_edge):
            self.take_tls(talk, s, first, acked)
        else:
            (self.client_bytes if is_client else self.server_bytes)(talk, s, first, acked)
        self.move_edges(talk, s, end, acked)

    def move_edges(self, talk: Conversation, s: Row, end: int | None, acked: int | None) -> None:
        if DIRECTIONS[s["direction"]] == "client":
            talk.client_edge, talk.server_edge = further(talk.client_edge, end), further(talk.server_edge, acked)
        else:
            talk.client_edge, talk.server_edge = further(talk.client_edge, acked), further(talk.server_edge, end)

    # ------------------------------------------------------------------ TLS

    def take_tls(self, talk: Conversation, s: Row, first: int, acked: int | None) -> None:
        """Take bytes beyond all that their side has said, of a connection that has TLS."""
        is_client = DIRECTIONS[s["direction"]] == "client"
        theirs = talk.server_edge if is_client else talk.client_edge
        looks_like_alert = (
            tls_of(s) == "closing"
            and s["new_bytes"] == 24
            and acked is not None
            # A FIN counts for one.
            and (theirs is None or acked in (theirs, theirs + 1))
        )
        waits = looks_like_alert and all(each["direction"] != s["direction"] for each in talk.held)
        if not waits and talk.held:
            self.release(talk)
            theirs = talk.server_edge if is_client else talk.client_edge
            waits = looks_like_alert
        turn = talk.turns[-1] if talk.turns else None
        if waits:
            talk.held.append(s)
        elif tls_of(s) == "alert" and (is_client or turn is None or turn.response):
            pass
        elif is_client:
            self.tls_of_client(talk, s, first, acked)
        else:
            self.tls_of_server(talk, s, first, acked)

    def release(self, talk: Conversation) -> None:
        """Take what was held as data: as if it had been taken when it came, with both streams as they were."""
        held, talk.held = talk.held, []
        for each in held:
            if DIRECTIONS[each["direction"]] == "client":
                assert talk.client_edge is not None
                talk.client_edge -= 24
            else:
                assert talk.server_edge is not None
                talk.server_edge -= 24
        for each in held:
            is_client = DIRECTIONS[each["direction"]] == "client"
            first = talk.client_edge if is_client else talk.server_edge
            acked = talk.server_edge if is_client else talk.client_edge
            assert first is not None
            (self.client_bytes if is_client else self.server_bytes)(talk, each | {"new_bytes": 24}, first, acked)
            self.move_edges(talk, each, first + 24, None)

    def tls_of_client(self, talk: Conversation, s: Row, first: int, acked: int | None) -> None:
        turn = talk.turns[-1] if talk.turns else None
        if turn is not None and turn.may_be_ticket and below(acked, talk.server_edge):
            turn.may_be_ticket, turn.response = False, []
        opens = turn is None or bool(turn.response)
        step = turn.step if turn is not None else ""
        expects_finished = step == "hello"
        if turn is not None and not opens:
            expects_finished = step in ("hello", "finished") and not turn.saw_finished
        kind, handshake = tls_of(s), 0
        if kind == "hello":
            handshake = s["payload_bytes"]
        elif kind in ("handshake", "change"):
            handshake = s["tls_bytes"]
        elif expects_finished:
            ends = kind == "finished" and (opens or step == "finished")
            handshake = s["tls_bytes"] if ends else s["payload_bytes"]
        is_whole = handshake >= s["new_bytes"]
        was_handshake = turn is not None and not opens and turn.is_handshake
        self.client_bytes(talk, s, first, acked)
        turn = talk.turns[-1]
        if opens:
            turn.is_handshake = is_whole
            if kind == "hello":
                turn.step, talk.awaits_tickets = "hello", False
        if turn.step == "finished" and not is_whole and (opens or was_handshake):
            # What is a request begins behind the handshake, which is counted with the turn before.
            at, size = turn.request.pop()
            self.to_before(talk, "request", sum(n for _, n in turn.request) + handshake)
            turn.request = [(at, size - handshake)]
            turn.request_begin = first + handshake
            turn.is_overlapped, turn.is_handshake = below(acked, talk.server_edge), False
        if turn.step == "finished" and not turn.saw_finished and kind in ("finished", "handshake"):
            turn.saw_finished = True
            if kind == "finished":
                talk.awaits_tickets, talk.ticket_bytes = True, 0

    def tls_of_server(self, talk: Conversation, s: Row, first: int, acked: int | None) -> None:
        turn = talk.turns[-1] if talk.turns else None
        kind = tls_of(s)
        asks = turn is not None and not turn.is_handshake
        waits = asks and turn is not None and not turn.response
        if waits and kind in ("handshake", "change") and s["tls_bytes"] >= s["payload_bytes"]:
            self.to_before(talk, "response", s["new_bytes"])
            return
        if not talk.awaits_tickets:
            self.server_bytes(talk, s, first, acked)
            return
        fits = talk.ticket_bytes in (0, s["tls_bytes"])
        is_ticket = kind == "alike" and 54 <= s["tls_bytes"] <= 8192 and fits
        are_two = is_ticket and s["tls_records"] >= 2
        is_sure = are_two or (is_ticket and (talk.ticket_bytes > 0 or below(acked, talk.client_edge)))
        if turn is not None and asks and turn.may_be_ticket:
            talk.awaits_tickets = turn.may_be_ticket = False
            self.to_before(talk, "response", sum(n for _, n in turn.response))
            turn.response = []
            if is_ticket:
                self.to_before(talk, "response", s["new_bytes"])
                return
            turn.response_begin = min(first, talk.server_edge) if talk.server_edge is not None else first
            turn.response.append((s["time_ns"], s["new_bytes"]))
            if self.given_at == "answer":
                self.give(talk, turn, is_answer=True)
            return
        if waits:
            assert turn is not None
            is_before = acked is not None and turn.request_begin is not None and acked <= turn.request_begin
            if talk.may_join:
                talk.may_join = talk.awaits_tickets = False
                is_long = sum(n for _, n in turn.request) >= 16384
                if is_ticket and (below(acked, talk.client_edge) or is_long):
                    self.join(talk)
                else:
                    self.server_bytes(talk, s, first, acked)
                return
            if is_sure or is_before:
                self.to_before(talk, "response", s["new_bytes"])
            else:
                turn.may_be_ticket = is_ticket
                talk.awaits_tickets = is_ticket
                if is_ticket:
                    talk.ticket_bytes = s["tls_bytes"]
                self.server_bytes(talk, s, first, acked)
                return
        if is_ticket:
            talk.awaits_tickets = not are_two and not talk.ticket_bytes
            talk.ticket_bytes = s["tls_bytes"]
        elif not waits:
            talk.awaits_tickets = False
        if not waits:
            self.server_bytes(talk, s, first, acked)

    def join(self, talk: Conversation) -> None:
        """Make one of the last two turns: a ticket only stood between them."""
        before, turn = talk.turns[-2:]
        if before.is_final:
            return
        turn.request, turn.late_request = before.request + turn.request, before.late_request + turn.late_request
        turn.more_request += before.more_request
        turn.request_begin, turn.is_overlapped = before.request_begin, before.is_overlapped
        turn.index, turn.number = before.index, before.number
        del talk.turns[-2]

    def to_before(self, talk: Conversation, side: str, byte_count: int) -> None:
        """Count bytes with the turn before, at no time of their own."""
        if len(talk.turns) > 1 and not talk.turns[-2].is_final:
            setattr(talk.turns[-2], f"more_{side}", getattr(talk.turns[-2], f"more_{side}") + byte_count)

    # ------------------------------------------------------------------ bytes of either side

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
        last = talk.turns[-1] if talk.turns else None
        if last is not None and last.may_be_ticket:
            last.may_be_ticket = False
            if self.given_at == "answer":
                self.give(talk, last, is_answer=True)
                talk.awaits_tickets = False
            else:
                talk.may_join = True
        elif talk.may_join:
            talk.may_join = talk.awaits_tickets = False
        no_numbers = first is None or acked is None
        for turn in talk.turns[: len(talk.turns) if no_numbers else -1]:
            self.give(talk, turn)
        begin = first if first is None or talk.client_edge is None else min(first, talk.client_edge)
        talk.turns.append(Turn(len(talk.turns), self.opened, begin))
        if last is not None and last.step == "hello":
            talk.turns[-1].step, talk.turns[-1].is_handshake = "finished", True
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
            if self.given_at == "answer" and not now.may_be_ticket:
                self.give(talk, now, is_answer=True)
        self.settle(talk)

    # ------------------------------------------------------------------ rows out

    def settle(self, talk: Conversation) -> None:
        """Give the turn before the current one, if the current one is answered and nothing of it is missing."""
        if len(talk.turns) < 2 or not talk.turns[-1].response:
            return
        before, now = talk.turns[-2:]
        asked = sum(n for _, n in before.request + before.late_request) + before.more_request
        told = sum(n for _, n in before.response) + before.more_response
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
        row["response_first_ns"] = first_of([t for t, _ in turn.response])
        row["response_last_ns"] = max(t for t, _ in turn.response)
        row["response_bytes"] = sum(n for _, n in turn.response) + turn.more_response
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
            "request_bytes": sum(n for _, n in pieces) + turn.more_request,
            "response_first_ns": -1,
            "response_last_ns": -1,
            "response_bytes": 0,
            "completion_ns": -1,
            "response_time_ns": -1,
            "is_overlapped": int(turn.is_overlapped),
            "is_first": int(turn.index == 0),
            "is_handshake": int(turn.is_handshake),
        }
        row["arrival_ns"] = row[f"{self.start}_ns"]
        return row

    def end_connection(self, talk: Conversation, end_ns: int, is_open: int) -> None:
        self.release(talk)
        answered = [t for t in talk.turns if t.response]
        waiting = [t for t in talk.turns if not t.response]
        for turn in answered:
            if turn.may_be_ticket and self.given_at == "answer":
                self.give(talk, turn, is_answer=True)
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


def tls_of(s: Row) -> str:
    return TLS_RECORDS[s["tls"]]


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
