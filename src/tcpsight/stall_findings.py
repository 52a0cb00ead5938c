"""What is wrong at a service as findings: stalls, slowdowns, bands of response times, sides that take no turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from tcpsight.facts import named_request
from tcpsight.model.bands import Band
from tcpsight.model.findings import Finding, Key
from tcpsight.model.grouping import Endpoint
from tcpsight.model.joining import COVERED
from tcpsight.model.lasting import CHANCE as LASTING_CHANCE
from tcpsight.model.lasting import Lasting
from tcpsight.model.muteness import Muteness
from tcpsight.model.silences import Silences
from tcpsight.model.slowdowns import CHANCE as SLOW_CHANCE
from tcpsight.model.slowdowns import Slowdown
from tcpsight.model.stall_list import Stall, StallLists, StallSum
from tcpsight.model.stalls import ALARM, CHANCE
from tcpsight.model.turns import Turns
from tcpsight.tables import Requests, Unanswered

MOST_STALLS = 5
"""Stalls of a service that are told one by one, those at which most was waited; others are added up."""

LONG_NS = 5_000_000_000
"""A stall as long as this is critical, as a window that is closed so long."""

NOTABLE = 10
"""A stall of fewer median response times is no more than worth knowing."""

FELT_NS = 100_000_000
"""What takes longer is felt by a person who waits for it (Miller, AFIPS 1968; Card and others, CHI 1991)."""

SHARE = 0.01
"""Of the requests, or of the time: what moves a 99th percentile, or throughput by a hundredth."""

EXAMPLES = 5

LONE = 0.5
"""How sure it is that who waits alone, or with few, where there is only ever one, does not wait for what it asked."""

DOUBTED = 0.4
"""How sure it is that requests waited where nobody was heard."""

RULE = (
    "between two completions, requests waited longer, each and together, than chance lets happen once in a million "
    "requests, by the gaps and the response times around it; or several were released together, and by chance the one "
    "after the other would have been"
)

LONE_RULE = (
    "where there was only ever one request at a time before, one waited, or several together, for a second and a "
    "thousand median response times, and longer than gaps between completions by chance are once in a million requests"
)

SLOWDOWN_NUMBERS = ("throughput_per_s", "usual_throughput_per_s", "concurrency", "usual_concurrency")

FilterOf = Callable[[Endpoint, Endpoint], str]
"""Writes what isolates the frames between a client and a server."""


@dataclass(slots=True)
class Usual:
    """What a stall of a service is measured by.

    Attributes
    ----------
    service : Endpoint
        Which.
    requests : int
        How many it had, answered or not.
    first_ns, last_ns : int
        The first arrival, and the last answer.
    """

    service: Endpoint
    requests: int = 0
    first_ns: int = 2**63 - 1
    last_ns: int = -(2**63)

    def add(self, requests: Requests) -> None:
        """Take requests in order of arrival."""
        self.service = (*self.service[:2], int(requests.ip_version[0]))
        self.requests += len(requests)
        ends = requests.rows["end_ns"] if isinstance(requests, Unanswered) else requests.completion_ns
        self.first_ns = min(self.first_ns, int(requests.arrival_ns[0]))
        self.last_ns = max(self.last_ns, int(ends.max()))

    def of_requests(self, count: int) -> float:
        """Tell which share of the requests so many are: of a part of the time, all may have waited, and more."""
        return round(min(count / max(self.requests, 1), 1.0), 6)

    def of_time(self, duration_ns: int) -> float:
        """Tell which share of the time with requests that is."""
        return round(duration_ns / max(self.last_ns - self.first_ns, duration_ns, 1), 6)

    def severity(self, stall: Stall | StallSum, ratio: float, *, is_over: bool = True) -> str:
        """Tell how bad one is, or several are together, of which the longest took `ratio` median response times."""
        longest_ns = stall.duration_ns if isinstance(stall, Stall) else stall.longest_ns
        share = max(self.of_requests(stall.requests), self.of_time(stall.duration_ns))
        if longest_ns >= LONG_NS:
            return "critical"
        if ratio < NOTABLE or (longest_ns < FELT_NS and share < SHARE):
            return "info"
        return "warning" if is_over else "critical"


def no_turns_finding(usual: Usual, turns: Turns) -> Finding:
    """Say that there are no response times, or that they may mean nothing."""
    # Overlaps are of some connections; that both sides speak as they like is seen in all that were looked at.
    connections = turns.connections if turns.is_overlapping else turns.connections | turns.reactions.connections
    numbers = {
        "requests": turns.requests,
        "overlapped": turns.overlapped,
        "overlapped_fraction": round(turns.overlapped / turns.requests, 4),
        "overlapped_fraction_low": round(turns.overlapped_low, 4),
        "in_parts": turns.in_parts,
        "trickling": turns.trickling,
        "client_again": turns.client_again,
        "server_again": turns.server_again,
        "reaction_distance": turns.reactions.distance,
        "reason": turns.reason,
        "doubt": turns.doubt,
    }
    return Finding(
        Key("no_turns", -1, *usual.service),
        "info",
        confidence=0.95 if turns.reason else 0.5,
        start_ns=usual.first_ns,
        end_ns=usual.last_ns,
        connections=len(connections),
        connection_id=min(connections, default=-1),
        numbers=numbers,
        rule="5 % or more of the requests (the lower end of the 95 % interval) were sent while an answer was going on; "
        "or both sides speak again before the other has, no oftener than at random, and the server after a request as "
        "if nobody had asked: times before and after requests are alike, as with pipelining or push",
        examples=sorted(connections)[:EXAMPLES],
    )


def no_answers_finding(usual: Usual, mute: Muteness) -> Finding:
    """Say that nobody who asked ever had an answer."""
    numbers = {
        "requests": mute.waited,
        "answered": mute.answered,
        "connections": mute.waited,
        "still_waiting": mute.still_waiting,
        "longest_ns": mute.longest_ns,
    }
    return Finding(
        Key("no_answers", -1, *usual.service),
        "warning" if mute.waited > 1 else "info",
        confidence=0.7 if mute.waited > 1 else 0.5,
        start_ns=mute.first_ns,
        end_ns=mute.last_ns,
        connections=mute.waited,
        connection_id=mute.connection_id,
        numbers=numbers,
        rule="no request of the service was answered, and several waited a second, or one five seconds, after all of "
        "it had been sent, longer than sending it took; or at most one in twenty was, and ten waited 0.1 s",
        examples=mute.examples,
    )


def band_finding(service: Endpoint, band: Band) -> Finding:
    """Tell of requests that take the same time."""
    numbers = {
        "low_ns": band.low_ns,
        "high_ns": band.high_ns,
        "requests": band.requests,
        "expected": round(band.expected, 2),
        "stretches": band.stretches,
        "log10_chance": round(-min(band.surprise, 1e6) / math.log(10), 1),
    }
    return Finding(
        Key("slow_band", -1, *service),
        "info",
        confidence=0.95,
        start_ns=band.first_ns,
        end_ns=band.last_ns,
        connections=1,
        connection_id=band.connection_id,
        numbers=numbers,
        rule="eight times as many requests as next to it, and than chance lets be once in a million, in 5 stretches of "
        "256 or more took the same time within 14 %, four medians or more",
        examples=[band.connection_id],
    )


def stall_findings(usual: Usual, lists: StallLists, left_out: int, filter_of: FilterOf) -> Iterable[Finding]:
    """Tell the worst stalls one by one, the others together, and how many requests were not looked at."""
    ranked, rest = lists.found.worst(MOST_STALLS)
    for stall in ranked:
        yield _finding(usual, stall, filter_of)
    if rest.stalls or left_out:
        yield _others(usual, rest, left_out)
    ranked, rest = lists.doubted.worst(MOST_STALLS)
    for stall in ranked:
        yield _doubted(_finding(usual, stall, filter_of), stall.unheard_ns)
    if rest.stalls:
        yield _doubted(_others(usual, rest, 0), rest.unheard_ns)


def unheard_ns(silences: Silences, stall: Stall) -> int:
    """Tell for how long nothing was captured in a stall; 0 if it was not for half of it, and it is not doubted."""
    silent_ns = silences.within(stall.start_ns, stall.end_ns)
    return silent_ns if silent_ns >= COVERED * stall.duration_ns else 0


def _doubted(finding: Finding, silent_ns: int) -> Finding:
    """Say no more of the server than that it may be."""
    numbers = finding.numbers | {"not_captured_ns": silent_ns, "possible_severity": finding.severity}
    if "cause" in numbers:
        numbers |= {"cause": "unheard", "blocker": None, "spoke_again": None}
    return replace(finding, severity="warning", confidence=DOUBTED, numbers=numbers)


def _finding(usual: Usual, stall: Stall, filter_of: FilterOf) -> Finding:
    service = usual.service
    first = next(row for row in (stall.spoke_again, stall.blocker, stall.example) if row is not None)
    numbers: dict[str, Any] = {
        "duration_ns": stall.duration_ns,
        "silent_ns": stall.silent_ns,
        "time_fraction": usual.of_time(stall.duration_ns),
        "is_over": stall.is_over,
        "requests": stall.requests,
        "requests_fraction": usual.of_requests(stall.requests),
        "never_answered": stall.unanswered,
        "waited_ns": stall.waited_ns,
        "longest_wait_ns": stall.longest_wait_ns,
        "answered_meanwhile": stall.answered_meanwhile,
        "released_within_ns": max(stall.drained_ns - stall.end_ns, 0) if stall.is_over else None,
        "median_response_time_ns": stall.median_ns,
        "log10_chance": round(-min(stall.surprise, 1e6) / math.log(10), 1),
        "false_alarms_per_request": CHANCE,
        "cause": stall.cause,
        "blocker": _request(service, stall.blocker, filter_of),
        "spoke_again": _request(service, stall.spoke_again, filter_of),
    }
    severity = usual.severity(stall, stall.duration_ns / max(stall.median_ns, 1), is_over=stall.is_over)
    confidence = 0.99 if stall.surprise > 20 else 0.95
    is_lone = stall.cause == "alone" or stall.surprise < ALARM
    if is_lone:
        # Perhaps it is only slow, or they are.
        severity, confidence = "warning", LONE
    return Finding(
        Key(stall.kind, -1, *service),
        severity,
        confidence=confidence,
        start_ns=stall.start_ns,
        end_ns=stall.end_ns,
        connections=stall.connections,
        connection_id=int(first["connection_id"]),
        numbers=numbers,
        rule=LONE_RULE if is_lone else RULE,
        examples=stall.examples[:EXAMPLES],
    )


def _request(service: Endpoint, row: Any, filter_of: FilterOf) -> dict[str, Any] | None:
    if row is None:
        return None
    client, named = named_request(row, service[2])
    return {
        **named,
        "response_time_ns": int(row["end_ns"] - row["arrival_ns"]),
        "filter": filter_of(client, service),
    }


def _others(usual: Usual, stalls: StallSum, left_out: int) -> Finding:
    """Add up the stalls that are not told one by one; the worst lends its connection."""
    numbers = {
        "stalls": stalls.stalls,
        "longest_ns": stalls.longest_ns,
        "together_ns": stalls.duration_ns,
        "time_fraction": usual.of_time(stalls.duration_ns),
        "requests": stalls.requests,
        "requests_fraction": usual.of_requests(stalls.requests),
        "waited_ns": stalls.waited_ns,
        "not_looked_at": left_out,
        "false_alarms_per_request": CHANCE,
    }
    is_any = stalls.stalls > 0
    return Finding(
        Key("stall", -1, *usual.service),
        usual.severity(stalls, stalls.longest_ratio) if is_any else "info",
        confidence=0.95,
        start_ns=stalls.start_ns if is_any else usual.first_ns,
        end_ns=stalls.end_ns if is_any else usual.last_ns,
        connections=stalls.connections,
        connection_id=stalls.examples[0] if is_any else -1,
        numbers=numbers,
        rule=RULE,
        examples=stalls.examples[:EXAMPLES],
    )


def slowdown_findings(usual: Usual, slowdowns: list[Slowdown]) -> Iterable[Finding]:
    """Tell the slowdowns in which the most answers are missing one by one, and the others together."""
    ranked = sorted(slowdowns, key=lambda each: (-each.missing, each.start_ns))
    for each in ranked[:MOST_STALLS]:
        yield _slowdown(usual, [each])
    if ranked[MOST_STALLS:]:
        yield _slowdown(usual, ranked[MOST_STALLS:])


def _slowdown(usual: Usual, slowdowns: list[Slowdown]) -> Finding:
    together_ns = sum(each.duration_ns for each in slowdowns)
    worst = slowdowns[0]
    # Little's law: how long requests were there, on average.
    resident_ns = 1e9 * worst.concurrency / max(worst.throughput_per_s, 1e9 / worst.duration_ns)
    numbers = {
        "slowdowns": len(slowdowns),
        "duration_ns": max(each.duration_ns for each in slowdowns),
        "together_ns": together_ns,
        "time_fraction": usual.of_time(together_ns),
        "scale_ns": worst.scale_ns,
        **{name: round(getattr(worst, name), 3) for name in SLOWDOWN_NUMBERS},
        "residence_ns": round(resident_ns),
        "requests": sum(each.completions for each in slowdowns),
        "missing": sum(each.missing for each in slowdowns),
        "log10_chance": round(-min(worst.surprise, 1e6) / math.log(10), 1),
        "false_alarms_per_request": SLOW_CHANCE,
    }
    is_felt = usual.of_time(together_ns) >= SHARE or resident_ns >= FELT_NS
    return Finding(
        Key("slowdown", -1, *usual.service),
        "warning" if is_felt else "info",
        confidence=0.99 if worst.surprise > 20 else 0.95,
        start_ns=min(each.start_ns for each in slowdowns),
        end_ns=max(each.end_ns for each in slowdowns),
        numbers=numbers,
        rule="fewer completions in a slice of time than chance lets be once in a million requests, by the slices "
        "around it, while concurrency was above its median by three times its usual spread, or grew so",
    )


def lasting_finding(usual: Usual, lasting: Lasting) -> Finding:
    """Tell when requests took longer for a large part of the time."""
    numbers = {
        "duration_ns": lasting.end_ns - lasting.start_ns,
        "stretches": lasting.stretches,
        "together_ns": lasting.together_ns,
        "has_before": lasting.has_before,
        "has_after": lasting.has_after,
        "residence_ns": round(lasting.residence_ns),
        "usual_residence_ns": round(lasting.usual_residence_ns),
        **{
            name: round(getattr(lasting, name), 3)
            for name in ("throughput_per_s", "usual_throughput_per_s", "concurrency", "usual_concurrency")
        },
        "slices": lasting.slices,
        "log10_chance": round(-min(lasting.surprise, 1e6) / math.log(10), 1),
        "false_alarms_per_capture": LASTING_CHANCE,
    }
    return Finding(
        Key("lasting_slowdown", -1, *usual.service),
        # What was slow at first and is no longer may have warmed up.
        "info" if lasting.is_loaded_more or not (lasting.has_before or lasting.stretches > 1) else "warning",
        confidence=0.95,
        start_ns=lasting.start_ns,
        end_ns=lasting.end_ns,
        numbers=numbers,
        rule="in a stretch of a tenth or more slices of time have a longer mean time in the system than those outside, "
        "in nine of ten pairs, by half or more in their medians, less likely by chance than once in a million captures",
    )
