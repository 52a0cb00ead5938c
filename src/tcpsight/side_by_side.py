"""One capture's rooms, each going on as soon as it has something to do: in up to three threads.

Theory of operation
-------------------
Every room works batch by batch, and none knows another; so one may take a batch while the room before it takes the
next. One thread reads, decodes and tracks (it is an iterator that `ahead` goes through), one measures the network, and
the thread that wants the rows pairs requests, accounts, and puts everything together, in the order of batches. What
comes out is what one thread makes, cut as it cuts it.

Kernels release the interpreter's lock; what they write to is not written over while a later room may read it, for the
first rooms take turns with a few blocks: `DEPTH` parts wait, one is being made, one is used, and one is to spare.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from tcpsight.ahead import Ahead, Switching
from tcpsight.connections import Tracked
from tcpsight.rooms import Made, Rooms
from tcpsight.tables import Headers, Network, Policed

DEPTH = 2

Part = tuple[Headers, Tracked]
Measured = tuple[Network, Policed]


class SideBySide:
    """Push tracked parts through the rooms behind tracking, while the next are being made.

    Parameters
    ----------
    parts : iterable of (Headers, Tracked)
        Each valid until `DEPTH` and three more were made.
    rooms : Rooms
        What they are pushed through.
    """

    def __init__(self, parts: Iterable[Part], rooms: Rooms) -> None:
        self._rooms = rooms
        self._switching = Switching()
        self._network = ThreadPoolExecutor(1, "tcpsight-network")
        self._parts = Ahead(self._begun(parts), DEPTH)

    def __iter__(self) -> Iterator[Made]:
        for (headers, tracked), measured in self._parts:
            yield self._rooms.put_together(headers, tracked, *measured.result())

    def close(self) -> None:
        """Let the threads end."""
        self._parts.close()
        self._network.shutdown(cancel_futures=True)
        self._switching.close()

    def _begun(self, parts: Iterable[Part]) -> Iterator[tuple[Part, Future[Measured]]]:
        for part in parts:
            yield part, self._network.submit(self._measured, *part)

    def _measured(self, headers: Headers, tracked: Tracked) -> Measured:
        network, policed = self._rooms.measure(headers, tracked)
        return network.copy(), policed
