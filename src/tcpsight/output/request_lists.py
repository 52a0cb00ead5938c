"""Lists of single requests on the report's page: the slowest, and those that were never answered."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from tcpsight.output import units
from tcpsight.output.drawing import Piece, Screen, widest, wrapped
from tcpsight.output.listings import Fit, listing

Facts = dict[str, Any]

MOST_SLOW = 5
INDENT = "  "


def request_lists(service: Facts, capture: Facts, timezone: tzinfo | None, screen: Screen) -> list[str]:
    """Give the lines of both lists, each with how its requests are isolated.

    Parameters
    ----------
    service, capture : dict
        Of the report's facts.
    timezone : tzinfo or None
        Of instants; None is UTC.
    screen : Screen
        What they are shown on, as wide as lines may be.
    """
    slowest, waiting = service["slowest_requests"][:MOST_SLOW], service["unanswered_requests"][:MOST_SLOW]
    table = {
        "took": [units.duration(r["response_time_ns"]) for r in slowest],
        "request": [units.size(r["request_bytes"]) for r in slowest],
        "response": [units.size(r["response_bytes"]) for r in slowest],
    }
    lines = _listed("slowest requests", table | _places(slowest, capture, timezone), slowest, screen)
    if slowest:
        lines += _how_followed(slowest[0], capture)
    table = {
        "waited": [units.duration(r["waited_ns"]) for r in waiting],
        "request": [units.size(r["request_bytes"]) for r in waiting],
    }
    return lines + _listed("requests never answered", table | _places(waiting, capture, timezone), waiting, screen)


def _places(found: Sequence[Facts], capture: Facts, timezone: tzinfo | None) -> dict[str, list[str]]:
    return {
        "arrived": [units.instant(r["arrival_ns"], timezone, digits=3) for r in found],
        "after": [units.duration(r["arrival_ns"] - capture["start_ns"]) for r in found],
        "connection": [str(r["connection_id"]) for r in found],
        "index": [str(r["request_index"]) for r in found],
    }


def _listed(title: str, table: dict[str, list[str]], found: Sequence[Facts], screen: Screen) -> list[str]:
    if not found:
        return []
    filters = [r["filter"] for r in found]
    wide = _lines(table | {"capture filter": filters}, screen, Fit(("arrived", "capture filter")))
    if widest(wide) <= screen.width:
        return ["", *_title(title, screen), *wide]
    fit = Fit(
        ("arrived",), ("after", "request", "response", "arrived")
    )  # other commands ask for the connection and the index
    heading, *lines = _lines(table, screen, fit)
    pairs = [text for line, f in zip(lines, filters, strict=True) for text in (line, INDENT * 3 + f)]
    return ["", *_title(f"{title}, each with the capture filter of its connection", screen), heading, *pairs]


def _how_followed(request: Facts, capture: Facts) -> list[str]:
    """Tell how the slowest is read, never broken so that it can be copied; nothing where one file is not all there is.

    Options that choose the server, or frames, decide which request has which index: they would have to be there, too.
    """
    path = capture["files"][0]["path"] if len(capture["files"]) == 1 else ""
    if any(capture["selection"].values()) or path != units.printable(path) or path[:1] in ("", "-"):
        return []
    number = f"{request['connection_id']} --request {request['request_index']}"
    return [f"{INDENT}tcpsight follow {shlex.quote(path)} {number}"]


def _title(text: str, screen: Screen) -> list[str]:
    return wrapped([Piece(text, "bold")], screen.width, screen)


def _lines(table: dict[str, list[str]], screen: Screen, fit: Fit) -> list[str]:
    heading, rows = listing(table, screen.width, fit)
    return [*(screen.paint(line, "dim") for line in heading), *(line for row in rows for line in row)]
