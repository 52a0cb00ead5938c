"""What the walk from a slow request to its bytes shows is what the commands print."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "walk.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"```console\n\$ tcpsight (.*?)\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_the_walk_shows_what_commands_print(here, command, output, monkeypatch):
    monkeypatch.chdir(ROOT)
    done = here(*shlex.split(command))
    assert done.status == 0
    assert done.text == output


def test_the_walk_leads_from_the_finding_to_the_bytes():
    assert len(SHOWN) == 4
    assert "EVAL" in SHOWN[-1][1]
