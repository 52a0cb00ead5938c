"""The page of ``tcpsight ipc``: what transports cost beside each other, and what services spend on them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from tcpsight.output import units
from tcpsight.output.drawing import Screen, columns, text_page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Facts = dict[str, Any]

NAMES = {
    "tcp_nodelay": "TCP, TCP_NODELAY",
    "tcp": "TCP",
    "unix_stream": "Unix stream",
    "unix_datagram": "Unix datagram",
    "pipe": "pipe",
    "shared_memory": "shared memory",
}
PINNINGS = {
    "free": "wherever the system puts both processes",
    "same": "both processes on one processor",
    "apart": "each process on a processor of its own",
}
_MARKERS = {"free": "o", "same": "s", "apart": "^"}
_COLORS = ("#1F5FA8", "#6FA0D8", "#8B3A00", "#D08A4E", "#3A7A3A", "#777777")


def page(facts: Facts, screen: Screen) -> str:
    """Draw the page."""
    host = facts["host"]
    of = units.counted(host["processors"], "processor")
    lines = [screen.paint(f"Messages between two processes: {host['kernel']}, {host['machine']}, {of}", "title")]
    for pinning, group in groupby(facts["transports"], lambda row: row["pinning"]):
        rows = list(group)
        lines += ["", screen.paint(PINNINGS[pinning], "bold"), *_table(rows), "", *_pictures(rows, screen)]
    lines += _services(facts, screen)
    lines += [f"left out: {each['transport']}, {units.size(each['message_bytes'])}: {each['reason']}"
              for each in facts["refused"]]  # fmt: skip
    return text_page(lines, screen)


def _table(rows: Sequence[Facts]) -> list[str]:
    cells = [["message", "by", "round trip p50", "p99", "messages", "one way"]]
    for size, group in groupby(rows, lambda row: row["message_bytes"]):
        for place, row in enumerate(group):
            cells.append(
                [
                    units.size(size) if place == 0 else "",
                    NAMES[row["transport"]],
                    units.duration(row["round_trip_p50_ns"]),
                    units.duration(row["round_trip_p99_ns"]),
                    units.rate(row["messages_per_s"]),
                    f"{units.size(row['bytes_per_s'])}/s",
                ]
            )
    lines = [f"  {line}" for line in columns(cells, "rlrrrr")]
    if any(row["round_trip_p50_ns"] is None for row in rows):
        lines.append("  of fewer than 20 round trips no percentile is told: --duration gives them time")
    return lines


def _pictures(rows: Sequence[Facts], screen: Screen) -> list[str]:
    """Draw how round trips of the smallest messages are distributed, on one axis for all."""
    smallest = [row for row in rows if row["message_bytes"] == rows[0]["message_bytes"] and row["histogram"]]
    if not smallest:
        return []
    edges = sorted({step["low_ns"] for row in smallest for step in row["histogram"]})
    end = max(step["high_ns"] for row in smallest for step in row["histogram"])
    width = max(len(NAMES[row["transport"]]) for row in smallest)
    span = f"{units.plain_ticks(edges[0])} to {units.plain_ticks(end)}"
    lines = [f"  round trips of {units.size(rows[0]['message_bytes'])}, {span}, in steps of 1, 2, 5:"]
    for row in smallest:
        counts = {step["low_ns"]: step["count"] for step in row["histogram"]}
        line = screen.sparkline([float(counts.get(edge, 0)) for edge in edges])
        lines.append(f"  {NAMES[row['transport']].ljust(width)} |{screen.paint(line, 'cyan')}|")
    return lines


def _services(facts: Facts, screen: Screen) -> list[str]:
    services = facts.get("services")
    if services is None:
        return []
    lines = ["", screen.paint("What the loopback stack is of recorded response times (p50)", "bold")]
    if not services:
        return [*lines, "  no answered request is in the capture"]
    cells = [["service", "processes", "requests", "response time", "stack", "share", "Unix saves"]]
    for each in services:
        mark = "" if each["is_loopback"] else " *"
        mark += "" if each["is_within_sizes"] else " +"
        cells.append(
            [
                units.endpoint(each["server_address"], each["server_port"]) + mark,
                each["pinning"],
                units.count(each["requests"]),
                units.duration(each["response_time_p50_ns"]),
                units.duration(each["stack_ns"]),
                units.fraction(each["stack_fraction"]),
                units.duration(each["saved_by_unix_stream_ns"]),
            ]
        )
    lines += [f"  {line}" for line in columns(cells, "llrrrrr")]
    if len({each["pinning"] for each in services}) > 1:
        lines.append("  processes: where both ran that were measured (--pin); of the capture nobody knows")
    if any(each["stack_fraction"] == 1 for each in services):
        lines.append("  100 %: what was measured takes longer than the responses did; they were not passed like this")
    if not all(each["is_loopback"] for each in services):
        lines.append("  * not on loopback: what it would be there")
    if not all(each["is_within_sizes"] for each in services):
        lines.append("  + shorter or longer than the messages measured: of the nearest size (--sizes)")
    return lines


def draw(facts: Facts, path: str) -> None:
    """Draw latency and throughput over message sizes, a curve for each transport of each pinning.

    Raises
    ------
    UsageError
        Matplotlib is not installed, or the file's ending says no format.
    """
    from tcpsight.output.figures import image_format, panels

    transports = list(dict.fromkeys(row["transport"] for row in facts["transports"]))
    pinnings = list(dict.fromkeys(row["pinning"] for row in facts["transports"]))
    with panels(path, image_format(path), (3.4, 3.4)) as (upper, lower):
        for pinning in pinnings:
            for name in transports:
                rows = [row for row in facts["transports"] if (row["transport"], row["pinning"]) == (name, pinning)]
                own = [row for row in rows if row["round_trip_p50_ns"] is not None]
                sizes = [row["message_bytes"] for row in own]
                look: Facts = {"color": _COLORS[transports.index(name)], "marker": _MARKERS[pinning]}
                label = f"{NAMES[name]}, {pinning}" if len(pinnings) > 1 else NAMES[name]
                upper.plot(sizes, [row["round_trip_p50_ns"] / 1000 for row in own], label=label, **look)
                upper.plot(sizes, [row["round_trip_p99_ns"] / 1000 for row in own], ":", color=look["color"])
                lower.plot(sizes, [row["bytes_per_s"] / 1e6 for row in own], **look)
        _label(upper, "round trip, µs (p50; dotted p99)")
        _label(lower, "one way, MB/s")
        lower.set_xlabel("message, bytes")
        upper.legend(fontsize=7, title=PINNINGS[pinnings[0]] if len(pinnings) == 1 else None, title_fontsize=7)


def _label(axes: Axes, text: str) -> None:
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_ylabel(text)
