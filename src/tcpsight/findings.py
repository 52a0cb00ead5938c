"""Findings from a whole capture: what ended is judged as it comes, and written in sentences when all has been seen."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from math import log10
from typing import TYPE_CHECKING, Any

from tcpsight.model.findings import Finding, FindingCollection, OfTime, rank
from tcpsight.output.addresses import endpoint_text
from tcpsight.output.blocks import BlockWriter
from tcpsight.output.units import bit_rate, count, counted, duration, fraction, number, rate, size
from tcpsight.pipeline import Batch
from tcpsight.stalling import StallCollection
from tcpsight.tables import (
    DIRECTIONS,
    FINDINGS,
    MOMENTARY_FINDINGS,
    SEVERITIES,
    Connections,
    Findings,
    Network,
    Policed,
)

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.selection import Selection

Numbers = dict[str, Any]

SILENT_HOLDER = "a lock whose holder was silent (idle in a transaction)"

_WITHOUT_NUMBERS = ("refused", "listen_overflow", "one_way_capture")
"""Whose sentence tells nothing of a single connection; that of any other has the numbers of the worst."""

LOOSE_RATE = 0.1
"""A policer's rate is told with its bounds where one of them lies farther away than this share of it."""

BLOCK_ROWS = 4096
"""Connections that are looked at together."""


def _lasting(n: Numbers) -> str:
    usual, slow = duration(n["usual_residence_ns"]), duration(n["residence_ns"])
    if n["has_after"] or n["stretches"] > 1:
        when = f"for {duration(n['together_ns'])}, {n['stretches']} times"
        if n["stretches"] == 1:
            when = ("" if n["has_before"] else "at first, ") + f"for {duration(n['duration_ns'])}"
        return (
            f"requests took {slow} {when}, and {usual} otherwise; throughput was "
            f"{rate(n['throughput_per_s'])} then and {rate(n['usual_throughput_per_s'])} otherwise, "
            f"concurrency {number(n['concurrency'])} and {number(n['usual_concurrency'])}"
        )
    return (
        f"requests took {usual} before and {slow} from then on, to the end; throughput went from "
        f"{rate(n['usual_throughput_per_s'])} to {rate(n['throughput_per_s'])}, "
        f"concurrency from {number(n['usual_concurrency'])} to {number(n['concurrency'])}"
    )


def _policed_rate(n: Numbers) -> str:
    """Tell a policer's rate, and its bounds where they are wide."""
    best, low, high = (n[name] for name in ("rate_bits_per_s", "rate_low_bits_per_s", "rate_high_bits_per_s"))
    # A lake that was written before bounds were known has none.
    if (low or -1) < 0 or (high or -1) < 0 or max(high - best, best - low) <= LOOSE_RATE * best:
        return bit_rate(best)
    return f"some {bit_rate(best)} (anything from {bit_rate(low)} to {bit_rate(high)} explains the losses)"


_SENTENCES: dict[str, Callable[[Numbers], str]] = {
    "blackhole": lambda n: (
        f"data sent again {counted(n['retransmissions'], 'time')} without a sign of the other side"
        + (", until it came back" if n["is_over"] else "")
    ),
    "path_mtu_blackhole": lambda n: (
        f"segments of {n['payload_bytes']} B vanish (sent again {counted(n['retransmissions'], 'time')}), "
        + (
            f"{n['largest_acknowledged_bytes']} B pass"
            if n["largest_acknowledged_bytes"] > 0
            else "none as large has passed"
        )
    ),
    "bufferbloat": lambda n: (
        f"round trips rise from {duration(n['rtt_min_ns'])} to {duration(n['rtt_p95_ns'])} "
        f"with {size(n['in_flight_max_bytes'])} in flight"
        if n["rtt_p95_ns"] is not None
        else "round trips by the receiver's timestamps rise from "
        f"{duration(n['echo_rtt_min_ns'])} to {duration(n['echo_rtt_max_ns'])}"
    ),
    "policing": lambda n: f"a token bucket drops what exceeds {_policed_rate(n)}",
    "shaping": lambda n: f"a queue delays what exceeds {bit_rate(n['rate_bits_per_s'])}",
    "zero_window_stall": lambda n: (
        f"the receiver did not read: its window was closed for {duration(n['longest_ns'])} at a time"
    ),
    "window_limited": lambda n: (
        "the receiver's window "
        + (f"of {size(n['window_max_bytes'])} " if n["window_max_bytes"] is not None else "")
        + "held the sender back "
        + (
            f"for {duration(n['window_limited_ns'])} of {duration(n['non_idle_ns'])}"
            if n["window_limited_ns"] is not None
            else f"to {size(n['bytes_per_round_trip'])} in each round trip"
        )
    ),
    "nagle_delayed_ack": lambda n: f"small segments waited {counted(n['times'], 'time')} for a delayed acknowledgment",
    "slow_start_after_idle": lambda n: f"after a pause the sender began slowly again, {counted(n['times'], 'time')}",
    "syn_loss": lambda n: f"{counted(n['syns'], 'SYN')} until the connection came about",
    "syn_flood": lambda n: (
        f"{counted(n['handshakes'], 'handshake')} begun with one SYN and never completed, from "
        f"{counted(n['client_addresses'], 'address', 'addresses')}"
        + ("" if n["has_data"] else "; unless nothing but SYNs and their answers was captured")
    ),
    "listen_overflow": lambda n: "the server drops handshakes: its queue of connections to accept is full",
    "refused": lambda n: "connections were refused",
    "unanswered": lambda n: (
        f"{counted(n['connect_attempts'], 'SYN')} without an answer"
        + (f" in {duration(n['waited_ns'])}" if n["waited_ns"] else ", one each: clients gave up at once")
    ),
    "reset_storm": lambda n: f"{count(n['resets'])} of {counted(n['connections'], 'connection')} reset",
    "half_open_leak": lambda n: (
        f"{counted(n['half_closed'] + n['vanished'], 'connection')} "
        "that one side closed or left and the other never did"
    ),
    "one_way_capture": lambda n: "only one direction was captured: what needs both is unknown",
    "connection_churn": lambda n: (
        f"{fraction(n['connect_fraction'])} of the life of {counted(n['connections'], 'connection')} is connecting"
    ),
    "stall": lambda n: _stall(n, "nothing was answered" + _part(n)),
    "slow_band": lambda n: (
        f"{counted(n['requests'], 'request')} took {duration(n['low_ns'])} to {duration(n['high_ns'])} each, "
        f"again and again, {number(n['expected'])} expected: they waited for a timer, or one thing is slow"
    ),
    "no_turns": lambda n: (
        f"{n['reason']}; there are no response times"
        if n["reason"]
        else f"{n['doubt']}; response times may mean nothing"
    ),
    "no_answers": lambda n: (
        f"{counted(n['answered'], 'request was', 'requests were') if n['answered'] else 'no request was'} answered, "
        f"{counted(n['requests'], 'was not', 'were not')}, and the longest waited {duration(n['longest_ns'])}; "
        "unless no answer is due here"
    ),
    "lasting_slowdown": _lasting,
    "slowdown": lambda n: (
        f"for {duration(n['duration_ns'])} throughput was {rate(n['throughput_per_s'])} where "
        f"{rate(n['usual_throughput_per_s'])} is usual, with {number(n['concurrency'])} requests at a time instead of "
        f"{number(n['usual_concurrency'])}" + (f"; {n['slowdowns']} times in all" if n["slowdowns"] > 1 else "")
    ),
    "pile_up": lambda n: _stall(
        n, counted(n.get("answered_meanwhile", 0), "other was answered", "others were answered")
    ),
}


def _stall(n: Numbers, meanwhile: str) -> str:
    if n.get("not_captured_ns"):
        return _unheard(n)
    if "stalls" in n:
        were = counted(n["not_looked_at"], "waiting request was", "waiting requests were")
        left_out = f"{were} not looked at, as there were too many" if n["not_looked_at"] else ""
        if not n["stalls"]:
            return f"{left_out}: there may be stalls that are not told"
        # Of a capture that goes on the worst ones may have been told long ago.
        others = f"{counted(n['stalls'], 'stall')} beside the worst, up to {duration(n['longest_ns'])} long"
        text = f"{others}; {counted(n['requests'], 'request')} waited"
        return f"{text}; {left_out}" if left_out else text
    text = f"{counted(n['requests'], 'request')} waited for up to {duration(n['longest_wait_ns'])}, {meanwhile}"
    if n["cause"] == "alone":
        usual = f"where {duration(n['median_response_time_ns'])} are usual"
        text = f"the only request there was waited for {duration(n['duration_ns'])}, {usual}"
        text += "" if n["is_over"] else ", and was not answered when the capture ended"
        return f"{text}; whether the server stopped or it takes so long is not seen"
    doubt = ""
    if n["log10_chance"] > log10(n["false_alarms_per_request"]):
        doubt = "; whether the server stopped or they take so long is not seen"
    if not n["is_over"]:
        return f"{text}; it was not over when the capture ended{doubt}"
    return text + _released(n) + _cause(n) + doubt


def _released(n: Numbers) -> str:
    """Tell how a stall ended for those that had waited, of whom some may have been given up."""
    never = n["never_answered"]
    answered = n["requests"] - never
    if not answered:
        return "; none of them was ever answered"
    within = n["released_within_ns"]
    when = f"released within {duration(within)}" if within or answered == 1 else "released at one instant"
    return f"; {answered} of them {when}, {never} never answered" if never else f"; {when}"


def _unheard(n: Numbers) -> str:
    """Tell of a stall in which nothing was captured."""
    silent, waited = duration(n["not_captured_ns"]), counted(n["requests"], "request")
    text = f"nothing at all was captured for {silent}" + (f", {n['stalls']} times" if "stalls" in n else "")
    return f"{text}: either {waited} waited meanwhile, or the clock was set or capturing stood still"


def _cause(n: Numbers) -> str:
    """Tell what requests waited for, no more than their order says."""
    first, spoke = n["blocker"], n["spoke_again"]
    request = f"request {first['request_index']} of connection {first['connection_id']}" if first else ""
    if spoke:
        text = (
            f"; perhaps they waited for {SILENT_HOLDER}: connection {spoke['connection_id']} "
            f"(port {spoke['client_port']}) spoke again just when they were released"
        )
        text += f"; or for {request}, which came first" if first else ""
        return text + ("; or the server as a whole stopped" if n["cause"] in ("server", "either") else "")
    if n["cause"] == "unseen":
        return f"; what they waited for is not seen here: perhaps {SILENT_HOLDER}"
    if n["cause"] == "server":
        return f"; the server as a whole stopped, or they waited for {SILENT_HOLDER}"
    if n["cause"] == "either":
        return (
            f"; the server as a whole stopped, or they waited for {request}, which came first, or for {SILENT_HOLDER}"
        )
    return f"; probably they waited for {request}, or for {SILENT_HOLDER}"


def _part(n: Numbers) -> str:
    return f" for {duration(n['silent_ns'])} of it" if n.get("silent_ns", 0) < n.get("duration_ns", 0) else " meanwhile"


class Judging:
    """Judge blocks of connections, whose network came before; `collection` has what was found."""

    def __init__(self, of_time: OfTime | None, *, has_data: bool) -> None:
        self.collection = FindingCollection(of_time, has_data=has_data)
        self._networks: deque[Network] = deque()

    def keep(self, network: Network) -> None:
        """Keep the network of the next block."""
        self._networks.append(network.copy())

    def judge(self, connections: Connections) -> None:
        """Judge the next block."""
        self.collection.feed(self._networks.popleft(), connections)


class FindingTable:
    """Collect batches until the capture has ended, then give the table; once.

    Parameters
    ----------
    selection : Selection, optional
        Of a part of the time: findings are those that overlap it.
    block_rows : int
        How many connections are judged together: rules cost much per call and little per row.
    has_data : bool
        Whether data were captured before; a filter that passes SYNs alone makes any connection look like a flood's.
    """

    def __init__(
        self, selection: Selection | None = None, *, block_rows: int = BLOCK_ROWS, has_data: bool = False
    ) -> None:
        of_time = selection.of_time if selection is not None and selection.is_part else None
        self._judging = Judging(of_time, has_data=has_data)
        # There are two rows of Network for each of Connections.
        self._network = BlockWriter(Network, 2 * block_rows, self._judging.keep)
        self._connections = BlockWriter(Connections, block_rows, self._judging.judge)

    def add(self, batch: Batch) -> None:
        """Take a batch of a run that carries `Findings`; of another there is nothing to find."""
        self.add_ended(batch.connections, batch.network)
        self.add_policed(batch.policed)

    def add_ended(self, connections: Connections, network: Network) -> None:
        """Take connections, with their two rows of Network each; without these there is nothing to find."""
        if len(network):
            self._network.write(network)
            self._connections.write(connections)

    def add_policed(self, policed: Policed) -> None:
        """Take exchanges that were judged."""
        if len(policed):
            self._judging.collection.feed_policed(policed)

    @property
    def has_data(self) -> bool:
        """Whether data were captured, as far as was judged."""
        return self._judging.collection.has_data

    def found(
        self, more: Iterable[Finding] = (), *, now_ns: int | None = None, stepped_back_ns: int = 0
    ) -> list[Finding]:
        """Give what was found, the worst first; `more` is what others found. For the rest see `FindingCollection`."""
        self._network.flush()
        self._connections.flush()
        conditions = self._judging.collection.finish(now_ns, stepped_back_ns=stepped_back_ns)
        # Where one side was not captured, nobody knows whether it answered.
        half_seen = {each.key[2:] for each in conditions if each.key.kind == "one_way_capture"}
        heard = [each for each in more if each.key.kind != "no_answers" or each.key[2:] not in half_seen]
        return sorted([*conditions, *heard], key=rank)

    def table(self, more: Iterable[Finding] = (), *, stepped_back_ns: int = 0) -> Findings:
        """Give one row per finding, the worst first; `more` is what others found."""
        return written(self.found(more, stepped_back_ns=stepped_back_ns))


class CaptureFindings:
    """Collect all there is to find: the network's conditions, and the stalls of services.

    Parameters
    ----------
    selection : Selection, optional
        Of a part of the time: findings are those that overlap it.
    """

    def __init__(self, selection: Selection | None = None) -> None:
        self._conditions = FindingTable(selection)
        self._stalls = StallCollection()

    def add(self, batch: Batch) -> None:
        """Take a batch of a run that carries `Findings`."""
        self._conditions.add(batch)
        self._stalls.add(batch)

    def table(self, run: Run) -> Findings:
        """Give one row per finding, the worst first, when the run has ended; once."""
        return self._conditions.table(self._stalls.findings(run), stepped_back_ns=run.pipeline.clock_steps.back_ns)


def written(found: Sequence[Finding]) -> Findings:
    """Write findings as rows, in sentences."""
    table = Findings.allocate(len(found))
    for row, finding in enumerate(found):
        _write(table, row, finding)
    return table


def _write(table: Findings, row: int, finding: Finding) -> None:
    key = finding.key
    record = table.rows[row]
    record["kind"] = FINDINGS.index(key.kind)
    record["severity"] = SEVERITIES.index(finding.severity)
    for name in ("start_ns", "end_ns", "connections", "connection_id", "confidence"):
        record[name] = getattr(finding, name)
    record["direction"] = key.direction if key.direction >= 0 else 255
    record["ip_version"] = key.ip_version
    record["server_port"] = key.port
    if key.address is not None:
        record["server_address"] = memoryview(key.address)
    record["subject"] = _subject(finding).encode()
    record["summary"] = _summary(finding).encode()[: Findings.dtype["summary"].itemsize]
    record["evidence"] = _evidence(finding)


def _subject(finding: Finding) -> str:
    key = finding.key
    if key.address is None:
        return "other services"
    where = endpoint_text(key.address, key.port, key.ip_version)
    if key.kind in ("syn_loss", "unanswered", "refused", "one_way_capture") or key.direction < 0:
        return where
    return f"{where}, data of the {DIRECTIONS[key.direction]}"


def _summary(finding: Finding) -> str:
    text = _SENTENCES[finding.key.kind](finding.numbers)
    is_counted = finding.key.kind in MOMENTARY_FINDINGS or {"connections", "half_closed"} & finding.numbers.keys()
    if finding.connections > 1 and not is_counted:
        worst = "" if finding.key.kind in _WITHOUT_NUMBERS else "the worst of "
        text += f"; {worst}{counted(finding.connections, 'connection')}"
    return text


def _evidence(finding: Finding) -> bytes:
    """Write the rule, what met it in the connection that shows it most, and some others."""
    evidence = {"rule": finding.rule, **finding.numbers, "connection_ids": finding.examples}
    return json.dumps(evidence, separators=(",", ":"), allow_nan=False).encode()
