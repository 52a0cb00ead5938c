"""Count the instructions that a segment costs, and compare with those counted before: ``make instructions``.

Time depends on the machine and on its mood; instructions hardly do. Each command runs under Valgrind's cachegrind on
two generated captures; the difference of the counts, divided by that of the segments, is what one segment costs,
without the start of the program. Two runs of one build differ by less than one in a thousand. Other compilers and
other versions of libraries do differ: what they are is stored beside the counts, which are only compared with the
latest of the same compiler, Python and NumPy.

It cannot see what memory costs: more instructions may be faster, if they wait less.
"""

from __future__ import annotations

import argparse
import json
import platform
import re
import subprocess
import sys
import sysconfig
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.bench import ENVIRONMENT, ROOT, capture, machine, tcpsight

RESULTS = ROOT / "benchmarks" / "results" / "instructions.json"
SMALL, LARGE = 150_000, 450_000
"""Segments; both are more than a batch, so that everything is loaded in both."""

MOST_GROWTH = 0.03
"""More than before by so much is a regression."""

ROWS = ["-o", "/dev/null", "--format", "parquet"]
COMMANDS = {
    "requests": ROWS,
    "connections": ROWS,
    "network": ROWS,
    "intervals": ["--interval", "200ms", *ROWS],
    "report": ["--format", "json"],
}

REPEATABLE = ENVIRONMENT | {"PYTHONHASHSEED": "0", "OPENBLAS_NUM_THREADS": "1"}

History = list[dict[str, Any]]


def instructions(command: str, path: Path) -> int:
    """Count what one run of a command executes, in all its threads."""
    valgrind = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
    ours = [sys.executable, *tcpsight(), command, str(path), "--workers", "1", *COMMANDS[command]]
    done = subprocess.run([*valgrind, *ours], capture_output=True, text=True, env=REPEATABLE, check=False)
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode != 0 or found is None:
        raise SystemExit(f"{' '.join(ours)}: exit {done.returncode}\n{done.stderr}")
    return int(found[1].replace(",", ""))


def count(folder: Path) -> dict[str, float]:
    """Count for each command what a segment costs."""
    small, large = (capture(folder, "open", segments) for segments in (SMALL, LARGE))
    found = {}
    for command, options in COMMANDS.items():
        # Once for nothing: modules are compiled, and that is kept.
        ours = [*tcpsight(), command, str(small), *options]
        subprocess.run(ours, stdout=subprocess.DEVNULL, env=REPEATABLE, check=True)
        found[command] = round((instructions(command, large) - instructions(command, small)) / (LARGE - SMALL), 1)
    return found


def kind() -> dict[str, str]:
    """Tell what counts depend on beside this program."""
    compiler = subprocess.run(
        [(sysconfig.get_config_var("CC") or "cc").split()[0], "--version"], capture_output=True, text=True, check=False
    )
    return {
        "compiler": compiler.stdout.partition("\n")[0],
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "pyarrow", "cython")},
    }


def latest(history: History, like: dict[str, str]) -> dict[str, Any] | None:
    """Give what was counted last with the same compiler and libraries."""
    return next((each for each in reversed(history) if each["kind"] == like), None)


def regressions(before: dict[str, float], now: dict[str, float]) -> list[str]:
    """Tell which commands cost more than before."""
    return [name for name, each in now.items() if name in before and each > before[name] * (1 + MOST_GROWTH)]


def main(arguments: list[str] | None = None) -> int:
    """Count, print, compare; 1 if a command costs more than before."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "bench", help="where captures are kept")
    parser.add_argument("--store", action="store_true", help=f"add to {RESULTS.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    history: History = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    now, like = count(options.folder), kind()
    known = latest(history, like)
    before = known["per_segment"] if known else {}
    print(f"instructions a segment; before: {known['commit'] if known else 'never counted with these libraries'}")
    for name, each in now.items():
        change = f"{each / before[name] - 1:+.1%}" if name in before else ""
        print(f"  {name:12} {each:8.0f} {change:>8}")
    if options.store:
        about = machine()
        history.append({"date": about["date"], "commit": about["commit"], "kind": like, "per_segment": now})
        RESULTS.write_text(json.dumps(history, indent=1) + "\n")
    worse = regressions(before, now)
    for name in worse:
        print(f"{name} costs more than {MOST_GROWTH:.0%} more than before")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
