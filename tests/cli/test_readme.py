"""What the README shows is what happens."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.DOTALL | re.MULTILINE)


def test_the_picture_is_the_output() -> None:
    picture = next(block for block in blocks() if block.startswith("$ tcpsight report "))
    command, _, shown = picture.partition("\n")
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    arguments = [sys.executable, "-m", *command.removeprefix("$ ").split()]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.rstrip() == shown.rstrip()


def test_the_test_command_is_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    assert "pip install -e '.[dev]' && make test" in README
    assert "pip\" install -q -e '.[dev]'" in ci
    assert re.search(r"^stage .*make test$", ci, re.MULTILINE)


def test_every_linked_page_exists() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
