"""Record runs of the laboratory: ``python -m tests.truth.lab.record [NAME…] --runs 60 --set A -o build/lab/A``.

Each run is a forked process with namespaces of its own, several at a time. A run whose packets left the forwarder late,
or whose capture dropped frames, or in which what it is for did not happen, is done again with the next seed and
counted; nothing else chooses among runs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from tests.truth.lab import kernel, negatives, openings
from tests.truth.lab.catalogue import ENTRIES, make
from tests.truth.lab.path import build
from tests.truth.lab.rewriting import rewrite
from tests.truth.lab.run import addresses, run
from tests.truth.lab.truth import truth_of, write_middle

__all__ = ["main", "negatives", "openings", "record"]

SETS = {"A": 1000} | {name: 500_000 * number for number, name in enumerate("BCDEFGHIJK", 1)}
"""First seeds: set A to choose thresholds by, others for results that are stored, each used once."""

LATE_P99_NS, LATE_MAX_NS = 2_000_000, 20_000_000
"""A run is not kept if more than 1 in 100 packets, or any, left the forwarder later than this.

What is late is logged as it was, so truth stays true; but a link that is said to be clean should be.
"""

TRIES = 4


class Job(NamedTuple):
    """One run that is wanted."""

    name: str
    number: int
    seed: int
    tries: int


def why_not(truth: dict[str, Any]) -> str:
    """Say why a run is not kept; empty if it is."""
    path, machine = truth["path"], truth["machine"]
    if path["late_p99_ns"] > LATE_P99_NS or path["late_max_ns"] > LATE_MAX_NS:
        return (
            f"late: 99 of 100 by {path['late_p99_ns'] / 1e6:.2f} ms at most, all by {path['late_max_ns'] / 1e6:.2f} ms"
        )
    if machine["capture_drops"] or machine["lost_tracepoints"]:
        return "capture dropped frames"
    if any(c.get("device_sent_dropped") for c in truth["counters"].values()):
        return "device dropped packets"
    if not all(e["happened"] for e in truth["expected"]):
        return "did not happen"
    return ""


def record(job: Job, slot: int, folder: Path, program: Path, keep_log: bool) -> str:
    """Do one run in this process; give why it was not kept."""
    scenario = make(job.name, job.seed)
    with tempfile.TemporaryDirectory(prefix="tcpsight-lab-") as made:
        work = Path(made)
        raw = run(scenario, slot, work, program)
        truth = truth_of(scenario, job.seed, raw, addresses(scenario, slot)[0])
        reason = why_not(truth)
        if reason:
            return reason
        if "middle" in scenario.vantages:
            write_middle(raw.log, scenario.link, work / "middle.pcap", scenario.snaplen)
        target = folder / job.name / f"{job.number:03d}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for vantage in scenario.vantages:
            path = work / f"{vantage}.pcap"
            if scenario.rewrite:
                rewrite(path, scenario.rewrite, job.seed, scenario.client.port)
            pack(path.read_bytes(), target / f"{vantage}.pcap.zst")
        if keep_log:
            pack(raw.log.tobytes(), target / "path.log.zst")
        (target / "truth.json").write_text(json.dumps(truth))
    return ""


def pack(data: bytes, target: Path) -> None:
    """Write bytes compressed."""
    target.write_bytes(zstandard.ZstdCompressor(level=9).compress(data))


# --- many runs at a time


class Pool:
    """Forks a process per job, never more than `width` at a time."""

    def __init__(self, arguments: argparse.Namespace, program: Path) -> None:
        self.arguments, self.program = arguments, program
        self.running: dict[int, tuple[Job, int, int]] = {}
        self.free = list(range(1, arguments.parallel + 1))
        self.outcomes: Counter[str] = Counter()
        self.failed: list[Job] = []

    def start(self, job: Job) -> None:
        slot = self.free.pop()
        told, tell = os.pipe()
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os.close(told)
            self._child(job, slot, tell)
        os.close(tell)
        self.running[pid] = (job, slot, told)

    def _child(self, job: Job, slot: int, tell: int) -> None:
        try:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
            kernel.die_with_parent(signal.SIGTERM)
            reason = record(job, slot, self.arguments.output, self.program, self.arguments.keep_log)
        except SystemExit:
            reason = "ended"
        except BaseException as error:
            traceback.print_exc()
            reason = f"error: {type(error).__name__}: {error}"
        os.write(tell, reason.encode())
        os._exit(0)

    def wait(self) -> Job | None:
        """Wait for one to end; give the job that must be done again, if it must."""
        pid, _ = os.wait()
        job, slot, told = self.running.pop(pid)
        with os.fdopen(told, "rb") as f:
            reason = f.read().decode()
        self.free.append(slot)
        self.outcomes[reason.split(":")[0] or "kept"] += 1
        if not reason:
            return None
        print(f"{job.name} {job.number} seed {job.seed}: {reason}", file=sys.stderr)
        if job.tries + 1 >= TRIES or reason == "ended":
            self.failed.append(job)
            return None
        return job._replace(seed=job.seed + 100_000 // TRIES, tries=job.tries + 1)

    def end(self) -> None:
        """End what runs."""
        for pid in self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        while self.running:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(next(iter(self.running)), 0)
            self.running.popitem()


def jobs(names: list[str], runs: int, first: int) -> Iterator[Job]:
    """Give what is to be done, the entries in turn so that neighbours differ."""
    for number in range(runs):
        for name in names:
            yield Job(name, number, first + number, 0)


def main(arguments: list[str] | None = None) -> int:
    """Record what the command line says; give the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios; all by default")
    parser.add_argument("--runs", type=int, default=1, help="of each scenario")
    parser.add_argument("--set", choices=SETS, default="A", help="A: to choose thresholds; later ones: to judge, once")
    parser.add_argument("--first", type=int, default=0, help="number of the first run")
    parser.add_argument("--parallel", type=int, default=6)
    parser.add_argument("--keep-log", action="store_true", help="keep the forwarder's log too")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/lab/A"))
    parser.add_argument("--list", action="store_true", help="list the scenarios")
    chosen = parser.parse_args(arguments)
    names = chosen.names or list(ENTRIES)
    unknown = [name for name in names if name not in ENTRIES]
    if chosen.list or unknown:
        print("\n".join(ENTRIES) if chosen.list else f"no such scenario: {', '.join(unknown)}")
        return 2 if unknown else 0
    reason = kernel.missing()
    if reason:
        print(f"the laboratory {reason}", file=sys.stderr)
        return 2
    return _record_all(chosen, names)


def _record_all(chosen: argparse.Namespace, names: list[str]) -> int:
    pool = Pool(chosen, build())
    begun = time.monotonic()
    first = SETS[chosen.set] + chosen.first
    todo = [j._replace(number=j.number + chosen.first) for j in jobs(names, chosen.runs, first)][::-1]
    try:
        while todo or pool.running:
            while todo and pool.free:
                pool.start(todo.pop())
            again = pool.wait()
            if again is not None:
                todo.append(again)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    finally:
        pool.end()
    spent = time.monotonic() - begun
    told = ", ".join(f"{n} {what}" for what, n in pool.outcomes.most_common())
    print(f"{told}; {spent:.0f} s, {60 * pool.outcomes['kept'] / spent:.0f} runs a minute", file=sys.stderr)
    return 1 if pool.failed else 0


if __name__ == "__main__":
    sys.exit(main())
