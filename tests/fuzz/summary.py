"""Adds up the stored runs: ``python -m tests.fuzz.summary`` writes ``tests/fuzz/results/README.md``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tests.fuzz.run import RESULTS

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


def of_attacks(attacks: dict[str, Any]) -> list[str]:
    """Write what each attack cost."""
    rows = [["attack", "file, MB", "peak memory, MB", "CPU, s", "exit status"]]
    for name, each in attacks.items():
        cost = (each["file_mb"], each["peak_mb"], each["cpu_seconds"], each["status"])
        rows.append([name, *map(str, cost)])
    return table(rows)


def main() -> None:
    runs = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*-*.json"))]
    found = sorted({place for run in runs for place in run["crashes"]})
    lines = ["# What was fed", "", f"{len(runs)} runs. Written by `python -m tests.fuzz.summary`.", "", *of_runs(runs)]
    lines += ["", "Places in the code where something was found, at the time of the run:", ""]
    lines += [f"* `{place.splitlines()[0]}`" for place in found] or ["* none"]
    attacks = RESULTS / "attacks.json"
    if attacks.exists():
        lines += ["", "# Attacks at full size", "", *of_attacks(json.loads(attacks.read_text()))]
    (RESULTS / "README.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
