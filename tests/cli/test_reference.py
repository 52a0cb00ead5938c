"""The reference pages are those of this code, and every method page is in the index."""

from __future__ import annotations

import doctest
import re
import subprocess
import sys

import tcpsight
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


def test_every_public_name_of_the_library_is_in_the_reference():
    text = (ROOT / "docs" / "reference" / "library.md").read_text("utf-8")
    for name in set(tcpsight.__all__) - {"__version__"}:
        assert f"tcpsight.{name}" in text, name
    for name in vars(tcpsight.Analysis) | vars(tcpsight.Rows):
        assert name.startswith("_") or f".{name}" in text, name


def test_every_example_of_the_library_reference_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    page = ROOT / "docs" / "reference" / "library.md"
    text = page.read_text("utf-8").replace("```", "")
    examples = doctest.DocTestParser().get_doctest(text, {"tcpsight": tcpsight}, page.name, str(page), 0)
    found = doctest.DocTestRunner().run(examples)
    assert found.attempted >= 20
    assert found.failed == 0


def test_every_name_of_the_library_reference_is_used_by_one_of_its_examples():
    """These run, by the test above; a class that is made by others is used if anything of it is."""
    text = (ROOT / "docs" / "reference" / "library.md").read_text("utf-8")
    used = "\n".join(line for line in text.splitlines() if line.startswith((">>> ", "... ", "tcpsight.errors.")))
    sections = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert len(sections) >= 14
    for section in sections:
        title = section.split("\n")[0].strip("`")
        members = re.findall(r"^### `\w+\.(\w+)(?:\(\))?`$", section, re.MULTILINE)
        unused = [name for name in members if not re.search(rf"\.{name}\b", used)]
        assert not unused, f"{title}: no example uses {', '.join(unused)}"
        assert members or re.search(rf"\.{title.removesuffix('()').removeprefix('tcpsight.')}\b", used), title


def test_every_method_page_is_in_the_index():
    folder = ROOT / "docs" / "methods"
    index = (folder / "README.md").read_text("utf-8")
    for path in folder.glob("*.md"):
        assert path.name == "README.md" or f"({path.name})" in index, path.name
