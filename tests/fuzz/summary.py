"""Adds up the stored runs: ``python -m tests.fuzz.summary`` writes ``tests/fuzz/results/README.md``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.fuzz.limits import UNMEASURED
from tests.fuzz.run import RESULTS

LANGUAGES = ("where", "filter", "values", "program")
BUILDS = ("fast", "guided", "checked", "address")


def table(rows: list[list[str]]) -> list[str]:
    head, *rest = rows
    return [" | ".join(["", *row, ""]).strip() for row in (head, ["---", *["---:"] * (len(head) - 1)], *rest)]


def of_runs(runs: list[dict[str, Any]]) -> list[str]:
    """Write executions by target and build."""
    executions: Counter[tuple[str, str]] = Counter()
    seconds: Counter[str] = Counter()
    for run in runs:
        for name, target in run["targets"].items():
            executions[name, run["build"]] += target["executions"]
            seconds[run["build"]] += target.get("cpu_seconds", 0)
    names = sorted({name for name, _ in executions})
    rows = [["target", *BUILDS, "all"]]
    for name in names:
        counts = [executions[name, build] for build in BUILDS]
        rows.append([f"`{name}`", *(f"{count:,}" for count in counts), f"{sum(counts):,}"])
    sums = [sum(executions[name, build] for name in names) for build in BUILDS]
    rows.append(["all", *(f"{each:,}" for each in sums), f"{sum(sums):,}"])
    rows.append(["CPU seconds", *(f"{seconds[build]:,.0f}" for build in BUILDS), f"{sum(seconds.values()):,.0f}"])
    return table(rows)


def of_costs(runs: list[dict[str, Any]]) -> list[str]:
    """Write the most that reading one input took, by target: CPU time of each build, memory without sanitizers."""
    seconds: dict[tuple[str, str], float] = {}
    memory: dict[str, float] = {}
    for run in runs:
        for name, target in run["targets"].items():
            if not target.get("most_seconds"):
                continue
            key = name, run["build"]
            seconds[key] = max(seconds.get(key, 0.0), target["most_seconds"])
            if run["build"] not in UNMEASURED:
                memory[name] = max(memory.get(name, 0.0), target["most_mb"])
    builds = [build for build in BUILDS if any(each == build for _, each in seconds)]
    rows = [["target", *(f"{build}, s" for build in builds), "memory, MB"]]
    for name in sorted({name for name, _ in seconds}):
        most = [f"{seconds[name, build]:.3f}" if (name, build) in seconds else "" for build in builds]
        rows.append([f"`{name}`", *most, f"{memory[name]:.1f}" if name in memory else ""])
    return table(rows)


def of_attacks(attacks: dict[str, Any]) -> list[str]:
    """Write what each attack cost."""
    rows = [["attack", "file, MB", "peak memory, MB", "CPU, s", "exit status"]]
    for name, each in attacks.items():
        cost = (each["file_mb"], each["peak_mb"], each["cpu_seconds"], each["status"])
        rows.append([name, *map(str, cost)])
    return table(rows)


def of_properties(rounds: list[dict[str, Any]]) -> list[str]:
    """Write how often the tests of properties were given other examples, by build, and which failed."""
    rows = [["build", "rounds", "tests", "examples", "CPU seconds"]]
    for build in sorted({each["build"] for each in rounds}):
        runs = [each for each in rounds if each["build"] == build]
        tests = len({name for each in runs for name in each["tests"]})
        sums = [sum(each[name] for each in runs) for name in ("rounds", "executions", "cpu_seconds")]
        rows.append([build, f"{sums[0]:,}", f"{tests:,}", f"{sums[1]:,}", f"{sums[2]:,.0f}"])
    failed = sorted({name for each in rounds for name in each["failures"]})
    return [
        *table(rows),
        "",
        "Tests that failed, at the time of the run:",
        "",
        *([f"* `{name}`" for name in failed] or ["* none"]),
    ]


def main() -> None:
    runs = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-*.json"))]
    found = sorted({place for run in runs for place in run["crashes"]})
    lines = ["# What was fed", "", f"{len(runs)} runs. Written by `python -m tests.fuzz.summary`.", "", *of_runs(runs)]
    readers = sum(t["executions"] for run in runs for name, t in run["targets"].items() if name not in LANGUAGES)
    lines += ["", f"{readers:,} of these read captures, frames, headers or streams; the others read what a user types."]
    lines += [
        "",
        "The most that reading one input once took (at most 200 KB; a second is allowed, ten times its size and",
    ]
    lines += ["200 MB; see `docs/methods/fuzzing.md`):", "", *of_costs(runs)]
    lines += ["", "Places in the code where something was found, at the time of the run:", ""]
    lines += [f"* `{place.splitlines()[0]}`" for place in found] or ["* none"]
    if rounds := [json.loads(path.read_text()) for path in sorted(RESULTS.glob("properties/*.json"))]:
        lines += ["", "# Properties with random seeds", "", *of_properties(rounds)]
    attacks = RESULTS / "attacks.json"
    if attacks.exists():
        lines += ["", "# Attacks at full size", "", *of_attacks(json.loads(attacks.read_text()))]
    (RESULTS / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
