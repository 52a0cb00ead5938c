"""A line that is typed into on the screen: Tab completes the last word, or does nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input

from tcpsight.conversations.completing import completed

Complete = Callable[[str], Sequence[str]]
"""Give what the last word may become."""


class Ask(Input):
    """A line that is typed into.

    Attributes
    ----------
    complete : callable
        Gives what the last word of what is typed may become; nothing, unless somebody says so.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "complete", "Complete", show=False, priority=True),
        Binding("shift+tab", "nothing", show=False, priority=True),
    ]

    class Choices(Message):
        """There is more than one way to go on."""

        def __init__(self, words: Sequence[str]) -> None:
            super().__init__()
            self.words = words

    complete: Complete = staticmethod(lambda text: ())

    def action_complete(self) -> None:
        """Complete the last word before the cursor as far as it can only be so."""
        before, after = self.value[: self.cursor_position], self.value[self.cursor_position :]
        words = self.complete(before)
        made = completed(before, words)
        self.value = made + after
        self.cursor_position = len(made)
        if len(words) > 1:
            self.post_message(self.Choices(words))

    def action_nothing(self) -> None:
        """Keep the focus where it is."""
