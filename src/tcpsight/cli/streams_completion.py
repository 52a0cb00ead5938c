"""What the last word of a command of ``tcpsight streams`` may become."""

from __future__ import annotations

import re
from collections.abc import Mapping
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING

from tcpsight.conversations.completing import completions

if TYPE_CHECKING:
    from tcpsight.conversations.catalog import Catalog

MOST_NUMBERS = 100
FILES = ("dump", "export")
NUMBERS = ("show", "follow", "requests", "pipe", "dump", "export")


def completions_of(line: str, commands: Mapping[str, tuple[str, str]], catalog: Catalog) -> list[str]:
    """Give what may stand in place of what is behind the last space: commands, options, columns, numbers, files.

    Parameters
    ----------
    line : str
        As far as it is typed.
    commands : mapping of str to (str, str)
        Usage and meaning of each.
    catalog : Catalog
        Whose connections have numbers.
    """
    line = line.lstrip()
    name, space, rest = line.partition(" ")
    named = [name] if name in commands else [each for each in commands if each.startswith(name)]
    if not space or len(named) != 1:
        return [] if space else named
    command, last = named[0], line[line.rfind(" ") + 1 :]
    if command == "help":
        return [each for each in commands if each.startswith(last)]
    usage = commands[command][0]
    words = rest.split(" ")
    if len(words) > 1 and words[-2].startswith("--"):
        return _values(usage, words[-2], last)
    if last.startswith("-"):
        return [option for option in re.findall(r"--[a-z]+", usage) if option.startswith(last)]
    if command in ("filter", "list", "match", "find"):
        return _conditions(command, rest.lstrip())
    if command in FILES and len(words) == 1:
        return [f"{path}/" if Path(path).is_dir() else path for path in sorted(glob(f"{escape(last)}*"))]  # noqa: PTH207
    has_number = command in NUMBERS and (command in FILES or len(words) == 1)
    return _numbers(catalog, last) if has_number else []


def _numbers(catalog: Catalog, last: str) -> list[str]:
    numbers = (str(number) for number in catalog.shown.connection_id[:10_000].tolist())
    return [number for number in numbers if number.startswith(last)][:MOST_NUMBERS]


def _values(usage: str, option: str, typed: str) -> list[str]:
    """Give what may stand behind an option: its choices, a side, a column."""
    if option == "--sort":
        sign = "-" if typed.startswith("-") else ""
        return [f"{sign}{each}" for each in completions("filter", typed.removeprefix("-"))]
    found = re.search(rf"{option} ([a-z|]+)", usage)
    choices = found[1].split("|") if found else {"--side": ["client", "server"]}.get(option, [])
    choices = choices or (["table", "csv", "jsonl"] if option == "--format" else [])
    return [choice for choice in choices if choice.startswith(typed)]


def _conditions(command: str, text: str) -> list[str]:
    """Give how a condition or a pattern may go on, and what may stand in its place."""
    more = {"filter": ("bpf", "off"), "match": ("off",)}.get(command, ())
    first = [word for word in more if word.startswith(text)]
    if command == "filter" and text.startswith("bpf "):
        return []
    return [*completions("filter" if command in ("filter", "list") else "match", text), *first]
