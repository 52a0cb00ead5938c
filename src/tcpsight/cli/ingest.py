"""``tcpsight ingest``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from tcpsight.cli.options import Input, input_options

if TYPE_CHECKING:
    from tcpsight.analysis import Analysis
    from tcpsight.lake.ingesting import Ingest, Ingested, News


@click.command("ingest")
@input_options
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="DIR",
    help="The lake, a folder or s3://BUCKET/NAME; it is made if there is none.",
)
@click.option(
    "--carry/--no-carry",
    default=True,
    help="Let connections that are open go on in the next ingest, by default; or end them, and begin anew.",
)
def command(source: Input, output: str, carry: bool) -> int:
    """Keep what captures tell in a lake: Parquet files, here or elsewhere.

    \b
    tcpsight ingest 'db-*.pcap.zst' -o lake
    tcpsight ingest 's3://captures/2026-11-22/*' -o s3://lakes/db --skip-bad --server :3306
    tcpsight report lake --since 2026-11-22T03:00Z

    Files that are in the lake already are left out; the others are one capture, added whole or not at all. report,
    compare, usl, sql and the commands of rows read a lake as they read a capture, without reading packets again.
    Connections that are open at the end of one ingest go on in the next, whose files must begin later.
    """
    from tcpsight.lake.ingesting import Ingest

    for name, given in (("--since", source.since), ("--until", source.until), ("--leave-out", source.leave_out)):
        if given:
            raise click.UsageError(f"{name} is for reading a lake: it keeps all requests")
    if source.is_followed:
        raise click.UsageError("--follow: a lake is made of files that are complete")
    with Ingest(output) as lake:
        news = lake.new(source.sources, skip_bad=source.skip_bad)
        if not news.files:
            return _nothing(news)
        return _ingest(replace(source, sources=news.names), lake, news, carry=carry)


def _nothing(news: News) -> int:
    """Tell that nothing is new; where nothing could be read, that is an error, as everywhere."""
    from tcpsight.cli.notes import warn

    if not news.known:
        raise news.bad[0]
    for error in news.bad:
        warn(f"{error.path}: left out: {error.reason}")
    click.echo(f"nothing new: {_files(news.known)} in the lake already")
    return 0


def _ingest(source: Input, lake: Ingest, news: News, *, carry: bool) -> int:
    from contextlib import ExitStack

    from tcpsight.cli.notes import conclude, warn
    from tcpsight.cli.running import watched
    from tcpsight.continuing import Continuing
    from tcpsight.pipeline import Pipeline

    analysis = _complete(source.analysis())
    with analysis.run(through=Continuing if carry else Pipeline) as run, ExitStack() as stack:
        added = lake.take(run, watched(run, source.progress, stack), news.files, _options(source))
        click.echo(_said(added, news.known))
        for note in added.notes:
            warn(note)
        return conclude(run)


def _complete(analysis: Analysis) -> Analysis:
    """Let a pass carry everything that a lake keeps."""
    analysis.options = replace(analysis.options, with_network=True, with_policing=True, account="requests")
    return analysis


def _options(source: Input) -> dict[str, Any]:
    """Tell how it is read, for the manifest."""
    return {
        "servers": list(source.servers),
        "filter": source.frame_filter,
        "timeouts_ns": list(source.timeouts_ns),
        "max_connections": source.most_connections,
        "input_timezone": source.input_timezone,
    }


def _said(added: Ingested, known: int) -> str:
    from tcpsight.output.units import counted

    left = f"; {_files(known)} in it already" if known else ""
    still = f", {added.open_connections:,} of them open at the end" if added.open_connections else ""
    if added.taken_over:
        still += f"; {counted(added.taken_over, 'connection')} went on from before"
    return (
        f"{_files(added.files)} added{left}: {counted(added.requests, 'request')}, "
        f"{counted(added.connections, 'connection')}{still}"
    )


def _files(count: int) -> str:
    return "1 file" if count == 1 else f"{count:,} files"
