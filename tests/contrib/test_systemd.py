"""The memory that the units allow is what the caps of the program add up to."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from tcpsight.capture.live import RING_BYTES
from tcpsight.cli.main import tcpsight_command
from tcpsight.cli.watch_options import BASE_BYTES, CONNECTION_BYTES
from tcpsight.output.packet_files import MOST_COLLECTED_BYTES
from tests.conftest import ROOT

UNITS = ROOT / "contrib" / "systemd"
UNITS_OF_SIZE = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}

SHARES = 256
"""Parts of the connections, each of which has caps of its own."""

CAPS = {
    "connections/_state.pxd": ["MOST_HOLE_BYTES"],
    "network/_state.pxd": ["MOST_HOLE_BYTES", "MOST_SENT_BYTES"],
    "network/_log.pxd": ["MOST_LOG_BYTES"],
}
"""What one share may take beyond the room that every connection has."""


def settings(name: str) -> list[tuple[str, str]]:
    lines = (UNITS / f"tcpsight-{name}.service").read_text().splitlines()
    return [(key, value) for line in lines if line[:1].isalpha() for key, _, value in [line.partition("=")]]


def allowed(name: str) -> int:
    text = dict(settings(name))["MemoryMax"]
    return int(text[:-1]) * UNITS_OF_SIZE[text[-1]]


def command_line(name: str) -> list[str]:
    """Give the arguments as systemd gives them."""
    variables = {}
    for key, value in settings(name):
        if key == "Environment":
            for word in shlex.split(value):
                variable, _, text = word.partition("=")
                variables[variable] = text
    words: list[str] = []
    for word in dict(settings(name))["ExecStart"].split()[1:]:
        if word.startswith("$") and not word.startswith("${"):
            words += variables[word[1:]].split()
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda m: variables.get(m[1], "/var/lib/x"), word))
    return words


def beyond_connections() -> int:
    caps = []
    for path, names in CAPS.items():
        text = Path(ROOT / "src" / "tcpsight" / path).read_text()
        for name in names:
            caps += [int(number) for number in re.findall(rf"^ +{name} = (\d+)", text, re.M)]
    assert len(caps) == sum(map(len, CAPS.values()))
    return SHARES * sum(caps)


@pytest.mark.parametrize("name", ["watch", "capture"])
def test_the_command_of_a_unit_is_one_that_the_program_takes(name):
    words = command_line(name)
    command = tcpsight_command.get_command(click.Context(tcpsight_command), words[0])
    assert command is not None
    command.make_context(words[0], words[1:])
    with pytest.raises(click.UsageError):
        command.make_context(words[0], [*words[1:], "--nonsense"])


def test_all_that_a_watch_may_take_is_below_what_its_unit_allows():
    words = command_line("watch")
    connections = int(words[words.index("--max-connections") + 1])
    most = BASE_BYTES + RING_BYTES + connections * CONNECTION_BYTES + beyond_connections()
    assert most <= allowed("watch")
    # Nor is it allowed much more than that.
    assert most > 0.75 * allowed("watch")


def test_connections_of_a_watch_are_bounded_whatever_options_are_chosen_in_their_place():
    assert "--max-connections" not in dict(settings("watch")).get("TCPSIGHT_OPTIONS", "")
    assert "--max-connections ${TCPSIGHT_MAX_CONNECTIONS}" in dict(settings("watch"))["ExecStart"]


def test_all_that_a_recording_may_take_is_below_what_its_unit_allows():
    assert allowed("capture") >= BASE_BYTES + RING_BYTES + 4 * MOST_COLLECTED_BYTES
