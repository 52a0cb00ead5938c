"""The thread that captures while others show: it puts slices on a board, and never waits for who looks at it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tcpsight.errors import TcpsightError
from tcpsight.ui.board import Board

if TYPE_CHECKING:
    from tcpsight.run import Run
    from tcpsight.watching import Slice, Watch


class Capturing:
    """Take slices in a thread of their own while a ``with`` statement runs.

    Parameters
    ----------
    board : Board
        Where they are put.
    run : Run
        The pass that they are made in.
    watch : Watch
        What gives them.
    until_enough : callable, optional
        Gives slices until there were enough of them.

    Attributes
    ----------
    last : Slice or None
        The last one.
    failure : BaseException or None
        What the thread could not go on from, for who started it to raise.
    """

    def __init__(
        self,
        board: Board,
        run: Run,
        watch: Watch,
        until_enough: Callable[[Iterator[Slice]], Iterator[Slice]] | None = None,
    ) -> None:
        self.last: Slice | None = None
        self.failure: BaseException | None = None
        self._board = board
        self._run = run
        self._watch = watch
        self._slices = iter(watch) if until_enough is None else until_enough(iter(watch))
        self._thread = threading.Thread(target=self._take, name="tcpsight-capture", daemon=True)
        watch.on_batch = board.note

    def __enter__(self) -> Capturing:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._board.on_change(None)
        self._watch.stop()
        self._thread.join()

    def _take(self) -> None:
        try:
            for each in self._slices:
                self.last = each
                self._board.take(each, self._run)
            broken = self._run.pipeline.broken
            self._board.end(self._run, "" if broken is None else str(broken))
        except TcpsightError as error:
            self.failure = error
            self._board.end(None, str(error))
        except BaseException as error:
            self.failure = error
            self._board.end(None, f"{type(error).__name__}: {error}")
