"""Conditions on the rows of any table: ``server_bytes > 8KiB and duration < 400ms``.

Theory of operation
-------------------
`tokens` cuts a condition into words and signs, `parser` reads them against the columns of one table, `literals` gives
each value the meaning that its column asks for, and `truth` compares columns. The result is a tree of small functions
of columns; nothing in a condition is ever executed as code. Each function gives two masks: the rows for which it
holds, and those for which nobody can tell because a value is unknown. ``and``, ``or`` and ``not`` follow Kleene's
logic, so that ``not connect < 5ms`` does not choose connections whose connect time is unknown.

What a condition cannot see: anything but the row itself. There is no arithmetic and no other row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from tcpsight.where.parser import parse

if TYPE_CHECKING:
    from tcpsight.tables import Table
    from tcpsight.where.truth import Mask

__all__ = ["Where"]

AnyTable = TypeVar("AnyTable", bound="Table")


class Where:
    """A condition on the rows of one table.

    Parameters
    ----------
    text : str
        The condition; its language is in ``docs/methods/where.md``.
    table_type : type of Table
        The table it is about.
    is_accounted : bool
        Whether its rows tell where the time of connections went; otherwise columns of that account are refused, as
        nothing would ever hold for them.

    Raises
    ------
    UsageError
        If it makes no sense; the message tells the character and, for a name, the nearest column.
    """

    def __init__(self, text: str, table_type: type[Table], *, is_accounted: bool = True) -> None:
        self.text = text
        self._condition = parse(text, table_type, is_accounted=is_accounted)

    def mask(self, table: Table) -> Mask:
        """Tell for which rows it holds, shape (n,)."""
        return self._condition(table).holds

    def apply(self, table: AnyTable) -> AnyTable:
        """Give the rows for which it holds; the table itself where that is all of them."""
        mask = self.mask(table)
        return table if mask.all() else table[mask]
