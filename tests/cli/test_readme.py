"""What the README shows is what happens."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str = "") -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    return [text for told, text in found if told == language]


PICTURES = [block for block in blocks() if re.match(r"\$ tcpsight [^\n]* examples/", block)]


@pytest.mark.parametrize("picture", PICTURES, ids=[picture.split("\n")[0] for picture in PICTURES])
def test_the_picture_is_the_output(picture: str) -> None:
    command, _, shown = picture.partition("\n")
    environment = {**os.environ, "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"}
    arguments = [sys.executable, "-m", *shlex.split(command.removeprefix("$ "))]
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
    if shown.endswith("\n…\n"):  # it goes on
        assert done.stdout.startswith(shown.removesuffix("…\n"))
    else:
        assert done.stdout.rstrip() == shown.rstrip()


def test_the_pictures_answer_what_most_people_ask() -> None:
    asked = " ".join(picture.split("\n")[0] for picture in PICTURES)
    for command in ("tcpsight report", "tcpsight usl", "tcpsight streams"):
        assert command in asked
    (load,) = (picture for picture in PICTURES if "tcpsight usl" in picture)
    assert re.search(r"^  peak  +\S+", load, re.MULTILINE)
    assert "refused" not in load
    (bytes_of,) = (picture for picture in PICTURES if "tcpsight streams" in picture)
    assert "EVAL" in bytes_of
    assert "not captured" not in bytes_of


def test_the_test_command_is_what_ci_runs() -> None:
    ci = (ROOT / ".ci" / "run").read_text()
    assert "pip install -e '.[dev]' && make test" in README
    assert "pip\" install -q -e '.[dev]'" in ci
    assert re.search(r"^stage .*make test$", ci, re.MULTILINE)


def test_every_linked_page_exists() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
