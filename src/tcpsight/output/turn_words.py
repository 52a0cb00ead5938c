"""What makes the response times of a service mean less than they seem to, where its sides take turns: in words.

Every face of a report tells these notes as they are.
"""

from __future__ import annotations

from typing import Any

from tcpsight.output import units

Facts = dict[str, Any]

GREETING_BYTES = 536
"""A greeting fits any segment (RFC 9293 §3.7.1)."""


def turn_notes(service: Facts) -> list[str]:
    """Tell of overlaps, of what may be push, and of handshakes.

    Parameters
    ----------
    service : dict
        The facts of one service.
    """
    turns, notes = service["turns"], []
    if service["overlapped"] and turns["hold"]:
        sent = units.counted(service["overlapped"], "request was", "requests were")
        notes.append(
            f"{sent} sent while a response was going on: their times are lower bounds, "
            "and requests that are sent together count as one"
        )
    if turns["trickling"] and turns["hold"] and turns["doubt"] is None:
        # The time to their beginning is right; what goes on after it may answer nobody.
        many = units.counted(turns["trickling"], "answer goes", "answers go")
        notes.append(f"{many} on for long in small pieces: perhaps push, unasked")
    if turns["unsolicited_bytes"] > GREETING_BYTES * turns["from_their_syn"]:
        # Greetings are short. Before the first request that was captured of a connection that is older, others were.
        notes.append(f"{units.size(turns['unsolicited_bytes'])} were sent before anybody asked: perhaps push")
    if turns["handshakes"]:
        # They take as long as cryptography and the way, not as long as the service.
        are = units.counted(
            turns["handshakes"], "of the requests is a TLS handshake", "of the requests are TLS handshakes"
        )
        notes.append(f"{are} (--leave-out handshake)")
    return notes
