"""What a screen or a page shows of a watch: kept small, brought up to date by one thread, looked at by others.

Theory of operation
-------------------
The thread that captures puts every slice on the board, which never waits: whoever looks takes a `Snapshot`, whose parts
nobody changes any more, and a new part takes the place of an old one. So a screen that is slow misses states, never
makes the capture wait, and can stay where it is for as long as it likes. What costs more than a few counts, the
connections that are open, is made only if somebody has looked since it was made last, or if there are few.

Everything has a bound: `MOST_SLICES` slices, `MOST_REQUESTS` of the latest requests (of many between two slices the
slowest and the latest), `MOST_ENDED` connections that ended, `MOST_FINDINGS` findings. Requests are kept as they are
answered, and so are those that were answered too late for the slice of their arrival.

What it cannot see: requests and connections beyond these bounds. Segments sent again are those that were counted since
the slice before was told, which is when they were seen, not when they belong to a request of that slice.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.tables import REASONS, Connections, Findings, Requests

if TYPE_CHECKING:
    from tcpsight.pipeline import Batch
    from tcpsight.run import Run
    from tcpsight.watching import Slice

MOST_SLICES = 240
MOST_REQUESTS = 20_000
MOST_BETWEEN = 2_000
"""Of the requests that were answered between two slices."""

MOST_ENDED = 2_000
MOST_FINDINGS = 200
FEW_CONNECTIONS = 5_000
"""Of so many the open ones are looked at with every slice."""

SAME_NS = 5_000_000_000
"""What is found twice within so much time at a service is one finding."""

OTHER = "other"

DROPS = ("kernel_drop", "interface_drop")

_TIMES = tuple(f"response_time_{name}_ns" for name in ("p50", "p95", "p99", "max"))


@dataclass(frozen=True, slots=True)
class ServiceRow:
    """One service in one slice, or all of them; unknown is None, as of a response time where no request arrived.

    Attributes
    ----------
    name : str
        Its endpoint; `OTHER` for those that have no rows of their own.
    address, port : bytes, int
        The same as tables have it; of nobody ``b""`` and −1.
    connections : int
        How many are open.
    retransmissions : int
        Segments of both sides that were sent again, since the slice before was told.
    """

    name: str
    address: bytes
    port: int
    throughput_per_s: float | None
    concurrency: float | None
    utilization_fraction: float | None
    p50_ns: int | None
    p95_ns: int | None
    p99_ns: int | None
    max_ns: int | None
    waiting: int
    late: int
    connections: int
    retransmissions: int


@dataclass(frozen=True, slots=True)
class Told:
    """One slice as it is shown.

    Attributes
    ----------
    number : int
        1, 2, 3 … in the order in which slices were told.
    frames_per_s : float or None
        Frames since the slice before was told; None where no time passed between.
    """

    number: int
    start_ns: int
    end_ns: int
    total: ServiceRow
    services: tuple[ServiceRow, ...]
    frames_per_s: float | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that is shown, at one moment; nothing in it changes.

    Attributes
    ----------
    version : int
        Grows with every change.
    source : str
        What is watched.
    told : tuple of Told
        The latest slices, oldest first.
    frames, drops, open_connections : int
        So far; now.
    findings : tuple of Findings
        One row each, the latest last.
    requests : tuple of Requests
        The latest, in the order in which they were answered.
    open, ended : Connections, tuple of Connections
        Those that were open when somebody looked last, and the latest that ended.
    is_over : bool
        Whether the capture ended.
    trouble : str
        Why it ended early; empty if it did not.
    notices : tuple of str
        What else is the case, such as that an interface is down.
    """

    version: int
    source: str
    told: tuple[Told, ...]
    frames: int
    drops: int
    open_connections: int
    findings: tuple[Findings, ...]
    requests: tuple[Requests, ...]
    open: Connections
    ended: tuple[Connections, ...]
    is_over: bool
    trouble: str
    notices: tuple[str, ...] = ()

    @property
    def latest(self) -> Told | None:
        """The latest slice."""
        return self.told[-1] if self.told else None

    def endpoint(self, service: str) -> tuple[bytes, int] | None:
        """Give the address and port of a service by its name; None if it was in none of the slices."""
        for each in reversed(self.told):
            for row in each.services:
                if row.name == service:
                    return row.address, row.port
        return None

    def history(self, service: str) -> list[ServiceRow | None]:
        """Give a service's row in each slice, None where it had none; of all services by the name ``""``."""
        if not service:
            return [each.total for each in self.told]
        return [next((row for row in each.services if row.name == service), None) for each in self.told]


class Board:
    """What is shown of a watch.

    Parameters
    ----------
    source : str
        What is watched, as people call it.
    """

    def __init__(self, source: str) -> None:
        self._lock = threading.Lock()
        self._shown = Snapshot(0, source, (), 0, 0, 0, (), (), Connections(), (), False, "")
        self._told: deque[Told] = deque(maxlen=MOST_SLICES)
        self._requests: deque[Requests] = deque()
        self._answered: list[Requests] = []
        self._ended: deque[Connections] = deque()
        self._findings: list[Findings] = []
        self._retransmissions: dict[str, int] = {}
        self._before: tuple[int, int] | None = None
        self._was_looked_at = True
        self._tell: Callable[[], None] | None = None

    # -------------------------------------------------------------------------------------------------- looking

    def snapshot(self) -> Snapshot:
        """Look at it; from any thread."""
        with self._lock:
            self._was_looked_at = True
            return self._shown

    def on_change(self, tell: Callable[[], None] | None) -> None:
        """Have someone told, in the capturing thread, that there is something new; it must not wait."""
        with self._lock:
            self._tell = tell

    # -------------------------------------------------------------------------------------------------- changing

    def note(self, batch: Batch) -> None:
        """Keep the requests that were answered, and the connections that ended."""
        if len(batch.requests):
            self._answered.append(_latest_and_slowest(batch.requests))
            if sum(map(len, self._answered)) > 2 * MOST_BETWEEN:
                self._answered = [_latest_and_slowest(Requests.concatenate(self._answered))]
        if len(batch.connections):
            self._ended.append(batch.connections[-MOST_ENDED:].copy())
            _drop_oldest(self._ended, MOST_ENDED)

    def take(self, each: Slice, run: Run) -> None:
        """Show a slice that was told; it has totals."""
        pipeline = run.pipeline
        told = self._as_told(each, pipeline.frames)
        self._told.append(told)
        self._keep_answered()
        self._keep_findings(each.findings)
        is_wanted = self._was_looked_at or pipeline.open_count <= FEW_CONNECTIONS
        opened = pipeline.open_connections(each.end_ns).copy() if is_wanted else self._shown.open
        counts = {"open_connections": told.total.connections, **_counts(run)}
        self._show(told=tuple(self._told), open=opened, **counts, **self._kept())

    def notice(self, texts: Sequence[str]) -> None:
        """Show what else is the case from now on, instead of what was shown before."""
        if tuple(texts) != self._shown.notices:
            self._show(notices=tuple(texts))

    def end(self, run: Run | None, trouble: str = "") -> None:
        """Show that nothing more will come."""
        self._keep_answered()
        over: dict[str, Any] = {
            "is_over": True,
            "trouble": trouble,
            "notices": (),
            "open": Connections(),
            "open_connections": 0,
        }
        self._show(**over, **(_counts(run) if run is not None else {}), **self._kept())

    # -------------------------------------------------------------------------------------------------- parts

    def _show(self, **changes: Any) -> None:
        from dataclasses import replace

        with self._lock:
            self._shown = replace(self._shown, version=self._shown.version + 1, **changes)
            self._was_looked_at = False
            tell = self._tell
        if tell is not None:
            tell()

    def _keep_answered(self) -> None:
        if self._answered:
            self._requests.append(_latest_and_slowest(Requests.concatenate(self._answered)))
            _drop_oldest(self._requests, MOST_REQUESTS)
            self._answered = []

    def _kept(self) -> dict[str, Any]:
        return {
            "requests": tuple(self._requests),
            "ended": tuple(self._ended),
            "findings": tuple(self._findings),
        }

    def _as_told(self, each: Slice, frames: int) -> Told:
        number = self._told[-1].number + 1 if self._told else 1
        rows, names, totals = each.rows, each.names(), each.totals.rows
        services = []
        for i, (row, name) in enumerate(zip(rows.rows, names, strict=True)):
            # The others come last in both tables, and are not among the rows if there are none.
            counted = totals[-1 if row["is_other"] else i] if len(totals) else None
            if name != OTHER or any(row[key] for key in ("arrivals", "completions", "unanswered_backlog")):
                services.append(self._service_row(name, row, counted))
        total = _row("", each.total.rows[0], _sum(services, "connections"), _sum(services, "retransmissions"))
        passed_ns = each.end_ns - self._before[1] if self._before is not None else 0
        rate = (frames - self._before[0]) * 1e9 / passed_ns if self._before is not None and passed_ns > 0 else None
        self._before = frames, each.end_ns
        return Told(number, each.start_ns, each.end_ns, total, tuple(services), rate)

    def _service_row(self, name: str, row: Any, counted: Any) -> ServiceRow:
        if counted is None:
            return _row(name, row, 0, 0)
        sent_again = int(counted["client_retransmissions"]) + int(counted["server_retransmissions"])
        before = self._retransmissions.get(name, 0)
        self._retransmissions[name] = sent_again
        return _row(name, row, int(counted["open_connections"]), max(sent_again - before, 0))

    def _keep_findings(self, findings: Findings) -> None:
        """Put findings in; what is told again takes the place of what was told before, and comes last."""
        for i, row in enumerate(findings.rows):
            self._findings = [each for each in self._findings if not _is_same(each.rows[0], row)]
            self._findings.append(findings[i : i + 1].copy())
        del self._findings[:-MOST_FINDINGS]


def _is_same(before: Any, now: Any) -> bool:
    """Tell whether a finding is one that was told before, of which more is known by now."""
    if any(before[name] != now[name] for name in ("kind", "subject", "direction")):
        return False
    return bool(before["end_ns"] >= now["start_ns"] - SAME_NS and before["start_ns"] <= now["end_ns"] + SAME_NS)


def _row(name: str, row: Any, connections: int, retransmissions: int) -> ServiceRow:
    """Read a row of Intervals."""
    is_named = name not in ("", OTHER)
    p50, p95, p99, longest = (int(row[column]) if row[column] >= 0 else None for column in _TIMES)
    return ServiceRow(
        name=name,
        address=row["server_address"].tobytes() if is_named else b"",
        port=int(row["server_port"]) if is_named else -1,
        throughput_per_s=_finite(row["throughput_per_s"]),
        concurrency=_finite(row["concurrency"]),
        utilization_fraction=_finite(row["utilization_fraction"]),
        p50_ns=p50,
        p95_ns=p95,
        p99_ns=p99,
        max_ns=longest,
        waiting=int(row["unanswered_backlog"]),
        late=int(row["late"]),
        connections=connections,
        retransmissions=retransmissions,
    )


def _finite(value: Any) -> float | None:
    """Read a rate, which no time makes unknown."""
    return float(value) if np.isfinite(value) else None


def _sum(rows: list[ServiceRow], column: str) -> int:
    return sum(getattr(row, column) for row in rows)


def _counts(run: Run) -> dict[str, int]:
    unseen = run.pipeline.unseen.table()
    reasons = [REASONS.index(name) for name in DROPS]
    return {
        "frames": run.pipeline.frames,
        "drops": int(unseen.count[np.isin(unseen.reason, reasons)].sum()),
    }


def _latest_and_slowest(requests: Requests) -> Requests:
    """Keep of very many requests the latest, and as many that were slowest, in the order given; a copy."""
    if len(requests) <= MOST_BETWEEN:
        return requests.copy()
    half = MOST_BETWEEN // 2
    slowest = np.argpartition(requests.response_time_ns, -half)[-half:]
    return requests[np.union1d(slowest, np.arange(len(requests) - half, len(requests)))]


def _drop_oldest(tables: deque[Any], most: int) -> None:
    while len(tables) > 1 and sum(map(len, tables)) > most:
        tables.popleft()
