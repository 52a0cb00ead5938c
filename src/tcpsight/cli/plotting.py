"""``--plot``: a figure of rows that are written, or only looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli import values

if TYPE_CHECKING:
    from tcpsight.analysis import Run
    from tcpsight.cli.running import Output
    from tcpsight.output.table_figures import TableFigure
    from tcpsight.output.writers import Writer
    from tcpsight.tables import Table

Function = Callable[..., Any]


def plot_option(what: str) -> Callable[[Function], Function]:
    """Give a command the option ``--plot``."""
    text = (
        f"Draw {what} into a .png, .svg or .pdf (needs Matplotlib); rows are written if -o or --format asks for them."
    )
    return click.option("--plot", metavar="FILE", help=text)


def check_plot(path: str, sources: list[Any]) -> None:
    """Refuse what cannot be drawn, before anything is read."""
    from tcpsight.output.figures import image_format, require_matplotlib

    image_format(path)
    values.refuse_output_over_input(path, [each for each in sources if isinstance(each, str)])
    require_matplotlib()


def write_and_plot(
    run: Run, tables: Iterator[Table], figure: TableFigure, path: str, output: Output, write: Callable[[], Writer]
) -> int:
    """Draw a figure of rows, and write them if somebody asks for them; give the exit status."""
    from tcpsight.cli.notes import conclude
    from tcpsight.cli.running import write_rows

    shown = _drawn(tables, figure, path)
    if output.format is not None or output.output != "-":
        writer = write()
        has_arrivals = "arrival_ns" in (writer.table_type.dtype.names or ())
        return write_rows(run, shown, writer, output.order("arrival_ns") if has_arrivals else output.sort)
    for _ in shown:
        pass
    return conclude(run)


def _drawn(tables: Iterator[Table], figure: TableFigure, path: str) -> Iterator[Table]:
    for table in tables:
        figure.feed(table)
        yield table
    if not figure.draw(path):
        from tcpsight.cli.notes import warn

        warn(f"--plot {path}: nothing to draw, no file was written")
