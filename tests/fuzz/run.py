"""Feeds the targets for a given time, and writes down what came of it.

Two processes: a worker feeds, and its parent watches. Before each execution the worker leaves the input in a shared
file, so that one that kills it (a sanitizer's report, a signal, an endless loop) is known. Inputs that did something
new are kept and mutated further; coverage is what targets say they saw, see `features`.

``python -m tests.fuzz.run --seconds 60 [--targets pipeline,decode] [--build checked] [--store]``
"""

from __future__ import annotations

import argparse
import json
import mmap
import os
import platform
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz import seeds
from tests.fuzz.harness import TARGETS, Target
from tests.fuzz.limits import COSTS, MEGABYTE

FOLDER = Path(__file__).parent
FOUND = Path("build/fuzz")
RESULTS = FOLDER / "results"
SHARED_BYTES = 1 << 20
PATIENCE_SECONDS = 30
"""No input that is made here takes so long."""

SLICE_SECONDS = 5.0
"""A target's turn, times its share."""

MOST_KEPT = 3000
NEW_WORKER_MB = 1500


class Finding(Exception):
    """Something was reported where nothing could be raised."""


# --- the worker


class Feeding:
    """One target, its inputs, and what was counted."""

    def __init__(self, name: str, target: Target, chance: Random) -> None:
        self.name = name
        self.target = target
        self.chance = chance
        self.pool = list(target.seeds(seeds.captures()))
        self.seen: set[str] = set()
        self.fresh: list[bytes] = []
        self.executions = 0
        self.seconds = 0.0
        self.most_seconds = 0.0
        self.most_mb = 0.0

    def draw(self) -> bytes:
        """Give the next input: a mutation of a fresh one more often than of the others."""
        chance = self.chance
        pool = self.fresh if self.fresh and chance.random() < 0.4 else self.pool
        return self.target.mutate(chance.choice(pool), chance, self.pool)

    def feed(self, data: bytes) -> None:
        """Run the target once; keep the input if it did something new."""
        try:
            features = self.target.run(data)
        finally:
            seconds, memory_bytes = COSTS.take()
            self.most_seconds, self.most_mb = (
                max(self.most_seconds, seconds),
                max(self.most_mb, memory_bytes / MEGABYTE),
            )
        if not features <= self.seen:
            self.seen |= features
            self.pool.append(data)
            self.fresh = [*self.fresh[-50:], data]
            if len(self.pool) > MOST_KEPT:
                del self.pool[self.chance.randrange(len(self.pool))]


class Worker:
    """Feeds targets in turns until its time is over."""

    def __init__(self, names: list[str], seed: int, shared: mmap.mmap) -> None:
        self.chance = Random(seed)
        self.shared = shared
        self.feedings = [Feeding(name, TARGETS[name], self.chance) for name in names]
        self.crashes: Counter[str] = Counter()
        self.ignored: list[str] = []
        sys.unraisablehook = lambda what: self.ignored.append(repr(what.exc_value))
        signal.signal(signal.SIGALRM, _give_up)

    def work(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        for feeding in self.feedings:
            turn_ends = time.monotonic() + min(seconds / 4 / len(self.feedings), 4 * SLICE_SECONDS)
            for data in self.chance.sample(feeding.pool, len(feeding.pool)):
                if time.monotonic() > turn_ends:
                    break
                self.once(feeding, data)
        self.report()
        while time.monotonic() < end and resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < NEW_WORKER_MB * 1024:
            for feeding in self.feedings:
                turn_ends = min(end, time.monotonic() + SLICE_SECONDS * feeding.target.share)
                while time.monotonic() < turn_ends:
                    self.once(feeding, feeding.draw())
                self.report()

    def once(self, feeding: Feeding, data: bytes) -> None:
        """Execute once; write down what should not have happened."""
        head = json.dumps([feeding.name, len(data)]).encode().ljust(64)
        self.shared[: 64 + len(data)] = head + data
        begin = time.process_time()
        # The first time something is imported, too, which sanitizers on a busy machine make long.
        signal.alarm(PATIENCE_SECONDS if feeding.executions else 10 * PATIENCE_SECONDS)
        try:
            feeding.feed(data)
            if self.ignored:
                raise Finding(self.ignored.pop())
        except Exception as error:
            self.ignored.clear()
            self.save(feeding.name, data, error)
        finally:
            signal.alarm(0)
        feeding.executions += 1
        feeding.seconds += time.process_time() - begin

    def save(self, name: str, data: bytes, error: BaseException) -> None:
        """Keep an input that found something, once for each place in the code."""
        places = traceback.extract_tb(error.__traceback__)
        place = f"{name} {type(error).__name__} {Path(places[-1].filename).name}:{places[-1].lineno}"
        self.crashes[place] += 1
        if self.crashes[place] == 1:
            text = "".join(traceback.format_exception(error))
            keep(name, data, text)

    def report(self) -> None:
        """Tell the parent what was done so far."""
        done = {
            f.name: [f.executions, round(f.seconds, 3), round(f.most_seconds, 3), round(f.most_mb, 1)]
            for f in self.feedings
        }
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        print(json.dumps({"targets": done, "crashes": self.crashes, "peak_mb": peak}), flush=True)


def _give_up(*_: object) -> None:
    raise TimeoutError(f"no answer in {PATIENCE_SECONDS} seconds")


def keep(name: str, data: bytes, text: str) -> Path:
    """Write an input that found something, and what it found."""
    FOUND.mkdir(parents=True, exist_ok=True)
    path = FOUND / f"{name}-{time.time_ns()}"
    path.write_bytes(data)
    path.with_suffix(".txt").write_text(text)
    print(f"found: {path}: {text.splitlines()[-1] if text else ''}", file=sys.stderr, flush=True)
    return path


# --- the parent


class Totals:
    """What all workers did."""

    def __init__(self) -> None:
        self.targets: dict[str, list[float]] = {}
        self.crashes: Counter[str] = Counter()
        self.peak_mb = 0

    def add(self, said: dict[str, Any]) -> None:
        """Add what a worker said last."""
        for name, (executions, seconds, most_seconds, most_mb) in said["targets"].items():
            row = self.targets.setdefault(name, [0, 0.0, 0.0, 0.0])
            row[:] = [row[0] + executions, row[1] + seconds, max(row[2], most_seconds), max(row[3], most_mb)]
        self.crashes.update(said["crashes"])
        self.peak_mb = max(self.peak_mb, said["peak_mb"])

    def result(self, build: str) -> dict[str, Any]:
        """Give everything as plain values."""
        return {
            "build": build,
            "python": platform.python_version(),
            "executions": int(sum(row[0] for row in self.targets.values())),
            "cpu_seconds": round(sum(row[1] for row in self.targets.values()), 1),
            "peak_mb": self.peak_mb,
            "crashes": dict(self.crashes),
            "targets": {
                name: {"executions": int(n), "cpu_seconds": round(s, 1), "most_seconds": t, "most_mb": m}
                for name, (n, s, t, m) in self.targets.items()
            },
        }


def supervise(options: argparse.Namespace, seed: int, totals: Totals) -> None:
    """Run workers one after another until the time is over."""
    end = time.monotonic() + options.seconds
    with tempfile.NamedTemporaryFile(dir=_memory()) as file:
        file.truncate(SHARED_BYTES)
        while (left := end - time.monotonic()) > 1:
            command = [sys.executable, "-m", "tests.fuzz.run", "--worker", file.name, "--seconds", str(left)]
            command += ["--targets", options.targets, "--build", options.build, "--seed", str(seed)]
            seed += 1
            said, status, errors = _watch(command)
            if said:
                totals.add(said)
            if status:
                content = Path(file.name).read_bytes()
                name, size = json.loads(content[:64])
                keep(name, content[64 : 64 + size], f"{errors}\nthe worker ended with status {status}")
                totals.crashes[f"{name} status {status}"] += 1


def _watch(command: list[str]) -> tuple[dict[str, Any], int, str]:
    """Run one worker; give its last report, its status and the end of what it complained about."""
    said: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+") as complaints:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=complaints, text=True) as worker:
            assert worker.stdout is not None
            for line in worker.stdout:
                said = json.loads(line)
        complaints.seek(0)
        text = complaints.read()
    sys.stderr.write("".join(line for line in text.splitlines(keepends=True) if line.startswith("found:")))
    return said, worker.returncode, text[-8000:]


def _memory() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def arguments() -> argparse.Namespace:
    """Read the command line, which the engines share."""
    parser = argparse.ArgumentParser(description="feed hostile inputs to the targets")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--targets", default=",".join(TARGETS))
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--build", default="fast", help="what the kernels are, for the record")
    parser.add_argument("--store", action="store_true", help="write the result below tests/fuzz/results/")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    return parser.parse_args()


def finish(totals: Totals, build: str, *, is_stored: bool) -> int:
    """Print what was done, and store it; give 1 if something was found."""
    text = json.dumps(totals.result(build), indent=1)
    print(text)
    if is_stored:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / f"{build}-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(text + "\n")
    return 1 if totals.crashes else 0


def main() -> int:
    """Feed every target in its turn; give 1 if something was found."""
    options = arguments()
    seed = options.seed if options.seed is not None else time.time_ns()
    if options.worker:
        COSTS.enforce(options.build)
        with open(options.worker, "r+b") as file, mmap.mmap(file.fileno(), SHARED_BYTES) as shared:
            Worker(options.targets.split(","), seed, shared).work(options.seconds)
        return 0
    totals = Totals()
    supervise(options, seed, totals)
    return finish(totals, options.build, is_stored=options.store)


if __name__ == "__main__":
    sys.exit(main())
