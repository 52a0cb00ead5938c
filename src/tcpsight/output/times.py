"""Where the time of a service's connections went, in words."""

from __future__ import annotations

from collections.abc import Mapping

from tcpsight.output import units
from tcpsight.output.drawing import Piece

LEAST_SHOWN = 0.01
"""Parts below this share of the time are left out."""

TIME_TEXTS = {
    "connect_ns": "connecting",
    "think_ns": "clients thinking",
    "request_transfer_ns": "sending requests",
    "server_ns": "servers at work",
    "response_transfer_ns": "sending answers",
    "recovery_ns": "recovering what was lost",
    "receiver_limited_ns": "waiting for receivers",
    "path_limited_ns": "waiting for the path",
    "unknown_ns": "unknown",
}

AMISS = ("recovery_ns", "receiver_limited_ns")
"""What a reader may want to act on."""


def time_pieces(times_ns: Mapping[str, int]) -> list[Piece]:
    """Tell where the time went, the largest part first; nothing where no account was kept.

    Parameters
    ----------
    times_ns : mapping of str to int
        Nanoseconds of each part, all connections together.
    """
    total = sum(times_ns.values())
    ranked = sorted(times_ns.items(), key=lambda item: -item[1])
    return [
        Piece(f"{units.fraction(ns / total)} {TIME_TEXTS[name]}", "yellow" if name in AMISS else None)
        for name, ns in ranked
        if total and ns >= total * LEAST_SHOWN
    ]


VANTAGE_TEXTS = {
    "server": "at the server: response times are its own",
    "client": "at the client: response times include the path to the server",
    "between": "between both: response times include the rest of the path to the server",
}


def vantage_pieces(vantages: Mapping[str, int]) -> list[Piece]:
    """Tell where connections were captured, and what that is for their times; nothing where it is known of none.

    Parameters
    ----------
    vantages : mapping of str to int
        How many connections were captured where.
    """
    known = sorted((name for name in VANTAGE_TEXTS if vantages.get(name)), key=lambda name: -vantages[name])
    if len(known) == 1 and len(vantages) == 1:
        return [Piece(VANTAGE_TEXTS[known[0]])]
    pieces = [Piece(f"{units.counted(vantages[name], 'connection')} {VANTAGE_TEXTS[name]}") for name in known]
    unknown = vantages.get("unknown", 0)
    return [*pieces, Piece(f"of {units.count(unknown)} it is unknown")] if pieces and unknown else pieces


def beyond_part(connections: int) -> list[Piece]:
    """Say of how many connections numbers are not of the part of the time that was asked for alone."""
    if not connections:
        return []
    text = "how they ended, what was lost and where their time went is of their whole lives"
    reach = "reaches" if connections == 1 else "reach"
    return [Piece(f"{units.count(connections)} {reach} beyond the time asked for: {text}", "yellow")]
