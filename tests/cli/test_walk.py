"""What the tutorial and the walk from a slow request to its bytes show is what the commands print."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("tutorial.md", "walk.md")
SHOWN = {
    page: re.findall(
        r"```console\n\$ tcpsight (.*?)\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), re.DOTALL
    )
    for page in PAGES
}
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
