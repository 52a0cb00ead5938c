"""A table of a capture that is read when it is used, for every library that takes tables."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from tcpsight.errors import CaptureError, CaptureWarning
from tcpsight.tables import Table

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow

OnBreak = Callable[[CaptureError], None]
Read = Callable[[OnBreak], Iterator[Table]]

Converted = TypeVar("Converted")


class Rows:
    """A table of a capture, not read yet: each use reads the capture once.

    It is an Arrow stream for whoever asks (PyCapsule interface), so ``polars.DataFrame(rows)``,
    ``pyarrow.table(rows)`` and ``duckdb.sql("from rows")`` take it as it is.

    Parameters
    ----------
    table_type : type of Table
        What the rows are.
    read : callable
        Gives the rows, block by block; a block is valid until the next. It is given what takes the error of a capture
        that breaks off, and calls it after the last row.
    is_strict : bool
        Whether conversions raise that error; by default they give the rows before it and warn.

    Notes
    -----
    Iterating gives tables of NumPy columns, block by block: copy what you keep. Of a capture that is cut short, or has
    no TCP in it, iterating gives the rows there are and then raises `CaptureError`. Conversions give the same rows with
    a `CaptureWarning`, or, with ``tcpsight.open(…, strict=True)``, raise `CaptureError`. A capture that cannot be
    opened at all is always a `CaptureError`.

    Examples
    --------
    >>> rows = tcpsight.open("examples/mariadb-lock.pcap").requests
    >>> sum(len(block) for block in rows)
    4706
    >>> int(max(block.response_time_ns.max() for block in rows))
    1500280404
    """

    def __init__(self, table_type: type[Table], read: Read, *, is_strict: bool = False) -> None:
        self.table_type = table_type
        self._read = read
        self._is_strict = is_strict

    def __iter__(self) -> Iterator[Table]:
        """Give the rows as tables of NumPy columns, block by block; copy what you keep."""
        return self._read(_raise)

    def where(self, condition: str) -> Rows:
        """Give the rows for which a condition holds, such as ``"server_bytes > 8kB and duration < 400ms"``.

        Raises
        ------
        UsageError
            If it makes no sense.

        Examples
        --------
        >>> slow = tcpsight.open("examples/mariadb-lock.pcap").requests.where("response_time > 1s")
        >>> len(slow.to_numpy())
        9
        """
        from tcpsight.where import Where

        where = Where(condition, self.table_type)

        def read(on_break: OnBreak) -> Iterator[Table]:
            return (table for block in self._read(on_break) if len(table := where.apply(block)))

        return Rows(self.table_type, read, is_strict=self._is_strict)

    def to_numpy(self) -> np.ndarray[Any, Any]:
        """Give all rows as one structured array, shape (n,), units and nulls as in the tables.

        Examples
        --------
        >>> requests = tcpsight.open("examples/mariadb-lock.pcap").requests.to_numpy()
        >>> requests.shape, int(requests["response_time_ns"].max())
        ((4706,), 1500280404)
        """
        return self._converted(
            lambda blocks, table_type: table_type.concatenate([t.copy() for t in blocks if len(t)]).rows
        )

    def to_arrow(self) -> pyarrow.Table:
        """Give all rows as a pyarrow Table; unknown is null.

        Examples
        --------
        >>> tcpsight.open("examples/mariadb-lock.pcap").connections.to_arrow().num_rows
        9
        """
        from tcpsight.output.arrow import to_arrow_table

        return self._converted(to_arrow_table)

    def to_polars(self) -> polars.DataFrame:
        """Give all rows as a Polars data frame (needs ``pip install 'tcpsight[polars]'``).

        Examples
        --------
        >>> tcpsight.open("examples/mariadb-lock.pcap").requests.to_polars()["response_time_ns"].max()
        1500280404
        """
        from tcpsight.output.arrow import to_polars

        frame: polars.DataFrame = self._converted(to_polars)
        return frame

    def to_pandas(self) -> pandas.DataFrame:
        """Give all rows as a pandas data frame (needs ``pip install 'tcpsight[pandas]'``).

        Examples
        --------
        >>> len(tcpsight.open("examples/mariadb-lock.pcap").requests.to_pandas())
        4706
        """
        from tcpsight.output.arrow import to_pandas

        return self._converted(to_pandas)

    def _converted(self, convert: Callable[[Iterator[Table], type[Table]], Converted]) -> Converted:
        breaks: list[CaptureError] = []
        converted = convert(self._read(_raise if self._is_strict else breaks.append), self.table_type)
        for error in breaks:
            # Told where the user's line stands: behind this method and the one that it serves.
            warnings.warn(_kept(error), CaptureWarning, stacklevel=3)
        return converted

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        from tcpsight.output.arrow import arrow_c_stream

        blocks = self._read(on_break(is_strict=self._is_strict))
        return arrow_c_stream(blocks, self.table_type, requested_schema)

    def __repr__(self) -> str:
        return f"<{self.table_type.__name__} of a capture, not read yet>"


def on_break(*, is_strict: bool) -> OnBreak:
    """Give what is done about a capture that breaks off: raise the error, or warn of it."""
    return _raise if is_strict else _warn


def _raise(error: CaptureError) -> None:
    raise error


def _warn(error: CaptureError) -> None:
    warnings.warn(_kept(error), CaptureWarning, stacklevel=2)


def _kept(error: CaptureError) -> str:
    return f"{error}; every row before that is here" if error.offset >= 0 else str(error)
