"""What two compared captures tell, as a page and as JSON: both are drawn from the same facts, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tcpsight.output.drawing import Screen, plain
from tcpsight.output.units import count, counted, duration, fraction, instant, printable, size

Facts = dict[str, Any]

INDENT = "  "
SIDES = {"client_side": "client side", "server_side": "server side"}
LOST_TEXTS = {
    ("client", "client_side"): "towards the server, before the client-side point",
    ("client", "between"): "towards the server, between the points",
    ("client", "server_side"): "towards the server, behind the server-side point",
    ("server", "server_side"): "towards the client, before the server-side point",
    ("server", "between"): "towards the client, between the points",
    ("server", "client_side"): "towards the client, behind the client-side point",
}
PART_TEXTS = {
    "client_ns": "client: giving the request",
    "request_path_ns": "path to the server",
    "server_ns": "server",
    "response_path_ns": "path to the client",
    "response_time_ns": "response time, client side",
}
NOT_SPLIT_TEXTS = {
    "not_split_unpaired": "on connections that the server-side capture does not have",
    "not_split_unseen": "of which the server-side capture lacks bytes",
    "not_split_crossed": "answered before they were complete at the server-side point",
    "not_split_clock_step": "while a clock was set, or could not be told from the other",
    "not_split_reversed": "of clients nearer the server-side point",
}


def page(facts: Facts, screen: Screen | None = None) -> str:
    """Draw the page.

    Parameters
    ----------
    facts : dict
        What `tcpsight.split_facts.split_facts` gives.
    screen : Screen, optional
        What it is shown on.
    """
    parts = [_head(facts), _clock(facts["clock"]), _path(facts), _requests(facts["requests"]), _losses(facts)]
    text = "\n".join("\n".join(lines) + "\n" for lines in parts if lines)
    return text if screen is None or screen.has_unicode else plain(text)


def _rows(heading: str, cells: Sequence[Sequence[str]]) -> list[str]:
    """Line up rows under a heading, the first column flush left."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        INDENT
        + "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in cells
    ]
    return [heading, *(line.rstrip() for line in lines)]


def _head(facts: Facts) -> list[str]:
    cells = [["", "segments", "matched", "connections", "from", "to"]]
    for side, text in SIDES.items():
        capture, segments = facts[side], facts["segments"]
        cells.append([
            text,
            count(capture["segments"]),
            fraction(segments[f"{side}_matched_fraction"]),
            count(capture["connections"]),
            instant(capture["first_ns"]),
            instant(capture["last_ns"]),
        ])  # fmt: skip
    files = [f"{text}: {printable(' '.join(facts[side]['files']))}" for side, text in SIDES.items()]
    connections = facts["connections"]
    lines = _rows("captures", cells)
    lines[1:1] = [INDENT + line for line in files]
    lines.append(f"{INDENT}{counted(connections['matched'], 'connection is', 'connections are')} in both")
    notes = {
        "translated": "of them with other addresses or ports: known by their initial sequence numbers",
        "renumbered": "of them with other sequence numbers",
        "reversed": "of them with clients nearer the server-side point: not compared any further",
        "client_side_only": "in the client-side capture only",
        "server_side_only": "in the server-side capture only",
    }
    lines += [f"{INDENT}{count(connections[name])} {text}" for name, text in notes.items() if connections[name]]
    return lines


def _clock(clock: Facts) -> list[str]:
    if not clock["pieces"]:
        return ["clocks", f"{INDENT}unknown: no segment was matched each way"]
    cells = [["from", "server side ahead by", "±", "drift", "±", "shortest round trip"]]
    for piece in clock["pieces"]:
        if not piece["is_consistent"]:
            cells.append([instant(piece["start_ns"]), "unknown", "", "", "", "none fits"])
            continue
        error = piece["drift_error_ppm"]
        cells.append([
            instant(piece["start_ns"]),
            _signed(piece["offset_ns"]),
            duration(piece["offset_error_ns"]),
            "none assumed" if error is None else f"{piece['drift_ppm']:+.3f} ppm",
            "unknown" if error is None else f"{error:.3f} ppm",
            duration(piece["round_trip_min_ns"]),
        ])  # fmt: skip
    lines = _rows("clocks", cells)
    for step in clock["steps"]:
        whose = SIDES.get(step["set_side"], "one")
        how_far = "nobody can tell how far" if step["step_ns"] is None else f"difference {_signed(step['step_ns'])}"
        lines.append(f"{INDENT}{instant(step['at_ns'])}: the {whose} clock was set, {how_far}")
    if not all(piece["is_consistent"] for piece in clock["pieces"]):
        lines.append(f"{INDENT}where no round trip fits, a clock was set too often to tell when")
    return lines


def _signed(nanoseconds: int) -> str:
    return f"{'-' if nanoseconds < 0 else '+'}{duration(abs(nanoseconds))}"


def _path(facts: Facts) -> list[str]:
    path = facts["path"]
    left_out = path["clock_step_segments"]
    if path["error_ns"] is None:
        return (
            [
                "path between the points",
                f"{INDENT}unknown for {counted(left_out, 'segment')}: a clock was set too often to tell when",
            ]
            if left_out
            else []
        )
    names = ("samples", "min_ns", "p50_ns", "p95_ns", "p99_ns", "max_ns")
    cells = [["", "segments", "min", "p50", "p95", "p99", "max"]]
    for way, text in (("to_server", "to the server"), ("to_client", "to the client")):
        values = [path[way][name] for name in names]
        cells.append([text, count(values[0]), *map(duration, values[1:])])
    said = f"path between the points (one way may be up to {duration(path['error_ns'])} longer, the other shorter)"
    lines = _rows(said, cells)
    if left_out:
        lines.append(
            f"{INDENT}{counted(left_out, 'segment')} left out: a clock was set meanwhile, or too often to tell when"
        )
    return lines


def _requests(requests: Facts) -> list[str]:
    cells = [["", "mean", "p50", "p95", "p99", "max"]]
    names = ("mean_ns", "p50_ns", "p95_ns", "p99_ns", "max_ns")
    if requests["split"]:
        for part, text in PART_TEXTS.items():
            cells.append([text, *(duration(requests["parts"][part][name]) for name in names)])
        seen = requests["server_side_response_time_ns"]
        cells.append(["response time, server side", *(duration(seen[name]) for name in names)])
    lines = _rows(f"requests: {count(requests['split'])} of {count(requests['requests'])} split", cells)
    if not requests["split"]:
        del lines[1:]
    lines += [
        f"{INDENT}not split: {count(requests[name])} {text}" for name, text in NOT_SPLIT_TEXTS.items() if requests[name]
    ]
    return lines


def _losses(facts: Facts) -> list[str]:
    cells = [["", "segments", "data, SYN, FIN", "payload"]]
    for row in facts["losses"]:
        text = LOST_TEXTS[row["direction"], row["place"]]
        has_parts = row["place"] == "between"
        values = [
            _count(row["segments"]),
            *((_count(row["data_segments"]), size(row["bytes"])) if has_parts else ("", "")),
        ]
        cells.append([text, *values])
    lines = _rows("lost segments", cells)
    outside = sum(row["outside_segments"] or 0 for row in facts["losses"])
    if outside:
        lines.append(f"{INDENT}{count(outside)} more came while the other capture may not have been running")
    for name, text in SIDES.items():
        missing = facts["not_captured"][name]
        if missing:
            lines.append(f"{INDENT}{count(missing)} passed the {text} point without being captured there")
    if copies := facts["not_captured"]["copied_between"]:
        lines.append(f"{INDENT}{count(copies)} came twice: copied between the points")
    for name, text in SIDES.items():
        if unknown := facts["segments"][f"{name}_copies_unknown"]:
            which = counted(unknown, "segment overlaps", "segments overlap")
            said = "with others too often to tell which copies came: taken to have come, if one has"
            lines.append(f"{INDENT}{which} {said} ({text})")
    if without := facts["connections"]["without_sack"]:
        which = counted(without, "connection does", "connections do")
        text = "not use SACK: nobody knows what was sent again needlessly, so none counts as lost behind the points"
        lines.append(f"{INDENT}{which} {text}")
    if approximate := facts["connections"]["approximate"]:
        which = counted(approximate, "connection has", "connections have")
        text = "more holes than are kept: what was lost there before and behind the points is not counted"
        lines.append(f"{INDENT}{which} {text}")
    return lines


def _count(number: int | None) -> str:
    return "unknown" if number is None else count(number)
