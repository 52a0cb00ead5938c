"""Command lines and configuration files as the Maatkit and Percona Toolkit tools read them.

Long options may be cut short while they stay unique (``--run 2``), take their value behind ``=`` or as the next word,
and may follow the files; ``--`` ends them. Configuration files hold ``option`` or ``option=value``, a line each, and
are read before the command line, which therefore wins.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

KINDS = {"s": "string", "i": "integer", "f": "float", "a": "list", "A": "list"}

_COMMENT = re.compile(r"\s*(?:[#;]|$)")
_SETTING = re.compile(r"([^=\s]+?)(?:\s*=\s*(.*?)\s*)?$")
_NUMBERS = {
    "i": re.compile(r"[+-]?\d+"),
    "f": re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"),
}
_EXPECTED = {"i": "number", "f": "real number"}


class ToolkitOption(NamedTuple):
    """One option.

    Attributes
    ----------
    name : str
        Without dashes.
    kind : str
        ``s``, ``i``, ``f``, ``a`` or ``A`` (lists); empty for a flag.
    default : str or None
        The value where none is given.
    meaning : str
        What it does, for ``--help``.
    """

    name: str
    kind: str
    default: str | None
    meaning: str


class ConfigError(Exception):
    """A configuration file that was named cannot be read."""


class ToolkitArguments:
    """What a command line came to.

    Attributes
    ----------
    values : dict
        Text of every option that has a value; flags that were given have the value ``"1"``.
    files : list of str
        What is left.
    errors : list of str
        For the list of errors in command-line arguments.
    complaints : list of str
        What the option parser said before; one line each.
    """

    def __init__(self, options: Sequence[ToolkitOption]) -> None:
        self.options = {option.name: option for option in options}
        self.values = {option.name: option.default for option in options if option.default is not None}
        self.files: list[str] = []
        self.errors: list[str] = []
        self.complaints: list[str] = []

    def has(self, name: str) -> bool:
        """Tell whether an option has a value, by default or given."""
        return name in self.values

    def list_of(self, name: str) -> list[str]:
        """Give the parts of a list."""
        value = self.values.get(name, "")
        return [part.strip() for part in re.split(r"(?<!\\),\s*", value)] if value else []

    def parse(self, words: Sequence[str]) -> None:
        """Read a command line, configuration files put before it."""
        rest = list(words)
        while rest:
            word = rest.pop(0)
            if word == "--":
                self.files.extend(rest)
                break
            if word.startswith("--"):
                self._take_long(word[2:], rest)
            elif word.startswith("-") and word != "-":
                self.complaints.extend(f"Unknown option: {letter}" for letter in word[1:])
            else:
                self.files.append(word)
        if self.complaints:
            self.errors.append("Error parsing options")

    def _take_long(self, word: str, rest: list[str]) -> None:
        name, equals, value = word.partition("=")
        option = self._find(name)
        if option is None:
            return
        if not option.kind:
            if equals:
                self.complaints.append(f"Option {option.name} does not take an argument")
            else:
                self.values[option.name] = "1"
            return
        if not equals:
            if not rest or (rest[0].startswith("--") and option.kind not in _NUMBERS):
                self.complaints.append(f"Option {option.name} requires an argument")
                return
            value = rest.pop(0)
        if option.kind in _NUMBERS and not _NUMBERS[option.kind].fullmatch(value):
            expected = _EXPECTED[option.kind]
            self.complaints.append(f'Value "{value}" invalid for option {option.name} ({expected} expected)')
            return
        self.values[option.name] = value

    def _find(self, name: str) -> ToolkitOption | None:
        """Find an option by its name or an unambiguous beginning of it; ``--config`` is read elsewhere."""
        if name in self.options and name != "config":
            return self.options[name]
        found = [option for option in self.options.values() if name and option.name.startswith(name)]
        found = [option for option in found if option.name != "config"]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(sorted(option.name for option in found))
            self.complaints.append(f"Option {name} is ambiguous ({names})")
        else:
            self.complaints.append(f"Unknown option: {name}")
        return None

    def values_after(self) -> list[tuple[str, str]]:
        """Give each option and what it came to, for the end of ``--help``."""
        rows = []
        for name in sorted(self.options):
            option = self.options[name]
            value = self.values.get(name)
            if not option.kind:
                text = "TRUE" if value else "FALSE"
            elif value is None:
                text = "(No value)"
            else:
                text = ",".join(self.list_of(name)) if option.kind in "aA" else value
            rows.append((name, text))
        return rows


def config_words(name: str, is_named: bool) -> list[str]:  # noqa: FBT001 - two verbs would say the same
    """Read a configuration file as words of a command line; one that nobody named may be missing.

    Raises
    ------
    ConfigError
        A file that the user named cannot be read.
    """
    try:
        text = Path(name).read_text("utf-8", "surrogateescape")
    except (OSError, ValueError) as error:
        if is_named:
            raise ConfigError(f"Cannot open {name}: {getattr(error, 'strerror', None) or error}") from None
        return []
    words: list[str] = []
    are_options = True
    for raw in text.splitlines():
        if _COMMENT.match(raw):
            continue
        line = re.sub(r"\s+#.*$", "", raw).strip()
        if line == "--":
            # What follows are arguments, not options.
            words.append("--")
            are_options = False
        elif are_options and (found := _SETTING.fullmatch(line)):
            words.extend(word for word in (f"--{found[1]}", found[2]) if word is not None)
        elif line:
            words.append(line)
    return words
