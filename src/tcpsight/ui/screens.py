"""The screens of the full-screen view: services, connections of one, requests of one connection, and the keys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import DataTable, Footer, Input, Static

from tcpsight.output import units
from tcpsight.ui import cells
from tcpsight.ui.bars import Bars
from tcpsight.ui.board import ServiceRow, Snapshot
from tcpsight.ui.details import connections_of, requests_of, requests_on
from tcpsight.ui.sorted_table import SortedTable

if TYPE_CHECKING:
    from datetime import tzinfo

    from tcpsight.ui.screen import WatchScreen

SEVERITY_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}

LINES = (
    ("throughput", "throughput_per_s", units.rate),
    ("p99", "p99_ns", units.duration),
    ("concurrency", "concurrency", units.number),
    ("waiting", "waiting", units.count),
)
"""What the small lines show over time."""

KEYS = """\
↑ ↓ PgUp PgDn   choose a row
Enter           look into it: a service's connections and its
                requests, then the requests of one connection
Esc             back
s, S            sort by the next column, or the one before;
                a click on a column's head sorts by it
r               sort the other way round
/               only rows with these words; Esc shows all again
p               pause: the screen stands still, the capture goes on
l               of a service's requests the latest, or the slowest
Tab             the other table
q, Ctrl-C       quit
"""

TABLE_OF_WORDS = "filter"


class TableScreen(Screen[None]):
    """A line of what is the case, a table, a filter, and the keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", key_display="/"),
        Binding("escape", "back", "Back"),
    ]
    VERTICAL_BREAKPOINTS = [(0, "-short"), (26, "-tall")]  # noqa: RUF012 - as Screen declares it
    _is_ready = False

    @property
    def view(self) -> WatchScreen:
        """The app that this is a screen of."""
        return cast("WatchScreen", self.app)

    @property
    def zone(self) -> tzinfo:
        """Where the reader's clock hangs."""
        return self.view.timezone

    def compose(self) -> ComposeResult:
        """Put it together."""
        yield Static(id="head")
        yield from self.content()
        yield Input(placeholder="words that a row has; Enter keeps them, Esc shows all", id=TABLE_OF_WORDS)
        yield Static(id="note")
        yield Footer()

    def content(self) -> Iterable[Any]:
        """Give what is between the first line and the filter."""
        raise NotImplementedError

    def on_mount(self) -> None:
        """Show at once what is known."""
        self.query(SortedTable).first().focus()
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        # By now the tables have made their columns.
        self._is_ready = True
        self.show(self.view.snapshot)

    def on_screen_resume(self) -> None:
        """Show what changed while another screen was in front."""
        self.show(self.view.snapshot)

    def show(self, snapshot: Snapshot) -> None:
        """Show a snapshot."""
        if not self._is_ready:
            return
        self.query_one("#head", Static).update(self._head(snapshot))
        self.fill(snapshot)
        table = self.query(SortedTable).first()
        notes = [units.printable(each) for each in (snapshot.trouble, *snapshot.notices) if each]
        if table.hidden:
            notes.append(f"{units.counted(table.hidden, 'row')} hidden by the filter")
        note = self.query_one("#note", Static)
        note.update(Text(" · ".join(notes)))
        note.display = bool(notes)

    def fill(self, snapshot: Snapshot) -> None:
        """Show a snapshot in the tables."""
        raise NotImplementedError

    def title_of(self) -> str:
        """Say what the screen is about."""
        return ""

    def _head(self, snapshot: Snapshot) -> Text:
        latest = snapshot.latest
        head = Text(no_wrap=True, overflow="ellipsis")
        if self.view.is_paused:
            head.append(" PAUSED ", "bold reverse")
            head.append(" ")
        elif snapshot.is_over:
            head.append(" ENDED ", "bold reverse")
            head.append(" ")
        parts = [units.printable(snapshot.source)]
        if title := self.title_of():
            parts.append(title)
        if latest is not None:
            parts.append(units.instant(latest.end_ns, self.zone, digits=0)[11:])
            if latest.frames_per_s is not None:
                parts.append(f"{units.rate(latest.frames_per_s)} frames")
        parts += [
            f"{units.count(snapshot.drops)} dropped",
            units.counted(snapshot.open_connections, "open connection"),
        ]
        head.append(" · ".join(parts))
        return head

    # -------------------------------------------------------------------------------------------------- keys

    def action_filter(self) -> None:
        """Let words be typed."""
        box = self.query_one(f"#{TABLE_OF_WORDS}", Input)
        box.add_class("is-open")
        box.focus()

    def action_back(self) -> None:
        """Show all rows again, else go back."""
        box = self.query_one(f"#{TABLE_OF_WORDS}", Input)
        if box.has_class("is-open") or box.value:
            box.value = ""
            box.remove_class("is-open")
            self.query(SortedTable).first().focus()
        elif len(self.app.screen_stack) > 2:
            self.app.pop_screen()

    def on_input_changed(self, event: Input.Changed) -> None:
        """Filter while words are typed."""
        for table in self.query(SortedTable):
            table.filter(event.value)
        self.show(self.view.snapshot)

    def on_input_submitted(self) -> None:
        """Keep the filter, and go on with the rows."""
        box = self.query_one(f"#{TABLE_OF_WORDS}", Input)
        box.set_class(bool(box.value), "is-open")
        self.query(SortedTable).first().focus()


class ServicesScreen(TableScreen):
    """All services, the history of the one under the cursor, and what was found."""

    def content(self) -> Iterable[Any]:
        """Give the table, the lines over time, and the findings."""
        yield SortedTable(cells.SERVICES, lambda row: row.name, sorted_by=1, id="services")
        with Vertical(id="history"):
            yield Static(id="history-title")
            for name, column, _ in LINES:
                with Horizontal(classes="line"):
                    yield Static(name, classes="label", id=f"label-{column}")
                    yield Bars(id=f"line-{column}")
        with VerticalScroll(id="findings") as panel:
            panel.border_title = "Findings"
            yield Static(id="found")

    def fill(self, snapshot: Snapshot) -> None:
        """Show services, history and findings."""
        table = self.query_one("#services", SortedTable)
        table.show_rows(snapshot.latest.services if snapshot.latest is not None else ())
        self._show_history(snapshot, table.row)
        self._show_findings(snapshot)

    def on_data_table_row_highlighted(self) -> None:
        """Show the history of the row under the cursor."""
        self._show_history(self.view.snapshot, self.query_one("#services", SortedTable).row)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Look into a service."""
        row = self.query_one("#services", SortedTable).row
        if row is not None:
            self.app.push_screen(ConnectionsScreen(row.name))

    def _show_history(self, snapshot: Snapshot, row: ServiceRow | None) -> None:
        history = snapshot.history(row.name if row is not None else "")
        title = Text(row.name if row is not None else "all services", "bold")
        title.append(f", the last {units.counted(len(history), 'slice')}", "not bold")
        self.query_one("#history-title", Static).update(title)
        for name, column, write in LINES:
            known = [getattr(each, column) if each is not None else None for each in history]
            now = known[-1] if known else None
            most = max((each for each in known if each is not None), default=None)
            label = f"{name} {write(now)}, at most {write(most)}"
            self.query_one(f"#label-{column}", Static).update(Text(label, no_wrap=True, overflow="ellipsis"))
            self.query_one(f"#line-{column}", Bars).values = tuple(known)

    def _show_findings(self, snapshot: Snapshot) -> None:
        from tcpsight.facts import finding_facts

        text = Text()
        for number, finding in enumerate(reversed(snapshot.findings)):
            fact = finding_facts(finding.rows[0])
            if number:
                text.append("\n")
            text.append(units.instant(fact["start_ns"], self.zone, digits=0)[11:] + " ")
            text.append(fact["severity"], SEVERITY_STYLES.get(fact["severity"], ""))
            words = f" {fact['kind'].replace('_', ' ')} · {fact['subject']}: {fact['summary']}"
            text.append(units.printable(words))
        self.query_one("#found", Static).update(text if snapshot.findings else Text("none so far", "dim"))
        count = len(snapshot.findings)
        self.query_one("#findings").border_title = f"Findings ({count})" if count else "Findings"


class ConnectionsScreen(TableScreen):
    """Connections of one service, and its slowest or latest requests."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("l", "latest", "Latest/slowest")]

    def __init__(self, service: str) -> None:
        super().__init__()
        self._service = service
        self._is_slowest = True

    def title_of(self) -> str:
        """Name the service."""
        return self._service

    def content(self) -> Iterable[Any]:
        """Give both tables."""
        yield SortedTable(cells.CONNECTIONS, lambda row: row.connection_id, id="connections")
        yield SortedTable(cells.requests(self.zone), _request_key, id="requests")

    def fill(self, snapshot: Snapshot) -> None:
        """Show what there is of the service."""
        rows, found = connections_of(snapshot, self._service)
        table = self.query_one("#connections", SortedTable)
        table.show_rows(rows)
        which = f", {units.count(len(rows))} of them shown" if found > len(rows) else ""
        table.border_title = f"{units.counted(found, 'connection')}{which}"
        requests = self.query_one("#requests", SortedTable)
        requests.show_rows(requests_of(snapshot, self._service, slowest=self._is_slowest))
        requests.border_title = f"{'Slowest' if self._is_slowest else 'Latest'} requests of the last slices"

    def action_latest(self) -> None:
        """Show the latest requests, or the slowest."""
        self._is_slowest = not self._is_slowest
        self.show(self.view.snapshot)

    def on_data_table_row_selected(self, event: DataTable.RowSelected) -> None:
        """Look into a connection, or that of a request."""
        row = cast("SortedTable", event.data_table).row
        if row is not None:
            self.app.push_screen(RequestsScreen(row.connection_id, row.client))


class RequestsScreen(TableScreen):
    """The latest requests on one connection."""

    def __init__(self, connection_id: int, client: str) -> None:
        super().__init__()
        self._connection_id = connection_id
        self._client = client

    def title_of(self) -> str:
        """Name the connection."""
        return f"connection {self._connection_id} from {self._client}"

    def content(self) -> Iterable[Any]:
        """Give the table."""
        yield SortedTable(cells.requests(self.zone), _request_key, id="requests")

    def fill(self, snapshot: Snapshot) -> None:
        """Show what is kept of them."""
        table = self.query_one("#requests", SortedTable)
        table.show_rows(requests_on(snapshot, self._connection_id))
        table.border_title = "Requests of the last slices"


class HelpScreen(ModalScreen[None]):
    """Which keys there are."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q", "app.help", "Back")]

    def compose(self) -> ComposeResult:
        """Show them."""
        panel = Static(Text(KEYS.rstrip()), id="help")
        panel.border_title = "Keys"
        yield panel


def _request_key(row: Any) -> tuple[int, int]:
    return row.connection_id, row.request_index
