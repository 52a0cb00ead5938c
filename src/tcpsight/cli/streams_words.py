"""Words and options of a command of ``tcpsight streams``."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from tcpsight.errors import UsageError

Known = Mapping[str, Sequence[str] | None]
"""Options: what may follow each; nothing if that is empty, anything if it is None."""


def words_of(text: str) -> list[str]:
    """Cut a line into words, as a shell does."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(f"{text}: {error}") from None


def options_of(words: list[str], known: Known) -> tuple[list[str], dict[str, str]]:
    """Part words into those that are no options, and options with what follows them."""
    plain, options = [], {}
    rest = iter(words)
    for word in rest:
        name, sign, value = word.partition("=")
        if not word.startswith("--") or word == "--":
            plain += list(rest) if word == "--" else [word]
            continue
        if name not in known:
            there = ", ".join(known) or "none here"
            raise UsageError(f"no option {name}; there are {there}")
        choices = known[name]
        if choices is not None and not choices:
            options[name] = ""
            continue
        value = value if sign else next(rest, "")
        options[name] = value if choices is None else one_of(value, choices, name)
    return plain, options


def leading_options(words: list[str], place: int, known: Known) -> tuple[list[str], dict[str, str]]:
    """Take the options out that stand at a place among words; what comes behind them is somebody else's."""
    end = place
    while end < len(words) and words[end].startswith("--"):
        has_value = "=" not in words[end] and known.get(words[end]) != ()
        end += 2 if has_value else 1
    _, options = options_of(words[place:end], known)
    return words[:place] + words[end:], options


def parted(text: str, known: Known) -> tuple[str, dict[str, str]]:
    """Take options off the end of a line whose rest is left as it is, quotes and all."""
    # What stands in quotes is balanced in front of an option.
    places = (found.start() for found in re.finditer(r"(?<!\S)--", text))
    at = next((place for place in places if _is_balanced(text[:place])), -1)
    if at < 0:
        return text, {}
    plain, options = options_of(words_of(text[at:]), known)
    if plain:
        raise UsageError(f"{plain[0]!r} stands behind the options")
    return text[:at].strip(), options


def _is_balanced(text: str) -> bool:
    try:
        shlex.split(text)
    except ValueError:
        return False
    return True


def one_of(word: str, choices: Sequence[str], what: str) -> str:
    """Make sure that a word is one of some."""
    if word not in choices:
        raise UsageError(f"{what} {word!r}: one of {', '.join(choices)}")
    return word


def whole(word: str) -> int:
    """Read a whole number."""
    if not (word.isascii() and word.isdigit() and len(word) < 19):
        raise UsageError(f"{word!r} is no whole number")
    return int(word)


def without_limit(text: str) -> tuple[str, str | None]:
    """Take ``--limit N`` off the beginning or the end of a pattern, which is left as it is written."""
    found = re.match(r"--limit[ =]\s*(\S+)\s+", text) or re.search(r"\s--limit[ =]\s*(\S+)$", text)
    return (text, None) if found is None else (text[: found.start()] + text[found.end() :], found[1])
