"""A comparison of two captures as a page for a terminal: drawn from its facts, and from nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from typing import Any

from tcpsight.output import units
from tcpsight.output.drawing import Piece, Screen, columns, labelled, text_page, wrapped

Facts = dict[str, Any]

INDENT = "  "
LABEL_WIDTH = 15
VERDICTS = {
    "worse": ("worse", "red"),
    "within_tolerance": ("worse, but not by more than is tolerated", "yellow"),
    "better": ("better", "cyan"),
    "no_difference": ("no difference", "cyan"),
    "too_little_data": ("too little data to tell", "yellow"),
}
SHARE_TEXTS = {
    "unanswered": "requests never answered",
    "failed": "connections failed",
    "refused": "… of them refused",
    "no_answer": "… without answer",
    "reset": "connections reset",
    "retransmitted": "segments sent again",
}
DURATION_TEXTS = {
    "connect": "set-up",
    "client_round_trip": "round trip, client's data",
    "server_round_trip": "round trip, server's data",
}
WORSE_TEXTS = {
    "response_time": "response times",
    "failures": "failures",
    "throughput": "throughput at equal concurrency",
    "retransmissions": "segments sent again",
    "vanished": "it is gone: nothing was asked and answered any more",
    "findings": "a critical finding, or one that may be",
}
FINDING_TEXTS = (("came", "came", "yellow"), ("went", "went", "cyan"), ("stayed", "stayed", None))


def page(facts: Facts, timezone: tzinfo | None = None, screen: Screen | None = None) -> str:
    """Draw the page.

    Parameters
    ----------
    facts : dict
        What `tcpsight.comparison_facts.comparison_facts` gives.
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
        self._inner = screen.width - len(INDENT)

    def draw(self) -> str:
        lines = self._head()
        for service in self._facts["services"]:
            lines += ["", self._screen.paint(f"Service {_endpoints(service)}", "title")]
            lines += [INDENT + line if line else "" for line in self._service(service)]
        lines += ["", *self._foot()]
        return text_page(lines, self._screen)

    def _head(self) -> list[str]:
        lines = []
        for when in ("before", "after"):
            capture = self._facts[when]
            files = capture["files"]
            name = units.printable(files[0]) if len(files) == 1 else f"{len(files)} files"
            start = units.instant(capture["start_ns"], self._timezone)
            pieces = [Piece(f"{when:8}{name}", "bold"), Piece(f"{units.duration(capture['duration_ns'])} from {start}")]
            lines += wrapped(pieces, self._screen.width, self._screen, separator=INDENT)
            if capture["broken"]:
                lines.append(self._screen.paint(f"The capture breaks off: {units.printable(capture['broken'])}", "red"))
        for where, kinds in _by_service(self._facts["worse"]).items():
            lines += wrapped([Piece(f"worse   {where}: {', '.join(kinds)}", "red")], self._screen.width, self._screen)
        return lines

    def _service(self, service: Facts) -> list[str]:
        lines = self._verdict(service) + self._load(service)
        if service["refusal"] is None:
            lines += ["", *self._response_times(service)]
            lines += ["", *self._equal_load(service["throughput_at_equal_concurrency"])]
        lines += ["", *self._shares(service["shares"]), "", *self._durations(service["durations"])]
        return lines + self._findings(service["findings"])

    # --- one service

    def _verdict(self, service: Facts) -> list[str]:
        text, style = VERDICTS[service["verdict"]]
        pieces = [Piece(text, style), *(Piece(reason) for reason in _reasons(service))]
        pieces += [Piece(said, "yellow") for said in _moved(service)]
        found = service["detectable_fraction"]
        if service["refusal"] is not None:
            pieces.append(Piece(f"response times are not compared: {service['refusal']}", "yellow"))
        elif service["verdict"] in ("no_difference", "too_little_data"):
            pieces.append(
                Piece(f"a median longer by {units.fraction(found)} would have been found")
                if found is not None
                else Piece("requests: {} before, {} after".format(*map(units.count, service["requests"].values())))
            )
        return self._row("verdict", pieces)

    def _load(self, service: Facts) -> list[str]:
        both = [service["load"][when] for when in ("before", "after")]
        pieces = [
            Piece(_change(text, *(write(each[name]) for each in both)))
            for name, text, write in (
                ("throughput_per_s", "", units.rate),
                ("concurrency", " at a time", units.number),
            )
        ]
        counts = [units.count(service["requests"][when]) for when in ("before", "after")]
        noun = " request" if service["requests"]["after"] == 1 else " requests"
        in_flight = [units.count(service["in_flight_at_end"][when]) for when in ("before", "after")]
        if any(service["in_flight_at_end"].values()):
            pieces.append(Piece(_change(" in flight at the end of the capture", *in_flight)))
        lines = self._row("load", [Piece(_change(noun, *counts)), *pieces])
        if service["is_overlapped"]:
            sent = units.counted(sum(service["overlapped"].values()), "request was sent", "requests were sent")
            lines += self._row("", [Piece(f"{sent} while a response was going on: times are lower bounds", "yellow")])
        return lines

    def _response_times(self, service: Facts) -> list[str]:
        rows = [["response time", "before", "after", "change", "interval", "would be found"]]
        for row in service["response_time"]:
            name = f"p{float(format(100 * row['quantile'], '.10g')):g}"
            rows.append([
                f"{name}{' *' if row['is_decisive'] else ''}",
                units.duration(row["before_ns"]),
                units.duration(row["after_ns"]),
                _percent(row["ratio"]),
                _interval(row["low"], row["high"], _percent),
                units.fraction(row["detectable_fraction"]),
            ])  # fmt: skip
        return self._listing(rows, "lrrrrr")

    def _equal_load(self, equal: Facts) -> list[str]:
        label = "at equal load"
        if equal["refusal"] is not None:
            return self._row(label, [Piece(f"throughput not compared: {equal['refusal']}", "yellow")])
        change, interval = _percent(equal["ratio"]), _interval(equal["low"], equal["high"], _percent)
        levels = equal["levels"]
        pieces = [
            Piece(f"throughput {change} ({interval})"),
            Piece(
                f"with {units.number(levels[0]['low_concurrency'])} to {units.number(levels[-1]['high_concurrency'])} "
                f"requests at a time, in intervals of {units.duration(equal['interval_ns'])}"
            ),
        ]
        return self._row(label, pieces)

    def _shares(self, shares: Sequence[Facts]) -> list[str]:
        rows = [["share", "before", "after", "change", "interval"]]
        for row in shares:
            both = [row[when] for when in ("before", "after")]
            if row["name"] in ("refused", "no_answer", "reset") and not any(each["events"] for each in both):
                continue
            rows.append([
                f"{SHARE_TEXTS[row['name']]}{' *' if row['is_decisive'] else ''}",
                *(_share(each) for each in both),
                _points(row["difference"]),
                _interval(row["low"], row["high"], _points),
            ])  # fmt: skip
        return self._listing(rows, "lrrrr")

    def _durations(self, durations: Sequence[Facts]) -> list[str]:
        rows = [["of connections", "p50 before", "after", "p95 before", "after", "counted"]]
        for row in durations:
            both = (row["before"], row["after"])
            rows.append([
                DURATION_TEXTS[row["name"]],
                *(units.duration(each[name]) for name in ("p50_ns", "p95_ns") for each in both),
                _change("", *(units.count(each["count"]) for each in both)),
            ])  # fmt: skip
        return self._listing(rows, "lrrrrr")

    def _findings(self, findings: Facts) -> list[str]:
        lines: list[str] = []
        for name, text, style in FINDING_TEXTS:
            for row in findings[name]:
                told = f"{row['severity']} {row['kind']}: {units.printable(row['summary'])}"
                lines += self._row("" if lines else "findings", [Piece(f"{text}: {told}", style)])
        return ["", *lines] if lines else []

    # --- the end

    def _foot(self) -> list[str]:
        confidence = self._facts["confidence"]
        unchanged = round(100 * (1 - confidence["family_level"]))
        tolerated = [units.fraction(self._facts[f"{name}tolerance_fraction"]) for name in ("", "failure_")]
        told = (
            f"* decides. Intervals hold with {_confidence(confidence['level'])} confidence each: of 100 pairs without "
            f"a difference at most {unchanged} is called different, few long slow spells aside. Tolerated: "
            f"{tolerated[0]} of response time and throughput, {tolerated[1]} of failures and of segments sent again."
        )
        lines = wrapped([Piece(told)], self._screen.width, self._screen)
        for when, other in (("before", "after"), ("after", "before")):
            alone = [
                units.endpoint(each["server_address"], each["server_port"]) for each in self._facts[f"only_{when}"]
            ]
            if alone:
                more = f" and {len(alone) - 10} more" if len(alone) > 10 else ""
                text = f"Only {when}, not {other}: {', '.join(alone[:10])}{more}"
                lines += wrapped([Piece(text, "yellow")], self._screen.width, self._screen)
        if omitted := self._facts["omitted_services"]:
            lines.append(f"{units.count(omitted)} smaller services are not compared (--top)")
        return lines

    def _row(self, label: str, pieces: Sequence[Piece]) -> list[str]:
        return labelled(label, pieces, self._screen, (self._inner, LABEL_WIDTH), ", ")

    def _listing(self, rows: Sequence[Sequence[str]], sides: str) -> list[str]:
        heading, *lines = columns(rows, sides)
        return [self._screen.paint(heading, "dim"), *lines]


def _confidence(level: float) -> str:
    return f"{100 * level:.6g} %"


def _reasons(service: Facts) -> list[str]:
    """Say which of the numbers that decide show a difference, and what else is worse."""
    said = []
    for row in service["response_time"]:
        if row["is_decisive"] and _is_beyond(row, 1):
            name = "median" if row["quantile"] == 0.5 else f"p{100 * row['quantile']:g}"
            said.append(f"{name} {_percent(row['ratio'])} ({_interval(row['low'], row['high'], _percent)})")
    for row in service["shares"]:
        if row["is_decisive"] and _is_beyond(row, 0):
            told = _interval(row["low"], row["high"], _points)
            said.append(f"{SHARE_TEXTS[row['name']]} {_points(row['difference'])} ({told})")
    decided = ("response_time", "failures")
    return said + [WORSE_TEXTS[kind] + _how_much(service, kind) for kind in service["worse"] if kind not in decided]


def _how_much(service: Facts, kind: str) -> str:
    """Say by how much throughput or retransmissions are worse."""
    if kind == "throughput":
        equal = service["throughput_at_equal_concurrency"]
        return f" {_percent(equal['ratio'])} ({_interval(equal['low'], equal['high'], _percent)})"
    if kind == "retransmissions":
        again = next(each for each in service["shares"] if each["name"] == "retransmitted")
        return f" {_points(again['difference'])} ({_interval(again['low'], again['high'], _points)})"
    return ""


def _by_service(worse: Sequence[Facts]) -> dict[str, list[str]]:
    """Say what is worse at each service, and what of it does not count."""
    said: dict[str, list[str]] = {}
    for each in worse:
        text = WORSE_TEXTS[each["kind"]] + ("" if each["is_counted"] else " (does not count)")
        said.setdefault(units.endpoint(each["server_address"], each["server_port"]), []).append(text)
    return said


def _moved(service: Facts) -> list[str]:
    """Say which findings came and went: unless one that came is critical, they decide nothing."""
    said = []
    for when, alike in (("came", ("worse", "within_tolerance")), ("went", ("better",))):
        kinds = list(dict.fromkeys(row["kind"] for row in service["findings"][when]))
        if kinds:
            what = "a finding" if len(kinds) == 1 else f"{len(kinds)} findings"
            said.append(f"{'and' if service['verdict'] in alike else 'but'} {what} {when}: {', '.join(kinds)}")
    return said


def _endpoints(service: Facts) -> str:
    before = units.endpoint(service["server_address"], service["server_port"])
    after = units.endpoint(service["after_server_address"], service["after_server_port"])
    return before if after == before else f"{before}, after it {after}"


def _change(tail: str, before: str, after: str) -> str:
    return f"{before}{tail}" if before == after else f"{before} → {after}{tail}"


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    if float(text) == 0:
        return text
    return ("+" if value > 0 else "−") + text


def _percent(ratio: float | None) -> str:
    """Write a ratio as what was added: ``+10.2 %``, and beyond tenfold as ``×12``."""
    if ratio is None:
        return units.UNKNOWN
    if ratio >= 10 or 0 < ratio <= 0.1:
        return f"×{units.number(ratio)}"
    return f"{_signed(100 * (ratio - 1), 1)} %"


def _points(difference: float | None) -> str:
    return units.UNKNOWN if difference is None else f"{_signed(100 * difference, 2)} %"


def _is_beyond(row: Facts, none: float) -> bool:
    """Tell whether an interval lies wholly on one side of no change."""
    return (row["low"] is not None and row["low"] > none) or (row["high"] is not None and row["high"] < none)


def _interval(low: float | None, high: float | None, write: Any) -> str:
    """Write an interval; one without an end by the other."""
    if low is None or high is None:
        ends = [f"{text} {write(end)}" for text, end in (("at least", low), ("at most", high)) if end is not None]
        return ends[0] if ends else units.UNKNOWN
    return f"{write(low)} to {write(high)}"


def _share(share: Facts) -> str:
    if not share["of"]:
        return units.UNKNOWN
    return f"{units.fraction(share['share'])} of {units.count(share['of'])}"
