"""Runs every test that Hypothesis feeds again and again, with another random seed each time, and writes down the tally.

``make test`` gives these tests the same examples every time, so that it fails for what was changed and for nothing
else. What those examples do not show is looked for here.

``python -m tests.fuzz.properties --rounds 10 [--seed N] [--build checked] [--store] [-- PYTEST OPTIONS]``
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from typing import Any

from tests.fuzz.run import FOUND, RESULTS

TEST = re.compile(r"^(tests/\S+?)(?:\[.*\])?:$", re.MULTILINE)
EXAMPLES = re.compile(r"during generate phase.*?(\d+) passing, (\d+) failing", re.DOTALL)
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
NOTHING_WRONG, TESTS_FAILED = 0, 1


def examples_of(printed: str) -> Counter[str]:
    """Read how many examples each test was given from the statistics that Hypothesis prints."""
    found: Counter[str] = Counter()
    _, *parts = TEST.split(printed)
    for test, told in zip(parts[::2], parts[1::2], strict=True):
        if counts := EXAMPLES.search(told):
            found[test] += int(counts[1]) + int(counts[2])
    return found


def run(seed: int, options: list[str]) -> tuple[Counter[str], list[str], int]:
    """Run one round; give the examples of each test, the tests that failed, and the status."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "hypothesis", "--hypothesis-show-statistics"]
    command += ["--hypothesis-profile=search", f"--hypothesis-seed={seed}", *options]
    environment = os.environ | {"TCPSIGHT_THOROUGH": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    failed = FAILED.findall(done.stdout)
    if done.returncode != NOTHING_WRONG:
        FOUND.mkdir(parents=True, exist_ok=True)
        path = FOUND / f"properties-{seed}.txt"
        path.write_text(done.stdout + done.stderr)
        print(f"found: {path}: {' '.join(failed)}", file=sys.stderr, flush=True)
    return examples_of(done.stdout), failed, done.returncode


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="run the tests of properties with random seeds")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None, help="of the first round; each later one has the next number")
    parser.add_argument("--build", default="fast", help="what the kernels are, for the record")
    parser.add_argument("--store", action="store_true", help="write the tally below tests/fuzz/results/")
    parser.add_argument("pytest", nargs="*", help="options for pytest, behind --")
    return parser.parse_args()


def store(told: dict[str, Any], build: str) -> None:
    """Write a tally where `tests.fuzz.summary` finds it."""
    folder = RESULTS / "properties"
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(told, indent=1)
    (folder / f"{build}-{time.strftime('%Y%m%d-%H%M%S')}.json").write_text(text + "\n")


def main() -> int:
    """Run the rounds; give 1 if any test failed."""
    options = arguments()
    for one in (signal.SIGINT, signal.SIGTERM):  # also where a shell began it in the background, deaf to SIGINT
        signal.signal(one, signal.default_int_handler)
    first = options.seed if options.seed is not None else secrets.randbelow(2**32)
    examples: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    rounds = 0
    for seed in range(first, first + options.rounds):
        try:
            given, failed, status = run(seed, options.pytest)
        except KeyboardInterrupt:
            break  # what was done so far is told
        rounds += 1
        examples += given
        failures.update(failed)
        print(f"seed {seed}: {given.total():,} examples, {len(failed)} tests failed", file=sys.stderr, flush=True)
        if status not in (NOTHING_WRONG, TESTS_FAILED) or not given:
            print(f"pytest gave status {status} and told of {given.total()} examples", file=sys.stderr)
            return 2
    told = {
        "build": options.build,
        "python": platform.python_version(),
        "first_seed": first,
        "rounds": rounds,
        "executions": examples.total(),
        "cpu_seconds": round(sum(os.times()[2:4]), 1),
        "failures": dict(failures),
        "tests": dict(sorted(examples.items())),
    }
    print(json.dumps({name: value for name, value in told.items() if name != "tests"}, indent=1))
    if options.store and rounds:
        store(told, options.build)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
