"""Tell how many lines and branches of each room the tests of `make coverage` came through; fail where they are too few.

``coverage report`` mixes lines and branches into one number; here each has its own, and branches must be `LEAST`.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

from coverage import Coverage

ROOT = Path(__file__).resolve().parents[1]
LEAST = 0.95


def main() -> None:
    """Print a row for each room; the lines that nothing came through are in ``python -m coverage report``."""
    measured = Coverage(config_file=str(ROOT / "pyproject.toml"))
    measured.load()
    sums: dict[str, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for path in measured.get_data().measured_files():
        numbers = measured._analyze(path).numbers
        counts = numbers.n_executed, numbers.n_statements, numbers.n_executed_branches, numbers.n_branches
        for name in (Path(path).parent.name, "all"):
            sums[name] = [held + count for held, count in zip(sums[name], counts, strict=True)]
    print(f"{'room':12} {'lines':>15} {'branches':>15}")
    for name, (lines, of_lines, branches, of_branches) in sums.items():
        shares = f"{lines / of_lines:6.1%} of {of_lines:5} {branches / of_branches:6.1%} of {of_branches:5}"
        print(f"{name:12} {shares}")
    if any(branches < LEAST * of_branches for _, _, branches, of_branches in sums.values()):
        sys.exit(f"less than {LEAST:.0%} of the branches of a room: see `python -m coverage report`")


if __name__ == "__main__":
    main()
