"""The copy of the tree in which code is broken on purpose: by `mutants.py` and `kernel_mutants.py`."""

from __future__ import annotations

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STORED = ROOT / "tests" / "mutation"


def copied(name: str) -> Path:
    """Copy what is broken and what tests it, anew, to a folder of that name; give where it is."""
    tree = ROOT / "build" / "mutants" / name
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    for part in ("src", "tests", "examples"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    return tree
