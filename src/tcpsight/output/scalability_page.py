"""A scalability model as a page for a terminal, drawn from its facts and from nothing else."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tcpsight.output import units
from tcpsight.output.drawing import Piece, Screen, plain, wrapped
from tcpsight.output.listings import Fit, listing
from tcpsight.output.scatter import Scatter, scatter_lines

Facts = dict[str, Any]

LABEL_WIDTH = 16
INDENT = "  "
WIDEST_PLOT = 90
LEAST_FREE = -0.999
"""No coefficient: nothing below −1 is tried."""
CLOSE = 0.98
"""R² from which on a wrong shape changes little of what the law predicts within the data."""
SUSPICIOUS = 0.01
"""Probability by chance below which a check is told as a warning."""


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
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return text if shown.has_unicode else plain(_letters(text))


def _letters(text: str) -> str:
    """Name Greek letters, for outputs that have none."""
    for letter, name in (("σ", "sigma"), ("κ", "kappa"), ("λ", "lambda"), ("²", "2"), ("√", "sqrt"), ("·", ".")):
        text = text.replace(letter, name)
    return text


class _Model:
    """One model under way: every method gives lines."""

    def __init__(self, model: Facts, screen: Screen) -> None:
        self._model = model
        self._screen = screen
        self._inner = screen.width - len(INDENT)
        is_capture = "server_port" in model
        self._rate: Callable[[float | None], str] = units.rate if is_capture else units.number
        self._one = "interval" if model["points"]["kind"] == "intervals" else "point"

    def lines(self) -> list[str]:
        model = self._model
        lines = []
        if "server_port" in model:
            address = f"[{model['server_address']}]" if ":" in model["server_address"] else model["server_address"]
            lines.append(self._screen.paint(f"Service {address}:{model['server_port']}", "title"))
        inner = [*self._points(), *self._load(), *self._coefficients(), *self._capacity()]
        inner += [*self._plot(), *self._forecast(), *self._checks()]
        return lines + [INDENT + line if line else "" for line in inner]

    def _row(self, label: str, pieces: Sequence[Piece], separator: str = ", ") -> list[str]:
        lines = wrapped(pieces, self._inner - LABEL_WIDTH, self._screen, separator=separator) or [""]
        head = self._screen.paint(label, "dim") + " " * (LABEL_WIDTH - len(label))
        return [head + lines[0], *(" " * LABEL_WIDTH + line for line in lines[1:])]

    def _counted(self, n: int, thing: str) -> str:
        return f"{units.count(n)} {thing}{'' if n == 1 else 's'}"

    def _points(self) -> list[str]:
        points = self._model["points"]
        text = self._counted(points["used"], self._one)
        if self._model.get("interval_ns"):
            text += f" of {self._model['interval_reason'] or units.duration(self._model['interval_ns'])}"
        lines = self._row("points", [Piece(text)])
        left = [
            (
                points["edges"],
                "cut short, or too near to an end of the capture" if "server_port" in self._model else "cut short",
            ),
            (points["idle"], "without concurrency"),
            (points["warm_up"], "of a warm-up, at first"),
            (points["outliers"], "far from all others (× in the plot)"),
        ]
        pieces = [Piece(f"{units.count(n)} {why}") for n, why in left if n]
        if pieces:
            lines += self._row("left out", pieces)
        if points["without_completion"]:
            what = f"{self._counted(points['without_completion'], self._one)} with concurrency and without a completion"
            lines += self._row("stood still", [Piece(what, "yellow")])
        return lines + self._doubts()

    def _doubts(self) -> list[str]:
        """Tell what makes concurrency doubtful, or the law."""
        model, pieces = self._model, []
        if model.get("unanswered"):
            pieces.append(
                Piece(
                    f"{units.counted(model['unanswered'], 'request was', 'requests were')} never answered: not in N",
                    "red",
                )
            )
        if model.get("overlapped"):
            share = units.fraction(model["overlapped"] / model["requests"])
            pieces.append(
                Piece(f"{share} of the requests were sent while a response was going on: N is a lower bound", "yellow")
            )
        checks = model["checks"] or {}
        is_close = (checks.get("r_squared") or 0) >= CLOSE
        if model["forecast"] and _is_small(checks["runs_by_concurrency_p_value"]) and not is_close:
            text = "the points bend in another way than the law does: its peak, headroom and forecast are rough"
            pieces.append(Piece(text, "yellow"))
        return self._row("beware", pieces, "; ") if pieces else []

    def _load(self) -> list[str]:
        load = self._model["load"]
        if load is None:
            return []
        lines = []
        for label, name, write in (
            ("concurrency", "concurrency", units.number),
            ("throughput", "throughput_per_s", self._rate),
        ):
            pieces = [Piece(f"{word} {write(load[f'{name}_{key}'])}") for word, key in _QUANTILES]
            lines += self._row(label, pieces, "   ")
        return lines

    def _coefficients(self) -> list[str]:
        model, lines = self._model, [""]
        meanings = {
            "sigma": ("σ contention", "the share of the work that waits for its turn"),
            "kappa": ("κ coherency", "what each pair of requests costs each other"),
            "lambda": ("λ alone", "throughput of one request at a time"),
        }
        for key, (label, meaning) in meanings.items():
            value = model[key]
            write = self._rate if key == "lambda" else _coefficient
            if value is None:
                lines += self._row(label, [Piece(units.UNKNOWN), Piece(meaning)], "  ")
                continue
            ends = f"({write(value['low'])} to {write(value['high'])})"
            lines += self._row(label, [Piece(write(value["value"]), "bold"), Piece(ends), Piece(meaning)], "  ")
        if model["refusal"]:
            lines += self._row("refused", [Piece(part, "yellow") for part in model["refusal"].split("; ")], "; ")
        return lines + self._superlinear()

    def _superlinear(self) -> list[str]:
        model, parts = self._model, []
        for name in model["negative"]:
            free = model["unconstrained"][name]
            # At the end of what is tried it is no coefficient: the points told nothing.
            if free["value"] <= LEAST_FREE and not model["is_superlinear"]:
                continue
            parts.append(f"{_LETTERS[name]} would be {_coefficient(free['value'])} ± {_coefficient(free['error'])}")
        if not parts:
            return []
        clear = (
            "more than chance explains: these points do not follow the law"
            if model["is_superlinear"]
            else "may be chance"
        )
        text = f"throughput grows faster than the law allows; without its limits {' and '.join(parts)}, which {clear}"
        return self._row("superlinear", [Piece(text, "red" if model["is_superlinear"] else "yellow")])

    def _capacity(self) -> list[str]:
        model, lines = self._model, []
        at, most = model["peak_concurrency_interval"], model["peak_throughput_interval"]
        if at is not None and most is not None:
            pieces = [
                Piece(f"{self._rate(most['value'])}", "bold"),
                Piece(f"({self._rate(most['low'])} to {self._rate(most['high'])})"),
                Piece(f"at concurrency {units.number(at['value'])} ({units.number(at['low'])} to {_high(at['high'])})"),
            ]
            high = model["points"]["level_high"]
            if at["value"] > 1.5 * high:
                pieces.append(Piece(f"beyond the highest that was seen, {units.number(high)}", "yellow"))
            lines += self._row("peak", pieces, "  ")
        limit = model["limit_per_s"]
        if limit is not None:
            ends = f"({self._rate(limit['low'])} to {self._rate(limit['high'])})"
            pieces = [Piece(self._rate(limit["value"])), Piece(ends), Piece("λ/σ, which contention alone would allow")]
            lines += self._row("limit", pieces, "  ")
        return lines + self._headroom()

    def _headroom(self) -> list[str]:
        room = self._model["headroom"]
        if room is None or room["throughput_fraction"] is None:
            return []
        if room["is_beyond_peak"]:
            return self._row(
                "headroom", [Piece("none: the load is beyond the peak, less of it gives more throughput", "red")]
            )
        more, low, high = (max(room[f"throughput_{name}fraction"] or 0, 0) for name in ("", "low_", "high_"))
        more, low, high = (round(each, 4) for each in (more, low, high))
        least = "" if room["against"] == "peak" else "at most "
        text = f"{least}{units.fraction(more)} more throughput than the 95th percentile of now"
        ends = f"({units.fraction(low)} to {units.fraction(high)})"
        return self._row("headroom", [Piece(text), Piece(ends)], " ")

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

    def _checks(self) -> list[str]:
        checks = self._model["checks"]
        if checks is None:
            return []
        lines = ["", self._screen.paint("how far to trust it", "bold")]
        confidence = self._model["confidence"]
        how = f"{units.count(confidence['resamples'])} resamples"
        if confidence["block_intervals"]:
            how += f" in blocks of {self._counted(confidence['block_intervals'], 'interval')}"
        lines += self._row(
            "confidence", [Piece("in brackets, 95 % (of σ, κ and λ for all three at once)"), Piece(f"by {how}")]
        )
        lines += self._row("residuals", self._residuals(checks), "; ")
        if (little := checks["littles_law"]) is not None:
            text = f"X·R is {units.number(little['ratio_total'])} N over all"
            spread = (
                f"{units.number(little['ratio_p05'])} to {units.number(little['ratio_p95'])} in nine of ten intervals"
            )
            lines += self._row("Little's law", [Piece(text), Piece(spread)])
        return lines + self._queue()

    def _residuals(self, checks: Facts) -> list[Piece]:
        pieces = [Piece(f"R² {units.number(checks['r_squared'])}")]
        told = {
            "runs_by_concurrency_p_value": "they follow each other by concurrency: the points have another shape",
            "runs_by_time_p_value": "they follow each other in time: something else changed, too",
            "spread_p_value": "their spread changes with throughput",
        }
        found = [Piece(text, "yellow") for key, text in told.items() if _is_small(checks[key])]
        return pieces + (found or [Piece("no pattern found in them")])

    def _queue(self) -> list[str]:
        queue = self._model["queue"]
        if queue is None:
            return []
        if not queue["is_identified"]:
            return self._row(
                "M/M/m",
                [Piece("no queue before equal servers to compare with: its servers were never all busy, or always")],
            )
        text = f"{self._counted(queue['servers'], 'server')} of {units.duration(queue['service_time_ns'])} each"
        verdict = {
            "usl": "explains the points worse than the law",
            "mmm": "explains the points better than the law: prefer it",
            None: "explains the points as well as the law",
        }[queue["better"]]
        aicc = f"(AICc {units.number(queue['aicc'])} against {units.number(queue['aicc_usl'])})"
        return self._row("M/M/m", [Piece(text), Piece(f"{verdict} {aicc}")])


_QUANTILES = (("median", "p50"), ("p95", "p95"), ("max", "max"))
_LETTERS = {"sigma": "σ", "kappa": "κ"}


def _coefficient(value: float | None) -> str:
    """Write a coefficient with three digits, small ones with a power of ten."""
    if value is None:
        return units.UNKNOWN
    if value != 0 and abs(value) < 1e-4:
        return f"{value:.2e}".replace("-", "−")
    return units.number(value)


def _high(value: float | None) -> str:
    return "∞" if value is None else units.number(value)


def _is_small(p_value: float | None) -> bool:
    return p_value is not None and p_value < SUSPICIOUS
