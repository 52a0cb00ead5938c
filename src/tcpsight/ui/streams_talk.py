"""The second screen of the browser of streams: one conversation as ladder, dialogue, requests and picture."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.text import Text
from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import ContentSwitcher, DataTable, Footer, Input, Static

from tcpsight.conversations.ladder import LadderMaking
from tcpsight.conversations.telling import dialogue_of, ends_of
from tcpsight.errors import TcpsightError
from tcpsight.output import units
from tcpsight.output.dialogues import sums
from tcpsight.output.ladders import rungs
from tcpsight.tables import DIRECTIONS, LadderSegments
from tcpsight.ui.asking import Ask
from tcpsight.ui.lines import Lines
from tcpsight.ui.sequence_plot import SequencePlot
from tcpsight.ui.sorted_table import SortedTable
from tcpsight.ui.streams_lists import telling
from tcpsight.ui.streams_rows import dialogue_lines, ladder_lines, turn_columns, turns_of

if TYPE_CHECKING:
    from tcpsight.ui.streams_screen import StreamsScreen

PARTS = {"ladder": "Ladder", "dialogue": "Dialogue", "requests": "Requests", "picture": "Time–sequence"}
FORMS = ("text", "hex", "raw")


class TalkScreen(Screen[None]):
    """One conversation."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(i), f"part('{name}')", title) for i, (name, title) in enumerate(PARTS.items(), 1)),
        Binding("x", "form", "Text/hex/raw"),
        Binding("a", "absolute", "Absolute"),
        Binding("d", "side", "Other side"),
        Binding("slash", "ask", "Find", key_display="/"),
        Binding("n", "again", "Next", show=False),
        Binding("escape", "back", "Back"),
    ]

    def __init__(self, connection_id: int) -> None:
        super().__init__()
        self._number = connection_id
        self._form = "text"
        self._is_relative = True
        self._words = ""
        self._times: list[int] = []
        self._segments = LadderSegments()
        self._trouble = ""

    @property
    def view(self) -> StreamsScreen:
        """The app that this is a screen of."""
        return cast("StreamsScreen", self.app)

    def compose(self) -> ComposeResult:
        """Put it together."""
        yield Static(id="head")
        yield Static(id="sides")
        with ContentSwitcher(initial="ladder"):
            yield Lines(id="ladder")
            yield Lines(id="dialogue")
            yield SortedTable(turn_columns(self.view.timezone), lambda row: row.request_index, id="requests")
            yield SequencePlot(id="picture")
        yield Ask(id="ask", placeholder="words to find; Enter finds them, n the next ones")
        yield Static(id="note")
        yield Footer()

    def on_mount(self) -> None:
        """Show the dialogue, which is at hand, and let segments and requests be read."""
        self._show_dialogue()
        self.action_part("ladder")
        self._read()

    @work(thread=True, exclusive=True)
    def _read(self) -> None:
        """Read segments and requests: that means to read the capture, so the screen goes on meanwhile."""
        catalog = self.view.catalog
        catalog.progress = telling(self.app, self._say)
        try:
            making = LadderMaking()
            tables = [making.feed(*each) for each in catalog.segments(self._number)]
            requests = turns_of(catalog.requests(self._number))
        except TcpsightError as error:
            self.app.call_from_thread(self._say, str(error))
            return
        self.app.call_from_thread(self._show_read, LadderSegments.concatenate(tables), requests)

    def _say(self, words: str) -> None:
        self._trouble = words
        self._tell()

    def _show_read(self, segments: LadderSegments, requests: list[Any]) -> None:
        self._say("")
        self._segments = segments
        self._show_ladder()
        self.query_one(SortedTable).show_rows(requests)
        self.query_one(SequencePlot).segments = segments

    def _show_ladder(self) -> None:
        start_ns = int(self.view.catalog[self._number].connection["start_ns"])
        found = rungs([self._segments], start_ns, is_relative=self._is_relative)
        self.query_one("#ladder", Lines).show(ladder_lines(found))

    def _show_dialogue(self) -> None:
        try:
            found = list(dialogue_lines(dialogue_of(self.view.catalog[self._number]), self._form))
        except TcpsightError as error:
            found, self._trouble = [], str(error)
        self._times = [time_ns for time_ns, _ in found]
        self.query_one("#dialogue", Lines).show(line for _, line in found)

    def _tell(self) -> None:
        """Say which conversation this is, who speaks, and which part is seen."""
        conversation = self.view.catalog[self._number]
        client, server = ends_of(conversation)
        head = Text(f"connection {self._number} · {client} → {server} · ", no_wrap=True, overflow="ellipsis")
        part = self.query_one(ContentSwitcher).current
        for i, (name, title) in enumerate(PARTS.items(), 1):
            head.append(f" {i} {title} ", "reverse" if name == part else "")
        self.query_one("#head", Static).update(head)
        dialogue = dialogue_of(conversation)
        sides = Text(f"> client {sums(dialogue.client)}", "cyan", no_wrap=True, overflow="ellipsis")
        sides.append(f"   < server {sums(dialogue.server)}", "magenta")
        sides.append(f"   {self._how(part)}", "dim")
        self.query_one("#sides", Static).update(sides)
        note = self.query_one("#note", Static)
        note.update(Text(units.printable(self._trouble)))
        note.display = bool(self._trouble)

    def _how(self, part: str | None) -> str:
        side = DIRECTIONS[self.query_one(SequencePlot).direction]
        return {
            "ladder": f"{'relative' if self._is_relative else 'absolute'} numbers",
            "dialogue": self._form,
            "picture": f"what the {side} sent",
        }.get(part or "", "Enter leads to its bytes")

    # -------------------------------------------------------------------------------------------------- keys

    def action_part(self, part: str) -> None:
        """Show another part."""
        self.query_one(ContentSwitcher).current = part
        shown = self.query_one(f"#{part}")
        if shown.focusable:
            shown.focus()
        self._tell()

    def action_form(self) -> None:
        """Show the dialogue in another form."""
        self._form = FORMS[(FORMS.index(self._form) + 1) % len(FORMS)]
        self._show_dialogue()
        self.action_part("dialogue")

    def action_absolute(self) -> None:
        """Show numbers as they were sent, or after the SYN's."""
        self._is_relative = not self._is_relative
        self._show_ladder()
        self.action_part("ladder")

    def action_side(self) -> None:
        """Show the picture of the other side."""
        plot = self.query_one(SequencePlot)
        plot.direction = 1 - plot.direction
        self.action_part("picture")

    def action_ask(self) -> None:
        """Let words be typed."""
        box = self.query_one("#ask", Input)
        box.add_class("is-open")
        box.focus()

    def action_again(self) -> None:
        """Find the same words again."""
        self._find(again=True)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Find words."""
        self._words = event.value
        event.input.remove_class("is-open")
        if self.query_one(ContentSwitcher).current not in ("ladder", "dialogue"):
            self.action_part("dialogue")
        self.action_part(str(self.query_one(ContentSwitcher).current))
        self._find(again=False)

    def _find(self, *, again: bool) -> None:
        part = self.query_one(ContentSwitcher).current
        if part in ("ladder", "dialogue"):
            is_there = self.query_one(f"#{part}", Lines).find(self._words, again=again)
            self._trouble = "" if is_there or not self._words else f"no line has {self._words!r}"
            self._tell()

    def action_back(self) -> None:
        """Close what is typed into, else go back to the connections."""
        box = self.query_one("#ask", Input)
        if box.has_class("is-open"):
            box.remove_class("is-open")
            self.action_part(str(self.query_one(ContentSwitcher).current))
        else:
            self.app.pop_screen()

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Show the bytes of a request."""
        row = self.query_one(SortedTable).row
        if row is not None:
            self.action_part("dialogue")
            self.query_one("#dialogue", Lines).go_to(bisect_left(self._times, row.arrival_ns))
