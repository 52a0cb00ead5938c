"""What Tab completes in a shell: commands and options are click's; files, columns, interfaces and zones are told here.

Scripts for shells (`tools/manual.py` writes them) call ``tcpsight`` with ``_TCPSIGHT_COMPLETE`` set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

FILES = {"FILE", "SOURCE", "IN", "OUT", "BEFORE", "AFTER", "CLIENT_SIDE", "SERVER_SIDE", "[SOURCE]"}
FOLDERS = {"DIR", "FOLDER", "LAKE"}
ARGUMENTS_OF_FILES = {"source", "sources", "before", "after", "client_side", "server_side", "input", "output"}

Complete = Callable[[click.Context, str], list[CompletionItem]]


def prepare(command: click.Command) -> None:
    """Let parameters of a command complete what their placeholder says they take."""
    for parameter in command.params:
        complete = _completing(parameter)
        if complete is not None:
            setattr(parameter, "shell_complete", complete)  # noqa: B010 - a method, for this one


def _completing(parameter: click.Parameter) -> Complete | None:
    if isinstance(parameter.type, click.Choice):
        return None
    metavar = (parameter.metavar or "").split(".")[0].split(" ")[0]
    if metavar in FILES or (isinstance(parameter, click.Argument) and parameter.name in ARGUMENTS_OF_FILES):
        return _files
    if metavar in FOLDERS:
        return _folders
    by_metavar: dict[str, Complete] = {
        "COLUMN": _sorted_by,
        "A,B,…": _listed_columns,
        "CONDITION": _conditions,
        "IF": lambda context, typed: _items(typed, _interfaces()),
        "ZONE": lambda context, typed: _items(typed, _zones()),
        "TOOL": lambda context, typed: _items(typed, _tools()),
        "[TOPIC]": lambda context, typed: _items(typed, _topics()),
    }
    return by_metavar.get(metavar)


def _items(typed: str, words: Iterable[str]) -> list[CompletionItem]:
    return [CompletionItem(word) for word in words if word.startswith(typed)]


def _files(context: click.Context, typed: str) -> list[CompletionItem]:
    return [CompletionItem(typed, type="file")]


def _folders(context: click.Context, typed: str) -> list[CompletionItem]:
    return [CompletionItem(typed, type="dir")]


def _columns(context: click.Context) -> list[str]:
    from tcpsight.cli.topics import columns_of, short

    return sorted({short(column) for column in columns_of(context.info_name or "")})


def _sorted_by(context: click.Context, typed: str) -> list[CompletionItem]:
    sign = "-" if typed.startswith("-") else ""
    return _items(typed, (f"{sign}{name}" for name in _columns(context)))


def _listed_columns(context: click.Context, typed: str) -> list[CompletionItem]:
    before = typed[: typed.rfind(",") + 1]
    return _items(typed, (f"{before}{name}" for name in _columns(context) if f"{name}," not in f",{before}"))


def _conditions(context: click.Context, typed: str) -> list[CompletionItem]:
    before = typed[: typed.rfind(" ") + 1]
    return _items(typed, (f"{before}{name}" for name in _columns(context)))


def _interfaces() -> list[str]:
    found = ["any"]
    with suppress(OSError):
        found += sorted(os.listdir("/sys/class/net"))  # noqa: PTH208 - names are enough
    return found


def _zones() -> list[str]:
    from zoneinfo import available_timezones

    return sorted(available_timezones())


def _tools() -> list[str]:
    from tcpsight.cli.compat import TOOLS

    return list(TOOLS)


def _topics() -> list[str]:
    from tcpsight.cli.main import COMMANDS
    from tcpsight.cli.topics import TOPICS

    return [*TOPICS, *COMMANDS]
