"""The full-screen view of a watch: services, what is behind them, and what was found, as it happens.

Theory of operation
-------------------
A thread of its own captures and brings a `Board` up to date. When something changed it leaves one message, and no
second one until the first was answered: then the screen takes what the board shows by then. A screen that is slow
misses states, and the capture never waits for it. While it is paused, the snapshot that was taken last stays on every
screen, the ones that are opened meanwhile too.

What comes from a capture is put on the screen as text in which no markup is looked for, with what a terminal would
obey written out.

What it cannot see: requests and connections that the board keeps no more.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, tzinfo
from typing import Any, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message

from tcpsight.ui.board import Board, Snapshot
from tcpsight.ui.screens import HelpScreen, ServicesScreen, TableScreen

ENDINGS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class WatchScreen(App[None]):
    """The view of a board.

    Parameters
    ----------
    board : Board
        What is shown; somebody else brings it up to date.
    timezone : tzinfo
        Of instants.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "tcpsight watch"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit", priority=False),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("p", "pause", "Pause"),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]
    CSS = """
    #head { height: 1; background: $primary-background; color: $text; padding: 0 1; }
    #note { height: auto; color: $text-warning; padding: 0 1; }
    SortedTable { height: 1fr; }
    #history { height: 9; padding: 0 1; }
    #history .line { height: 2; }
    #history .label { width: 40; }
    #history Bars { width: 1fr; height: 2; color: $primary-lighten-2; }
    #findings { height: 7; border-top: solid $primary; border-title-color: $text; padding: 0 1; }
    #requests { border-top: solid $primary; border-title-color: $text; }
    TableScreen { overflow: hidden; }
    .-short #history { height: 5; }
    .-short #history .line, .-short #history Bars { height: 1; }
    .-short #findings { height: 3; }
    #filter { display: none; height: 1; border: none; padding: 0 1; }
    #filter.is-open { display: block; }
    HelpScreen { align: center middle; }
    #help { width: 76; height: auto; max-height: 100%; border: round $primary; background: $surface; padding: 1 2; }
    """

    class Changed(Message):
        """There is something new on the board."""

    def __init__(self, board: Board, timezone: tzinfo = UTC) -> None:
        super().__init__()
        self.timezone = timezone
        self.is_paused = False
        self.snapshot: Snapshot = board.snapshot()
        self._board = board
        self._is_told = False

    # -------------------------------------------------------------------------------------------------- life

    def on_mount(self) -> None:
        """Begin: the services, and whatever is on the board already."""
        self._listen_for_signals()
        self.push_screen(ServicesScreen())
        self._board.on_change(self._tell)
        self._look()

    def on_unmount(self) -> None:
        """Let the board change without us."""
        self._board.on_change(None)

    def _tell(self) -> None:
        """Leave a message unless there is one; called by the thread that captures."""
        if not self._is_told:
            self._is_told = True
            self.post_message(self.Changed())

    def on_watch_screen_changed(self) -> None:
        """Show what the board shows by now."""
        self._is_told = False
        self._look()

    def _look(self) -> None:
        if not self.is_paused:
            self.snapshot = self._board.snapshot()
            self.show()

    def show(self) -> None:
        """Show the snapshot on the screen that is in front of the others."""
        for screen in reversed(self.screen_stack):
            if isinstance(screen, TableScreen):
                screen.show(self.snapshot)
                return

    def _listen_for_signals(self) -> None:
        """End as if by the key when somebody asks for it."""
        with suppress(NotImplementedError, RuntimeError, ValueError):  # not in the main thread, as in tests
            for each in ENDINGS:
                asyncio.get_running_loop().add_signal_handler(each, self.exit)

    # -------------------------------------------------------------------------------------------------- keys

    def action_pause(self) -> None:
        """Let the screen stand still, and go on."""
        self.is_paused = not self.is_paused
        self._look()
        self.show()

    def action_help(self) -> None:
        """Say which keys there are; again to go on."""
        if isinstance(self.screen, HelpScreen):
            self.pop_screen()
        else:
            self.push_screen(HelpScreen())


def run_screen(board: Board, timezone: tzinfo, make: Callable[..., Any] = WatchScreen) -> int:
    """Show the board until the user has seen enough; give the exit status."""
    app = make(board, timezone)
    app.run()
    return int(app.return_code or 0)
