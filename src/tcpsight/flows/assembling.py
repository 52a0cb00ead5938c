"""Put together what is known of each connection that ended, and write it by a schema."""

from __future__ import annotations

import ipaddress
import math
import os
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import numpy as np

from tcpsight.ending import conclude
from tcpsight.errors import CaptureError, UsageError
from tcpsight.flows.places import Address, countries, nowhere, zones
from tcpsight.flows.schemas import SCHEMAS, Record, timestamp
from tcpsight.model.findings import connection_hits, numbers_of
from tcpsight.tables import Column, Connections, Network, Table, column

if TYPE_CHECKING:
    from tcpsight.model.finding_shapes import Hits
    from tcpsight.pipeline import Batch
    from tcpsight.run import Run

Values = dict[str, Any]
"""A row by the names of its columns, as JSON has values: unknown is None."""

FLAGS = {"blackholed": "blackhole", "bufferbloat": "bufferbloat"}
"""Flags of a record, and the findings that they stand for."""


class Flow(NamedTuple):
    """What is known of a connection that ended.

    Attributes
    ----------
    connection : dict
        Its row of Connections.
    sides : tuple of dict
        Its rows of Network, what is not in Connections too: what the client sent, what the server sent.
    direction : int
        Which of them carried more bytes; the client's if both carried the same.
    country, zone : str or None
        The client's country, the server's zone.
    findings : dict
        What the rules of connections found in that direction, or of the connection as a whole: by kind the rule, and
        the numbers that met it.
    """

    connection: Values
    sides: tuple[Values, Values]
    direction: int
    country: str | None
    zone: str | None
    findings: dict[str, Values]

    @property
    def own(self) -> Values:
        """The row of Network of the direction that the record describes."""
        return self.sides[self.direction]


def _flow_columns() -> dict[str, Column]:
    own = {c.name: c for c in Network.columns if c.name not in {c.name for c in Connections.columns} and not c.internal}
    flags = {name: column("uint8", "bool", f"whether the direction shows a {kind}") for name, kind in FLAGS.items()}
    return own | flags


FLOW_COLUMNS = _flow_columns()

Flows: type[Table] = type("Flows", (Connections,), {"__slots__": (), "__doc__": Connections.__doc__, **FLOW_COLUMNS})
"""What a condition on flow records can ask for: the Connections columns, those of Network for the record's direction,
and its flags."""


class FlowAssembly:
    """Write a record for each connection that ended, batch by batch.

    Parameters
    ----------
    schema : str
        One of `SCHEMAS`.
    country_file : path, optional
        A database in MaxMind's format.
    zone_file : path, optional
        A table of networks and zones.
    where : str, optional
        Only connections for which this holds; it is a condition on `Flows`.

    Attributes
    ----------
    seen, written : int
        Connections looked at so far, and those of them that the condition chose.

    Raises
    ------
    UsageError
        If there is no such schema, the condition makes no sense, or a library is missing.
    TcpsightError
        If a file cannot be read.
    """

    def __init__(
        self,
        schema: str = "tcpsight",
        *,
        country_file: str | os.PathLike[str] | None = None,
        zone_file: str | os.PathLike[str] | None = None,
        where: str | None = None,
    ) -> None:
        if schema not in SCHEMAS:
            raise UsageError(f"no schema {schema!r}; there are {', '.join(SCHEMAS)}")
        from tcpsight.where import Where

        self.where = Where(where, Flows) if where is not None else None
        self.seen = self.written = 0
        self._write = SCHEMAS[schema]
        self._country = countries(country_file) if country_file is not None else nowhere
        self._zone = zones(zone_file) if zone_file is not None else nowhere

    def records(self, batch: Batch) -> Iterator[Record]:
        """Take a batch of a run that carries `Network`; give its records, in the order of its connections."""
        connections, network = batch.connections, batch.network
        if not len(connections):
            return
        direction = (connections.server_bytes > connections.client_bytes).astype(np.intp)
        found = _Found(network, connections, direction)
        rows = np.arange(len(connections))
        if self.where is not None:
            rows = np.flatnonzero(self.where.mask(_flows(connections, network, direction, found)))
        self.seen += len(connections)
        self.written += len(rows)
        sides = network[np.stack([2 * rows, 2 * rows + 1], axis=1).ravel()]
        plain = zip(plain_rows(connections[rows]), _pairs(plain_rows(sides, FLOW_COLUMNS)), rows.tolist(), strict=True)
        for connection, pair, row in plain:
            yield self._write(self._flow(connection, pair, int(direction[row]), found.of(row)))

    def read(self, run: Callable[[type[Table]], AbstractContextManager[Run]]) -> Iterator[Record]:
        """Give the records of a whole capture, as connections end.

        Parameters
        ----------
        run : callable
            Opens the capture for one pass that carries a table.

        Raises
        ------
        CaptureError
            After the last record, if the capture breaks off or has no TCP in it.
        """
        with run(Network) as opened:
            for batch in opened:
                yield from self.records(batch)
            conclude(opened, _raise)

    def _flow(self, connection: Values, sides: tuple[Values, Values], direction: int, findings: Values) -> Flow:
        return Flow(
            connection,
            sides,
            direction,
            self._country(connection["client_address"]),
            self._zone(connection["server_address"]),
            findings,
        )


def _raise(error: CaptureError) -> NoReturn:
    raise error


class _Found:
    """What the rules found in the connections of a batch."""

    def __init__(self, network: Network, connections: Connections, direction: np.ndarray[Any, Any]) -> None:
        self._direction = direction
        self._hits: dict[str, dict[int, Hits]] = {}
        self._texts: dict[str, str] = {}
        for rule, side, hits in connection_hits(network, connections):
            self._hits.setdefault(rule.kind, {})[side] = hits
            self._texts[rule.kind] = rule.text
        self._shows_any = np.logical_or.reduce([self.mask(kind) for kind in self._hits])

    def mask(self, kind: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Tell which connections show it in the direction of their record, or as a whole, shape (n,)."""
        by_side = self._hits[kind]
        if len(by_side) == 1:
            # What can be about one side alone is about the connection: who was refused, who had no answer.
            return next(iter(by_side.values())).is_hit
        return np.where(self._direction == 0, by_side[0].is_hit, by_side[1].is_hit)

    def of(self, row: int) -> dict[str, Values]:
        """Give what a connection shows."""
        shown: dict[str, Values] = {}
        if not self._shows_any[row]:
            return shown
        for kind, by_side in self._hits.items():
            hits = next(iter(by_side.values())) if len(by_side) == 1 else by_side[int(self._direction[row])]
            if hits.is_hit[row]:
                shown[kind] = self._reason(kind, hits, row)
        return shown

    def _reason(self, kind: str, hits: Hits, row: int) -> Values:
        return {
            "rule": self._texts[kind],
            "confidence": round(float(hits.confidence[row]), 4),
            "start_timestamp": timestamp(int(hits.start_ns[row])),
            "end_timestamp": timestamp(int(hits.end_ns[row])),
            **numbers_of(hits, row),
        }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _flows(connections: Connections, network: Network, direction: np.ndarray[Any, Any], found: _Found) -> Table:
    """Put the columns that a condition may ask for beside each other, shape (n,)."""
    flows = Flows(np.zeros(len(connections), Flows.dtype))
    for c in Connections.columns:
        flows.rows[c.name] = connections.rows[c.name]
    own = network.rows[2 * np.arange(len(connections)) + direction]
    for name in FLOW_COLUMNS:
        flows.rows[name] = found.mask(FLAGS[name]) if name in FLAGS else own[name]
    return flows


def _pairs(rows: Iterable[Values]) -> Iterator[tuple[Values, Values]]:
    each = iter(rows)
    return zip(each, each, strict=True)


def plain_rows(table: Table, names: Container[str] | None = None) -> Iterator[Values]:
    """Give the rows of a table as plain values: these columns, or all that are not internal."""
    columns = [c for c in table.columns if not c.internal and (names is None or c.name in names)]
    lists = [_plain_column(c, table) for c in columns]
    named = [c.name for c in columns]
    return (dict(zip(named, values, strict=True)) for values in zip(*lists, strict=True))


def _plain_column(c: Column, table: Table) -> list[Any]:
    values = table.rows[c.name]
    if c.is_address:
        versions = table.rows["ip_version"].tolist()
        return [_address(a.tobytes(), version) for a, version in zip(values, versions, strict=True)]
    plain = values.tolist()
    if values.dtype.kind == "S":
        return [text.decode("utf-8", "replace") for text in plain]
    if c.names is not None:
        names = dict(enumerate(c.names)) | ({} if c.null is None else {c.null: None})
        return [names.get(value) for value in plain]
    if c.is_boolean:
        return [bool(value) for value in plain]
    if values.dtype.kind == "f":
        return [None if value == c.null else _finite(value) for value in plain]
    return plain if c.null is None else [None if value == c.null else value for value in plain]


def _address(packed: bytes, ip_version: int) -> Address:
    return ipaddress.IPv4Address(packed[12:]) if ip_version == 4 else ipaddress.IPv6Address(packed)
