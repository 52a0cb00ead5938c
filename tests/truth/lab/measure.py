"""Holds what tcpsight says of a run against what is true of it.

Two questions. How far is each number off: `differences` gives, for each quantity that both know, the truth and the
measurement. Which conditions were found: `verdicts` gives, for each kind of finding, whether it was there and whether
it was told.

A quantity is compared only where it can be seen: what a sender did, in the capture at its own end; what arrived, at the
other. Nothing is said of captures that were rewritten, which are there to be judged by their findings.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import tcpsight
from tests.truth.lab import accounts, rates
from tests.truth.lab.scenario import KINDS

Record = dict[str, Any]
SLACK_NS = 3_000_000_000
"""How far a finding may lie from when the condition was: it is noticed later than it begins."""


class Tables(NamedTuple):
    """What was measured in one capture: rows with the columns of the machine formats."""

    connections: list[Record]
    network: list[Record]
    findings: list[Record]


Reader = Callable[[Path], Tables]


def read_with_library(path: Path) -> Tables:
    """Read a capture with tcpsight; a table that the library does not have is empty."""
    capture = tcpsight.open(path)

    def rows(name: str) -> list[Record]:
        table = getattr(capture, name, None)
        found: list[Record] = table.to_arrow().to_pylist() if table is not None else []
        return found

    return Tables(rows("connections"), rows("network"), rows("findings"))


# --- quantities


class Quantity(NamedTuple):
    """A number that tcpsight measures and the laboratory knows.

    `truth` takes what is true of the direction and of the opposite one. `end` is where it is seen: at the end of the
    `sender` or of the `receiver`. A measurement is good if it is off by at most `relative` of the truth, or by
    `absolute`.
    """

    name: str
    column: str
    end: str
    truth: Callable[[Record, Record], float | None]
    relative: float = 0.0
    absolute: float = 0.0
    unit: str = ""
    is_least: bool = False  # less is good too: what can be proved from headers


def _field(name: str) -> Callable[[Record, Record], float | None]:
    return lambda sent, _: sent[name]


def _by_cause(*names: str) -> Callable[[Record, Record], float | None]:
    """Count causes as the kernel saw them, where its tracepoints saw all, and none turned out to be needless.

    What was needless is counted as such, whatever caused it.
    """

    def count(sent: Record, _: Record) -> float | None:
        seen: dict[str, int] = sent["kernel_retransmissions"]
        is_whole = seen["all"] + seen["syn_ack"] == sent["resent"] and not sent["resent_spurious"]
        return sum(seen[name] for name in names) if is_whole else None

    return count


def _of_delivered(sent: Record, _: Record) -> float | None:
    # Goodput is of what was sent for the first time; in the log, of what was acknowledged.
    is_all = sent["info"] and sent["info"]["bytes_acked"] >= sent["bytes"]
    return sent["non_idle_goodput_bits_per_s"] if is_all else None


def _counted(sent: Record, _: Record) -> float | None:
    return sent["info"]["total_retrans"] if sent["info"] else None


def _segments(sent: Record, _: Record) -> float | None:
    # With offload the sender's capture shows fewer, larger ones than the path carries.
    return None if sent["has_offload"] else sent["segments"]


def _min_rtt(sent: Record, _: Record) -> float | None:
    return None if sent["is_rtt_coarse"] else sent["rtt_min_ns"]


QUANTITIES = (
    Quantity("stream bytes", "bytes", "sender", _field("bytes"), unit="B"),
    Quantity("segments", "segments", "sender", _segments),
    Quantity("retransmissions, by the path's log", "retransmissions", "sender", _field("resent")),
    Quantity("retransmissions, by the kernel", "retransmissions", "sender", _counted),
    Quantity("retransmitted bytes", "retransmitted_bytes", "sender", _field("resent_bytes"), unit="B"),
    Quantity("repeated SYNs and FINs", "control_retransmissions", "sender", _field("resent_control")),
    Quantity(
        "after a timeout, by the kernel", "timeout_retransmissions", "sender", _by_cause("timeout", "syn", "syn_ack")
    ),
    Quantity("fast, by the kernel", "fast_retransmissions", "sender", _by_cause("fast")),
    Quantity("tail loss probes, by the kernel", "tail_loss_probes", "sender", _by_cause("probe")),
    Quantity(
        "spurious, by the path's log", "spurious_retransmissions", "sender", _field("resent_spurious"), is_least=True
    ),
    Quantity("reordered on arrival", "reordered", "receiver", _field("reordered")),
    Quantity("duplicate ACKs on arrival", "duplicate_acks", "receiver", lambda sent, _: sent.get("duplicate_acks")),
    Quantity("minimum RTT, by the sockets", "rtt_min_ns", "sender", _min_rtt, 0.02, 100_000, "ns"),
    Quantity("non-idle goodput", "non_idle_goodput_bits_per_s", "sender", _of_delivered, 0.03),
    Quantity("time outstanding", "non_idle_ns", "sender", _field("non_idle_ns"), 0.03, 100_000, "ns"),
    Quantity("most bytes in flight", "in_flight_max_bytes", "sender", _field("in_flight_max_bytes"), 0.03, 3000, "B"),
    Quantity("zero windows", "zero_windows", "sender", _field("zero_windows")),
    Quantity("time with a zero window", "zero_window_ns", "sender", _field("zero_window_ns"), 0.02, 1_000_000, "ns"),
    Quantity("largest window", "window_max_bytes", "sender", _field("window_max_bytes"), unit="B"),
)
"""In the order of the table."""


class Difference(NamedTuple):
    """One number of one connection and direction."""

    quantity: str
    run: str
    vantage: str
    direction: str
    truth: float
    measured: float
    is_good: bool


class Place(NamedTuple):
    """Where a connection was said to be captured, and how sure that was, -1 for unknown."""

    run: str
    vantage: str
    told: str
    confidence: float

    @property
    def is_right(self) -> bool:
        """Whether it was captured there."""
        return self.told == PLACES[self.vantage]


PLACES = {"client": "client", "middle": "between", "server": "server"}
"""What the places of captures are called in the table."""


class Judged(NamedTuple):
    """All that is said of a run."""

    differences: list[Difference]
    verdicts: list[Verdict]
    places: list[Place]
    edges: list[Edge]


def judge(folder: Path, read: Reader = read_with_library) -> Judged:
    """Compare everything of a run, reading each capture once."""
    held = {path: read(path) for path in captures_of(folder)}
    held_at = held.__getitem__
    return Judged(
        differences(folder, held_at), verdicts(folder, held_at), places(folder, held_at), edges(folder, held_at)
    )


def places(folder: Path, read: Reader = read_with_library) -> list[Place]:
    """Tell where each connection was said to be captured."""
    if truth_of(folder)["rewrite"]:
        return []
    run = name_of(folder)
    return [
        Place(
            run,
            vantage_of(path),
            c["vantage"],
            -1.0 if c["vantage_confidence"] is None else c["vantage_confidence"],
        )
        for path in captures_of(folder)
        for c in read(path).connections
    ]


def name_of(folder: Path) -> str:
    """Name a run by its scenario and number."""
    return f"{folder.parent.name}/{folder.name}"


def vantage_of(path: Path) -> str:
    """Tell where a capture was taken."""
    return path.name.split(".")[0]


def truth_of(folder: Path) -> Record:
    """Read what is true of a run."""
    kept = folder / "truth.json.xz"
    data = lzma.decompress(kept.read_bytes()) if kept.exists() else (folder / "truth.json").read_bytes()
    found: Record = json.loads(data)
    return found


def captures_of(folder: Path) -> list[Path]:
    """Give a run's captures."""
    return sorted(folder.glob("*.pcap.*"))


SIDES = {"client": "server", "server": "client"}


def differences(folder: Path, read: Reader = read_with_library) -> list[Difference]:
    """Compare every quantity of a run, in every capture where it can be seen."""
    truth = truth_of(folder)
    if truth["rewrite"]:
        return []
    found: list[Difference] = []
    for path in captures_of(folder):
        vantage = vantage_of(path)
        run = name_of(folder)
        found += _compare(truth, read(path), vantage, run)
        for part, true, measured, is_good in accounts.compare(truth, read(path).connections, vantage):
            found.append(Difference(part.name, run, vantage, "", true, measured, is_good))
        for name, set_to, told in rates.compare(truth, read(path).findings, vantage):
            is_good = abs(told - set_to) <= rates.GOOD * set_to
            found.append(Difference(name, run, vantage, "", set_to, told, is_good))
    return found


def by_direction(tables: Tables) -> dict[tuple[int, str], Record]:
    """Give what was measured by client port and direction; before there is a network table, from connections."""
    ports = {c["connection_id"]: c["client_port"] for c in tables.connections}
    if tables.network:
        return {(ports[n["connection_id"]], n["direction"]): n for n in tables.network if n["connection_id"] in ports}
    return {
        (c["client_port"], side): {k.removeprefix(f"{side}_"): v for k, v in c.items() if k.startswith(f"{side}_")}
        for c in tables.connections
        for side in SIDES
    }


def _compare(truth: Record, tables: Tables, vantage: str, run: str) -> Iterator[Difference]:
    measured = by_direction(tables)
    for connection in truth["connections"]:
        for side, other in SIDES.items():
            row = measured.get((connection["client_port"], side))
            for q in QUANTITIES:
                if row is None or vantage != (side if q.end == "sender" else other):
                    continue
                true, value = q.truth(connection[side], connection[other]), row.get(q.column)
                if true is None or value is None:
                    continue
                error = abs(value - true)
                is_good = error <= q.absolute or error <= q.relative * abs(true) or (q.is_least and value <= true)
                yield Difference(q.name, run, vantage, side, true, value, is_good)


# --- findings


class Verdict(NamedTuple):
    """Whether one kind of finding was true of one capture, and whether it was told."""

    kind: str
    run: str
    vantage: str
    is_true: bool
    is_told: bool
    is_scored: bool  # False where the kind is allowed but not what the scenario is for


def verdicts(folder: Path, read: Reader = read_with_library) -> list[Verdict]:
    """Judge the findings of every capture of a run, kind by kind."""
    truth = truth_of(folder)
    found = []
    for path in captures_of(folder):
        vantage = vantage_of(path)
        findings = read(path).findings
        for kind in KINDS:
            expected = [e for e in truth["expected"] if e["kind"] == kind and vantage in e["at"]]
            told = [f for f in findings if f["kind"] == kind]
            is_scored = bool(expected) or not _is_allowed(truth, kind)
            is_told = any(_matches(e, f) for e in expected for f in told) if expected else bool(told)
            run = name_of(folder)
            found.append(Verdict(kind, run, vantage, bool(expected), is_told, is_scored))
    return found


class Edge(NamedTuple):
    """How far a finding that was told begins and ends from where its condition did; later is positive."""

    kind: str
    run: str
    vantage: str
    begin_ns: int
    end_ns: int


def edges(folder: Path, read: Reader = read_with_library) -> list[Edge]:
    """Hold the time of each finding that is true against that of the condition, by the path's log."""
    found = []
    truth = truth_of(folder)
    for path in captures_of(folder):
        vantage = vantage_of(path)
        findings = read(path).findings
        for e in truth["expected"]:
            told = [f for f in findings if f["kind"] == e["kind"] and vantage in e["at"] and _matches(e, f)]
            if told and not truth["rewrite"]:
                nearest = min(told, key=lambda f: abs(f["start_ns"] - e["start_ns"]) + abs(f["end_ns"] - e["end_ns"]))
                apart = (nearest[name] - e[name] for name in ("start_ns", "end_ns"))
                found.append(Edge(e["kind"], name_of(folder), vantage, *apart))
    return found


def _is_allowed(truth: Record, kind: str) -> bool:
    # Where a capture cannot show what is true, it is no error to guess it all the same.
    return kind in truth["allowed"] or any(e["kind"] == kind for e in truth["expected"])


def _matches(expected: Record, finding: Record) -> bool:
    evidence = finding.get("evidence") or {}
    if isinstance(evidence, str):
        evidence = json.loads(evidence)
    direction = finding.get("direction") or evidence.get("direction")
    if expected["direction"] and direction and direction != expected["direction"]:
        return False
    return bool(
        finding["start_ns"] <= expected["end_ns"] + SLACK_NS and finding["end_ns"] >= expected["start_ns"] - SLACK_NS
    )


def folders(roots: Iterable[Path]) -> list[Path]:
    """Give the run folders below some folders."""
    return sorted(truth.parent for root in roots for truth in root.glob("**/truth.json*"))
