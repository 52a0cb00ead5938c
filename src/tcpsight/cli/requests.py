"""``tcpsight requests``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli.options import Input, input_options, output_options
from tcpsight.cli.plotting import plot_option

if TYPE_CHECKING:
    from tcpsight.cli.running import Output
    from tcpsight.tables import Table


@click.command("requests")
@input_options
@output_options("response_time > 100ms and server_port = 3306")
@click.option("--account", is_flag=True, help="Add where the time of each request went: server, path, recovery …")
@plot_option("response time in order of completion, and how it is distributed,")
def command(source: Input, account: bool, plot: str | None, **output: Any) -> int:
    """Every answered request with its response time, one row each.

    \b
    tcpsight requests capture.pcap --server :3306
    tcpsight requests day-*.pcap.gz --format parquet -o requests.parquet
    tcpdump -w - tcp port 80 | tcpsight requests - --format csv | head
    tcpsight requests capture.pcap --account --where 'response_time > 1s'
    tcpsight requests capture.pcap --plot times.svg

    A request is a run of client data, its response the server data that answers it. In machine formats times are
    integer nanoseconds, and rows come in the order in which they became final unless --sort says otherwise.
    """
    from tcpsight.cli.running import Output, write_table
    from tcpsight.tables import AccountedRequests, Requests

    table_type = AccountedRequests if account else Requests
    if plot is not None:
        return _plotted(source, Output(**output), table_type, plot)
    return write_table(source, Output(**output), table_type, lambda batch: batch.requests, "arrival_ns")


def _plotted(source: Input, output: Output, table_type: type[Table], path: str) -> int:
    from tcpsight.cli.plotting import check_plot, write_and_plot
    from tcpsight.cli.running import reading
    from tcpsight.model.density import BUCKET_EDGES_NS
    from tcpsight.model.growing_density import GrowingDensity
    from tcpsight.output.table_figures import RequestFigure

    check_plot(path, source.sources)
    figure = RequestFigure(GrowingDensity(), BUCKET_EDGES_NS)
    with reading(source, table_type) as (run, batches):
        tables = output.selected((batch.requests for batch in batches), table_type)
        return write_and_plot(run, tables, figure, path, output, lambda: output.open(table_type, source.timezone))
