"""The full-screen browser of streams: connections, and behind each its ladder, dialogue, requests and picture.

Theory of operation
-------------------
Everything is asked of a `Catalog`. What is in the index is at hand; what means to read the capture again (segments,
requests, BPF, payload that is searched) is read in a thread, while the screen goes on. What comes from a capture is put
on the screen as text in which no markup is looked for, with what a terminal would obey written out.

What it cannot see: a dialogue beyond its first megabytes, and connections beyond the first hundreds in an order; both
are told, and commands know all.
"""

from __future__ import annotations

from datetime import UTC, tzinfo
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

from tcpsight.ui.streams_lists import TalksScreen
from tcpsight.ui.streams_talk import TalkScreen

if TYPE_CHECKING:
    from tcpsight.conversations.catalog import Catalog

KEYS = """\
↑ ↓ PgUp PgDn   choose a connection, or scroll
Home End        the first row, the last one
Enter           look into it; of a request: its bytes
1 2 3 4         its ladder, dialogue, requests, time–sequence
Esc             back; among connections: show all again
/               only connections for which a condition holds;
                in a conversation: find words, n the next ones
b               only those of which a frame matches a BPF expression
m               only those whose payload holds text, hex or a regex
Tab             in what is typed: complete the last word
s, S, r         sort by the next column, the one before, in reverse
x               the dialogue as text, hex or raw
a               the ladder with absolute numbers, or relative ones
d               the time–sequence of the other side
q, Ctrl-C       quit
"""


class StreamsScreen(App[None]):
    """The browser.

    Parameters
    ----------
    catalog : Catalog
        What is browsed.
    source : str
        What the capture is called.
    timezone : tzinfo
        Of instants.
    """

    ENABLE_COMMAND_PALETTE = False
    TITLE = "tcpsight streams"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit", priority=False),
        Binding("ctrl+c", "quit", "Quit", show=False, priority=True),
        Binding("question_mark", "help", "Help", key_display="?"),
    ]
    CSS = """
    #head { height: 1; background: $primary-background; color: $text; padding: 0 1; }
    #sides { height: 1; padding: 0 1; }
    #note { height: auto; color: $text-warning; padding: 0 1; }
    SortedTable, ContentSwitcher, Lines, SequencePlot { height: 1fr; }
    SequencePlot { padding: 0 1; }
    Lines { padding: 0 1; }
    #ask { display: none; height: 3; border: round $primary; padding: 0 1; }
    #ask.is-open { display: block; }
    Screen { overflow: hidden; }
    KeysScreen { align: center middle; }
    #help { width: 76; height: auto; max-height: 100%; border: round $primary; background: $surface; padding: 1 2; }
    """

    def __init__(self, catalog: Catalog, source: str, timezone: tzinfo = UTC) -> None:
        super().__init__()
        self.catalog = catalog
        self.source = source
        self.timezone = timezone

    def on_mount(self) -> None:
        """Begin with all connections."""
        self.push_screen(TalksScreen())

    def open(self, connection_id: int) -> None:
        """Look into a connection."""
        self.push_screen(TalkScreen(connection_id))

    def action_help(self) -> None:
        """Say which keys there are; again to go on."""
        if isinstance(self.screen, KeysScreen):
            self.pop_screen()
        else:
            self.push_screen(KeysScreen())


class KeysScreen(ModalScreen[None]):
    """Which keys there are."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "app.help", "Back")]

    def compose(self) -> ComposeResult:
        """Show them."""
        panel = Static(Text(KEYS.rstrip()), id="help")
        panel.border_title = "Keys"
        yield panel


def run_streams_screen(catalog: Catalog, source: str, timezone: tzinfo) -> int:
    """Show the browser until the user has seen enough; give the exit status."""
    app = StreamsScreen(catalog, source, timezone)
    app.run()
    return int(app.return_code or 0)
