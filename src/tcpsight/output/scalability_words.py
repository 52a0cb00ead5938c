"""What a scalability model says, in rows of a label and pieces: the terminal's page and the browser's show the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tcpsight.output import units
from tcpsight.output.drawing import Piece

Facts = dict[str, Any]

LEAST_FREE = -0.999
"""No coefficient: nothing below −1 is tried."""
CLOSE = 0.98
"""R² from which on a wrong shape changes little of what the law predicts within the data."""
SUSPICIOUS = 0.01
"""Probability by chance below which a check is told as a warning."""

WHAT_HELPS = (
    "load that goes from one request at a time to more than the service can take, while little else changes: such as "
    "1, 2, 4, 8, 16 clients that never pause, half a minute each"
)

MORE_CLIENTS = "more clients, until more of them do not get more done, half a minute at each step"

WHAT_HELPS_INSTEAD = {
    "no_requests": "a service whose requests are answered: 'tcpsight report' tells what there is",
    "too_few": "a longer capture, or shorter intervals (--interval)",
    "rises": MORE_CLIENTS,
    "seems_to_fall": "the same load again, longer: half a minute or more near the peak, and as long beyond it",
    "levels_off": (
        "to get more done, what requests wait for: a lock, a pool of connections, processors; to know whether "
        "throughput falls, still more clients"
    ),
}
"""By the code of a refusal."""


class Row(NamedTuple):
    """One row.

    Attributes
    ----------
    label : str
        What it is about.
    pieces : list of Piece
        What it says.
    separator : str
        Between them.
    """

    label: str
    pieces: list[Piece]
    separator: str = ", "


def model_words(model: Facts) -> Facts:
    """Give what a model says as plain values: rows of a label and of pieces, each a text and a style or None."""
    words = ModelWords(model)
    parts = {"data": words.data(), "answer": words.answer(), "checks": words.checks()}
    return {
        name: [[row.label, [[piece.text, piece.style] for piece in row.pieces]] for row in rows]
        for name, rows in parts.items()
    }


def what_helps(codes: Sequence[str]) -> str:
    """Say what to do where no model is told, by the codes of the reasons."""
    return next((text for code, text in WHAT_HELPS_INSTEAD.items() if code in codes), WHAT_HELPS)


class ModelWords:
    """What one model says.

    Parameters
    ----------
    model : dict
        Its facts, as of `tcpsight.scalability_facts.facts_of`.
    """

    def __init__(self, model: Facts) -> None:
        self._model = model
        is_capture = "server_port" in model
        self._rate: Callable[[float | None], str] = units.rate if is_capture else units.number
        self._one = "interval" if model["points"]["kind"] == "intervals" else "point"

    def data(self) -> list[Row]:
        """Say what was fitted: points, those left out, doubts, the load."""
        return [*self._points(), *self._load()]

    def answer(self) -> list[Row]:
        """Say what came of it: coefficients or a refusal, peak, limit, headroom."""
        return [*self._coefficients(), *self._capacity()]

    @staticmethod
    def _rows(label: str, pieces: list[Piece], separator: str = ", ") -> list[Row]:
        return [Row(label, pieces, separator)]

    def _points(self) -> list[Row]:
        points = self._model["points"]
        text = units.counted(points["used"], self._one)
        if self._model.get("interval_ns"):
            why = self._model["interval_reason"] if points["used"] else None  # of none there is nothing to explain
            text += f" of {why or units.duration(self._model['interval_ns'])}"
        lines = self._rows("points", [Piece(text)])
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
            lines += self._rows("left out", pieces)
        if points["without_completion"]:
            what = f"{units.counted(points['without_completion'], self._one)} with concurrency and without a completion"
            lines += self._rows("stood still", [Piece(what, "yellow")])
        return lines + self._doubts()

    def _doubts(self) -> list[Row]:
        """Tell what makes concurrency doubtful, or the law."""
        model, pieces = self._model, []
        if model.get("unanswered"):
            pieces.append(
                Piece(
                    f"{units.counted(model['unanswered'], 'request was', 'requests were')} never answered: not in N",
                    "red",
                )
            )
        if model.get("in_flight_at_end"):
            told = units.counted(model["in_flight_at_end"], "request was", "requests were")
            pieces.append(Piece(f"{told} in flight at the end of the capture: not in N"))
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
        return self._rows("beware", pieces, "; ") if pieces else []

    def _load(self) -> list[Row]:
        load = self._model["load"]
        if load is None:
            return []
        lines: list[Row] = []
        for label, name, write in (
            ("concurrency", "concurrency", units.number),
            ("throughput", "throughput_per_s", self._rate),
        ):
            pieces = [Piece(f"{word} {write(load[f'{name}_{key}'])}") for word, key in _QUANTILES]
            lines += self._rows(label, pieces, "   ")
        return lines

    def _coefficients(self) -> list[Row]:
        model, lines = self._model, list[Row]()
        meanings = {
            "sigma": ("σ contention", "the share of the work that waits for its turn"),
            "kappa": ("κ coherency", "what each pair of requests costs each other"),
            "lambda": ("λ alone", "throughput of one request at a time"),
        }
        for key, (label, meaning) in meanings.items():
            value = model[key]
            write = self._rate if key == "lambda" else _coefficient
            if value is None:
                lines += self._rows(label, [Piece(units.UNKNOWN), Piece(meaning)], "  ")
                continue
            ends = f"({write(value['low'])} to {write(value['high'])})"
            lines += self._rows(label, [Piece(write(value["value"]), "bold"), Piece(ends), Piece(meaning)], "  ")
        if model["refusal"]:
            lines += self._rows("refused", [Piece(part, "yellow") for part in model["refusal"].split("; ")], "; ")
            lines += self._rows("what helps", [Piece(what_helps(model["refusal_codes"]))])
        return lines + self._superlinear()

    def _superlinear(self) -> list[Row]:
        model, parts = self._model, []
        for name in model["negative"]:
            free = model["unconstrained"][name]
            # At the end of what is tried it is no coefficient: the points told nothing.
            if free["value"] <= LEAST_FREE and not model["is_superlinear"]:
                continue
            parts.append(f"{_LETTERS[name]} would be {_coefficient(free['value'])} ± {_coefficient(free['error'])}")
        if not parts:
            return []
        text = f"perhaps: without the law's limits {' and '.join(parts)}, which may be chance"
        if model["is_superlinear"]:
            text = (
                f"throughput grows faster than the law allows; without its limits {' and '.join(parts)}, which is "
                "more than chance explains: these points do not follow the law"
            )
        return self._rows("superlinear", [Piece(text, "red" if model["is_superlinear"] else "yellow")])

    def _capacity(self) -> list[Row]:
        model, lines = self._model, list[Row]()
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
            lines += self._rows("peak", pieces, "  ")
        limit = model["limit_per_s"]
        if limit is not None:
            ends = f"({self._rate(limit['low'])} to {self._rate(limit['high'])})"
            pieces = [Piece(self._rate(limit["value"])), Piece(ends), Piece("λ/σ, which contention alone would allow")]
            lines += self._rows("limit", pieces, "  ")
        return lines + self._headroom()

    def _headroom(self) -> list[Row]:
        room = self._model["headroom"]
        if room is None or room["throughput_fraction"] is None:
            return []
        is_table = self._model["points"]["kind"] == "points"
        if room["is_beyond_peak"]:
            return self._rows("headroom", [Piece(self._beyond_peak(is_table=is_table), "red")])
        more, low, high = (max(room[f"throughput_{name}fraction"] or 0, 0) for name in ("", "low_", "high_"))
        more, low, high = (round(each, 4) for each in (more, low, high))
        least = "" if room["against"] == "peak" else "at most "
        text = f"{least}{units.fraction(more)} more throughput than the 95th percentile of "
        text += "the points" if is_table else "now"
        ends = f"({units.fraction(low)} to {units.fraction(high)})"
        return self._rows("headroom", [Piece(text), Piece(ends)], " ")

    def _beyond_peak(self, *, is_table: bool) -> str:
        """Say what is beyond the peak: the load that there was, or points that somebody measured."""
        busy, at = self._model["load"]["concurrency_p95"], units.number(self._model["peak_concurrency"])
        if is_table:
            return f"none: the points reach beyond the peak, where the law has less throughput than at {at}"
        return (
            f"none: at concurrency {units.number(busy)}, the 95th percentile, the load is beyond the peak at {at}: "
            "less of it gives more throughput"
        )

    def checks(self) -> list[Row]:
        """Say how far to trust it."""
        checks = self._model["checks"]
        if checks is None:
            return []
        lines: list[Row] = []
        confidence = self._model["confidence"]
        how = f"{units.count(confidence['resamples'])} resamples"
        if confidence["block_intervals"]:
            how += f" in blocks of {units.counted(confidence['block_intervals'], 'interval')}"
        lines += self._rows(
            "confidence", [Piece("in brackets, 95 % (of σ, κ and λ for all three at once)"), Piece(f"by {how}")]
        )
        lines += self._rows("residuals", self._residuals(checks), "; ")
        if (little := checks["littles_law"]) is not None:
            text = f"X·R is {units.number(little['ratio_total'])} N over all"
            spread = (
                f"{units.number(little['ratio_p05'])} to {units.number(little['ratio_p95'])} in nine of ten intervals"
            )
            lines += self._rows("Little's law", [Piece(text), Piece(spread)])
        return lines + self._queue()

    def _residuals(self, checks: Facts) -> list[Piece]:
        pieces = [Piece(f"R² {units.number(checks['r_squared'])}")]
        told = {
            "runs_by_concurrency_p_value": "they follow each other by concurrency: the points have another shape",
            "runs_by_time_p_value": "they follow each other in time: something else changed, too",
            "spread_p_value": "their spread changes with throughput",
        }
        found = [Piece(text, "yellow") for key, text in told.items() if _is_small(checks[key])]
        if not found and checks["runs_by_concurrency_p_value"] is None:
            return [*pieces, Piece("too few to look for a pattern in them")]
        return pieces + (found or [Piece("no pattern found in them")])

    def _queue(self) -> list[Row]:
        queue = self._model["queue"]
        if queue is None:
            return []
        if not queue["is_identified"]:
            return self._rows(
                "M/M/m",
                [Piece("no queue before equal servers to compare with: its servers were never all busy, or always")],
            )
        text = f"{units.counted(queue['servers'], 'server')} of {units.duration(queue['service_time_ns'])} each"
        if queue["aicc"] is None or queue["aicc_usl"] is None:
            return self._rows(
                "M/M/m", [Piece(f"{text} would fit; the points are too few, or their loads, to prefer it or the law")]
            )
        verdict = {
            "usl": "explains the points worse than the law",
            "mmm": "explains the points better than the law: prefer it",
            None: "explains the points as well as the law",
        }[queue["better"]]
        aicc = f"(AICc {units.number(queue['aicc'])} against {units.number(queue['aicc_usl'])})"
        text += f" ({units.rate(queue['capacity_per_s'])} at most)"
        return self._rows("M/M/m", [Piece(text), Piece(f"{verdict} {aicc}")])


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
