"""A scalability model as a page for a terminal, drawn from its facts and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tcpsight.output import units
from tcpsight.output.drawing import Screen, labelled, text_page
from tcpsight.output.listings import Fit, listing
from tcpsight.output.scalability_words import ModelWords, Row
from tcpsight.output.scatter import Scatter, scatter_lines

Facts = dict[str, Any]

LABEL_WIDTH = 16
INDENT = "  "
WIDEST_PLOT = 90


def page(facts: Facts, screen: Screen | None = None) -> str:
    """Draw the page.

    Parameters
    ----------
    facts : dict
        What `tcpsight.scalability` gives.
    screen : Screen, optional
        What it is shown on.
    """
    shown = screen or Screen()
    sources = facts["source"]
    name = units.printable(sources[0]) if len(sources) == 1 else f"{len(sources)} files"
    lines = [shown.paint(name, "bold")]
    for service in facts["services"] or [facts]:
        lines += ["", *_Model(service, shown).lines()]
    if facts.get("omitted_services"):
        lines += ["", f"{facts['omitted_services']} smaller services are not shown (--top N)."]
    return text_page(lines, shown)


class _Model:
    """One model under way: every method gives lines."""

    def __init__(self, model: Facts, screen: Screen) -> None:
        self._model = model
        self._screen = screen
        self._inner = screen.width - len(INDENT)
        is_capture = "server_port" in model
        self._rate: Callable[[float | None], str] = units.rate if is_capture else units.number

    def lines(self) -> list[str]:
        model = self._model
        lines = []
        if "server_port" in model:
            name = units.endpoint(model["server_address"], model["server_port"])
            lines.append(self._screen.paint(f"Service {name}", "title"))
        words = ModelWords(model)
        inner = [*self._drawn(words.data()), "", *self._drawn(words.answer()), *self._plot(), *self._forecast()]
        if checks := words.checks():
            inner += ["", self._screen.paint("how far to trust it", "bold"), *self._drawn(checks)]
        return lines + [INDENT + line if line else "" for line in inner]

    def _drawn(self, rows: Sequence[Row]) -> list[str]:
        lines: list[str] = []
        for row in rows:
            lines += labelled(row.label, row.pieces, self._screen, (self._inner, LABEL_WIDTH), row.separator)
        return lines

    def _plot(self) -> list[str]:
        data, curve = self._model["data"], self._model["curve"] or {"concurrency": [], "throughput_per_s": []}
        if not data["concurrency"]:
            return []
        peak = self._model["peak_concurrency"]
        xs, ys = curve["concurrency"], curve["throughput_per_s"]
        drawn = Scatter(data["concurrency"], data["throughput_per_s"], data["is_used"], xs, ys, peak)
        title = "throughput by concurrency" + (": points and the law" if xs else "")
        width = min(self._inner, WIDEST_PLOT)
        return [
            "",
            self._screen.paint(title, "bold"),
            *scatter_lines(drawn, self._screen, width, (units.number, self._rate)),
        ]

    def _forecast(self) -> list[str]:
        rows = self._model["forecast"]
        if not rows:
            return []
        table = {
            "concurrency": [units.number(row["concurrency"]) for row in rows],
            "throughput": [self._rate(row["throughput_per_s"]) for row in rows],
            "95 % band": [f"{self._rate(row['low_per_s'])} to {self._rate(row['high_per_s'])}" for row in rows],
            "response time": [units.duration(row["response_time_ns"]) for row in rows],
            "efficiency": [units.fraction(row["efficiency_fraction"]) for row in rows],
            "": ["not seen yet" if row["is_beyond_data"] else "" for row in rows],
        }
        heading, lines = listing(table, self._inner, Fit(left=("",), dispensable=("efficiency", "", "95 % band")))
        title = self._screen.paint("forecast", "bold")
        return ["", title, *(self._screen.paint(line, "dim") for line in heading), *(row[0] for row in lines)]
