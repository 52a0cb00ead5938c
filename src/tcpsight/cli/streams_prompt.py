"""Where commands of ``tcpsight streams`` come from: an option, standard input, or somebody who types."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from tcpsight.errors import UsageError

PROMPT = "streams> "
MOST_LINE_BYTES = 1 << 16
MOST_HISTORY = 1000
BEFORE_QUOTES = " \t=<>!(,"

Complete = Callable[[str], Sequence[str]]
"""Give what a line's last word may be completed to, told the whole line up to there."""


def split(text: str) -> list[str]:
    """Cut a line at each ``;`` that does not stand in quotes or behind a backslash.

    Quotes are those that begin a word, or stand behind a sign, and end somewhere: not the one of ``it's``.
    """
    parts, start, at = [], 0, 0
    while at < len(text):
        letter = text[at]
        if letter == "\\":
            at += 1
        elif letter in "'\"" and (at == 0 or text[at - 1] in BEFORE_QUOTES):
            at = max(_closing(text, at), at)
        elif letter == ";":
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [each.strip() for each in [*parts, text[start:]] if each.strip()]


def _closing(text: str, opening: int) -> int:
    """Find the end of what is in quotes; −1 if they never end."""
    quote, at = text[opening], opening + 1
    while at < len(text):
        if text[at] == quote:
            return at
        at += 2 if text[at] == "\\" and quote == '"' else 1
    return -1


def lines_of_input() -> Iterator[str]:
    """Give the lines of standard input."""
    while line := sys.stdin.buffer.readline(MOST_LINE_BYTES):
        if len(line) == MOST_LINE_BYTES and not line.endswith(b"\n"):
            raise UsageError(f"a command is longer than {MOST_LINE_BYTES} bytes")
        text = line.decode("utf-8", "surrogateescape").strip()
        if text and not text.startswith("#"):
            yield text


def typed(complete: Complete) -> Iterator[str]:
    """Give lines as they are typed, with editing, completion, and the history of earlier times."""
    history = _history_path()
    with suppress(ImportError):
        import readline

        def completer(text: str, state: int) -> str | None:
            found = complete(readline.get_line_buffer()[: readline.get_endidx()])
            return f"{found[state]} " if state < len(found) else None

        readline.set_completer(completer)
        readline.set_completer_delims(" \t\n")
        readline.parse_and_bind("tab: complete")
        readline.set_history_length(MOST_HISTORY)
        with suppress(OSError):
            readline.read_history_file(history)
    try:
        while True:
            try:
                line = input(PROMPT).strip()
            except KeyboardInterrupt:
                print(file=sys.stderr)
                continue
            except EOFError:
                print(file=sys.stderr)
                return
            if line:
                yield line
    finally:
        _keep_history(history)


def _history_path() -> Path:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(home) / "tcpsight" / "streams_history"


def _keep_history(path: Path) -> None:
    # What was looked for in payload is nobody else's business.
    with suppress(ImportError, OSError):
        import readline

        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(0o600)
        readline.write_history_file(path)
