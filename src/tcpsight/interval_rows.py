"""The interval series as the library gives it: rows that also tell how long a slice is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from tcpsight.ending import conclude
from tcpsight.rows import OnBreak, Rows
from tcpsight.tables import Table

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.model import ChosenInterval
    from tcpsight.slices import IntervalCollection


class IntervalRows(Rows):
    """Slices of time, not read yet: `Rows` that tell how long a slice is, and why.

    Parameters
    ----------
    run : callable
        Opens the capture for one pass.
    collect : callable
        Makes what takes its requests.

    Attributes
    ----------
    chosen : ChosenInterval or None
        The length of a slice, `interval_ns`, and the `reason`, a sentence; None before the rows were read, and
        where the caller set the length.

    Examples
    --------
    >>> series = tcpsight.open("examples/mariadb-lock.pcap").intervals()
    >>> len(series.to_numpy()), series.chosen.interval_ns
    (1303, 10000000)
    >>> series.chosen.reason
    '10 ms, the shortest that is chosen, because the 99th-percentile response time is 897 µs.'
    """

    def __init__(
        self,
        run: Callable[[], AbstractContextManager[Run]],
        collect: Callable[[], IntervalCollection],
        *,
        is_strict: bool = False,
    ) -> None:
        super().__init__(collect().table_type, self._blocks, is_strict=is_strict)
        self.chosen: ChosenInterval | None = None
        self._run = run
        self._collect = collect

    def _blocks(self, on_break: OnBreak) -> Iterator[Table]:
        collection = self._collect()
        with self._run() as run:
            for batch in run:
                collection.feed(batch)
            for block in collection.rows(run.pipeline.span):
                self.chosen = collection.chosen
                yield block
            conclude(run, on_break)
