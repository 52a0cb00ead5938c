"""The reference pages are those of this code, and every method page is in the index."""

from __future__ import annotations

import subprocess
import sys

from tcpsight.cli.main import COMMANDS
from tests.conftest import ROOT


def test_the_reference_pages_are_fresh():
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "reference.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_command_is_in_the_reference():
    text = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
    for name in COMMANDS:
        assert f"## tcpsight {name}\n" in text


def test_every_method_page_is_in_the_index():
    folder = ROOT / "docs" / "methods"
    index = (folder / "README.md").read_text("utf-8")
    for path in folder.glob("*.md"):
        assert path.name == "README.md" or f"({path.name})" in index, path.name
