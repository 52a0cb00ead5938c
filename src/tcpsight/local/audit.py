"""A line for every connection that somebody ended on purpose: who, when, what, why, how, and what came of it."""

from __future__ import annotations

import json
import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import NamedTuple

from tcpsight.errors import TcpsightError

ENDED, GONE, SPARED, FAILED, UNKNOWN = "ended", "gone before", "spared", "not ended", "not confirmed"
"""What came of a connection: it has ended; it had already; it is no longer what was asked for; it lives on; nobody can
tell."""


class Outcome(NamedTuple):
    """What came of a connection that was to be ended.

    Attributes
    ----------
    result : str
        `ENDED`, `GONE`, `SPARED`, `FAILED` or `UNKNOWN`.
    detail : str
        Why; empty where there is nothing to say.
    """

    result: str
    detail: str = ""

    @property
    def is_fine(self) -> bool:
        """Whether the connection is no more, or was rightly left alone."""
        return self.result in (ENDED, GONE, SPARED)


class Audit:
    """Tells lines to whoever reads, and adds them to a file if one is named; a context manager.

    Whatever was intended and of which nothing was told when it is left (an error, an interrupt) has a line in the file
    that says so.

    Parameters
    ----------
    why : str
        Conditions and reason.
    how : str
        By what means connections are ended.
    path : str, optional
        A file that JSON lines are added to.
    say : callable
        Takes the line that people read.

    Raises
    ------
    TcpsightError
        The file cannot be written.
    """

    def __init__(self, why: str, how: str, path: str | None, say: Callable[[str], None]) -> None:
        self._why, self._how, self._path, self._say = why, how, path, say
        self._who = account()
        self._intended: list[str] = []
        self._descriptor = -1
        if path is not None:
            try:
                how_opened = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NOFOLLOW
                self._descriptor = os.open(path, how_opened, 0o640)
            except (OSError, ValueError) as error:
                raise TcpsightError(f"--audit {path}: {getattr(error, 'strerror', None) or error}") from None

    def __enter__(self) -> Audit:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        why = "" if error is None else str(error) or "interrupted"
        with suppress(TcpsightError):  # the file, of which it was told already
            for what in self._intended:
                self._write(what, Outcome(UNKNOWN, why))
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def intend(self, what: str) -> None:
        """Write to the file that a connection is about to be ended: before it is, so that no ending lacks its line.

        Raises
        ------
        TcpsightError
            It cannot be written: the connection must not be ended.
        """
        self._write(what, Outcome("is about to be ended"))
        self._intended.append(what)

    def tell(self, what: str, outcome: Outcome) -> None:
        """Write what came of it, to standard error too."""
        of = f" ({outcome.detail})" if outcome.detail else ""
        line = f"{_now()} {outcome.result}{of}: {what}; by {self._who}, {self._how}; why: {self._why}"
        self._say(line)
        self._write(what, outcome)
        self._intended.remove(what)

    def _write(self, what: str, outcome: Outcome) -> None:
        if self._descriptor < 0:
            return
        row = {"when": _now(), "who": self._who, "what": what, "why": self._why, "how": self._how}
        row |= {"outcome": outcome.result, "detail": outcome.detail}
        try:
            os.write(self._descriptor, json.dumps(row).encode() + b"\n")
            with suppress(OSError):  # a pipe or device keeps nothing
                os.fsync(self._descriptor)
        except OSError as error:
            raise TcpsightError(f"--audit {self._path}: {error.strerror}") from None


def account() -> str:
    """Name the account that does it, and who called sudo."""
    name = _name_of(os.getuid())
    caller = os.environ.get("SUDO_USER", "")
    return f"{name} for {caller}" if caller and caller != name else name


def _name_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
