"""Reads a file that is still being written: where it ends, waits for more.

Theory of operation
-------------------
At the end of the file nothing is given until more is there, the user has seen enough, or nothing was added for as long
as the user allows. A writer may start over: it cuts the file to nothing, or puts another file under its name, as log
rotation does. Then what is left of the old file is given, and the reading ends here with the reason in `change`;
whoever reads opens the name again. A name that means nothing for a while is waited for.

What it cannot see: a file that was cut and is already longer again than what was read of it. Its next record is damage.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tcpsight.capture.source import RawSource

POLL_SECONDS = 0.1
"""How often the end of the file is looked at: files are asked, they do not tell."""


class Following:
    """Until when files that are still being written are followed.

    Parameters
    ----------
    idle_ns : int, optional
        End when nothing was added for so long; never by default.

    Attributes
    ----------
    is_stopped : bool
        Whether the user has seen enough: what is there is read, and no more is waited for.

    Examples
    --------
    >>> following = tcpsight.Following(idle_ns=100_000_000)
    >>> tcpsight.open("examples/mariadb-lock.pcap", following=following).requests.to_arrow().num_rows
    4706
    """

    def __init__(self, idle_ns: int | None = None) -> None:
        self._idle_seconds = None if idle_ns is None else idle_ns / 1e9
        self.is_stopped = False

    def stop(self) -> None:
        """Wait for nothing any more; safe to call from a signal handler.

        Examples
        --------
        >>> following = tcpsight.Following()
        >>> following.stop()
        >>> following.is_stopped
        True
        """
        self.is_stopped = True

    def wait(self, since: float) -> bool:
        """Wait a moment for a file to which nothing was added `since` (monotonic clock); False if that was long enough.

        A signal does not end the moment, but it is short.

        Examples
        --------
        >>> import time
        >>> following = tcpsight.Following(idle_ns=1)
        >>> following.wait(since=time.monotonic() - 1)
        False
        """
        is_idle = self._idle_seconds is not None and time.monotonic() - since >= self._idle_seconds
        if self.is_stopped or is_idle:
            return False
        time.sleep(POLL_SECONDS)
        return not self.is_stopped


class FollowedSource:
    """The bytes of a file that is still being written, as it is stored.

    Parameters
    ----------
    raw : RawSource
        The file.
    following : Following
        Until when.

    Attributes
    ----------
    is_over : bool
        Whether the last of its bytes was given.
    change : str
        Why there is nothing more: ``replaced``, ``truncated``, or empty where the user has seen enough.
    """

    def __init__(self, raw: RawSource, following: Following) -> None:
        self.path = raw.path
        self._raw = raw
        self._following = following
        self.is_over = False
        self.change = ""

    def readinto(self, view: memoryview) -> int:
        """Fill the beginning of `view` with what is there; give how many bytes, 0 only at the end."""
        since = time.monotonic()
        while not self.is_over:
            count = self._raw.readinto(view)
            if count:
                return count
            self.change = self._raw.change()
            if self.change or not self._following.wait(since):
                # What was written between the last look and now.
                count = self._raw.readinto(view)
                self.is_over = not count
                return count
        return 0
