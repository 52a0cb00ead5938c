"""``--engine``: a cluster of processes does the work, and nothing that happens to it can be seen in what comes out."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from tcpsight import mapping, resuming
from tcpsight.analysis import Analysis
from tcpsight.cluster.engine import HEAP, Cluster, address_of
from tcpsight.errors import TcpsightError, UsageError
from tests.cli.running import COMMAND, Here, assert_one_line, environment, process
from tests.cli.test_rotated import EXAMPLE, rotated
from tests.support.live_network import until
from tests.support.object_store import BUCKET, client_of, object_store
from tests.support.thorough import some_of
from tests.unit.test_clustered import OPTIONS, told

__all__ = ["rotated"]


@pytest.mark.parametrize(
    ("workers", "command", "options"),
    some_of(
        [
            ("1", "requests", ["--format", "csv", "--account"]),
            ("2", "report", ["--format", "json"]),
            ("3", "network", ["--format", "parquet"]),
        ],
        2,
    ),
)
def test_a_local_cluster_gives_the_same_bytes(
    here: Here, rotated: list[Path], workers: str, command: str, options: list[str]
):
    # Some of the two hundred; all of them, and every real capture, are compared by `make workers`.
    mixed = random.Random(int(workers)).sample(rotated[:20], 20)
    expected = here(command, *rotated[:20], *options, "--workers", "1")
    given = here(command, *mixed, *options, "--workers", workers, "--engine", "local")
    assert given.status == 0, given.err
    assert len(given.out) > 100
    if command == "report":  # which names the files in the order in which they were named
        expected = here(command, *mixed, *options, "--workers", "1")
    assert given.out == expected.out
    assert given.err == expected.err


class Deadly(Cluster):
    """A cluster of which a worker is killed in certain steps, each time once.

    Parameters
    ----------
    deaths : list of (str, int, bool)
        In which step, the how-manyth of these as they are submitted, and whether only when it was done.
    folder : Path
        Where is noted who was killed.
    """

    def __init__(self, deaths: list[tuple[str, int, bool]], folder: Path) -> None:
        super().__init__("local", 2)
        self._deaths, self._folder = deaths, folder
        self._counts: Counter[str] = Counter()

    def submit(self, function: Callable[..., Any], *arguments: Any, place: int | None = None) -> Any:
        name = function.__name__
        self._counts[name] += 1
        for death in self._deaths:
            if death[:2] == (name, self._counts[name]):
                mark = str(self._folder / f"killed-{name}-{death[1]}")
                return super().submit(die_once, mark, death[2], function, *arguments, place=place)
        return super().submit(function, *arguments, place=place)


def die_once(mark: str, is_late: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    """Kill the process that does this, unless that was done: before the step, or when it was done."""
    given = function(*arguments) if is_late else None
    try:
        os.close(os.open(mark, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return given if is_late else function(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


@pytest.mark.parametrize(
    "deaths",
    [
        [("piece", 8, True), ("rows", 11, True), ("rows", 20, False), ("last_rows", 1, False)],
    ],
    ids=["before it began and when it was done"],
)
def test_a_worker_that_is_killed_changes_nothing(
    rotated: list[Path], tmp_path: Path, deaths: list[tuple[str, int, bool]]
):
    some = rotated[:16]
    expected = told(Analysis(some, OPTIONS))
    with Deadly(deaths, tmp_path) as cluster:
        found = told(Analysis([str(each) for each in some], OPTIONS, engine=cluster))
    assert len(list(tmp_path.glob("killed-*"))) == len(deaths)
    for name, value in expected.items():
        assert repr(found[name]) == repr(value).replace("PosixPath", ""), name


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


@contextmanager
def scheduler(*workers: str) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a scheduler of Dask and some workers, as somebody else would; give where it is, and its process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = [sys.executable, "-c", "from distributed.cli.dask_scheduler import main; main()"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
    running = [subprocess.Popen(command, **quiet)]  # type: ignore[call-overload]
    try:
        until(lambda: answers(port), "the scheduler")
        for each in workers:
            command = [sys.executable, "-c", "from distributed.cli.dask_worker import main; main()"]
            command += [f"tcp://127.0.0.1:{port}", "--no-dashboard", "--nthreads", each, "--no-nanny"]
            command += ["--host", "127.0.0.1", "--death-timeout", "30"]
            running.append(subprocess.Popen(command, **quiet))  # type: ignore[call-overload]
        yield f"dask://127.0.0.1:{port}", running[0]
    finally:
        for each in running:
            each.kill()
            each.wait()


def test_somebody_elses_cluster_reads_an_object_store(here: Here):
    with object_store() as stored:
        names = ["redis-benchmark.pcap", "mariadb-lock.pcap"]
        for name in names:
            client_of(stored).upload_file(f"examples/{name}", BUCKET, name)
        with pytest.MonkeyPatch.context() as patch:
            for name, value in stored.items():
                patch.setenv(name, value)
            with scheduler("2", "1") as (address, _):
                sources = [f"s3://{BUCKET}/{name}" for name in names]
                given = process("connections", *sources, "--engine", address, "--format", "csv", env=os.environ)
    assert given.status == 0, given.err
    assert given.out == here("connections", *(f"examples/{name}" for name in names), "--format", "csv").out


def test_a_scheduler_that_is_not_there_is_said_in_a_line(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    out = tmp_path / "rows.csv"
    given = process("requests", EXAMPLE, "--engine", f"dask://127.0.0.1:{port}", "-o", out)
    assert given.status == 2
    assert_one_line(given.err, f"dask://127.0.0.1:{port}: no scheduler answers: Connection refused")
    assert not out.exists()


@pytest.mark.parametrize("name", ["dask://", "dask://here", "dask://here:port", "spark://a:1", "dask://:86", "remote"])
def test_a_name_that_is_none_is_refused(name: str):
    with pytest.raises(UsageError, match="write local, or dask://HOST:PORT"):
        address_of(name)
    given = process("requests", EXAMPLE, "--engine", name)
    assert given.status == 2
    assert_one_line(given.err, "dask://HOST:PORT")


def test_a_scheduler_that_dies_meanwhile_ends_it(rotated: list[Path], monkeypatch: pytest.MonkeyPatch):
    sources = [str(each) for each in rotated]
    with (
        scheduler("1") as (address, dying),
        Cluster(address) as cluster,
        Analysis(sources, engine=cluster).run() as run,
    ):
        batches = iter(run)
        next(batches)
        monkeypatch.setattr("tcpsight.cluster.engine.GONE_S", 1)
        dying.kill()
        dying.wait()
        with pytest.raises(TcpsightError, match="gone"):
            for _ in batches:
                pass


def test_a_cluster_without_workers_is_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tcpsight.cluster.engine.GONE_S", 0.2)
    with scheduler() as (address, _), Cluster(address) as cluster, pytest.raises(TcpsightError, match="has no workers"):
        cluster.start()


def test_other_versions_are_refused(monkeypatch: pytest.MonkeyPatch):
    with scheduler("1") as (address, _), Cluster(address) as cluster:
        monkeypatch.setattr("tcpsight.cluster.engine.__version__", "77.0")
        with pytest.raises(TcpsightError, match=r"its workers have tcpsight .*, and here is 77\.0"):
            cluster.start()


@pytest.mark.parametrize("processes", [0, 3], ids=["while it begins", "while workers run"])
def test_an_interrupt_leaves_nothing_half_written(rotated: list[Path], tmp_path: Path, processes: int):
    out = tmp_path / "rows.csv"
    out.write_text("old")
    command = [*COMMAND, "requests", *map(str, rotated), "--engine", "local", "--workers", "2", "-o", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment(), start_new_session=True) as running:
        # Rows are written beside the file.
        until(lambda: len(list(tmp_path.iterdir())) > 1, "the file for rows")
        until(
            lambda: (
                running.poll() is not None or len(psutil.Process(running.pid).children(recursive=True)) >= processes
            ),
            "the workers",
        )
        os.killpg(running.pid, signal.SIGINT)
        _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert said.decode().splitlines()[-1] == "tcpsight: interrupted"
    assert "Traceback" not in said.decode()
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]


def test_a_file_that_workers_cannot_read_is_named(rotated: list[Path], tmp_path: Path):
    seen = tmp_path / "seen.pcap"
    seen.write_bytes(rotated[0].read_bytes())
    with Cluster("local", 1) as cluster, Analysis([str(seen)], engine=cluster).run() as run:
        cluster.start()
        seen.unlink()
        assert sum(len(batch.connections) for batch in run) == 0
        assert "seen.pcap: cannot be opened: No such file" in str(run.pipeline.broken)


def test_states_are_dropped_where_they_were_kept(rotated: list[Path]):
    with Cluster("local", 2) as cluster:
        with Analysis([str(each) for each in rotated[:9]], engine=cluster).run() as run:
            batches = iter(run)
            next(batches)
            assert any(cluster._client.run(kept).values())
            batches.close()  # type: ignore[attr-defined]
        assert not any(cluster._client.run(kept).values())


def test_workers_keep_the_memory_that_the_next_piece_needs():
    with Cluster("local", 1) as cluster:
        assert cluster.places == 1
        for name, value in HEAP.items():
            assert cluster.result(cluster.submit(os.environ.get, name)) == str(value)


def kept() -> int:
    return len(resuming._KEPT)


def test_dask_missing_is_told(here: Here, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    given = here("requests", EXAMPLE, "--engine", "local")
    assert given.status == 2
    assert "pip install 'tcpsight[cluster]'" in given.err
    assert mapping.PIECE_SEGMENTS > 1000
