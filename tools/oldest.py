"""Print the oldest version of each dependency that ``pyproject.toml`` allows, as constraints for pip."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def constraints() -> list[str]:
    """Give a line for each dependency that has a lower bound; extras are left as they are."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    found = [re.match(r"([A-Za-z0-9_-]+)>=([\d.]+)$", each) for each in project["dependencies"]]
    return [f"{each[1]}=={each[2]}" for each in found if each]


if __name__ == "__main__":
    print("\n".join(constraints()))
