"""What an installation weighs, and what starting costs: ``python tools/footprint.py WHEEL`` compares it with the docs.

``--store`` writes the tables into ``docs/methods/footprint.md`` instead. Sizes are of installed files, and of what
Python compiles of them, without pip; the dependencies' are those of the environment that this runs in, which needs all
extras. Start-up is CPU time of processes, the median of several.

Sizes of others change with their releases, and CPU time with the machine: what is compared is our own size, and how
many times ``python -c pass`` a start costs.
"""

from __future__ import annotations

import argparse
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "methods" / "footprint.md"
MARKS = ("<!-- footprint -->", "<!-- end of footprint -->")
CAPTURE = ROOT / "examples" / "two-points-client.pcap.zst"
"""93 segments."""

EXTRAS = (
    *("html", "plot", "sql", "screen", "serve", "otlp", "kafka"),
    *("anonymize", "remote", "cluster", "polars", "pandas"),
)
ROUNDS = 15
MOST_GROWTH = 1.1
"""Our own size may be so many times what is told."""
MOST_START = 1.5
"""So may the cost of a start, in starts of Python: measured on another machine, with others on it."""


def size_of(name: str) -> int:
    """Give the bytes of a distribution's files."""
    paths = (Path(str(file.locate())) for file in distribution(name).files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())


def closure(wanted: Iterable[str]) -> set[str]:
    """Give the names of distributions that some requirements lead to, as installed here."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    found: set[str] = set()
    left = [Requirement(each) for each in wanted]
    while left:
        requirement = left.pop()
        name = canonicalize_name(requirement.name)
        applies = requirement.marker is None or any(
            requirement.marker.evaluate({"extra": extra}) for extra in requirement.extras or {""}
        )
        if name in found or not applies:
            continue
        try:
            needs = distribution(name).requires or []
        except PackageNotFoundError:
            raise SystemExit(f"{name} is not installed here: pip install -e '.[dev]'") from None
        found.add(name)
        left += [need for each in needs if _is_due(need := Requirement(each), requirement.extras)]
    return found


def _is_due(need: object, extras: set[str]) -> bool:
    marker = need.marker  # type: ignore[attr-defined]
    return marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""})


def sizes(wheel: Path) -> list[str]:
    """Give the table of sizes, in lines."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    base = closure(project["dependencies"])
    parts = sorted(((size_of(name), name) for name in base), reverse=True)
    own, kernels = own_size(wheel)
    total = own + sum(size for size, _ in parts)
    largest = ", ".join(f"{name} {size / 1e6:.0f}" for size, name in parts[:4])
    kept = f"kernels {kernels / 1e6:.1f}; the wheel {wheel.stat().st_size / 1e6:.1f}"
    lines = ["| installed | MB | of which |", "|---|---:|---|"]
    lines += [f"| tcpsight alone | {own / 1e6:.1f} | {kept} |", f"| `pip install .` | {total / 1e6:.0f} | {largest} |"]
    for extra in EXTRAS:
        names = closure(project["optional-dependencies"][extra]) - base
        added = sorted(((size_of(name), name) for name in names), reverse=True)
        in_all = sum(size for size, _ in added)
        most = ", ".join(f"{name} {size / 1e6:.0f}" for size, name in added[:3] if size >= in_all / 20)
        lines.append(f"| `[{extra}]` adds | {in_all / 1e6:.0f} | {most} |")
    return lines


def own_size(wheel: Path) -> tuple[int, int]:
    """Give the bytes that the wheel installs, compiled Python among them, and those of its kernels."""
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
        subprocess.run([sys.executable, "-m", "compileall", "-q", folder], check=True)
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        kernels = sum(path.stat().st_size for path in files if path.suffix == ".so")
        return sum(path.stat().st_size for path in files), kernels


def cpu_ms(*command: str) -> float:
    """Give the CPU time that a process takes, in ms: the median of some rounds behind one that warms up."""
    taken = []
    for _ in range(ROUNDS + 1):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        taken.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1e3 * statistics.median(taken[1:])


def starts() -> list[str]:
    """Give the table of what starting costs, in lines."""
    nothing = cpu_ms("-c", "pass")
    lines = ["| start | CPU ms | starts of Python |", "|---|---:|---:|", f"| `python -c pass` | {nothing:.0f} | 1 |"]
    for title, command in (
        ("`tcpsight --help`", ("--help",)),
        ("`tcpsight requests` of 93 frames", ("requests", str(CAPTURE))),
        ("`tcpsight report` of 93 frames", ("report", str(CAPTURE))),
    ):
        taken = cpu_ms("-m", "tcpsight", *command)
        lines.append(f"| {title} | {taken:.0f} | {taken / nothing:.1f} |")
    return lines


def told(text: str, title: str, column: int) -> float:
    """Give a number of the stored tables."""
    (row,) = (line for line in text.splitlines() if line.startswith(f"| {title} |"))
    return float(row.split("|")[column])


def compare(old: str, new: str) -> list[str]:
    """Tell what has grown beyond what is told."""
    found = []
    started = [line.split("|")[1].strip() for line in new.splitlines() if line.startswith("| `tcpsight ")]
    titles = [("tcpsight alone", 2, MOST_GROWTH), *((title, 3, MOST_START) for title in started)]
    for title, column, most in titles:
        before, now = told(old, title, column), told(new, title, column)
        if now > before * most:
            found.append(f"{title}: {now} where {before} is told in {PAGE.relative_to(ROOT)}")
    return found


def main(arguments: list[str]) -> int:
    """Measure; store it, or compare with what is stored."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--store", action="store_true", help="write what is measured into the docs")
    options = parser.parse_args(arguments)
    new = "\n".join([*sizes(options.wheel), "", *starts()])
    text = PAGE.read_text("utf-8")
    old = text.partition(MARKS[0])[2].partition(MARKS[1])[0]
    if options.store:
        PAGE.write_text(re.sub(rf"(?<={MARKS[0]}\n).*?(?={MARKS[1]})", lambda _: new + "\n", text, flags=re.S), "utf-8")
        return 0
    grown = compare(old, new)
    print("\n".join(grown) or new)
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
