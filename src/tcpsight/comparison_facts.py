"""The facts of a comparison as plain values: what ``compare --format json`` prints, and its page is drawn from.

Keys are names of the tables' columns where there is one; times are integer nanoseconds; a ratio is after / before; a
share is between 0 and 1; unknown is None.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tcpsight.comparison import CollectedCapture, Comparison, ServicePair, ServiceSide
from tcpsight.model.equal_load import EqualLoad, Level
from tcpsight.model.grouping import Endpoint
from tcpsight.model.health import CONNECTION_KINDS, REQUEST_KINDS
from tcpsight.model.shares import Share, difference
from tcpsight.model.shifting import RESAMPLES, QuantileShift, quantiles_of, shifts_between
from tcpsight.model.turns import MOST_OVERLAPPED
from tcpsight.model.verdicts import (
    DECISIVE_QUANTILES,
    FAMILY_LEVEL,
    SOUGHT,
    WORST_FIRST,
    Answer,
    level_of_each,
    verdict_of,
)
from tcpsight.output.addresses import address_text
from tcpsight.tables import DIRECTIONS, FINDINGS, SEVERITIES
from tcpsight.worsening import WORSE_KINDS, is_gone, vanished, worse_kinds

Facts = dict[str, Any]

DIGITS = 9
DECISIVE_SHARES = ("unanswered", "failed")
ENDPOINT = ("server_address", "server_port")


@dataclass(frozen=True, slots=True)
class Tolerance:
    """By how much a service may be worse.

    Attributes
    ----------
    response_time : float
        By which share response times may be longer, and throughput at equal concurrency lower.
    failures : float
        How much larger the shares of unanswered requests, failed connections and retransmitted segments may be.
    counted : tuple of str
        Which of `WORSE_KINDS` count for ``is_worse``.
    """

    response_time: float = 0.05
    failures: float = 0.01
    counted: tuple[str, ...] = WORSE_KINDS


def comparison_facts(comparison: Comparison, tolerance: Tolerance | None = None) -> Facts:
    """Give everything that two captures tell together.

    Parameters
    ----------
    comparison : Comparison
        What was collected of both.
    tolerance : Tolerance, optional
        By how much a service may be worse; 5 % and 1 % by default.
    """
    tolerance = tolerance or Tolerance()
    level = level_of_each(len(comparison.pairs))
    asked = _Asked(tolerance, level, comparison.quantiles)
    services = [_service(comparison, pair, asked) for pair in comparison.pairs]
    gone = [_endpoint(each) for each in vanished(comparison)]
    worse = _worse(services, gone, tolerance.counted)
    verdicts = {service["verdict"] for service in services} | ({"worse"} if gone else set())
    return {
        "verdict": next((each for each in WORST_FIRST if each in verdicts), "too_little_data"),
        "is_worse": any(each["is_counted"] for each in worse),
        "worse": worse,
        "tolerance_fraction": tolerance.response_time,
        "failure_tolerance_fraction": tolerance.failures,
        "confidence": {
            "family_level": FAMILY_LEVEL,
            "level": _round(level),
            "method": "shares of requests below each quantile, by circular blocks of requests in order of arrival",
            "sought_fraction": SOUGHT,
        },
        "before": _capture(comparison.before),
        "after": _capture(comparison.after),
        "services": services,
        "omitted_services": comparison.omitted,
        "only_before": [_endpoint(each) for each in comparison.only[0]],
        "only_after": [_endpoint(each) for each in comparison.only[1]],
    }


def _worse(services: list[Facts], gone: list[Facts], counted: tuple[str, ...]) -> list[Facts]:
    """Tell what is worse, and where, in the order of `WORSE_KINDS`."""
    found = [(kind, service) for service in services for kind in service["worse"]]
    found += [("vanished", service) for service in gone]
    return [
        {"kind": kind, **{name: service[name] for name in ENDPOINT}, "is_counted": kind in counted}
        for kind, service in sorted(found, key=lambda each: WORSE_KINDS.index(each[0]))
    ]


@dataclass(frozen=True, slots=True)
class _Asked:
    tolerance: Tolerance
    level: float
    quantiles: Any


def _capture(collected: CollectedCapture) -> Facts:
    pipeline = collected.run.pipeline
    first_ns, last_ns = collected.span
    return {
        "files": [each.path for each in collected.run.capture.files],
        "frames": pipeline.frames,
        "segments": pipeline.segments,
        "start_ns": first_ns,
        "end_ns": last_ns,
        "duration_ns": last_ns - first_ns,
        "broken": str(pipeline.broken) if pipeline.broken else None,
    }


def _endpoint(endpoint: Endpoint) -> Facts:
    return {"server_address": address_text(endpoint[0], endpoint[2]), "server_port": endpoint[1]}


def _service(comparison: Comparison, pair: ServicePair, asked: _Asked) -> Facts:
    shares, share_answers = _shares(pair, asked)
    # Where the sides do not take turns there is no response time, and nothing that follows from one.
    refusal = next((side.service.turns.reason for side in pair.sides if side.service.turns.reason is not None), None)
    response_time: list[Facts] = []
    answers: list[Answer] = []
    detectable, equal_load = math.nan, EqualLoad(refusal=refusal)
    if refusal is None:
        both = [quantiles_of(side.slices, asked.quantiles) for side in pair.sides]
        shifts = shifts_between(both[0], both[1])
        response_time, answers = _response_time(pair, shifts, asked)
        detectable = shifts[int(np.flatnonzero(asked.quantiles == 0.5)[0])].detectable(asked.level)
        equal_load = comparison.at_equal_load(pair)
    facts = {
        **_endpoint(pair.before.endpoint),
        "after_server_address": address_text(pair.after.endpoint[0], pair.after.endpoint[2]),
        "after_server_port": pair.after.endpoint[1],
        "verdict": verdict_of(answers + share_answers, detectable),
        "worse": [],
        "detectable_fraction": _grown(detectable),
        "requests": {"before": pair.before.service.requests, "after": pair.after.service.requests},
        "in_flight_at_end": {
            "before": pair.before.service.in_flight_at_end,
            "after": pair.after.service.in_flight_at_end,
        },
        "overlapped": {"before": pair.before.service.overlapped, "after": pair.after.service.overlapped},
        "is_overlapped": _is_overlapped(pair),
        "refusal": refusal,
        "response_time": response_time,
        "load": _load(comparison, pair, is_told=refusal is None),
        "throughput_at_equal_concurrency": _equal_load(equal_load, asked.level, pair.interval_ns),
        "shares": shares,
        "durations": _durations(pair),
        "findings": _findings(comparison, pair),
    }
    tolerances = asked.tolerance.response_time, asked.tolerance.failures
    if worse := worse_kinds(facts, tolerances, is_gone=is_gone(comparison, pair)):
        facts |= {"verdict": "worse", "worse": worse}
    return facts


def _response_time(pair: ServicePair, shifts: list[QuantileShift], asked: _Asked) -> tuple[list[Facts], list[Answer]]:
    rows, answers = [], []
    for i, (p, shift) in enumerate(zip(asked.quantiles.tolist(), shifts, strict=True)):
        low, high = shift.interval(asked.level)
        is_decisive = p in DECISIVE_QUANTILES
        if is_decisive:
            answers.append(Answer(low, high, math.log1p(asked.tolerance.response_time)))
        # What is shown is what `report` shows: a response time that a request had, by nearest rank.
        before, after = (side.service.response_times for side in pair.sides)
        rows.append({
            "quantile": p,
            "before_ns": before.quantile(p) if before.count else None,
            "after_ns": after.quantile(p) if after.count else None,
            "ratio": _ratio(shift.value),
            "low": _ratio(low),
            "high": _ratio(high),
            "detectable_fraction": _grown(shift.detectable(asked.level)),
            "blocks": [_round(float(each.blocks[i])) for each in (shift.before, shift.after)],
            "is_decisive": is_decisive,
        })  # fmt: skip
    return rows, answers


def _shares(pair: ServicePair, asked: _Asked) -> tuple[list[Facts], list[Answer]]:
    both = [_shares_of(side) for side in pair.sides]
    rows, answers = [], []
    for name, before in both[0].items():
        after = both[1][name]
        low, high = difference(before, after, asked.level)
        is_decisive = name in DECISIVE_SHARES
        if is_decisive:
            answers.append(Answer(low, high, asked.tolerance.failures))
        rows.append({
            "name": name,
            "before": {"events": before.events, "of": before.trials, "share": _round(before.value)},
            "after": {"events": after.events, "of": after.trials, "share": _round(after.value)},
            "difference": _round(after.value - before.value),
            "low": _round(low),
            "high": _round(high),
            "is_decisive": is_decisive,
        })  # fmt: skip
    return rows, answers


def _shares_of(side: ServiceSide) -> dict[str, Share]:
    shares = {REQUEST_KINDS[1]: side.health.requests.share(1, 0)}
    for number, name in enumerate(CONNECTION_KINDS[1:], 1):
        shares[name] = side.health.connections.share(number, 0)
    return shares | {"retransmitted": side.health.retransmissions.share()}


def _durations(pair: ServicePair) -> list[Facts]:
    """Tell how long set-up and round trips took: they are of connections, mostly too few for more than to be told."""
    both = [(side.service.connect_times, *side.health.round_trips) for side in pair.sides]
    rows = []
    for name, *durations in zip(("connect", "client_round_trip", "server_round_trip"), *both, strict=True):
        row: Facts = {"name": name}
        for when, values in zip(("before", "after"), durations, strict=True):
            row[when] = {
                "count": values.count,
                "p50_ns": values.quantile(0.5) if values.count else None,
                "p95_ns": values.quantile(0.95) if values.count else None,
            }
        rows.append(row)
    return rows


def _load(comparison: Comparison, pair: ServicePair, *, is_told: bool) -> Facts:
    told = {}
    for when, side, capture in zip(("before", "after"), pair.sides, (comparison.before, comparison.after), strict=True):
        span_ns = capture.run.pipeline.elapsed_ns
        resident_ns = int(side.occupancy.weighted_ns.sum()) if side.occupancy is not None and is_told else None
        told[when] = {
            "throughput_per_s": _round(side.service.requests * 1e9 / span_ns) if span_ns else None,
            "concurrency": _round(resident_ns / span_ns) if span_ns and resident_ns is not None else None,
            "mean_response_time_ns": (
                round(side.service.response_times.mean) if side.service.requests and is_told else None
            ),
        }
    return told


def _equal_load(found: EqualLoad, level: float, interval_ns: int) -> Facts:
    low, high = found.shift.interval(level) if found.shift is not None else (math.nan, math.nan)
    return {
        "ratio": _ratio(found.shift.value) if found.shift is not None else None,
        "low": _ratio(low),
        "high": _ratio(high),
        "refusal": found.refusal,
        "resamples": RESAMPLES,
        "interval_ns": interval_ns,
        "levels": [_level(each) for each in found.levels],
    }


def _level(level: Level) -> Facts:
    return {
        "low_concurrency": _round(level.low),
        "high_concurrency": _round(level.high),
        **{
            when: {
                "intervals": level.slices[i],
                "concurrency": _round(level.concurrency[i]),
                "throughput_per_s": _round(level.throughput_per_s[i]),
            }
            for i, when in enumerate(("before", "after"))
        },
    }


def _findings(comparison: Comparison, pair: ServicePair) -> Facts:
    both = []
    for side, capture in zip(pair.sides, (comparison.before, comparison.after), strict=True):
        address, port, version = side.endpoint
        rows: dict[tuple[int, int], Any] = {}
        for row in capture.findings:
            own = (row["server_address"].tobytes(), int(row["server_port"]), int(row["ip_version"]))
            if own == (address, port, version):
                # Of several of a kind, as stalls may be, the worst stands for all.
                key = int(row["kind"]), int(row["direction"])
                if key not in rows or _gravity(row) > _gravity(rows[key]):
                    rows[key] = row
        both.append(rows)
    before, after = both
    return {
        "came": [_finding(after[key]) for key in sorted(after.keys() - before.keys())],
        "went": [_finding(before[key], before[key]) for key in sorted(before.keys() - after.keys())],
        "stayed": [_finding(after[key], before[key]) for key in sorted(after.keys() & before.keys())],
    }


def _is_overlapped(pair: ServicePair) -> bool:
    """Tell whether so many requests were sent while an answer was going on that response times are lower bounds."""
    both = (pair.before.service, pair.after.service)
    return sum(each.overlapped for each in both) > MOST_OVERLAPPED * sum(each.requests for each in both)


def _finding(row: Any, before: Any = None) -> Facts:
    return {
        "kind": FINDINGS[row["kind"]],
        "severity": SEVERITIES[row["severity"]],
        "severity_before": SEVERITIES[before["severity"]] if before is not None else None,
        "possible_severity": SEVERITIES[_gravity(row)],
        "possible_severity_before": SEVERITIES[_gravity(before)] if before is not None else None,
        "direction": DIRECTIONS[row["direction"]] if row["direction"] < len(DIRECTIONS) else None,
        "connections": int(row["connections"]),
        "summary": row["summary"].decode(),
    }


def _gravity(row: Any) -> int:
    """Tell how bad a finding is if what is in doubt of it was so, by number of `SEVERITIES`."""
    possible: str | None = json.loads(row["evidence"]).get("possible_severity")
    return max(int(row["severity"]), SEVERITIES.index(possible) if possible is not None else 0)


def _ratio(log_ratio: float) -> float | None:
    """Give a ratio; None where it is unknown, or has no end."""
    return _round(math.exp(min(log_ratio, 600.0))) if math.isfinite(log_ratio) else None


def _grown(log_ratio: float) -> float | None:
    return _round(math.expm1(min(log_ratio, 600.0))) if not math.isnan(log_ratio) else None


def _round(value: float) -> float | None:
    """Give a number that JSON can hold, without digits that no machine agrees on."""
    return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else None
