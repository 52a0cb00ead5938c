"""A report as a page for a terminal, and as JSON: both are drawn from the same facts, and from nothing else.

Bars and sparklines are drawn with block characters where the output can show them, and with ASCII where not.
Everything that came from the capture is escaped before it reaches a terminal.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tcpsight.output import units

Facts = dict[str, Any]

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII_BLOCKS = " .:-=+*#@"
EIGHTHS = " ▏▎▍▌▋▊▉█"
BAR_WIDTH = 24
MOST_SLOW = 5

# What a reader may want to act on, against what is merely so.
GOOD_STATES = ("closed", "open")
STATE_TEXTS = {
    "unanswered": "unanswered (SYN only)",
    "handshaking": "stopped in the handshake",
    "refused": "refused",
    "closed": "closed",
    "client_reset": "reset by the client",
    "server_reset": "reset by the server",
    "half_closed": "half closed",
    "open": "still open",
}


@dataclass(frozen=True, slots=True)
class Screen:
    """What the page is shown on.

    Attributes
    ----------
    width : int
        Characters per line.
    has_color : bool
        Whether it understands colours.
    has_unicode : bool
        Whether it shows block characters and µ.
    """

    width: int = 100
    has_color: bool = False
    has_unicode: bool = True


def json_text(facts: Facts) -> str:
    """Write the facts as one JSON object."""
    return json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def page(facts: Facts, timezone: tzinfo | None = None, screen: Screen | None = None) -> str:
    """Draw the page.

    Parameters
    ----------
    facts : dict
        What `tcpsight.facts.facts` gives.
    timezone : tzinfo, optional
        Of instants; UTC by default.
    screen : Screen, optional
        What it is shown on.
    """
    return _Page(facts, timezone, screen or Screen()).draw()


class _Page:
    """One page under way."""

    def __init__(self, facts: Facts, timezone: tzinfo | None, screen: Screen) -> None:
        self._facts = facts
        self._timezone = timezone
        self._screen = screen
        self._start_ns = facts["capture"]["start_ns"]

    def draw(self) -> str:
        sink = io.StringIO()
        console = Console(
            file=sink, width=self._screen.width, force_terminal=self._screen.has_color, highlight=False, markup=False,
            no_color=not self._screen.has_color, color_system="standard" if self._screen.has_color else None,
            legacy_windows=False, emoji=False,
        )  # fmt: skip
        console.print(self._head())
        for service in self._facts["services"]:
            console.print()
            console.print(self._service(service))
        if self._facts["omitted_services"]:
            console.print(f"\n{units.count(self._facts['omitted_services'])} smaller services are not shown (--top N)")
        console.print(self._unseen())
        text = "\n".join(line.rstrip() for line in sink.getvalue().split("\n"))
        return text if self._screen.has_unicode else plain(text)

    def _instant(self, ns: int) -> str:
        return units.instant(ns, self._timezone)

    # --- the capture as a whole

    def _head(self) -> RenderableType:
        capture = self._facts["capture"]
        files = capture["files"]
        name = units.printable(files[0]["path"]) if len(files) == 1 else f"{len(files)} files"
        head = Text(name, "bold")
        if capture["start_ns"] is not None:
            lasts = f"  {units.duration(capture['duration_ns'])} from {self._instant(capture['start_ns'])}"
            head.append(lasts, "not bold")
        formats = ", ".join(sorted({" ".join(filter(None, (f["format"], f["compression"]))) for f in files}))
        connections = sum(s["connections"]["count"] for s in self._facts["services"])
        counts = (
            f"{units.count(capture['frames'])} frames ({units.printable(formats)}), "
            f"{units.count(capture['segments'])} TCP segments, {units.count(connections)} connections"
        )
        lines: list[RenderableType] = [head, Text(counts)]
        if capture["broken"]:
            lines.append(Text(f"The capture breaks off: {units.printable(capture['broken'])}", "bold red"))
        return Group(*lines)

    def _unseen(self) -> RenderableType:
        rows = self._facts["unseen"]
        if not rows:
            return Text("\nEvery frame was understood.")
        table = _grid(3)
        for row in rows:
            size = f" ({units.count(row['bytes'])} B)" if row["bytes"] else ""
            first = f"first at frame {row['first_frame']}" if row["first_frame"] else ""
            table.add_row(units.count(row["count"]) + size, row["meaning"], first)
        return Group(Text("\nNot understood, or not counted as it stands", "bold"), Padding(table, (0, 0, 0, 2)))

    # --- one service

    def _service(self, s: Facts) -> RenderableType:
        address = s["server_address"]
        name = f"{'[' + address + ']' if ':' in address else address}:{s['server_port']}"
        parts: list[RenderableType] = [Text(f"Service {name}", "bold cyan"), self._figures(s)]
        if s["requests"]:
            parts += [Text(""), self._pictures(s)]
        parts += self._lists(s)
        return Group(parts[0], Padding(Group(*parts[1:]), (0, 0, 0, 2)))

    def _figures(self, s: Facts) -> RenderableType:
        table = _grid(2)
        answered = f"{units.count(s['requests'])} answered"
        if s["requests"]:
            answered += (
                f", {units.rate(s['throughput_per_s'])}; {units.size(s['request_bytes'])} asked,"
                f" {units.size(s['response_bytes'])} answered"
            )
        requests = Text(answered)
        if s["unanswered"]:
            requests.append(f"; {units.count(s['unanswered'])} never answered", "bold red")
        if s["overlapped"]:
            requests.append(f"; {units.count(s['overlapped'])} overlapped a response", "yellow")
        table.add_row("requests", requests)
        if s["requests"]:
            table.add_row("response time", _spread(s["response_time"]))
            concurrency, busy = units.number(s["concurrency"]), units.fraction(s["utilization_fraction"])
            table.add_row("load", f"{concurrency} requests at a time on average; at least one {busy} of the time")
        table.add_row("connections", self._connections(s["connections"]))
        connect = s["connections"]["connect"]
        if connect["count"]:
            table.add_row("set-up", _spread(connect))
        return table

    def _connections(self, c: Facts) -> Text:
        text = Text(f"{units.count(c['count'])}: ")
        for i, (state, n) in enumerate(c["states"].items()):
            text.append(", " if i else "")
            text.append(f"{units.count(n)} {STATE_TEXTS[state]}", None if state in GOOD_STATES else "yellow")
        if c["retried"]:
            text.append(f"; {units.count(c['retried'])} needed more than one SYN", "yellow")
        again = c["client_retransmissions"] + c["server_retransmissions"]
        if again:
            sent = c["client_segments"] + c["server_segments"]
            text.append(f"; {units.count(again)} segments sent again ({units.fraction(again / sent)})", "yellow")
        return text

    # --- pictures

    def _pictures(self, s: Facts) -> RenderableType:
        left, right = self._histogram(s["histogram"]), self._series(s)
        if self._screen.width < 100:
            return Group(left, Text(""), right)
        both = Table.grid(padding=(0, 4))
        both.add_row(left, right)
        return both

    def _histogram(self, steps: Sequence[Facts]) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        table.add_column(justify="right")
        table.add_column(width=BAR_WIDTH)
        table.add_column(justify="right")
        most = max(step["count"] for step in steps)
        for step in steps:
            label = f"{units.duration(step['low_ns'])} – {units.duration(step['high_ns'])}"
            table.add_row(label, Text(self._bar(step["count"], most), "cyan"), units.count(step["count"]))
        return Group(Text("response time, requests", "bold"), table)

    def _bar(self, value: int, most: int) -> str:
        eighths = round(value * BAR_WIDTH * 8 / most) if most else 0
        # What occurred at all must be seen.
        eighths = max(eighths, 1) if value else 0
        if not self._screen.has_unicode:
            return "#" * -(-eighths // 8)
        return "█" * (eighths // 8) + EIGHTHS[eighths % 8].strip()

    def _series(self, s: Facts) -> RenderableType:
        series = s["series"]
        table = Table.grid(padding=(0, 1))
        table.add_column()
        table.add_column(no_wrap=True)
        table.add_column()
        rows = [
            ("throughput", [r["throughput_per_s"] for r in series], units.rate),
            ("concurrency", [r["concurrency"] for r in series], units.number),
            ("p99", [r["response_time_p99_ns"] or 0 for r in series], units.duration),
        ]
        if any(r["unanswered_backlog"] for r in series):
            rows.append(("unanswered", [r["unanswered_backlog"] for r in series], units.count))
        for name, values, unit in rows:
            table.add_row(name, Text(self._sparkline(values), "cyan"), f"≤ {unit(max(values))}")
        span = units.duration(self._facts["capture"]["duration_ns"])
        axis = f"0{' ' * max(len(series) - 1 - len(span), 1)}{span}"
        table.add_row("", Text(axis, "dim"), "")
        return Group(Text(f"over time, a column is {units.duration(s['interval_ns'])}", "bold"), table)

    def _sparkline(self, values: Sequence[float]) -> str:
        blocks = BLOCKS if self._screen.has_unicode else ASCII_BLOCKS
        most = max(values, default=0)
        if most <= 0:
            return blocks[0] * len(values)
        # Rounded up, so that a blank means nothing at all.
        return "".join(blocks[min(-int(-v * 8 // most), 8) if v > 0 else 0] for v in values)

    # --- lists

    def _lists(self, s: Facts) -> list[RenderableType]:
        parts: list[RenderableType] = []
        if s["clients"]["largest"]:
            parts += [Text(""), self._clients(s)]
        if s["slowest_requests"]:
            columns = [
                ("response time", "response_time_ns"),
                ("asked", "request_bytes"),
                ("answered", "response_bytes"),
            ]
            parts += [Text(""), self._requests("slowest requests", s["slowest_requests"], columns)]
        if s["unanswered_requests"]:
            columns = [("waited", "waited_ns"), ("asked", "request_bytes")]
            parts += [Text(""), self._requests("never answered", s["unanswered_requests"], columns)]
        return parts

    def _clients(self, s: Facts) -> RenderableType:
        clients = s["clients"]
        total = sum(c["response_time_sum_ns"] for c in clients["largest"])
        everyone = round((s["response_time"]["mean_ns"] or 0) * s["response_time"]["count"])
        table = _listing("client", "requests", "share of time", "mean", "max", "connections", "unanswered")
        for c in clients["largest"]:
            share = c["response_time_sum_ns"] / everyone if everyone else None
            table.add_row(
                c["client_address"], units.count(c["requests"]), units.fraction(share),
                units.duration(c["response_time_mean_ns"]), units.duration(c["response_time_max_ns"]),
                units.count(c["connections"]), units.count(c["unanswered"]),
            )  # fmt: skip
        more = clients["count"] - len(clients["largest"])
        title = "clients, by time spent on them"
        if more > 0:
            rest = f" and {units.count(more)} more" + ("" if clients["is_complete"] else " at least")
            title += f" ({units.fraction(total / everyone if everyone else None)} of it;{rest})"
        return Group(Text(title, "bold"), table)

    def _requests(self, title: str, rows: Sequence[Facts], columns: Sequence[tuple[str, str]]) -> RenderableType:
        table = _listing(*(name for name, _ in columns), "arrived", "after", "frame", "capture filter", left=4)
        for row in rows[:MOST_SLOW]:
            cells = [(units.duration if key.endswith("_ns") else units.size)(row[key]) for _, key in columns]
            after = units.duration(row["arrival_ns"] - self._start_ns)
            table.add_row(*cells, self._instant(row["arrival_ns"]), after, str(row["connection_id"]), row["filter"])
        return Group(Text(title, "bold"), table)


def _spread(d: Facts) -> str:
    """Write a distribution in one line."""
    names = [key for key in d if key.startswith("p") and key.endswith("_ns")]
    parts = [f"{name.removesuffix('_ns')} {units.duration(d[name])}" for name in names]
    parts += [f"max {units.duration(d['max_ns'])}", f"mean {units.duration(d['mean_ns'])}"]
    return "   ".join(parts) + ("" if d["is_exact"] else "   (quantiles within 1 %)")


def _grid(columns: int) -> Table:
    table = Table.grid(padding=(0, 2))
    for i in range(columns):
        table.add_column(style="dim" if columns == 2 and i == 0 else None, no_wrap=i == 0)
    return table


def _listing(*names: str, left: int = 0) -> Table:
    """Make a table with headings; numbers to the right, the first column or the last `left` ones to the left."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False, header_style="dim")
    for i, name in enumerate(names):
        is_left = i >= len(names) - left if left else i == 0
        table.add_column(
            name, justify="left" if is_left else "right", overflow="fold", no_wrap=name != "capture filter"
        )
    return table


def plain(text: str) -> str:
    """Write text without characters beyond ASCII, for outputs that have none."""
    for fancy, simple in (("µ", "u"), ("–", "-"), ("≤", "<="), ("−", "-"), ("…", "..."), ("\u202f", ","), ("∞", "inf")):
        text = text.replace(fancy, simple)
    return text.encode("ascii", "replace").decode()
