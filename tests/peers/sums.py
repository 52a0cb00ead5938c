"""Differences between tcptrace and tcpsight: its sums, laid at the door of single frames by the model of its rules."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from tests.peers.case import Case, Difference
from tests.peers.tcptrace import Conversation, Times, conversations_of, is_finished, modelled
from tests.peers.tshark import Endpoint


def differences_with_tcptrace(case: Case, output: str) -> list[Difference]:
    """Compare everything that tcptrace printed of a capture."""
    printed = list(conversations_of(output))
    case.printed = {c.number: c for c in printed}
    if case.reading.stopped and not case.reading.frames:
        return [_differ(case, "capture", 0, 0, f"{len(printed)} connections", "refused")] if printed else []
    if not is_finished(output):
        return [_differ(case, "capture", 0, 0, "no output", f"{len(case.by_connection)} connections")] * bool(case.ours)
    found: list[Difference] = []
    theirs, model = _by_ends(printed), _by_ends(modelled(case.ours.values()))
    for ends in theirs.keys() | model.keys():
        ones, others = theirs.get(ends, []), model.get(ends, [])
        is_explained = [(c.ends, c.sums) for c in ones] == [(c.ends, c.sums) for c in others]
        if is_explained:
            for one, other in zip(ones, others, strict=True):
                case.conversations[one.number] = other
                found += _connection(case, one.number, other)
                found += _frames(case, one.number, other)
                found += _times(case, one, other)
                found += _duplicate_acks(case, one, other)
        else:
            found += [_differ(case, "sums", c.number, _first(case, ends), _sums([c]), _sums(others)) for c in ones]
    return sorted(found)


def _by_ends(conversations: Iterable[Conversation]) -> dict[frozenset[Endpoint], list[Conversation]]:
    grouped: dict[frozenset[Endpoint], list[Conversation]] = defaultdict(list)
    for conversation in conversations:
        grouped[frozenset(conversation.ends)].append(conversation)
    return grouped


def _differ(case: Case, what: str, connection: int, frame: int, theirs: object, ours: object) -> Difference:
    return Difference(case.name, "tcptrace", what, connection, frame, str(theirs), str(ours))


def _first(case: Case, ends: frozenset[Endpoint]) -> int:
    return min((n for n, s in case.ours.items() if frozenset((s.source, s.destination)) == ends), default=0)


def _sums(conversations: list[Conversation]) -> str:
    return " | ".join(
        " ".join(f"{side.segments}/{side.unique}/{side.retransmissions}" for side in c.sums) for c in conversations
    )


def _connection(case: Case, number: int, conversation: Conversation) -> list[Difference]:
    """The set of connections: which frames belong together."""
    frames = list(conversation.frames)
    mine: dict[int, int] = defaultdict(int)
    for n in frames:
        mine[case.connection_of(n)] += 1
    if len(mine) == 1 and len(case.by_connection[case.connection_of(frames[0])]) == len(frames):
        return []
    ours = "+".join(f"{count} of {len(case.by_connection[key])}" for key, count in mine.items())
    return [_differ(case, "connection", number, frames[0], f"{len(frames)} frames", f"{ours} frames")]


def _frames(case: Case, number: int, conversation: Conversation) -> list[Difference]:
    """Bytes of the stream that each frame brought, and what it was."""
    found = []
    for n, verdict in conversation.frames.items():
        ours = case.ours[n]
        if verdict.unique != ours.new_bytes:
            found.append(_differ(case, "bytes", number, n, verdict.unique, ours.new_bytes))
        if verdict.kind != ours.kind:
            found.append(_differ(case, "kind", number, n, verdict.kind, ours.kind))
    return found


def _times(case: Case, printed: Conversation, conversation: Conversation) -> list[Difference]:
    """Round trips, if the model tells where tcptrace's come from; it counts in whole microseconds."""
    if printed.times != conversation.times:
        first = next(iter(conversation.frames))
        return [_differ(case, "times", printed.number, first, _words(printed.times), _words(conversation.times))]
    found = []
    for n, verdict in conversation.frames.items():
        theirs, ours = verdict.round_trip_us * 1000, case.mark(n).round_trip_ns
        if (theirs < 0) != (ours < 0) or (ours >= 0 and abs(theirs - ours) >= 1000):
            found.append(_differ(case, "round trip", printed.number, n, max(theirs, -1), ours))
    return found


def _words(times: tuple[Times, Times]) -> str:
    return " ".join(f"{each.samples}/{each.shortest}/{each.longest}" for each in times)


def _duplicate_acks(case: Case, printed: Conversation, conversation: Conversation) -> list[Difference]:
    """Duplicate acknowledgments, counted where one side's data are acknowledged by the other."""
    found = []
    for which, theirs in enumerate(printed.duplicate_acks):
        mine = [n for n in conversation.frames if case.ours[n].source == conversation.ends[1 - which]]
        ours = sum(case.mark(n).is_duplicate_ack for n in mine)
        if theirs != ours:
            found.append(_differ(case, "duplicate acks", printed.number, mine[0], theirs, ours))
    return found
