"""What the docs show is what the commands print, and scripts in them run: the tutorial, the walk, how-to pages."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {
    path.relative_to(ROOT / "docs").as_posix(): path.read_text(encoding="utf-8")
    for path in sorted((ROOT / "docs").rglob("*.md"))
}
SHOWN = {
    page: re.findall(r"```console\n\$ tcpsight (.*?)\n(.*?)```", text, re.DOTALL)
    for page, text in TEXTS.items()
    if not page.startswith("reference/")  # generated
}
SCRIPTS = {page: "".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)) for page, text in TEXTS.items()}
ALL = [(page, *shown) for page, found in SHOWN.items() for shown in found]


@pytest.mark.parametrize(("page", "command", "output"), ALL, ids=[f"{page}: {command}" for page, command, _ in ALL])
def test_pages_show_what_commands_print(here, page, command, output, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = here(*shlex.split(command))
    assert done.status == 0
    if output.endswith("\n…\n"):  # it goes on
        assert done.text.startswith(output.removesuffix("…\n"))
        assert len(done.text) > len(output)
    else:
        assert done.text == output


@pytest.mark.parametrize("page", [page for page, script in SCRIPTS.items() if script])
def test_scripts_of_pages_run(page, tmp_path):
    script = SCRIPTS[page]
    for command, module in (("sql", "duckdb"), ("anonymize", "cryptography")):
        if f"tcpsight {command}" in script:
            pytest.importorskip(module)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    (tmp_path / "tcpsight").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tcpsight "$@"\n')
    (tmp_path / "tcpsight").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-e", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_pages_whose_commands_are_tried():
    assert {"tutorial.md", "walk.md", "how-to/two-points.md", "how-to/any-interface.md"} <= {page for page, *_ in ALL}
    assert {"how-to/privacy.md", "how-to/rotated-files.md", "how-to/metrics.md"} <= {
        page for page, script in SCRIPTS.items() if script
    }


def test_the_walk_leads_from_the_finding_to_the_bytes():
    assert len(SHOWN["walk.md"]) == 4
    assert "EVAL" in SHOWN["walk.md"][-1][1]


def test_the_tutorial_finds_what_really_happened():
    (capture,) = {word for command, _ in SHOWN["tutorial.md"] for word in command.split() if word.endswith(".zst")}
    truth = json.loads((ROOT / capture.replace(".pcap.zst", ".truth.json")).read_text())
    assert len(SHOWN["tutorial.md"]) == 5
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    assert {f"127.0.0.1:{stall['blocker_port']}" for stall in truth["stalls"]} == set(
        re.findall(r"because of one client, ([\d.:]+)\.", text)
    )
    graph = SHOWN["tutorial.md"][-1][1]
    for stall in truth["stalls"]:
        length_s = (stall["ended_before_ns"] - stall["began_after_ns"]) / 1e9
        assert f"{length_s:.1f} s" in text
    assert "758 ms of silence" in graph
