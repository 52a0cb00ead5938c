"""The rules of findings about how connections open, and whether both sides of them were captured."""

from __future__ import annotations

import numpy as np

from tcpsight.model.finding_shapes import REFUSED, SECOND, UNANSWERED, ConnectionRule, Hits, Pair, hits_of


def look_for_syn_loss(pair: Pair) -> Hits | None:
    """Look for connections that came about by a SYN that was sent again.

    Where it follows its answer, as at the server, that was lost if the server sent it again, too, not knowing better.
    """
    if pair.direction == 1:
        return None
    c = pair.connections
    is_open = (c.state != UNANSWERED) & (c.state != REFUSED)
    again = pair.peer.control_retransmissions - pair.peer.needless_syn_acks
    was_answer_lost = (pair.own.repeated_syns >= 1) & (pair.peer.repeated_syns > pair.peer.needless_syn_acks)
    syns = np.where(was_answer_lost, pair.own.repeated_syns + 1, c.connect_attempts)
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
