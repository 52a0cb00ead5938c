"""Conditions that have a name: which connections show them, by what rule, at which service.

Theory of operation
-------------------
Connections come when they end, with what the network did to each direction. A rule looks at all of a batch at once and
tells which of them meet its condition, since when, until when, and by which numbers. What it finds is gathered by
service, direction and kind, so that a thousand refused connections are one finding; the connection that shows it most
lends its numbers as evidence. A few conditions are about a service as a whole (storms, leaks, churn) and are judged
when the capture has ended, from sums.

Rules are ordered by what they exclude: a connection that is one end of a path that swallows large packets is not a
blackhole too. Thresholds are constants with the reason beside them; `docs/methods/findings.md` tells how often each
rule is right.

Memory: 1 KB for each of at most 1,000 services of each kind; more are one finding without a service.

What it cannot see: what is not at the capture point. Captured at the receiver, a queue or a loss on the path leaves no
trace in round trips; captured at the client, a server that drops SYNs looks like a path that does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from tcpsight.model.connection_rules import CONNECTION_RULES
from tcpsight.model.exchange_rules import look_at_exchanges
from tcpsight.model.finding_shapes import ConnectionRule, Hits, Pair
from tcpsight.model.service_rules import SERVICE_RULES
from tcpsight.model.service_sums import ServiceSums
from tcpsight.tables import FINDINGS, SEVERITIES, Connections, Network, Policed

MOST_SERVICES = 1000
"""Services with findings of one kind; a scan of a network has more."""

EXAMPLES = 5
"""Connections named in evidence."""


Instants = np.ndarray[Any, np.dtype[np.int64]]
OfTime = Callable[[Instants, Instants], np.ndarray[Any, np.dtype[np.bool_]]]


class Key(NamedTuple):
    """What findings are gathered by; address None stands for all beyond `MOST_SERVICES`."""

    kind: str
    direction: int
    address: bytes | None
    port: int
    ip_version: int


@dataclass(slots=True)
class Finding:
    """A condition at a service.

    Attributes
    ----------
    key : Key
        Which, where, and whose data it is about (−1: both sides').
    severity : str
        One of `SEVERITIES`.
    confidence : float
        0 to 1.
    start_ns, end_ns : int
        When it was so.
    connections : int
        How many show it.
    connection_id : int
        The one that shows it most.
    numbers : dict
        What it was found by.
    rule : str
        What these had to be.
    """

    key: Key
    severity: str = "info"
    confidence: float = 0.0
    start_ns: int = 0
    end_ns: int = 0
    connections: int = 0
    connection_id: int = -1
    numbers: dict[str, Any] = field(default_factory=dict)
    rule: str = ""
    examples: list[int] = field(default_factory=list)
    _score: float = -1.0
    _last: int = -1

    def add(self, hits: Hits, row: int, connection_id: int) -> None:
        """Add a connection that shows it."""
        start_ns, end_ns = int(hits.start_ns[row]), int(hits.end_ns[row])
        self.start_ns = min(self.start_ns, start_ns) if self.connections else start_ns
        self.end_ns = max(self.end_ns, end_ns) if self.connections else end_ns
        if connection_id != self._last:  # exchanges of a connection end one after the other
            self.connections += 1
            if len(self.examples) < EXAMPLES:
                self.examples.append(connection_id)
        self._last = connection_id
        if SEVERITIES.index(hits.severity[row]) > SEVERITIES.index(self.severity):
            self.severity = str(hits.severity[row])
        self.confidence = max(self.confidence, float(hits.confidence[row]))
        if hits.score[row] > self._score:
            self._score = float(hits.score[row])
            self.connection_id = connection_id
            self.numbers = numbers_of(hits, row)


def connection_hits(network: Network, connections: Connections) -> Iterator[tuple[ConnectionRule, int, Hits]]:
    """Look at both directions of connections that ended, by every rule.

    Parameters
    ----------
    network : Network, shape (2n,)
        The client's direction of each connection, then the server's.
    connections : Connections, shape (n,)
        In the same order.

    Yields
    ------
    tuple of ConnectionRule, int, Hits
        A rule, a direction that it can be about, and which connections meet it there that no exclusive rule before
        it has taken.
    """
    taken = np.zeros((2, len(connections)), np.bool_)
    for rule in CONNECTION_RULES:
        for direction, pair in enumerate(Pair.both(network, connections)):
            hits = rule.look(pair)
            if hits is None:
                continue
            if rule.is_exclusive:
                hits.is_hit = hits.is_hit & ~taken[direction]
                taken[direction] |= hits.is_hit
            yield rule, direction, hits


class FindingCollection:
    """Collect what connections show, then give the findings.

    Feed what ended, in any order of connections; the rows of a batch belong together.

    Parameters
    ----------
    of_time : callable, optional
        Tells which spans of first and last instants are wanted; all by default.
    has_data : bool
        Whether data were captured before.
    """

    def __init__(self, of_time: OfTime | None = None, *, has_data: bool = False) -> None:
        self._of_time = of_time
        self._found: dict[Key, Finding] = {}
        self._sums = ServiceSums(has_data=has_data)
        self._services: dict[str, int] = dict.fromkeys(FINDINGS, 0)

    def feed(self, network: Network, connections: Connections) -> None:
        """Take connections that ended, with their two rows of Network each.

        Parameters
        ----------
        network : Network, shape (2n,)
            The client's direction of each connection, then the server's.
        connections : Connections, shape (n,)
            In the same order.
        """
        if not len(connections):
            return
        self._sums.feed(network, connections)
        for rule, direction, hits in connection_hits(network, connections):
            side = direction if rule.has_direction else -1
            for row in self._wanted(hits):
                self._finding(rule.kind, side, connections, int(row), rule.text).add(
                    hits, int(row), int(connections.connection_id[row])
                )

    def feed_policed(self, policed: Policed) -> None:
        """Take exchanges that were judged.

        Parameters
        ----------
        policed : Policed, shape (n,)
            In any order.
        """
        for kind, text, hits in look_at_exchanges(policed):
            for row in self._wanted(hits):
                side = int(policed.direction[row])
                self._finding(kind, side, policed, int(row), text).add(hits, int(row), int(policed.connection_id[row]))

    def _wanted(self, hits: Hits) -> Any:
        """Give the rows that show a condition, in the time that is wanted."""
        if self._of_time is None:
            return np.flatnonzero(hits.is_hit)
        return np.flatnonzero(hits.is_hit & self._of_time(hits.start_ns, hits.end_ns))

    def _finding(self, kind: str, direction: int, connections: Connections | Policed, row: int, text: str) -> Finding:
        address, port, version = _service(connections, row)
        key = Key(kind, direction, address, port, version)
        if key not in self._found:
            if self._services[kind] >= MOST_SERVICES:
                key = Key(kind, direction, None, 0, 4)
            else:
                self._services[kind] += 1
        return self._found.setdefault(key, Finding(key, rule=text))

    @property
    def has_data(self) -> bool:
        """Whether data were captured."""
        return self._sums.has_data

    def finish(self, now_ns: int | None = None, *, stepped_back_ns: int = 0) -> list[Finding]:
        """Give the findings, the worst first.

        Parameters
        ----------
        now_ns : int, optional
            How far time has come; by default to the last segment of any connection.
        stepped_back_ns : int
            How far the clock was set back meanwhile: what seems to be so long ago may have happened just now.
        """
        end_ns = (self._sums.end_ns if now_ns is None else now_ns) - stepped_back_ns
        for (address, port, version), sums in self._sums.judged():
            for rule in SERVICE_RULES:
                found = rule.judge(sums, end_ns)
                if found is None or not self._is_of_time(found.start_ns, found.end_ns):
                    continue
                key = Key(rule.kind, rule.direction(sums), address, port, version)
                if key in self._found:  # by its connections, which tell more
                    continue
                self._found[key] = Finding(
                    key,
                    found.severity,
                    found.confidence,
                    found.start_ns,
                    found.end_ns,
                    found.connections,
                    found.connection_id,
                    found.numbers,
                    rule.text,
                    [found.connection_id],
                )
        self._settle()
        return sorted(self._found.values(), key=rank)

    def _is_of_time(self, start_ns: int, end_ns: int) -> bool:
        instants = np.array([[start_ns], [end_ns]], np.int64)
        return self._of_time is None or bool(self._of_time(*instants)[0])

    def _settle(self) -> None:
        """Leave out what another finding of the same service explains."""
        for key in list(self._found):
            if key.kind == "listen_overflow":
                # A SYN that the server dropped was not lost on the way, and what it never took up has no answer.
                self._found.pop(key._replace(kind="syn_loss"), None)
                self._found.pop(key._replace(kind="blackhole", direction=0), None)


def rank(finding: Finding) -> tuple[Any, ...]:
    """Give what findings are ordered by: the worst first."""
    key = finding.key
    return (
        -SEVERITIES.index(finding.severity),
        -finding.connections,
        finding.start_ns,
        FINDINGS.index(key.kind),
        key.address or b"",
        key.port,
        key.direction,
    )


def numbers_of(hits: Hits, row: int) -> dict[str, Any]:
    """Give the numbers by which a connection met a rule, as JSON has them."""
    return {name: _plain(values[row]) for name, values in hits.numbers.items()}


def _plain(value: Any) -> Any:
    """Give a number as JSON has it: rounded, not as NumPy has it, None where it is not known.

    Counts, sizes and times are whole and never negative; shares may be anything that is a number.
    """
    plain = value.item() if isinstance(value, np.generic) else value
    if isinstance(plain, float):
        return round(plain, 4) if math.isfinite(plain) else None
    return None if plain < 0 else plain


def _service(connections: Connections | Policed, row: int) -> tuple[bytes, int, int]:
    return (
        connections.server_address[row].tobytes(),
        int(connections.server_port[row]),
        int(connections.ip_version[row]),
    )
