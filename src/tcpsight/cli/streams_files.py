"""Files that commands of ``tcpsight streams`` may write: none that is read, and none that is there unless so asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from tcpsight.cli import values
from tcpsight.errors import UsageError


class Targets:
    """What may be written.

    Parameters
    ----------
    sources : sequence
        The captures, by name; open files among them are no files that have one.
    output : str
        Where answers go.
    """

    def __init__(self, sources: Sequence[object] = (), output: str = "-") -> None:
        self.sources = [each for each in sources if isinstance(each, str)]
        self._output = output

    def check(self, path: str, *, overwrites: bool) -> None:
        """Refuse a file that is read or takes answers, a terminal, and a file that is there.

        Raises
        ------
        UsageError
            It may not be written; `overwrites` lets it be where it is only there.
        """
        values.refuse_output_over_input(path, self.sources)
        if self._output != "-" and os.path.realpath(path) == os.path.realpath(self._output):
            raise UsageError(f"{path} takes the answers (-o): name another file")
        if is_terminal(path):
            raise UsageError(f"{path} is a terminal, and frames are nothing to read there: name a file")
        if os.path.isfile(path) and not overwrites:  # noqa: PTH113 - a name may be no path at all
            raise UsageError(f"{path} is there already: name another file, or add --overwrite")


def is_terminal(path: str) -> bool:
    """Tell whether what is written under a name is shown on a terminal."""
    with suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return os.isatty(descriptor)
        finally:
            os.close(descriptor)
    return False
