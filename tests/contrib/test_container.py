"""The container file copies all that a build needs, and names what there is."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from tcpsight.cli.main import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "contrib" / "container" / "Containerfile").read_text()


def test_all_that_is_copied_is_there_and_is_let_in():
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    copied = [word for line in re.findall(r"^COPY (.*)$", TEXT, re.M) for word in line.split()[:-1]]
    assert {"setup.py", "pyproject.toml", "src", "tools/manual.py"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored


def test_what_setup_reads_is_copied():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for name in (project["readme"], *project["license-files"], "MANIFEST.in"):
        assert re.search(rf"^COPY .*\b{re.escape(name)}\b", TEXT, re.M), name


def test_extras_that_are_installed_are_extras():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (named,) = re.findall(r"\$1\[([a-z,]+)\]", TEXT)
    assert set(named.split(",")) <= set(extras)


@pytest.mark.parametrize("line", re.findall(r"^#   podman run .* tcpsight (.*)$", TEXT, re.M))
def test_commands_that_are_shown_are_commands(line):
    assert shlex.split(line)[0] in COMMANDS
