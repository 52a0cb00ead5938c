"""A report as a page for a terminal, and as JSON: both are drawn from the same facts, and from nothing else.

Bars and sparklines are drawn with block characters where the output can show them, and with ASCII where not.
Everything that came from the capture is escaped before it reaches a terminal. Nothing is cut off to fit: lists take
two lines a row where one is too short, and a capture filter is never broken, so that it can be copied.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import tzinfo
from functools import partial
from typing import Any

from tcpsight.output import units
from tcpsight.output.drawing import Piece, Screen, beside, labelled, text_page, widest, wrapped
from tcpsight.output.findings import finding_lines
from tcpsight.output.listings import Fit, listing
from tcpsight.output.pictures import histogram_lines, series_lines
from tcpsight.output.request_lists import request_lists
from tcpsight.output.times import beyond_part, time_pieces, vantage_pieces

Facts = dict[str, Any]

__all__ = ["Screen", "page"]

LABEL_WIDTH = 15
INDENT = "  "
PICTURE_GAP = 4  # between two that fit beside each other

# What a reader may want to act on, against what is merely so.
GOOD_STATES = ("closed", "open")
STATE_TEXTS = {
    "unanswered": "got no answer to their SYN",
    "handshaking": "stopped in the handshake",
    "refused": "refused",
    "closed": "closed",
    "client_reset": "reset by the client",
    "server_reset": "reset by the server",
    "half_closed": "half closed",
    "open": "still open",
}


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
    """One page under way: every method gives lines."""

    def __init__(self, facts: Facts, timezone: tzinfo | None, screen: Screen) -> None:
        self._facts = facts
        self._timezone = timezone
        self._screen = screen
        self._paint = screen.paint
        self._inner = screen.width - len(INDENT)

    def draw(self) -> str:
        found, services = self._facts["findings"], self._facts["services"]
        told = finding_lines(found, self._screen, self._facts["capture"]["start_ns"]) if found or services else []
        lines = self._head() + told
        if len(services) > 1:
            lines += ["", *self._overview(services)]
        for service in services:
            lines += ["", self._paint(f"Service {_endpoint(service)}", "title")]
            lines += [INDENT + line if line else "" for line in self._service(service)]
        lines += [*self._omitted(), "", *self._unseen()]
        return text_page(lines, self._screen)

    def _instant(self, ns: int) -> str:
        return units.instant(ns, self._timezone)

    # --- the capture as a whole

    def _head(self) -> list[str]:
        capture = self._facts["capture"]
        files = capture["files"]
        name = units.printable(files[0]["path"]) if len(files) == 1 else f"{len(files)} files"
        head = [Piece(name, "bold")]
        if capture["start_ns"] is not None:
            head.append(Piece(f"{units.duration(capture['duration_ns'])} from {self._instant(capture['start_ns'])}"))
        formats = ", ".join(sorted({" ".join(filter(None, (f["format"], f["compression"]))) for f in files}))
        counts = [
            f"{units.counted(capture['frames'], 'frame')} ({units.printable(formats)})",
            units.counted(capture["segments"], "TCP segment"),
            units.counted(capture["connections"], "connection"),
        ]
        lines = wrapped(head, self._screen.width, self._screen, separator=INDENT)
        lines += wrapped([Piece(c) for c in counts], self._screen.width, self._screen)
        lines += self._tunnels(capture["tunnels"]) + self._selection(capture["selection"])
        times = capture["response_time"]
        if (times["start"], times["end"]) != ("request_last", "response_first"):
            lines.append(f"Response time runs from {times['start']} to {times['end']}.")
        for note in capture["remarks"]:
            lines += [self._paint(line, "yellow") for line in self._wrapped(note[0].upper() + note[1:] + ".", "", "")]
        if capture["broken"]:
            why = f"The capture breaks off: {units.printable(capture['broken'])}"
            lines += [self._paint(line, "red") for line in self._wrapped(why, "", "")]
        return lines + self._nothing(capture)

    def _tunnels(self, tunnels: Facts) -> list[str]:
        pieces = [
            Piece(f"{units.counted(n, 'connection')} inside {units.printable(name)}")
            for name, n in tunnels["connections"].items()
        ]
        if twice := tunnels["pairs_inside_and_outside"]:
            least = "" if tunnels["is_complete"] else "at least "
            pairs = (
                f"{least}{units.counted(twice, 'pair')} of endpoints seen inside and outside of tunnels: counted twice"
            )
            pieces.append(Piece(pairs, "yellow"))
        return wrapped(pieces, self._screen.width, self._screen) if pieces else []

    def _selection(self, chosen: Facts) -> list[str]:
        parts = []
        if chosen["filter"] is not None:
            parts.append(f"frames that match '{units.printable(chosen['filter'])}'")
        if chosen["servers"]:
            parts.append(f"services {' '.join(chosen['servers'])}")
        if chosen["since_ns"] is not None:
            parts.append(f"from {self._instant(chosen['since_ns'])}")
        if chosen["until_ns"] is not None:
            parts.append(f"before {self._instant(chosen['until_ns'])}")
        pieces = [Piece(part) for part in parts]
        return wrapped([Piece(f"Only {parts[0]}"), *pieces[1:]], self._screen.width, self._screen) if parts else []

    def _nothing(self, capture: Facts) -> list[str]:
        if self._facts["services"]:
            return []
        if capture["segments"]:
            return ["", self._paint("No connection matches what was asked for.", "yellow")]
        which = "that matches the filter " if capture["selection"]["filter"] is not None else ""
        return ["", self._paint(f"There is no TCP segment {which}in it.", "yellow")]

    def _overview(self, services: Sequence[Facts]) -> list[str]:
        quantiles = [name for name in services[0]["response_time"] if _is_quantile(name)]
        shown: dict[str, Callable[[Facts], str]] = {
            "service": _endpoint,
            "requests": lambda s: units.count(s["requests"]),
            "rate": lambda s: units.rate(s["throughput_per_s"]),
            **{_short(name): partial(_time, name=name) for name in (quantiles[0], quantiles[-1], "max_ns")},
            "unanswered": lambda s: units.count(s["unanswered"]),
            "connections": lambda s: units.count(s["connections"]["count"]),
            "failed": lambda s: units.count(s["connections"]["failed"]),
        }
        # What has no room is told below, service by service.
        fit = Fit(dispensable=("rate", _short(quantiles[0]), "connections", "failed"), spared=2)
        table = {name: [write(s) for s in services] for name, write in shown.items()}
        return self._listing(table, self._screen.width, fit)

    def _omitted(self) -> list[str]:
        omitted = self._facts["omitted"]
        if not omitted["services"]:
            return []
        counts = [
            units.counted(omitted["requests"], "request"),
            f"{units.count(omitted['unanswered'])} never answered",
            *self._in_flight(omitted),
            units.counted(omitted["connections"], "connection"),
            f"{units.count(omitted['failed_connections'])} of them failed",
        ]
        more = units.counted(omitted["services"], "smaller service")
        pieces = [
            Piece(f"{more} {'is' if omitted['services'] == 1 else 'are'} not shown (--top N): {counts[0]}"),
            *(Piece(c) for c in counts[1:]),
        ]
        return ["", *wrapped(pieces, self._screen.width, self._screen)]

    @staticmethod
    def _in_flight(told: Facts) -> list[str]:
        count = told["in_flight_at_end"]
        return [f"{units.count(count)} in flight at the end of the capture"] if count else []

    def _unseen(self) -> list[str]:
        rows = self._facts["unseen"]
        if not rows:
            return ["Every frame was understood."]
        lines = [self._paint("Not understood, or not counted as it stands", "bold")]
        width = max(len(units.count(row["count"])) for row in rows)
        for row in rows:
            size = f" ({units.size(row['bytes'])})" if row["bytes"] else ""
            first = f", first at frame {row['first_frame']}" if row["first_frame"] else ""
            first = f", first at line {row['first_line']}" if row.get("first_line") else first
            start = f"{INDENT}{units.count(row['count']):>{width}}  "
            which, advice = self._link_types() if row["reason"] == "unknown_link_type" else ("", "")
            meaning = units.reason_text(row["meaning"], row["count"], row["furthest_back_ns"])
            text = f"{meaning}{which}{size}{first}{advice}"
            lines += self._wrapped(text, start, " " * len(start))
        return lines

    def _link_types(self) -> tuple[str, str]:
        found = self._facts["capture"]["unknown_link_types"]
        texts = [f"{each['link_type']} ({each['name']})" if each["name"] else str(each["link_type"]) for each in found]
        advice = dict.fromkeys(each["advice"] for each in found)
        return f": {', '.join(texts)}" if texts else "", "".join(f"; {each}" for each in advice)

    def _wrapped(self, text: str, first: str, others: str) -> list[str]:
        return textwrap.wrap(
            text, self._screen.width, initial_indent=first, subsequent_indent=others, break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip

    # --- one service

    def _service(self, s: Facts) -> list[str]:
        lines = self._row("requests", self._requests(s), separator=", ")
        if reason := s["turns"]["reason"]:
            lines += self._row("response time", [Piece(f"none: {reason}", "yellow")], separator=", ")
        elif s["requests"]:
            lines += self._row("response time", _spread(s["response_time"]), separator="   ")
            if doubt := s["turns"]["doubt"]:
                lines += self._row("", [Piece(f"in doubt: {doubt}", "yellow")], separator=", ")
        lines += self._row("load", self._load(s), separator="; ")
        lines += self._row("connections", self._connections(s["connections"]), separator=", ")
        if s["connections"]["connect"]["count"]:
            lines += self._row("set-up time", _spread(s["connections"]["connect"]), separator="   ")
        if not reason:  # without turns nobody waits for anybody
            lines += self._row("time went to", time_pieces(s["connections"]["times"]), separator=", ")
            lines += self._row("captured", vantage_pieces(s["connections"]["vantages"]), separator="; ")
        lines += self._pictures(s) + (self._clients(s) if not reason and s["clients"]["largest"] else [])
        screen = replace(self._screen, width=self._inner)
        return lines + request_lists(s, self._facts["capture"], self._timezone, screen)

    def _row(self, label: str, pieces: Sequence[Piece], *, separator: str) -> list[str]:
        return labelled(label, pieces, self._screen, (self._inner, LABEL_WIDTH), separator) if pieces else []

    def _requests(self, s: Facts) -> list[Piece]:
        rate = f" ({units.rate(s['throughput_per_s'])})" if s["requests"] else ""
        pieces = [Piece(f"{units.count(s['requests'])} {'turns' if s['turns']['hold'] is False else 'answered'}{rate}")]
        if s["is_waited_through"]:
            pieces = [Piece("none arrived in the time asked for: who waited came before", "yellow")]
        if s["unanswered"]:
            pieces.append(Piece(f"{units.count(s['unanswered'])} never answered", "red"))
        pieces += [Piece(text) for text in self._in_flight(s)]
        if s["requests"]:
            pieces.append(Piece(f"{units.size(s['request_bytes'])} of requests"))
            pieces.append(Piece(f"{units.size(s['response_bytes'])} of responses"))
        return pieces + [Piece(note, "yellow") for note in s["remarks"]]

    def _load(self, s: Facts) -> list[Piece]:
        pieces = []
        if s["concurrency"] is not None and (s["requests"] or s["concurrency"]):
            pieces.append(Piece(f"{units.number(s['concurrency'])} requests at a time on average"))
            busy = units.fraction(s["utilization_fraction"])
            pieces.append(Piece(f"utilization {busy} (the time with at least one)"))
        if s["unanswered"]:
            waiting = units.number(s["unanswered_concurrency"])
            later = ", or only after the capture" if s["in_flight_at_end"] else ""
            pieces.append(Piece(f"{waiting} waiting for an answer that never came{later}", "red"))
        return pieces

    def _connections(self, c: Facts) -> list[Piece]:
        pieces = [
            Piece(f"{units.count(n)} {STATE_TEXTS[state]}", None if state in GOOD_STATES else "yellow")
            for state, n in c["states"].items()
        ]
        if c["stateless"]:
            pieces.append(Piece(f"{units.count(c['stateless'])} whose beginning and end are not in the text"))
        if len(pieces) != 1:
            pieces.insert(0, Piece(f"{units.count(c['count'])} in all"))
        if c["retried"]:
            pieces.append(Piece(f"{units.count(c['retried'])} needed more than one SYN", "yellow"))
        if c["joined"]:
            pieces.append(Piece(f"{units.count(c['joined'])} began before the capture"))
        return pieces + self._quality(c) + beyond_part(c["reaching_beyond"])

    def _quality(self, c: Facts) -> list[Piece]:
        """Tell what was lost, on the way and in the capture."""
        if c["client_retransmissions"] is None:
            return (
                [Piece("no sequence numbers: what was lost or sent again is unknown", "yellow")] if c["count"] else []
            )
        pieces = []
        again = c["client_retransmissions"] + c["server_retransmissions"]
        if again:
            sent = c["client_segments"] + c["server_segments"]
            pieces.append(
                Piece(f"{units.counted(again, 'segment')} sent again ({units.fraction(again / sent)})", "yellow")
            )
        for side, other in (("client", "server"), ("server", "client")):
            missing = c[f"{side}_gap_bytes"]
            if not c[f"{side}_segments"] and c[f"{other}_segments"] and (missing or side == "client"):
                pieces.append(Piece(f"nothing that the {side} sent was captured", "red"))
            elif missing:
                pieces.append(Piece(f"{units.size(missing)} that the {side} sent were not captured", "yellow"))
        return pieces

    # --- pictures

    def _pictures(self, s: Facts) -> list[str]:
        histogram = histogram_lines(s["histogram"], self._screen) if s["histogram"] else []
        series = (
            series_lines(s, self._screen, self._inner) if s["series"] and (s["requests"] or s["unanswered"]) else []
        )
        if not (histogram and series):
            return ["", *histogram, *series] if histogram or series else []
        if widest(histogram) + PICTURE_GAP + widest(series) <= self._inner:
            return ["", *beside(histogram, series, PICTURE_GAP)]
        return ["", *histogram, "", *series]

    # --- lists

    def _clients(self, s: Facts) -> list[str]:
        clients = s["clients"]
        total = sum(c["response_time_sum_ns"] or 0 for c in clients["largest"])
        everyone = round((s["response_time"]["mean_ns"] or 0) * s["response_time"]["count"])
        table: dict[str, list[str]] = {
            name: [write(c) for c in clients["largest"]]
            for name, write in (
                ("client", lambda c: c["client_address"]),
                ("requests", lambda c: units.count(c["requests"])),
                ("share", lambda c: units.fraction((c["response_time_sum_ns"] or 0) / everyone if everyone else None)),
                ("mean", lambda c: units.duration(c["response_time_mean_ns"])),
                ("max", lambda c: units.duration(c["response_time_max_ns"])),
                ("unanswered", lambda c: units.count(c["unanswered"])),
                ("connections", lambda c: units.count(c["connections"])),
            )
        }
        title = "clients, by the time they waited"
        if clients["count"] > len(clients["largest"]):
            least = "" if clients["is_complete"] else "at least "
            share = units.fraction(total / everyone) if everyone else units.UNKNOWN
            title += f": these {len(clients['largest'])} of {least}{units.count(clients['count'])} have {share}"
        fit = Fit(dispensable=("connections", "unanswered"), spared=1)
        return ["", *self._title(title), *self._listing(table, self._inner, fit)]

    def _title(self, text: str) -> list[str]:
        return wrapped([Piece(text, "bold")], self._inner, self._screen)

    def _listing(self, table: dict[str, list[str]], width: int, fit: Fit) -> list[str]:
        heading, rows = listing(table, width, fit)
        return [*(self._paint(line, "dim") for line in heading), *(line for row in rows for line in row)]


def _endpoint(service: Facts) -> str:
    return units.endpoint(service["server_address"], service["server_port"])


def _time(service: Facts, name: str) -> str:
    return units.duration(service["response_time"][name])


def _short(name: str) -> str:
    return name.removesuffix("_ns")


def _is_quantile(name: str) -> bool:
    return name.startswith("p") and name.endswith("_ns")


def _spread(d: Facts) -> list[Piece]:
    """Tell a distribution, each number apart."""
    pieces = [Piece(f"{_short(name)} {units.duration(d[name])}") for name in d if _is_quantile(name)]
    pieces += [Piece(f"max {units.duration(d['max_ns'])}"), Piece(f"mean {units.duration(d['mean_ns'])}")]
    return pieces if d["is_exact"] else [*pieces, Piece("(quantiles within 1 %)")]
