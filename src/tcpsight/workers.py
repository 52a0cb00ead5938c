"""Several threads do the rooms' work, each for some shares of the connections; nobody can tell from the rows.

Theory of operation
-------------------
The calling thread reads, decodes and divides headers by share; each worker is a thread with rooms of its own, which
release the interpreter's lock while they walk rows. While workers take a batch, the next is read and decoded, and what
they made of the one before is put into order (`parts.py`) and used. So batches come out later than they were read, by
`AHEAD` at most, in the same order, cut as one worker cuts them but for their parts.

Memory is bounded: by batches that are under way, of which there are never more than `AHEAD` and one, and by parts of
connections that end together, of which a worker makes no more than `PARTS_AHEAD` before they are asked for.

What it cannot do: give rows of segments, headers, or what is still open; whoever needs those has one worker.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from tcpsight.ahead import Switching
from tcpsight.batches import Options
from tcpsight.connections.dividing import Division
from tcpsight.connections.tracking import Among
from tcpsight.parts import Part, merged, part_of
from tcpsight.rooms import Made, Rooms
from tcpsight.tables import Headers, UnseenCounter

AHEAD = 2
"""So many batches are given to the workers before what they make of the first is asked for."""

PARTS_AHEAD = 4


class Task(NamedTuple):
    """A worker's share of a batch; without headers: the end of the capture."""

    headers: Headers | None
    among: Among


class Worker:
    """A thread that has rooms of its own."""

    def __init__(self, options: Options, hash_seed: int) -> None:
        self.rooms = Rooms(options, hash_seed)
        self._tasks: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._made: queue.Queue[Part | BaseException] = queue.Queue(PARTS_AHEAD)
        self._is_given_up = False
        self._thread = threading.Thread(target=self._work, name="tcpsight-worker", daemon=True)
        self._thread.start()

    def give(self, task: Task) -> None:
        """Let the worker do this after what it was given before."""
        self._tasks.put(task)

    def next_part(self) -> Part:
        """Wait for the next part of what it makes; raise what it raised."""
        made = self._made.get()
        if isinstance(made, BaseException):
            raise made
        return made

    def close(self) -> None:
        """Let the thread end; what it still makes is for nobody."""
        self._is_given_up = True
        self._tasks.put(None)
        while self._thread.is_alive():
            # It may wait for room.
            while not self._made.empty():
                self._made.get_nowait()
            self._thread.join(0.01)

    def _work(self) -> None:
        try:
            while (task := self._tasks.get()) is not None and not self._is_given_up:
                self._do(task)
        except BaseException as error:
            self._made.put(error)

    def _do(self, task: Task) -> None:
        times_ns, rows = task.among
        parts = self.rooms.finish() if task.headers is None else self.rooms.feed(task.headers, task.among)
        for headers, tracked in parts:
            part = part_of(self.rooms.make(headers, tracked), tracked, Among(times_ns, rows))
            rows = rows[len(headers) :]
            self._made.put(part)
            if self._is_given_up:
                return


class Workers:
    """Give headers batch by batch, take what was made of them in order.

    Parameters
    ----------
    options : Options
        What is wanted; `options.workers` of them are started.
    hash_seed : int
        See `ConnectionTracking`.
    """

    def __init__(self, options: Options, hash_seed: int) -> None:
        self._workers = [Worker(options, hash_seed) for _ in range(options.workers)]
        self._free = [Division(options.workers) for _ in range(AHEAD + 1)]
        self._under_way: deque[Division] = deque()
        self._switching = Switching()

    @property
    def unseen(self) -> tuple[UnseenCounter, ...]:
        """What was not understood so far; whole when the last batch was taken."""
        return tuple(unseen for worker in self._workers for unseen in worker.rooms.unseen)

    def feed(self, headers: Headers) -> Iterator[Made]:
        """Take the next headers, which may be used anew at once; give what was made of some before them."""
        if len(self._under_way) > AHEAD:
            raise ValueError("what came before was not taken to its end")
        division = self._free.pop()
        for worker, task in zip(self._workers, division.divide(headers), strict=True):
            worker.give(Task(*task))
        self._under_way.append(division)
        if len(self._under_way) > AHEAD:
            yield from self._oldest()

    def finish(self) -> Iterator[Made]:
        """End the capture; give what was made of all that was not asked for yet."""
        while self._under_way:
            yield from self._oldest()
        nothing = Division(len(self._workers)).divide(Headers())
        for worker, (_, among) in zip(self._workers, nothing, strict=True):
            worker.give(Task(None, among))
        yield from self._made()
        self.close()

    def close(self) -> None:
        """Let every worker end."""
        for worker in self._workers:
            worker.close()
        self._switching.close()

    def _oldest(self) -> Iterator[Made]:
        yield from self._made()
        self._free.append(self._under_way.popleft())

    def _made(self) -> Iterator[Made]:
        return merged([worker.next_part for worker in self._workers])
