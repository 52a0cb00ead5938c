"""Questions in SQL: DuckDB over the tables of a capture, each an Arrow stream that is read when it is scanned.

Theory of operation
-------------------
Tables are registered by name and cost nothing until a query scans them; each scan is a pass over the capture. Rows
flow through in batches: what a query keeps (groups, what is sorted) lies in at most `MEMORY` and then on disk, in a
directory that is removed. SQL reaches no file and no network, loads no extension, and cannot change that.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tcpsight.errors import TcpsightError, UsageError, installing
from tcpsight.output.arrow import ArrowConverter
from tcpsight.tables import Table

if TYPE_CHECKING:
    import pyarrow

MEMORY = "1GB"
BATCH_ROWS = 65_536

Read = Callable[[], Iterator[Table]]

NEEDS_DUCKDB = f"sql needs DuckDB: {installing('sql')}"


class Scanned:
    """A table that is read, from its beginning, whenever a query scans it.

    Parameters
    ----------
    table_type : type of Table
        What the rows are.
    read : callable
        Gives them, block by block; a block is valid until the next.
    errors : list
        Takes what `read` raises: the query fails, with words that are not ours.
    """

    def __init__(self, table_type: type[Table], read: Read, errors: list[BaseException]) -> None:
        self._converter = ArrowConverter(table_type)
        self._read = read
        self._errors = errors

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        import pyarrow as pa

        reader = pa.RecordBatchReader.from_batches(self._converter.schema, self._batches())
        return reader.__arrow_c_stream__(requested_schema)

    def _batches(self) -> Iterator[pyarrow.RecordBatch]:
        try:
            for block in self._read():
                if len(block):
                    yield self._converter.convert(block)
        except GeneratorExit:
            raise
        except BaseException as error:
            self._errors.append(error)
            raise


@contextmanager
def answered(query: str, tables: Mapping[str, tuple[type[Table], Read]]) -> Iterator[pyarrow.RecordBatchReader]:
    """Ask a question; give the rows of the answer as they come.

    Parameters
    ----------
    query : str
        SQL; of several statements the last one answers.
    tables : dict of str to (type of Table, callable)
        What it may name: what the rows are, and what gives them.

    Raises
    ------
    UsageError
        DuckDB is not installed, or does not understand the question.
    """
    try:
        import duckdb
    except ImportError:
        raise UsageError(NEEDS_DUCKDB) from None
    errors: list[BaseException] = []
    with tempfile.TemporaryDirectory(prefix="tcpsight-sql-") as directory:
        connection = duckdb.connect(config=_config(directory))
        try:
            for name, (table_type, read) in tables.items():
                connection.register(name, Scanned(table_type, read, errors))
            connection.execute("SET lock_configuration = true")
            yield _rows(connection, query)
        except duckdb.Error as error:
            raise _ours(error, errors, tables) from None
        except OSError as error:
            # What a stream raises while the answer is read comes back as an error of Arrow.
            if errors:
                raise errors[0] from None
            raise TcpsightError(f"SQL: {_first(error)}") from None
        finally:
            connection.close()


def _config(directory: str) -> dict[str, str | bool | int | float | list[str]]:
    return {
        "enable_external_access": "false",
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "python_enable_replacements": "false",
        "memory_limit": MEMORY,
        "temp_directory": directory,
    }


def _rows(connection: Any, query: str) -> pyarrow.RecordBatchReader:
    relation = connection.sql(query)
    if relation is None:
        raise UsageError("SQL: the last statement gives no rows; write one that begins with SELECT, FROM or WITH")
    return relation.to_arrow_reader(BATCH_ROWS)


def _ours(error: Exception, errors: list[BaseException], tables: Mapping[str, Any]) -> BaseException:
    """Tell what went wrong: with the capture, or else with the question."""
    if errors:
        return errors[0]
    text = _first(error)
    if "does not exist" in text and "Table" in text:
        text += f" The tables are {', '.join(tables)}."
    return UsageError(f"SQL: {text}")


def _first(error: Exception) -> str:
    """Give what an error says, without the picture of where in the query, which needs several lines."""
    return " ".join(str(error).split("\n\nLINE")[0].split())
