"""A table of a capture that is read when it is used, for every library that takes tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tcpsight.tables import Table

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow


class Rows:
    """A table of a capture, not read yet: each use reads the capture once.

    It is an Arrow stream for whoever asks (PyCapsule interface), so ``polars.DataFrame(rows)``,
    ``pyarrow.table(rows)`` and ``duckdb.sql("from rows")`` take it as it is.

    Parameters
    ----------
    table_type : type of Table
        What the rows are.
    read : callable
        Gives the rows, block by block; a block is valid until the next.
    """

    def __init__(self, table_type: type[Table], read: Callable[[], Iterator[Table]]) -> None:
        self.table_type = table_type
        self._read = read

    def __iter__(self) -> Iterator[Table]:
        """Give the rows as tables of NumPy columns, block by block; copy what you keep."""
        return self._read()

    def where(self, condition: str) -> Rows:
        """Give the rows for which a condition holds, such as ``"server_bytes > 8kB and duration < 400ms"``.

        Raises
        ------
        UsageError
            If it makes no sense.
        """
        from tcpsight.where import Where

        where = Where(condition, self.table_type)
        return Rows(self.table_type, lambda: (table for block in self if len(table := where.apply(block))))

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Give all rows as one structured array, shape (n,), units and nulls as in the reference."""
        return self.table_type.concatenate([t.copy() for t in self if len(t)]).rows

    def to_arrow(self) -> pyarrow.Table:
        """Give all rows as a pyarrow Table."""
        from tcpsight.output.arrow import to_arrow_table

        return to_arrow_table(self, self.table_type)

    def to_polars(self) -> polars.DataFrame:
        """Give all rows as a Polars data frame (needs ``tcpsight[polars]``)."""
        from tcpsight.output.arrow import to_polars

        frame: polars.DataFrame = to_polars(self, self.table_type)
        return frame

    def to_pandas(self) -> pandas.DataFrame:
        """Give all rows as a pandas data frame (needs ``tcpsight[pandas]``)."""
        from tcpsight.output.arrow import to_pandas

        return to_pandas(self, self.table_type)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        from tcpsight.output.arrow import arrow_c_stream

        return arrow_c_stream(self, self.table_type, requested_schema)

    def __repr__(self) -> str:
        return f"<{self.table_type.__name__} of a capture, not read yet>"
