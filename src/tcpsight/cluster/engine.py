"""Has work done by a cluster of Dask: one that somebody else runs, or one of processes on this machine.

Theory of operation
-------------------
What is submitted becomes tasks, whose arguments are other tasks' results: the cluster carries them from worker to
worker, and makes those again that were lost with a worker. A task that needs a state (`tcpsight.resuming`) is for the
worker that has it, unless that is gone. Every wait looks now and then whether scheduler and workers are still there,
and ends with an error if they have not been for `GONE_S`.

What it cannot see: whether workers see the same files as this process; one that does not says so as of any file that
cannot be opened.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

from tcpsight import __version__
from tcpsight.arguments import worker_count
from tcpsight.errors import TcpsightError, UsageError, installing

SCHEME = "dask://"

CONNECT_S = 10
"""A scheduler that is there answers within this."""

WAIT_S = 1.0
GONE_S = 30
"""So long is waited for a scheduler or workers that have gone to come back."""

MOST_PARTS = 256

HEAP = {"MALLOC_ARENA_MAX": 1, "MALLOC_MMAP_THRESHOLD_": 32 << 20, "MALLOC_TRIM_THRESHOLD_": 1 << 30}
"""How workers keep memory (mallopt(3)): each piece takes as much as the one before it gave back, and fresh pages from
the system cost more than all else that is done with them. Dask has them give it back at once."""

NOT_STOLEN = "split-shuffle"
"""Workers without work take tasks from others, but none whose names begin so (`distributed.stealing.fast_tasks`): who
took one of these would have to make its state from the captures."""


class Cluster:
    """An engine, which is started when it is first used, or entered.

    Parameters
    ----------
    name : str
        ``local``, or ``dask://HOST:PORT`` of a scheduler.
    workers : int, optional
        How many processes, or among how many connections are divided; by default one for each processor, up to 3, or
        for each thread of the cluster.

    Raises
    ------
    UsageError
        The name makes no sense.
    """

    def __init__(self, name: str, workers: int | None = None) -> None:
        self._address = None if name == "local" else address_of(name)
        self._name = name
        self._workers = workers
        self._stack = ExitStack()
        self._client: Any = None
        self._starting = threading.Lock()
        self._threads: dict[str, int] = {}
        self._looked_s = 0.0
        self._gone_s: float | None = None
        self._places = 0
        self._at: dict[int, str] = {}

    @property
    def places(self) -> int:
        """How many things it does at once."""
        self.start()
        return self._places

    def start(self) -> None:
        """Connect, and start what has to be started.

        Raises
        ------
        TcpsightError
            Nobody answers, or there are no workers that could do it.
        UsageError
            Dask is not installed.
        """
        with self._starting:
            if self._client is None:
                self._start()

    def _start(self) -> None:
        try:
            import distributed
        except ImportError:
            raise UsageError(f"--engine {self._name} needs Dask: {installing('cluster')}") from None
        for name in ("distributed", "tornado", "asyncio"):  # what happens is told by errors
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        try:
            self._connect(distributed)
            self._look_around()
        except BaseException:
            self.close()
            raise
        self._places = min(self._workers or sum(self._threads.values()), MOST_PARTS)

    def _connect(self, distributed: Any) -> None:
        import dask

        count = worker_count(self._workers)
        address = self._address
        if address is None:
            known = {"distributed.scheduler.allowed-failures": 2 * count + 3, "distributed.comm.timeouts.connect": "5s"}
            known |= {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in HEAP.items()}
            self._stack.enter_context(dask.config.set(known))
            with _interrupts_are_ours():
                cluster = self._stack.enter_context(
                    distributed.LocalCluster(
                        n_workers=count,
                        threads_per_worker=1,
                        processes=True,
                        dashboard_address="127.0.0.1:0",
                        silence_logs=logging.CRITICAL + 1,
                    )
                )
            address = cluster.scheduler_address
        else:
            self._knock(address)
        try:
            self._client = self._stack.enter_context(
                distributed.Client(address, timeout=CONNECT_S, set_as_default=False, name="tcpsight")
            )
        except (OSError, ValueError) as error:
            raise TcpsightError(f"{self._name}: no scheduler answers: {_words(error)}") from error

    def _knock(self, address: str) -> None:
        """Find out at once whether nobody is there: the client would try for long."""
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
        except OSError as error:
            raise TcpsightError(f"{self._name}: no scheduler answers: {_words(error)}") from error

    def _look_around(self) -> None:
        """Wait for workers, and find out whether they can do it."""
        until_s = time.monotonic() + GONE_S
        while not self._living():
            if time.monotonic() > until_s:
                raise TcpsightError(f"{self._name}: the cluster has no workers")
            time.sleep(WAIT_S / 10)
        try:
            versions = self._client.run(_version)
        except Exception as error:  # what a worker raises that does not know this module
            raise TcpsightError(
                f"{self._name}: its workers cannot run tcpsight {__version__}: install it there, too: {_words(error)}"
            ) from error
        others = sorted({each for each in versions.values() if each != __version__})
        if others:
            raise TcpsightError(
                f"{self._name}: its workers have tcpsight {', '.join(others)}, and here is {__version__}"
            )

    def _living(self) -> dict[str, int]:
        """Give the workers and how many threads each has."""
        self._threads = dict(self._client.nthreads())
        self._looked_s = time.monotonic()
        return self._threads

    def submit(self, function: Callable[..., Any], *arguments: Any, place: int | None = None) -> Any:
        """Have something done; see `tcpsight.clustered.Engine`."""
        self.start()
        if place is None:
            return self._client.submit(function, *arguments, pure=False)
        return self._client.submit(
            function,
            *arguments,
            key=f"{NOT_STOLEN}-{uuid.uuid4().hex}",
            pure=False,
            workers=[self._worker(place)],
            allow_other_workers=True,
        )

    def _worker(self, place: int) -> str:
        """Tell which worker is at a place: always the same, while it lives."""
        if time.monotonic() - self._looked_s > WAIT_S:
            with suppress(OSError):
                self._living()
        slots = [each for each, threads in sorted(self._threads.items()) for _ in range(threads)]
        if not slots:
            raise TcpsightError(f"{self._name}: the cluster has no workers any more")
        known = self._at.get(place)
        if known not in self._threads:
            known = self._at[place] = slots[place % len(slots)]
        return known

    def result(self, promised: Any) -> Any:
        """Wait for a result; raise what its task raised.

        Raises
        ------
        TcpsightError
            The cluster is gone, or the task ended its workers again and again.
        """
        import distributed

        while True:
            try:
                with self._client.as_current():
                    distributed.wait(promised, timeout=WAIT_S)  # type: ignore[no-untyped-call]
                # A worker that has it may have ended; then it is made again.
                return promised.result(timeout=GONE_S)
            except TimeoutError:
                self._look()
            except distributed.KilledWorker as error:
                raise TcpsightError(
                    f"{self._name}: workers end at the same task again and again: do they have enough memory?"
                ) from error
            except distributed.CancelledError as error:
                raise TcpsightError(f"{self._name}: the scheduler is gone, and what was under way with it") from error
            except OSError as error:
                raise TcpsightError(f"{self._name}: the cluster is gone: {_words(error)}") from error

    def _look(self) -> None:
        """Raise if scheduler or workers have been gone for long."""
        is_there = self._client.status == "running"
        if is_there:
            with suppress(OSError, TimeoutError):
                is_there = bool(self._living())
        now_s = time.monotonic()
        if is_there:
            self._gone_s = None
            return
        self._gone_s = self._gone_s or now_s
        if now_s - self._gone_s > GONE_S or self._client.status == "closed":
            raise TcpsightError(f"{self._name}: the scheduler, or every worker, is gone: nothing was written")

    def give_up(self, promised: list[Any]) -> None:
        """Do not do, or forget, what nobody waits for any more."""
        for each in promised:
            each.release()

    def everywhere(self, function: Callable[..., None], *arguments: Any) -> None:
        """Have something done by every worker that is there; it is no harm if one is not."""
        if self._client is not None and self._client.status == "running":
            with suppress(Exception):  # whatever is wrong with the cluster was told, if anybody waited for it
                self._client.run(function, *arguments, on_error="ignore")

    def close(self) -> None:
        """End what was started."""
        self._client = None
        with suppress(Exception):  # nothing that comes from a cluster that is gone is news
            self._stack.close()

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def address_of(name: str) -> str:
    """Give the address of a scheduler.

    Parameters
    ----------
    name : str
        ``dask://HOST:PORT``.

    Raises
    ------
    UsageError
        It is something else.
    """
    host, _, port = name.removeprefix(SCHEME).rstrip("/").rpartition(":")
    if not name.startswith(SCHEME) or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65_536:
        raise UsageError(f"--engine {name[:60]!r}: write local, or dask://HOST:PORT of a scheduler")
    return f"tcp://{host}:{port}"


@contextmanager
def _interrupts_are_ours() -> Iterator[None]:
    """Let threads that are started meanwhile, and their processes, not be interrupted with this one, which ends them.

    They inherit what is blocked; an interrupt that comes meanwhile waits for the end of this.
    """
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # or the first process would begin with it, which lets interrupts through again
    usual = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, usual)


def _version() -> str:
    return __version__


def _words(error: BaseException) -> str:
    return " ".join((getattr(error, "strerror", None) or str(error) or type(error).__name__).split())[:300]
