"""The rules of findings about how connections open, and whether both sides of them were captured."""

from __future__ import annotations

import numpy as np

from tcpsight.model.finding_shapes import REFUSED, SECOND, UNANSWERED, Array, Bools, ConnectionRule, Hits, Pair, hits_of

ANSWERED_SOONER = 2
"""So many times the shortest round trip passed until the answer was acknowledged: then the first one was lost."""


def _was_answer_lost(pair: Pair) -> tuple[Bools, Array]:
    """Tell where the answer to a SYN was lost behind the capture point, and how many SYNs there were.

    Either side may have opened, whichever is called the client. A client whose timer is shorter than the round trip
    repeats its SYN, too, and has a second answer; nothing was lost then.
    """
    c = pair.connections
    was_lost, syns = np.zeros(len(c), bool), c.connect_attempts
    for opener, answerer, taken_ns, answered_ns in (
        (pair.own, pair.peer, c.client_handshake_rtt_ns, c.server_handshake_rtt_ns),
        (pair.peer, pair.own, c.server_handshake_rtt_ns, c.client_handshake_rtt_ns),
    ):
        is_again = (opener.repeated_syns >= 1) & (answerer.repeated_syn_acks > answerer.needless_syn_acks)
        # From the first answer to the acknowledgment of any.
        gap_ns = c.connect_ns - answered_ns
        is_sooner = (answerer.rtt_min_ns >= 0) & (ANSWERED_SOONER * answerer.rtt_min_ns <= gap_ns)
        is_later = np.where(taken_ns >= 0, taken_ns != gap_ns, is_sooner)
        is_lost = is_again & (is_later | (c.connect_ns < 0) | (answered_ns < 0))
        was_lost |= is_lost
        syns = np.where(is_lost, opener.repeated_syns + 1, syns)
    return was_lost, syns


def look_for_syn_loss(pair: Pair) -> Hits | None:
    """Look for connections that came about by a SYN that was sent again.

    Where it follows its answer, as at the server, that was lost if the server sent it again, too, not knowing better.
    """
    if pair.direction == 1:
        return None
    c = pair.connections
    is_open = (c.state != UNANSWERED) & (c.state != REFUSED)
    again = pair.peer.control_retransmissions - pair.peer.needless_syn_acks
    was_answer_lost, syns = _was_answer_lost(pair)
    is_hit = is_open & ((c.connect_attempts >= 2) | was_answer_lost)
    return hits_of(
        pair,
        is_hit,
        score=syns,
        confidence=0.9,
        syns=syns,
        connect_attempts=c.connect_attempts,
        connect_ns=c.connect_ns,
        server_control_retransmissions=again,
    )


def look_for_refusal(pair: Pair) -> Hits | None:
    """Look for SYNs that were answered by a RST."""
    if pair.direction == 0:
        return None
    c = pair.connections
    return hits_of(
        pair, c.state == REFUSED, score=c.connect_attempts, confidence=0.99, connect_attempts=c.connect_attempts
    )


def look_for_silence(pair: Pair) -> Hits | None:
    """Look for SYNs that had no answer."""
    if pair.direction == 1:
        return None
    c = pair.connections
    is_hit = (
        (c.state == UNANSWERED) & ((c.connect_attempts >= 2) | (c.duration_ns >= SECOND)) & (pair.peer.segments == 0)
    )
    return hits_of(
        pair, is_hit, score=c.connect_attempts, confidence=0.95,
        connect_attempts=c.connect_attempts, waited_ns=c.duration_ns,
    )  # fmt: skip


def look_for_one_way(pair: Pair) -> Hits:
    """Look for connections of which one side alone was captured."""
    own, peer, c = pair.own, pair.peer, pair.connections
    is_hit = (own.segments >= 3) & (peer.segments == 0) & (c.state != UNANSWERED)
    return hits_of(
        pair, is_hit, score=own.segments, severity="info", confidence=0.95, segments=own.segments, bytes=own.bytes,
    )  # fmt: skip


OPENING_RULES = (
    # Whether the SYN was lost or its answer cannot be told.
    ConnectionRule(
        "syn_loss", "a SYN was sent twice or more before it was answered", look_for_syn_loss, has_direction=False
    ),
    ConnectionRule("refused", "a SYN was answered by a RST", look_for_refusal),
    ConnectionRule("unanswered", "SYNs were sent twice, or for 1 s, and nothing came back", look_for_silence),
    ConnectionRule(
        "one_way_capture", "3 segments or more of one side of an open connection, none of the other", look_for_one_way
    ),
)
