"""What is told of a service's turns beside its requests, where they hold."""

from __future__ import annotations

from typing import Any

from tcpsight.output import units
from tcpsight.output.drawing import Piece

Facts = dict[str, Any]

GREETING_BYTES = 536
"""A greeting fits any segment (RFC 9293 §3.7.1)."""


def turn_pieces(service: Facts) -> list[Piece]:
    """Tell what makes response times mean less than they seem to: overlaps, and answers that may be push.

    Parameters
    ----------
    service : dict
        The facts of one service.
    """
    turns, pieces = service["turns"], []
    if service["overlapped"] and turns["hold"]:
        many = units.count(service["overlapped"])
        pieces.append(Piece(f"{many} sent while a response was going on", "yellow"))
        pieces.append(Piece("whose times are lower bounds", "yellow"))
    if turns["trickling"] and turns["hold"] and turns["doubt"] is None:
        # The time to their beginning is right; what goes on after it may answer nobody.
        verb = "goes" if turns["trickling"] == 1 else "go"
        many = units.counted(turns["trickling"], "answer")
        pieces.append(Piece(f"{many} {verb} on for long in small pieces: perhaps push, unasked", "yellow"))
    if turns["unsolicited_bytes"] > GREETING_BYTES * service["connections"]["count"]:
        # Greetings are short.
        pieces.append(Piece(f"{units.size(turns['unsolicited_bytes'])} sent before anybody asked: push", "yellow"))
    return pieces
