"""The first screen of the browser of streams: connections, sorted, filtered, searched."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import DataTable, Footer, Input, Static

from tcpsight.conversations.completing import completions
from tcpsight.conversations.patterns import pattern_from
from tcpsight.conversations.telling import unsearched
from tcpsight.errors import TcpsightError
from tcpsight.output import units
from tcpsight.ui.asking import Ask
from tcpsight.ui.sorted_table import SortedTable
from tcpsight.ui.streams_rows import MOST_ROWS, columns, rows_of

if TYPE_CHECKING:
    from tcpsight.ui.streams_screen import StreamsScreen

TELL_S = 0.2

ASKS = {
    "filter": "a condition, such as  server_port = 3306 and duration > 1s",
    "bpf": "a BPF expression, such as  host 10.0.0.1 and tcp[13] & 4 != 0",
    "match": "what payload must hold: text, or  hex 1603  or  regex ^GET /[a-z]+",
}


MOST_CHOICES = 20


def telling(app: App[Any], tell: Callable[[str], None]) -> Callable[[float], None]:
    """Give what a thread that reads says its progress to, as a share: once in a while it is on the screen."""
    said_at = 0.0

    def progress(share: float) -> None:
        nonlocal said_at
        if monotonic() - said_at > TELL_S:
            said_at = monotonic()
            app.call_from_thread(tell, f"reading … {share:.0%}")

    progress(0)
    return progress


class TalksTable(SortedTable):
    """Connections in the order of one column, as many as anybody looks at."""

    def _ordered(self) -> list[Any]:
        catalog = cast("StreamsScreen", self.app).catalog
        return rows_of(catalog, self._sorted_by or 0, is_descending=self._is_descending)


class TalksScreen(Screen[None]):
    """All connections that are shown."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "ask('filter')", "Filter", key_display="/"),
        Binding("b", "ask('bpf')", "BPF"),
        Binding("m", "ask('match')", "Search"),
        Binding("escape", "back", "Show all"),
    ]

    @property
    def view(self) -> StreamsScreen:
        """The app that this is a screen of."""
        return cast("StreamsScreen", self.app)

    def compose(self) -> ComposeResult:
        """Put it together."""
        yield Static(id="head")
        yield TalksTable(
            columns(self.view.catalog.first_ns), lambda row: row.connection_id, sorted_by=0, id="connections"
        )
        yield Ask(id="ask")
        yield Static(id="note")
        yield Footer()

    def on_mount(self) -> None:
        """Show what there is, the first connection first."""
        table = self.query_one(TalksTable)
        table.focus()
        table.action_reverse()
        table.move_cursor(row=0, animate=False)
        self.tell()

    def tell(self, trouble: str = "") -> None:
        """Say what is shown, and what is wrong."""
        catalog = self.view.catalog
        shown = len(catalog.shown)
        head = Text(no_wrap=True, overflow="ellipsis")
        of = f"{units.count(shown)} of {units.counted(len(catalog.all), 'connection')}"
        parts = [units.printable(self.view.source), of]
        said = (("filter", catalog.condition), ("bpf", catalog.expression), ("match", catalog.pattern))
        parts += [f"{name} {units.printable(str(text))}" for name, text in said if text is not None]
        head.append(" · ".join(parts))
        self.query_one("#head", Static).update(head)
        if not trouble and shown > MOST_ROWS:
            trouble = f"the first {MOST_ROWS} in this order are in the table; filters and sorting know all"
        if not trouble and catalog.pattern is not None:
            trouble = unsearched(catalog)
        note = self.query_one("#note", Static)
        note.update(Text(units.printable(trouble)))
        note.display = bool(trouble)

    # -------------------------------------------------------------------------------------------------- keys

    def action_ask(self, what: str) -> None:
        """Let something be typed."""
        catalog = self.view.catalog
        box = self.query_one("#ask", Ask)
        box.complete = partial(completions, what)
        box.placeholder = ASKS[what]
        box.border_title = what
        given = {"filter": catalog.condition, "bpf": catalog.expression, "match": catalog.pattern}[what]
        box.value = "" if given is None else str(given)
        box.add_class("is-open")
        box.focus()

    def action_back(self) -> None:
        """Close what is typed into, else show all again."""
        box = self.query_one("#ask", Input)
        if box.has_class("is-open"):
            self._close(box)
            self.tell()
        else:
            self.change(self._forget)

    def _forget(self) -> None:
        catalog = self.view.catalog
        catalog.choose(None)
        catalog.choose_frames(None)
        catalog.match(None)

    def _close(self, box: Input) -> None:
        box.remove_class("is-open")
        self.query_one(TalksTable).focus()

    def on_ask_choices(self, event: Ask.Choices) -> None:
        """Say how what is typed may go on."""
        self.tell("  ".join(event.words[:MOST_CHOICES]) + (" …" if len(event.words) > MOST_CHOICES else ""))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Do what was asked; nothing typed takes it off."""
        what, text = str(event.input.border_title), event.value.strip()
        self._close(event.input)
        catalog = self.view.catalog
        again = partial(self._ask_again, what, event.value)
        if what == "filter":
            self.change(lambda: catalog.choose(text or None), again)
        elif what == "bpf":
            self.change(lambda: catalog.choose_frames(text or None), again)
        else:
            self.change(lambda: catalog.match(pattern_from(text) if text else None), again)

    def _ask_again(self, what: str, text: str, trouble: str) -> None:
        """Say what is wrong with what was typed, and let it be mended."""
        self.action_ask(what)
        self.query_one("#ask", Ask).value = text
        self.tell(trouble)

    @work(thread=True, exclusive=True)
    def change(self, act: Callable[[], None], refused: Callable[[str], None] | None = None) -> None:
        """Change what is shown: that may mean to read the capture, so the screen goes on meanwhile."""
        catalog = self.view.catalog
        catalog.progress = telling(self.app, self.tell)
        try:
            act()
        except TcpsightError as error:
            self.app.call_from_thread(refused or self.tell, str(error))
            return
        self.app.call_from_thread(self._show_changed)

    def _show_changed(self) -> None:
        self.query_one(TalksTable).show_rows(())
        self.tell()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Look into a connection."""
        row = self.query_one(TalksTable).row
        if row is not None:
            self.view.open(row.connection_id)
