"""Writes rows of one capture into Parquet files by day and service, in bounded memory."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tcpsight.lake.stored_rows import INSTANTS, STORED, numbered
from tcpsight.output.addresses import address_text
from tcpsight.output.columnar import ParquetEncoder
from tcpsight.output.destination import Destination

if TYPE_CHECKING:
    from tcpsight.tables import Table

MOST_SERVICES = 32
"""So many services of a capture have files of their own, those that come first; the others share one."""

MOST_DAYS = 16
"""So many days likewise: frames may be stamped with anything."""

MEMORY_BYTES = 64 << 20
"""So much is held back; then the largest parts are written."""

OTHERS = "other"
DAY_NS = 86_400_000_000_000


class Partition(NamedTuple):
    """Where rows belong."""

    table: str
    day: str
    service: str

    def path(self, capture_id: str) -> str:
        """Give the file of a capture's rows, relative to the lake."""
        return f"{self.table}/day={self.day}/service={self.service}/{capture_id}.parquet"


class Partitions:
    """The files of one capture.

    Parameters
    ----------
    folder : Path
        Where they are made.
    capture_id : str
        Their name.

    Attributes
    ----------
    rows : dict of str to int
        How many rows of each table were taken.
    """

    def __init__(self, folder: Path, capture_id: str) -> None:
        self.rows = dict.fromkeys(STORED, 0)
        self._folder = folder
        self._id = capture_id
        self._waiting: dict[Partition, list[Table]] = {}
        self._waiting_bytes: dict[Partition, int] = {}
        self._encoders: dict[Partition, ParquetEncoder] = {}
        self._destinations: list[Destination] = []
        self._services: dict[bytes, str] = {}
        self._days: dict[int, str] = {}

    @property
    def parts(self) -> list[str]:
        """The files, relative to the folder."""
        return sorted(each.path(self._id) for each in self._encoders)

    def take(self, name: str, rows: Table, batch: int) -> None:
        """Take the rows of a table that a batch has."""
        if not len(rows):
            return
        self.rows[name] += len(rows)
        stored = numbered(name, rows, batch)
        services, of_service = np.unique(_keys(stored), return_inverse=True)
        days, of_day = np.unique(np.floor_divide(stored.rows[INSTANTS[name]], DAY_NS), return_inverse=True)
        group = of_service * len(days) + of_day
        for each in np.unique(group).tolist():
            service, day = services[each // len(days)].tobytes(), int(days[each % len(days)])
            self._hold(Partition(name, self._day(day), self._service(service)), stored[group == each])
        while sum(self._waiting_bytes.values()) > MEMORY_BYTES:
            self._flush(max(self._waiting_bytes, key=lambda each: self._waiting_bytes[each]))

    def _hold(self, partition: Partition, rows: Table) -> None:
        self._waiting.setdefault(partition, []).append(rows)
        self._waiting_bytes[partition] = self._waiting_bytes.get(partition, 0) + rows.rows.nbytes

    def finish(self) -> None:
        """Write everything, and the footers."""
        for partition in list(self._waiting):
            self._flush(partition)
        for encoder in self._encoders.values():
            encoder.finish()
        for destination in self._destinations:
            destination.close()

    def abort(self) -> None:
        """Close the files as they are."""
        for encoder in self._encoders.values():
            encoder.abort()
        for destination in self._destinations:
            destination.abort()

    def _flush(self, partition: Partition) -> None:
        rows = STORED[partition.table].concatenate(self._waiting.pop(partition))
        del self._waiting_bytes[partition]
        encoder = self._encoders.get(partition)
        if encoder is None:
            path = self._folder / partition.path(self._id)
            path.parent.mkdir(parents=True, exist_ok=True)
            destination = Destination(path)
            self._destinations.append(destination)
            encoder = self._encoders[partition] = ParquetEncoder(destination, STORED[partition.table], None)
            encoder.begin()
        for begin in range(0, len(rows), encoder.block_rows):
            encoder.encode(rows[begin : begin + encoder.block_rows])

    def _service(self, key: bytes) -> str:
        known = self._services.get(key)
        if known is None:
            known = OTHERS
            if len(self._services) < MOST_SERVICES:
                port = int.from_bytes(key[16:18], "little")
                known = self._services[key] = f"{address_text(key[:16], key[18])}_{port}".replace(":", "-")
        return known

    def _day(self, day: int) -> str:
        known = self._days.get(day)
        if known is None:
            known = OTHERS
            if len(self._days) < MOST_DAYS:
                known = self._days[day] = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
        return known


def _keys(rows: Table) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Give address, port and IP version of each row's server as one value."""
    keys = np.zeros(len(rows), np.dtype([("address", "V16"), ("port", "<u2"), ("version", "u1")]))
    keys["address"] = np.ascontiguousarray(rows.rows["server_address"]).view("V16").reshape(-1)
    keys["port"], keys["version"] = rows.rows["server_port"], rows.rows["ip_version"]
    return keys.view("V19")
