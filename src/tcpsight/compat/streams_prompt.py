"""Where commands come from and where answers go: a prompt on a terminal, or lines of standard input.

Lines that do not come from a terminal are shown behind the prompt as they are read, as line editing did, so that a
transcript reads like a session. What was typed at a terminal is there already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import suppress

PROMPT = "streams> "
MOST_LINE_BYTES = 1 << 16
WIDTH = 16


class Console:
    """Writes answers.

    Parameters
    ----------
    names : list of str
        Commands that the tabulator key completes.

    Attributes
    ----------
    is_terminal : bool
        Whether a terminal would act on what is written.
    """

    def __init__(self, names: list[str]) -> None:
        self.names = names
        self.is_terminal = sys.stdout.isatty()

    def say(self, text: str) -> None:
        """Write text."""
        self.show(text.encode("utf-8", "surrogateescape"))

    def show(self, data: bytes) -> None:
        """Write bytes, whole where nobody acts on them; on a terminal without what it would act on."""
        if self.is_terminal:
            data = visible(data)
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def note(self, text: str) -> None:
        """Say on standard error what is no part of the answer."""
        from tcpsight.output.units import printable

        print(f"streams: note: {printable(text)}", file=sys.stderr)


def visible(data: bytes) -> bytes:
    """Show what a terminal would act on, or cannot show, as escapes; line ends and tabulators stay."""
    text = data.decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() or c in "\n\t\r" else ascii(c)[1:-1] for c in text).replace("\r", "").encode()


def lines_of(console: Console) -> Iterator[str]:
    """Give command lines until the end of input."""
    if sys.stdin is not None and sys.stdin.isatty():
        yield from _typed(console)
        return
    stream = sys.stdin.buffer
    while True:
        console.say(PROMPT)
        line = stream.readline(MOST_LINE_BYTES)
        if not line:
            console.say("\n")
            return
        text = line.rstrip(b"\n").decode("utf-8", "surrogateescape")
        console.say(text + "\n")
        yield text


def _typed(console: Console) -> Iterator[str]:
    """Give lines as they are typed, with editing, history and completion where there is a library for it."""
    with suppress(ImportError):
        import readline

        readline.set_completer(lambda text, state: _completion(console.names, readline.get_begidx(), text, state))
        readline.parse_and_bind("tab: complete")
    while True:
        try:
            yield input(PROMPT)
        except EOFError:
            console.say("\n")
            return
        except KeyboardInterrupt:
            console.say("\n")


def _completion(names: list[str], begin: int, text: str, state: int) -> str | None:
    found = [name for name in names if begin == 0 and name.startswith(text)]
    return f"{found[state]} " if state < len(found) else None


def pattern_text(pattern: bytes) -> str:
    """Show what is looked for: as text, or in hexadecimal where it is none."""
    if all(32 <= byte < 127 for byte in pattern):
        return f"{pattern.decode('ascii')}\n"
    lines = [_hex_line(at, pattern[at : at + WIDTH]) for at in range(0, len(pattern), WIDTH)]
    return "\n" + "".join(lines) + "\n"


def _hex_line(at: int, row: bytes) -> str:
    left, right = (" ".join(f"{byte:02x}" for byte in half) for half in (row[:8], row[8:]))
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
    return f"0x{at:08x}  {f'{left}  {right}':<48}  |{text}|\n"
