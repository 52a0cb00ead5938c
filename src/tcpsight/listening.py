"""What interfaces carry, as it happens: the tables of a capture that is no file."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tcpsight.analysis import Analysis
from tcpsight.errors import UsageError

if TYPE_CHECKING:
    from tcpsight.capture import Capture
    from tcpsight.pipeline import Options


class Listening(Analysis):
    """Interfaces of this machine, listened to for one pass.

    Parameters
    ----------
    interfaces : sequence of str
        Their names; ``any`` for all.
    options : Options
        Which rows, and how they are made.
    expression : str, optional
        A capture filter, which the kernel applies.
    **how
        Further arguments of `tcpsight.capture.live.open_live`.
    """

    def __init__(
        self, interfaces: Sequence[str], options: Options | None = None, *, expression: str | None = None, **how: Any
    ) -> None:
        super().__init__([], options)
        self._interfaces = list(interfaces)
        self._expression = expression
        self._how = how
        self._capture: Any = None
        self._is_stopped = False

    def _opened(self) -> Capture:
        from tcpsight.capture.live import open_live

        if self._capture is not None:
            raise UsageError("what interfaces carry can be listened to once")
        self._capture = open_live(self._interfaces, expression=self._expression, **self._how)
        if self._is_stopped:
            self._capture.stop()
        return self._capture  # type: ignore[no-any-return]

    def stop(self) -> None:
        """Listen no more: what was captured is given, and the pass ends; safe to call from a signal handler."""
        self._is_stopped = True
        if self._capture is not None:
            self._capture.stop()
