"""A table on the screen whose rows come anew all the time: sorted, filtered, and the cursor stays with its row.

In another order it begins at the first row.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import DataTable

from tcpsight.ui.cells import Cells


class SortedTable(DataTable[Text]):
    """Rows in the order of one column.

    Parameters
    ----------
    columns : sequence of Cells
        What is shown of a row.
    key : callable
        What makes a row the same one as before.
    sorted_by : int, optional
        The column to begin with; the order in which rows are given by default.
    id : str
        Its name on the screen.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "select_cursor", "Look into it"),
        Binding("s", "sort_next(1)", "Sort"),
        Binding("S", "sort_next(-1)", "Sort by the column before", show=False),
        Binding("r", "reverse", "Reverse"),
        Binding("home", "scroll_top", "First row", show=False),
        Binding("end", "scroll_bottom", "Last row", show=False),
    ]

    def __init__(
        self,
        columns: Sequence[Cells],
        key: Callable[[Any], Hashable],
        *,
        sorted_by: int | None = None,
        id: str | None = None,
    ) -> None:
        super().__init__(cursor_type="row", zebra_stripes=True, id=id)
        self._cells = columns
        self._key = key
        self._sorted_by = sorted_by
        self._is_descending = sorted_by is not None and columns[sorted_by].is_number
        self._given: list[Any] = []
        self._shown: list[Any] = []
        self._words: list[str] = []

    def on_mount(self) -> None:
        """Make the columns."""
        self._head()

    @property
    def row(self) -> Any:
        """The row under the cursor, None where there is none."""
        return self._shown[self.cursor_row] if 0 <= self.cursor_row < len(self._shown) else None

    @property
    def hidden(self) -> int:
        """How many rows the filter hides."""
        return len(self._given) - len(self._shown)

    def show_rows(self, rows: Iterable[Any]) -> None:
        """Show other rows."""
        self._given = list(rows)
        self._fill()

    def filter(self, words: str) -> None:
        """Show only rows that have all of these words in some cell."""
        self._words = words.lower().split()
        self._fill()

    def move_to(self, row: Any) -> None:
        """Put the cursor on a row, if it is shown."""
        keys = [self._key(each) for each in self._shown]
        if row is not None and self._key(row) in keys:
            self.move_cursor(row=keys.index(self._key(row)), animate=False)

    # -------------------------------------------------------------------------------------------------- keys and clicks

    def action_sort_next(self, step: int) -> None:
        """Sort by the next column."""
        first = -1 if step > 0 else 0
        self.sort_by(((first if self._sorted_by is None else self._sorted_by) + step) % len(self._cells))

    def action_reverse(self) -> None:
        """Turn the order around."""
        if self._sorted_by is None:
            self._sorted_by = 0
        self._is_descending = not self._is_descending
        self._show_first()

    def sort_by(self, column: int) -> None:
        """Sort by a column, numbers from the largest; by the same one again, the other way round."""
        is_same = self._sorted_by == column
        self._is_descending = not self._is_descending if is_same else self._cells[column].is_number
        self._sorted_by = column
        self._show_first()

    def on_data_table_header_selected(self, event: DataTable.HeaderSelected) -> None:
        """Sort by the column whose head was clicked."""
        event.stop()
        self.sort_by(event.column_index)

    # -------------------------------------------------------------------------------------------------- parts

    def _show_first(self) -> None:
        """Show rows in another order from the first one on: who sorts wants to see what comes first."""
        self._head()
        self.move_cursor(row=0, animate=False)
        self.scroll_to(y=0, animate=False)

    def _head(self) -> None:
        """Write the heads anew: the one that rows are sorted by has an arrow."""
        row = self.row
        self.clear(columns=True)
        for i, cells in enumerate(self._cells):
            arrow = (" ▼" if self._is_descending else " ▲") if i == self._sorted_by else ""
            self.add_column(Text(cells.title + arrow, justify="right" if cells.is_number else "left"))
        self._shown = []
        self._fill(row)

    def _fill(self, stay_at: Any = None) -> None:
        row = self.row if stay_at is None else stay_at
        scrolled = self.scroll_y
        self.clear()
        self._shown = []
        for each in self._ordered():
            cells = [column.text(each) for column in self._cells]
            if all(any(word in cell.plain.lower() for cell in cells) for word in self._words):
                self._shown.append(each)
                self.add_row(*cells)
        self.scroll_to(y=scrolled, animate=False)
        self.move_to(row)

    def _ordered(self) -> list[Any]:
        if self._sorted_by is None:
            return self._given
        value = self._cells[self._sorted_by].value
        known = [each for each in self._given if value(each) is not None]
        known.sort(key=value, reverse=self._is_descending)
        return known + [each for each in self._given if value(each) is None]
