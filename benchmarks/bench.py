"""Compare tcpsight's speed and memory with tcpdump and tcptrace: ``make bench``.

Machines drift, so programs take turns (A B C D, A B C D, …) and only ratios within one round count; the medians
of those ratios are printed. Speed is millions of segments per second of CPU (user and system) of the whole process,
start-up included, on one core, with the capture in the page cache. Two shapes of capture of the same size are used:

``open``     all connections open from the beginning, finely interleaved: state does not fit the nearest caches
``passing``  250 open at once whatever the size, one opening when another closes: memory must not follow the length

This program imports nothing heavy: a child's peak memory, as the kernel reports it, is never below its parent's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MILLION = 1_000_000
CONNECTIONS_PER_MILLION = 2_000
PASSING_OPEN = 250

# What the project promises.
LEAST_OF_TCPDUMP = 0.6
LEAST_OF_TCPTRACE = 8.0
LEAST_OF_CONNECTIONS = 0.6
LEAST_OF_TCPTRACE_BY_NETWORK = 10.0
MOST_MEMORY_MB = 300
MOST_GROWTH = 1.1
MOST_HELP_MS = 150
MOST_REPORT_S = 0.7


# As after `pip install`, which compiles: no start may have to compile our modules again.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run of a program took."""

    cpu_s: float
    wall_s: float
    peak_mb: float


@dataclass
class Result:
    """Everything measured, as stored by ``--store``."""

    machine: dict[str, str]
    segments: int
    rounds: dict[str, dict[str, list[Cost]]] = field(default_factory=dict)
    memory_mb: dict[str, dict[str, float]] = field(default_factory=dict)
    help_ms: float = 0.0
    report_s: float = 0.0
    missed: list[str] = field(default_factory=list)


def run(command: list[str]) -> Cost:
    """Run a program with its output thrown away; give its cost."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        said = process.stderr.read() if process.stderr else b""
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.perf_counter() - began
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)}: exit {process.returncode}\n{said.decode(errors='replace')}")
    return Cost(usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss / 1024)


def capture(folder: Path, shape: str, segments: int) -> Path:
    """Give a generated capture, made if it is not there, in the page cache."""
    connections = max(2, CONNECTIONS_PER_MILLION * segments // MILLION)
    path = folder / f"{shape}-{segments}.pcap"
    if not path.exists():
        print(f"generating {path} ...", file=sys.stderr)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        command = [sys.executable, str(HERE / "generate.py"), str(unfinished), f"--segments={segments}"]
        command += [f"--connections={connections}"]
        command += [f"--concurrent={PASSING_OPEN}"] if shape == "passing" else []
        subprocess.run(command, check=True)
        Path(f"{unfinished}.truth.json").rename(f"{path}.truth.json")
        unfinished.rename(path)
    with path.open("rb", buffering=0) as stream:
        while stream.read(4 << 20):
            pass
    return path


def tcpsight() -> list[str]:
    """Give the installed command of this environment."""
    command = Path(sys.executable).with_name("tcpsight")
    if not command.exists():
        raise SystemExit(f"{command} is missing: pip install -e '.[dev]' first")
    return [str(command)]


def programs(path: Path) -> dict[str, list[str]]:
    """Give the commands to compare, those that are installed."""
    ours = tcpsight()
    commands = {
        "tcpdump -w": ["tcpdump", "-nn", "-r", str(path), "-w", "/dev/null"],
        "tcptrace -l -r": ["tcptrace", "-n", "-l", "-r", str(path)],
        "tcpsight requests": [*ours, "requests", str(path), "-o", "/dev/null", "--format", "parquet"],
        "tcpsight connections": [*ours, "connections", str(path), "-o", "/dev/null", "--format", "parquet"],
        "tcpsight network": [*ours, "network", str(path), "-o", "/dev/null", "--format", "parquet"],
    }
    missing = [name for name, command in commands.items() if shutil.which(command[0]) is None]
    for name in missing:
        print(f"{name}: not installed, left out", file=sys.stderr)
    return {name: command for name, command in commands.items() if name not in missing}


def median(values: Iterable[float]) -> float:
    """Give the median."""
    return statistics.median(list(values))


def ratios(ours: list[Cost], theirs: list[Cost]) -> list[float]:
    """Give how many times faster we are, round by round."""
    return [b.cpu_s / a.cpu_s for a, b in zip(ours, theirs, strict=True)]


def speed_table(shape: str, segments: int, rounds: dict[str, list[Cost]]) -> None:
    """Print one line per program."""
    count = len(next(iter(rounds.values())))
    print(f"\n{segments:,} segments, {shape}: CPU of the whole process, median of {count} rounds")
    print(f"{'':22} {'M segments/s':>12} {'of tcpdump':>11} {'of tcptrace':>12} {'peak MB':>8}")
    for name, costs in rounds.items():
        speed = median(segments / MILLION / cost.cpu_s for cost in costs)
        cells = [
            f"{median(ratios(costs, rounds[peer])):.2f}" if peer in rounds else "–"
            for peer in ("tcpdump -w", "tcptrace -l -r")
        ]
        print(f"{name:22} {speed:12.2f} {cells[0]:>11} {cells[1]:>12} {max(cost.peak_mb for cost in costs):8.0f}")


def judge(result: Result, promise: str, is_kept: bool) -> None:  # noqa: FBT001
    """Print whether a promise holds, and remember if it does not."""
    print(f"  {'kept  ' if is_kept else 'MISSED'}  {promise}")
    if not is_kept:
        result.missed.append(promise)


def measure_speed(result: Result, folder: Path, shape: str, rounds: int) -> None:
    """Interleave the programs on one capture."""
    commands = programs(capture(folder, shape, result.segments))
    costs: dict[str, list[Cost]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            costs[name].append(run(command))
    result.rounds[shape] = costs
    speed_table(shape, result.segments, costs)


def measure_memory(result: Result, folder: Path) -> None:
    """Run our commands on a capture of a tenth of the size; the full size has been measured."""
    small = capture(folder, "passing", result.segments // 10)
    print(f"\npeak memory in MB, connections passing: {result.segments // 10:,} and {result.segments:,} segments")
    for name, command in programs(small).items():
        if name.startswith("tcpsight"):
            large = max(cost.peak_mb for cost in result.rounds["passing"][name])
            result.memory_mb[name] = {"small": run(command).peak_mb, "large": large}
            print(f"{name:22} {result.memory_mb[name]['small']:8.0f} {large:8.0f}")


def measure_start(result: Result, folder: Path) -> None:
    """Measure what it costs to be asked for help, and for the report of a small capture."""
    ours, small = tcpsight(), capture(folder, "open", 100)
    report, helped = [], []
    for _ in range(7):
        helped.append(run([*ours, "--help"]).cpu_s - run([sys.executable, "-c", "pass"]).cpu_s)
        report.append(run([*ours, "report", str(small)]).wall_s)
    result.help_ms, result.report_s = 1000 * median(helped), median(report)
    print(f"\n--help beyond 'python -c pass': {result.help_ms:.0f} ms of CPU")
    print(f"report on 100 frames: {result.report_s:.2f} s")


def judge_all(result: Result) -> None:
    """Compare what was measured with what was promised."""
    print("\npromises")
    rounds = result.rounds.get("open", {})
    promised = [
        (name, peer, least)
        for peer, least in (("tcpdump -w", LEAST_OF_TCPDUMP), ("tcptrace -l -r", LEAST_OF_TCPTRACE))
        for name in ("tcpsight requests", "tcpsight connections")
    ]
    promised.append(("tcpsight network", "tcpsight connections", LEAST_OF_CONNECTIONS))
    promised.append(("tcpsight network", "tcptrace -l -r", LEAST_OF_TCPTRACE_BY_NETWORK))
    for name, peer, least in promised:
        if name in rounds and peer in rounds:
            ratio = median(ratios(rounds[name], rounds[peer]))
            judge(result, f"{name}: {ratio:.2f} times {peer}, at least {least}", ratio >= least)
    for name, peaks in result.memory_mb.items():
        judge(result, f"{name}: peak {peaks['large']:.0f} MB, below {MOST_MEMORY_MB}", peaks["large"] < MOST_MEMORY_MB)
        growth = peaks["large"] / peaks["small"]
        judge(result, f"{name}: peak grows by {growth:.2f} over ten times the segments", growth <= MOST_GROWTH)
    judge(result, f"--help: {result.help_ms:.0f} ms, below {MOST_HELP_MS}", result.help_ms < MOST_HELP_MS)
    judge(result, f"report: {result.report_s:.2f} s, below {MOST_REPORT_S}", result.report_s < MOST_REPORT_S)


def machine() -> dict[str, str]:
    """Tell what this was measured on."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "cpu": models[0].partition(": ")[2] if models else platform.processor(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--segments", type=int, default=10 * MILLION, help="size of the captures (default: %(default)s)"
    )
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "build" / "bench", help="where generated captures are kept"
    )
    parser.add_argument("--core", type=int, help="the core to run on (default: the last one allowed)")
    parser.add_argument("--store", action="store_true", help="write the numbers to benchmarks/results/")
    parser.add_argument("--strict", action="store_true", help="exit 1 if a promise is missed")
    options = parser.parse_args(arguments)

    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    core = max(os.sched_getaffinity(0)) if options.core is None else options.core
    os.sched_setaffinity(0, {core})
    result = Result(machine(), options.segments)
    print(", ".join(f"{key} {value}" for key, value in result.machine.items()))
    measure_speed(result, options.folder, "open", options.rounds)
    measure_speed(result, options.folder, "passing", options.rounds)
    measure_memory(result, options.folder)
    measure_start(result, options.folder)
    judge_all(result)
    if options.store:
        target = HERE / "results" / f"{result.machine['date']}-{result.machine['commit']}.json"
        target.parent.mkdir(exist_ok=True)
        target.write_text(json.dumps(asdict(result), indent=1) + "\n", encoding="utf-8")
        print(f"\nstored in {target.relative_to(ROOT)}")
    return 1 if options.strict and result.missed else 0


if __name__ == "__main__":
    sys.exit(main())
