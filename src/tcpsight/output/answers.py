"""Rows of any names and types, as a query gives them: text, CSV, JSON lines, Parquet or an Arrow stream.

Columns that have the name of a column of ours, and its type, are shown in its unit in text; machine formats carry
values as they are. Text streams through, as of tables: widths are those of the headings and of the first batch.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any

from tcpsight.output import units
from tcpsight.output.destination import Destination
from tcpsight.output.drawing import plain
from tcpsight.output.text import cell_format

if TYPE_CHECKING:
    from datetime import tzinfo

    import pyarrow

_GAP = "  "
_ISO = (date, datetime, time)


def write_answer(
    reader: pyarrow.RecordBatchReader, output: str, format: str, timezone: tzinfo, *, has_unicode: bool = True
) -> None:
    """Write all rows; a file appears whole or not at all.

    Parameters
    ----------
    reader : pyarrow.RecordBatchReader
        The rows.
    output : str
        A path, or ``-``.
    format : {"table", "csv", "jsonl", "parquet", "arrow"}
        How.
    timezone : tzinfo
        Of instants in text.
    has_unicode : bool
        Whether more than ASCII can be shown as text.
    """
    batches = iter(reader)
    first = next(batches, None)  # what is wrong with the question is told before a file is opened
    rows = chain([first] if first is not None else [], batches)
    destination = Destination(output)
    try:
        if format in ("parquet", "arrow"):
            _write_columns(reader.schema, rows, destination, format)
        else:
            write = {"csv": _csv_lines, "jsonl": _json_lines}.get(format) or _text_lines(timezone)
            is_plain = format == "table" and not has_unicode
            for text in write(reader.schema, rows):
                destination.write((plain(text) if is_plain else text).encode())
        destination.close()
    except BaseException:
        destination.abort()
        raise


def _write_columns(schema: Any, batches: Iterator[Any], destination: Destination, format: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if format == "arrow":
        writer = pa.ipc.new_stream(destination, schema)
    else:
        writer = pq.ParquetWriter(destination, schema)
    try:
        for batch in batches:
            writer.write_batch(batch)
    except BaseException:
        if format == "parquet":
            writer.is_open = False  # or its destructor would write the footer
        raise
    writer.close()


def _csv_lines(schema: Any, batches: Iterator[Any]) -> Iterator[str]:
    yield _csv([schema.names])
    for batch in batches:
        yield _csv(zip(*([_csv_cell(v) for v in column] for column in _lists(batch)), strict=True))


def _csv(rows: Any) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return json.dumps(_plain(value), separators=(",", ":"))
    plain = _plain(value)
    return "" if plain is None else plain


def _json_lines(schema: Any, batches: Iterator[Any]) -> Iterator[str]:
    names = _distinct(schema.names)
    for batch in batches:
        rows = zip(*(map(_plain, column) for column in _lists(batch)), strict=True)
        lines = (json.dumps(dict(zip(names, row, strict=True)), separators=(",", ":")) for row in rows)
        yield "".join(f"{line}\n" for line in lines)


def _distinct(names: Sequence[str]) -> list[str]:
    """Tell columns of the same name apart: an object has one value for each."""
    found: list[str] = []
    for name in names:
        number, own = 2, name
        while own in found:
            own, number = f"{name}_{number}", number + 1
        found.append(own)
    return found


def _text_lines(timezone: tzinfo) -> Callable[[Any, Iterator[Any]], Iterator[str]]:
    def lines(schema: Any, batches: Iterator[Any]) -> Iterator[str]:
        formats = [_cell_format(field, timezone) for field in schema]
        headings = [
            _printable(name.removesuffix("_ns") if format is not None else name)
            for name, format in zip(schema.names, formats, strict=True)
        ]
        is_left = [_is_left(field, format is not None) for field, format in zip(schema, formats, strict=True)]
        widths: list[int] = []
        for batch in batches:
            columns = [
                [units.UNKNOWN if value is None else (format or _text_cell)(value) for value in column]
                for column, format in zip(_lists(batch), formats, strict=True)
            ]
            text = ""
            if not widths:
                widths = [max(map(len, [name, *cells])) for name, cells in zip(headings, columns, strict=True)]
                text = _line(headings, widths, is_left)
            yield text + "".join(_line(row, widths, is_left) for row in zip(*columns, strict=True))
        if not widths:
            yield _line(headings, list(map(len, headings)), is_left)

    return lines


def _line(cells: Sequence[str], widths: Sequence[int], is_left: Sequence[bool]) -> str:
    padded = [c.ljust(w) if left else c.rjust(w) for c, w, left in zip(cells, widths, is_left, strict=True)]
    return _GAP.join(padded).rstrip() + "\n"


def _cell_format(field: Any, timezone: tzinfo) -> Callable[[Any], str] | None:
    """Give how a column of ours is shown; None for any other."""
    import pyarrow as pa

    if not (pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_boolean(field.type)):
        return None
    return cell_format(field.name, timezone)


def _is_left(field: Any, is_ours: bool) -> bool:  # noqa: FBT001 - mapped over columns
    import pyarrow as pa

    is_number = pa.types.is_integer(field.type) or pa.types.is_floating(field.type) or pa.types.is_decimal(field.type)
    return not (is_number or is_ours)


def _text_cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return units.number(value)
    return _printable(str(_csv_cell(value)))


def _printable(text: str) -> str:
    return units.printable(text)


def _lists(batch: Any) -> list[list[Any]]:
    return [_values(column) for column in batch.columns]


def _values(column: Any) -> list[Any]:
    """Give what a column holds; instants that Python's own cannot hold, in ns or far away, as text."""
    import pyarrow as pa

    is_fine = pa.types.is_timestamp(column.type) and column.type.unit == "ns"
    if not is_fine:
        try:
            values: list[Any] = column.to_pylist()
        except (OverflowError, ValueError):
            pass
        else:
            return values
    texts = column.cast(pa.string()).to_pylist()
    return [text.replace(" ", "T", 1) if text and text[-1].isdigit() else text for text in texts]


def _plain(value: Any) -> Any:
    """Give a value as JSON can hold it; unknown, and what is no number, is None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, _ISO):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value if value is None or isinstance(value, int | str) else str(value)
