"""Writes rows of one capture into Parquet files by day and service, in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tcpsight.lake.stored_rows import INSTANTS, ORDER, STORED, numbered
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

MOST_OPEN = 96
"""So many files are open at once: some systems give a process 256. More rows for one that was closed make another."""

HELD_BYTES = 1024
"""What a table that is held back costs beside its rows."""

OTHERS = "other"
DAY_NS = 86_400_000_000_000


class Partition(NamedTuple):
    """Where rows belong."""

    table: str
    day: str
    service: str

    def path(self, capture_id: str, number: int = 0) -> str:
        """Give the file of a capture's rows, relative to the lake; of several, that with this number."""
        name = f"{capture_id}-{number}" if number else capture_id
        return f"{self.table}/day={self.day}/service={self.service}/{name}.parquet"


class _Open(NamedTuple):
    """A file that is written."""

    encoder: ParquetEncoder
    destination: Destination

    def finish(self) -> None:
        self.encoder.finish()
        self.destination.close()

    def abort(self) -> None:
        self.encoder.abort()
        self.destination.abort()


class Folders:
    """What folders are called: the services and days that come first have some of their own."""

    def __init__(self) -> None:
        self._services: dict[bytes, str] = {}
        self._days: dict[int, str] = {}

    def service(self, key: bytes) -> str:
        """Give the name of a service: address, port, IP version."""
        known = self._services.get(key)
        if known is None:
            known = OTHERS
            if len(self._services) < MOST_SERVICES:
                port = int.from_bytes(key[16:18], "little")
                known = self._services[key] = f"{address_text(key[:16], key[18])}_{port}".replace(":", "-")
        return known

    def day(self, day: int) -> str:
        """Give the name of a day, counted from the epoch."""
        known = self._days.get(day)
        if known is None:
            known = OTHERS
            if len(self._days) < MOST_DAYS:
                known = self._days[day] = datetime.fromtimestamp(day * 86_400, UTC).strftime("%Y-%m-%d")
        return known


class Partitions:
    """The files of one capture.

    Parameters
    ----------
    folder : Path
        Where they are made.
    capture_id : str
        Their name.
    folders : Folders, optional
        What folders are called, if others have some already.

    Attributes
    ----------
    rows : dict of str to int
        How many rows of each table were taken.
    parts : dict of str to int
        The files, relative to the folder, and the place of the first row of each.
    """

    def __init__(self, folder: Path, capture_id: str, folders: Folders | None = None) -> None:
        self.rows = dict.fromkeys(STORED, 0)
        self.parts: dict[str, int] = {}
        self._folder = folder
        self._id = capture_id
        self._waiting: dict[Partition, list[Table]] = {}
        self._waiting_bytes: dict[Partition, int] = {}
        self._open: dict[Partition, _Open] = {}  # those that were written to last come last
        self._written: Counter[Partition] = Counter()
        self._folders = folders or Folders()

    def take(self, name: str, rows: Table, batch: int) -> None:
        """Take the rows of a table that a batch has."""
        if not len(rows):
            return
        self.rows[name] += len(rows)
        stored = numbered(name, rows, batch)
        services, of_service = _named(_keys(stored), self._folders.service)
        days, of_day = _named(np.floor_divide(stored.rows[INSTANTS[name]], DAY_NS), self._folders.day)
        group = of_service * len(days) + of_day
        for each in np.unique(group).tolist():
            self._hold(Partition(name, days[each % len(days)], services[each // len(days)]), stored[group == each])
        while sum(self._waiting_bytes.values()) > MEMORY_BYTES:
            self._flush(max(self._waiting_bytes, key=lambda each: self._waiting_bytes[each]))

    def _hold(self, partition: Partition, rows: Table) -> None:
        self._waiting.setdefault(partition, []).append(rows)
        self._waiting_bytes[partition] = self._waiting_bytes.get(partition, 0) + rows.rows.nbytes + HELD_BYTES

    def finish(self) -> None:
        """Write everything, and the footers."""
        for partition in list(self._waiting):
            self._flush(partition)
        while self._open:
            self._close_oldest()

    def abort(self) -> None:
        """Close the files as they are."""
        for each in self._open.values():
            each.abort()

    def _flush(self, partition: Partition) -> None:
        rows = STORED[partition.table].concatenate(self._waiting.pop(partition))
        del self._waiting_bytes[partition]
        known = self._open.pop(partition, None)
        self._open[partition] = known or self._begun(partition, int(rows.rows[ORDER][0]))
        encoder = self._open[partition].encoder
        for begin in range(0, len(rows), encoder.block_rows):
            encoder.encode(rows[begin : begin + encoder.block_rows])

    def _begun(self, partition: Partition, first: int) -> _Open:
        """Open another file."""
        while len(self._open) >= MOST_OPEN:
            self._close_oldest()
        part = partition.path(self._id, self._written[partition])
        self._written[partition] += 1
        path = self._folder / part
        path.parent.mkdir(parents=True, exist_ok=True)
        destination = Destination(path)
        encoder = ParquetEncoder(destination, STORED[partition.table], None, grows=False)
        self.parts[part] = first
        encoder.begin()
        return _Open(encoder, destination)

    def _close_oldest(self) -> None:
        self._open[next(iter(self._open))].finish()
        del self._open[next(iter(self._open))]


def _named(values: Any, name: Callable[[Any], str]) -> tuple[list[str], Any]:
    """Give the names of values, and of each value which of them it has; many values have few names."""
    known, of_value = np.unique(values, return_inverse=True)
    named = [name(each) for each in known.tolist()]
    names = sorted(set(named))
    places = {each: i for i, each in enumerate(names)}
    return names, np.array([places[each] for each in named])[of_value]


def _keys(rows: Table) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    """Give address, port and IP version of each row's server as one value."""
    keys = np.zeros(len(rows), np.dtype([("address", "V16"), ("port", "<u2"), ("version", "u1")]))
    keys["address"] = np.ascontiguousarray(rows.rows["server_address"]).view("V16").reshape(-1)
    keys["port"], keys["version"] = rows.rows["server_port"], rows.rows["ip_version"]
    return keys.view("V19")
