"""The facts of a report as plain values: what ``--format json`` prints, and all that the page is drawn from.

Keys are names of the tables' columns where there is one; times are integer nanoseconds; unknown is None.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tcpsight.clock_facts import clock_facts
from tcpsight.output.addresses import address_text, endpoint_text
from tcpsight.output.clock_words import clock_notes
from tcpsight.output.link_types import DECODED, HOLDS_NO_TCP, NAMES, advice
from tcpsight.output.turn_words import turn_notes
from tcpsight.tables import DIRECTIONS, FINDINGS, REASON_TEXTS, REASONS, SEVERITIES, STATES, VANTAGES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpsight.analysis import Run
    from tcpsight.capture.tags import TagSurvey
    from tcpsight.model.distribution import Distribution
    from tcpsight.model.grouping import Endpoint
    from tcpsight.model.services import Client, Service
    from tcpsight.reporting import Report, ServiceReport

Facts = dict[str, Any]

QUANTILES = (0.5, 0.9, 0.95, 0.99)
LARGEST_CLIENTS = 5

SEQUENCED = ("client_retransmissions", "server_retransmissions", "client_gap_bytes", "server_gap_bytes")
"""What nobody can know of connections without sequence numbers."""


def facts(report: Report, quantiles: Sequence[float] = QUANTILES) -> Facts:
    """Give everything a report says as dictionaries, lists, strings and numbers.

    Parameters
    ----------
    report : Report
        What was collected.
    quantiles : sequence of float
        Which quantiles of the response time to tell.
    """
    omitted = report.omitted
    has_unknown = bool((report.unseen.reason == REASONS.index("unknown_link_type")).any())
    return {
        "capture": _capture(report) | {"unknown_link_types": _unknown_link_types(report.run) if has_unknown else []},
        "findings": [finding_facts(row) for row in report.findings],
        "services": [_service(each, report, quantiles) for each in report.services],
        "omitted": {
            "services": omitted.services,
            "requests": omitted.requests,
            "unanswered": omitted.unanswered,
            "in_flight_at_end": omitted.in_flight_at_end,
            "connections": omitted.connections,
            "failed_connections": omitted.failed_connections,
        },
        "unseen": [
            {
                "reason": REASONS[int(row["reason"])],
                "count": int(row["count"]),
                "bytes": int(row["bytes"]),
                "first_frame": int(row["first_frame"]) if row["first_frame"] > 0 else None,
                "first_line": _first_line(report.run) if REASONS[int(row["reason"])] == "unreadable_text" else None,
                "furthest_back_ns": int(row["furthest_back_ns"]) if row["furthest_back_ns"] > 0 else None,
                "meaning": REASON_TEXTS[REASONS[int(row["reason"])]],
            }
            for row in report.unseen
        ],
    }


def finding_facts(row: Any) -> Facts:
    """Tell one row of `Findings`."""
    return {
        "kind": FINDINGS[row["kind"]],
        "severity": SEVERITIES[row["severity"]],
        "subject": row["subject"].decode(),
        "direction": DIRECTIONS[row["direction"]] if row["direction"] < len(DIRECTIONS) else None,
        "start_ns": int(row["start_ns"]),
        "end_ns": int(row["end_ns"]),
        "connections": int(row["connections"]),
        "connection_id": int(row["connection_id"]) if row["connection_id"] >= 0 else None,
        "server_address": address_text(row["server_address"].tobytes(), int(row["ip_version"])),
        "server_port": int(row["server_port"]),
        "confidence": round(float(row["confidence"]), 4),
        "summary": row["summary"].decode(),
        "evidence": json.loads(row["evidence"]),
    }


def _capture(report: Report) -> Facts:
    run = report.run
    pipeline = run.pipeline
    clock = clock_facts(run)
    first_ns, last_ns = pipeline.first_ns, pipeline.last_ns
    return {
        "files": [
            {"path": f.path, "format": f.format, "compression": f.compression or None, "frames": f.frames}
            | ({"problem": f.problem} if f.problem else {})
            for f in run.capture.files
        ],
        "interfaces": [
            {
                "name": i.name,
                "link_type": i.link_type,
                "kernel_drops": i.kernel_drops,
                "interface_drops": i.interface_drops,
            }
            for i in run.capture.interfaces
        ],
        "frames": pipeline.frames,
        "segments": pipeline.segments,
        "start_ns": first_ns,
        "end_ns": last_ns,
        "duration_ns": last_ns - first_ns if first_ns is not None and last_ns is not None else None,
        "connections": sum(each.service.connections for each in report.services) + report.omitted.connections,
        "tunnels": {
            "connections": dict(report.tunnels.connections),
            "pairs_inside_and_outside": report.tunnels.pairs_inside_and_outside,
            "is_complete": report.tunnels.is_complete,
        },
        "selection": _selection(run),
        "response_time": {"start": pipeline.options.start, "end": pipeline.options.end},
        "broken": str(pipeline.broken) if pipeline.broken else None,
        "clock": clock,
        "remarks": clock_notes(clock),
    }


def _first_line(run: Run) -> int | None:
    """Tell the first line that was not understood, where the capture is one text."""
    return run.capture.files[0].unreadable_line if len(run.capture.files) == 1 else None


def _unknown_link_types(run: Run) -> list[Facts]:
    """Tell which of the capture's link types are not decoded, and what can be done about it."""
    numbers = {each.link_type for each in run.capture.interfaces} - DECODED - HOLDS_NO_TCP
    return [{"link_type": number, "name": NAMES.get(number), "advice": advice(number)} for number in sorted(numbers)]


def _selection(run: Run) -> Facts:
    """Tell which part of the capture was asked for."""
    selection = run.pipeline.options.selection
    servers = [
        endpoint_text(s.address, s.port or None, s.ip_version) if s.address else f":{s.port}" for s in selection.servers
    ]
    return {
        "servers": servers,
        "filter": run.frame_filter.expression if run.frame_filter else None,
        "since_ns": selection.since_ns,
        "until_ns": selection.until_ns,
    }


def distribution_facts(values: Distribution, quantiles: Sequence[float], *, is_told: bool = True) -> Facts:
    """Tell a distribution; None where there is no value, or it means nothing."""
    is_known = values.count > 0 and is_told

    def known(value: int) -> int | None:
        return value if is_known else None

    return {
        "count": values.count,
        "mean_ns": round(values.mean) if is_known else None,
        "min_ns": known(values.min),
        **{quantile_name(p): known(values.quantile(p)) for p in quantiles},
        "max_ns": known(values.max),
        "is_exact": values.is_exact,
    }


def quantile_name(p: float) -> str:
    """Name a quantile: ``p50_ns``, ``p99_ns``, ``p99.9_ns``."""
    return f"p{float(f'{100 * p:.10g}'):g}_ns"


def _service(each: ServiceReport, report: Report, quantiles: Sequence[float]) -> Facts:
    service, series = each.service, each.series
    # Where the clock was set back, more time passed than the series tells; in an instant none did.
    length_ns = report.run.pipeline.elapsed_ns
    span_ns = int(series.length_ns.sum()) if length_ns else 0
    address, port, version = each.endpoint
    # Where the sides do not take turns, nothing that follows from response times is told.
    is_told = service.turns.hold is not False
    busy_ns = length_ns if is_told else 0
    # Of times that were gone through twice, busy ones are known once.
    used_ns = span_ns if is_told and span_ns == length_ns else 0
    told = {
        "server_address": address_text(address, version),
        "server_port": port,
        "requests": service.requests,
        "unanswered": service.unanswered if is_told else None,
        "in_flight_at_end": service.in_flight_at_end,
        "overlapped": service.overlapped,
        "turns": _turns(service),
        "request_bytes": service.request_bytes,
        "response_bytes": service.response_bytes,
        "throughput_per_s": service.requests * 1e9 / length_ns if length_ns else None,
        "concurrency": int(series.weighted_ns.sum()) / busy_ns if busy_ns else None,
        "unanswered_concurrency": int(series.unanswered_weighted_ns.sum()) / length_ns if busy_ns else None,
        "utilization_fraction": int(series.busy_ns.sum()) / used_ns if used_ns else None,
        "response_time": distribution_facts(service.response_times, quantiles, is_told=is_told),
        "histogram": [
            {"low_ns": step.low_ns, "high_ns": step.high_ns, "count": step.count}
            for step in (service.response_times.histogram() if is_told else ())
        ],
        "interval_ns": report.interval_ns,
        "series": _series(series, is_told=is_told),
        "count_dispersion": _dispersions(each),
        "connections": _connections(service, quantiles),
        "clients": _clients(service),
        "slowest_requests": [_request(row, _place(row, each, report)) for row in service.slowest.rows if is_told],
        "unanswered_requests": [_waiting(row, _place(row, each, report)) for row in service.waiting.rows if is_told],
    }
    return told | {"is_waited_through": _is_waited_through(told), "remarks": turn_notes(told)}


def _is_waited_through(service: Facts) -> bool:
    """Tell whether somebody waited, and nobody asked: of a part of the time, those who wait may have come before it."""
    arrived = service["requests"] + (service["unanswered"] or 0) + service["in_flight_at_end"]
    return not arrived and bool(service["concurrency"] or service["unanswered_concurrency"])


def _turns(service: Service) -> Facts:
    """Tell whether the sides take turns, and what speaks against it."""
    usual, turns = service.turns, service.own_turns
    return {
        "hold": usual.hold,
        "reason": usual.reason,
        "doubt": usual.doubt,
        "overlapped": turns.overlapped,
        "overlapped_fraction": turns.overlapped / turns.requests if turns.requests else None,
        "overlapped_fraction_low": turns.overlapped_low if turns.requests else None,
        "in_parts": turns.in_parts,
        "trickling": turns.trickling,
        "client_again": turns.client_again,
        "server_again": turns.server_again,
        "reaction_distance": usual.reactions.distance,
        "first": turns.first,
        "handshakes": turns.handshakes,
        "unsolicited_bytes": service.unsolicited_bytes,
        "from_their_syn": service.whole_connections,
    }


def _series(series: Any, *, is_told: bool = True) -> list[Facts]:
    names = ("start_ns", "length_ns", "arrivals", "completions", "throughput_per_s", "concurrency")
    rest = ("utilization_fraction", "response_time_p99_ns", "unanswered", "unanswered_backlog")
    columns = {name: series.rows[name].tolist() for name in names + rest}
    for name in ("throughput_per_s", "concurrency", "utilization_fraction"):
        columns[name] = [value if value == value else None for value in columns[name]]
    columns["is_cut_short"] = series.stumps().tolist()
    columns["response_time_p99_ns"] = [v if v >= 0 and is_told else None for v in columns["response_time_p99_ns"]]
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _dispersions(each: ServiceReport) -> list[Facts] | None:
    """Tell how much counts of arrivals and completions vary, at each scale; None where that was not looked at."""
    return [scale._asdict() for scale in each.dispersions] if each.dispersions is not None else None


def _connections(service: Service, quantiles: Sequence[float]) -> Facts:
    totals: dict[str, int | None] = dict(service.totals)
    if service.unsequenced_connections == service.connections:
        totals |= dict.fromkeys(SEQUENCED)
    return {
        "count": service.connections,
        "states": {name: int(n) for name, n in zip(STATES, service.states, strict=True) if n},
        "stateless": service.stateless_connections,
        "failed": service.failed_connections,
        "retried": service.retried_connections,
        "joined": service.joined_connections,
        "reaching_beyond": service.reaching_connections,
        "unsequenced": service.unsequenced_connections,
        "connect": distribution_facts(service.connect_times, quantiles),
        "server_handshake_rtt": distribution_facts(service.server_handshake_rtts, quantiles),
        "client_handshake_rtt": distribution_facts(service.client_handshake_rtts, quantiles),
        "times": {f"{part}_ns": ns for part, ns in service.times_ns.items()},
        "vantages": {name: int(n) for name, n in zip(VANTAGES, service.vantages, strict=True) if n},
        **{("farewells" if name == "is_farewell" else name): total for name, total in totals.items()},
    }


def _clients(service: Service) -> Facts:
    ranked = sorted(
        ((key, client) for key, client in service.clients.items() if key is not None),
        key=lambda item: (-item[1].response_time_sum_ns, -item[1].unanswered, -item[1].connections, item[0]),
    )
    is_told = service.turns.hold is not False

    def is_known(client: Client) -> bool:
        return client.requests > 0 and is_told

    return {
        "count": len(ranked),
        "is_complete": None not in service.clients,
        "largest": [
            {
                "client_address": address_text(*key),
                "requests": client.requests,
                "unanswered": client.unanswered,
                "connections": client.connections,
                "response_time_sum_ns": client.response_time_sum_ns if is_told else None,
                "response_time_mean_ns": client.response_time_sum_ns // client.requests if is_known(client) else None,
                "response_time_max_ns": client.response_time_max_ns if is_known(client) else None,
            }
            for key, client in ranked[:LARGEST_CLIENTS]
        ],
    }


def named_request(row: Any, ip_version: int) -> tuple[Endpoint, Facts]:
    """Give the client's endpoint of a row of Requests or Unanswered, and the facts that say which request it is."""
    client = (row["client_address"].tobytes(), int(row["client_port"]), ip_version)
    return client, {
        "connection_id": int(row["connection_id"]),
        "request_index": int(row["request_index"]),
        "client_address": address_text(client[0], ip_version),
        "client_port": client[1],
        "arrival_ns": int(row["arrival_ns"]),
    }


def _place(row: Any, each: ServiceReport, report: Report) -> Facts:
    server = each.endpoint
    # Rows of requests do not tell; a display filter finds what is outside of tunnels too.
    is_tunnelled = each.service.tunnelled_connections > 0
    client, named = named_request(row, server[2])
    return {
        **named,
        "filter": isolating_filter(client, server, report.run.tags, is_tunnelled=is_tunnelled),
    }


def capture_filter(client: Endpoint, server: Endpoint) -> str:
    """Write the BPF expression that matches the untagged frames between two endpoints, in both directions."""
    terms = [f"host {address_text(address, version)}" for address, _, version in (client, server)]
    terms += [f"port {port}" for _, port, _ in (client, server)]
    return " and ".join(dict.fromkeys(["tcp", *terms]))


def display_filter(client: Endpoint, server: Endpoint) -> str:
    """Write the option that makes tshark show the frames between two endpoints, whatever is in front of them."""
    fields = {4: "ip.addr", 6: "ipv6.addr"}
    terms = [f"{fields[version]} == {address_text(address, version)}" for address, _, version in (client, server)]
    terms += [f"tcp.port == {port}" for _, port, _ in (client, server)]
    return f"tshark -Y '{' and '.join(dict.fromkeys(terms))}'"


def isolating_filter(client: Endpoint, server: Endpoint, tags: TagSurvey, *, is_tunnelled: bool = False) -> str:
    """Write what finds the frames between two endpoints in this capture.

    It is a capture filter, with an alternative for each number of VLAN tags: the one without comes first, because
    ``vlan`` moves all that follows it. Behind tunnels, labels and sessions only a display filter finds them.
    """
    if is_tunnelled or tags.has_others:
        return display_filter(client, server)
    plain = text = capture_filter(client, server)
    for _ in range(tags.vlan_tags):
        text = f"({plain}) or (vlan and ({text}))"
    return text


def _request(row: Any, place: Facts) -> Facts:
    return {
        **place,
        "response_time_ns": int(row["response_time_ns"]),
        "request_bytes": int(row["request_bytes"]),
        "response_bytes": int(row["response_bytes"]),
    }


def _waiting(row: Any, place: Facts) -> Facts:
    return {
        **place,
        "waited_ns": int(row["end_ns"] - row["arrival_ns"]),
        "request_bytes": int(row["request_bytes"]),
    }
