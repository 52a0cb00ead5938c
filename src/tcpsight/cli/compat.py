"""``tcpsight compat``: the older tools by their own command lines."""

from __future__ import annotations

from importlib import import_module

import click

TOOLS: dict[str, tuple[str, str]] = {
    "mk-tcp-model": ("mk_tcp_model", "Requests to a server, and their sums per interval."),
    "pt-tcp-model": ("mk_tcp_model", "The same under its later name."),
    "tcprstat": ("tcprstat", "How long a server takes to answer, a line of statistics per interval."),
    "yconalyzer": ("yconalyzer", "How long connections to a port last, and how much each side sends."),
    "streams": ("streams", "What each side of each connection sent, at a prompt."),
    "usl": ("usl", "The universal scalability law through points of concurrency and throughput."),
    "pt-usl": ("usl", "The same, by its later name."),
}
"""What a tool is called: the module of `tcpsight.compat` that is it, and what it tells."""

HELP = """Run an older tool by its own command line: same options, same output.

\b
tcpsight compat mk-tcp-model --watch-server 10.0.0.1:3306 dump.txt
tcpsight compat tcprstat -r capture.pcap -l 10.0.0.1 -p 3306 -t 1

Everything after TOOL is the tool's own, --help included.
"""


class ToolCommand(click.Command):
    """A command that lists the tools at the end of its help."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the tools without importing them."""
        if TOOLS:
            with formatter.section("Tools"):
                formatter.write_dl([(name, text) for name, (_, text) in TOOLS.items()])


@click.command(
    cls=ToolCommand,
    help=HELP,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    options_metavar="",
)
@click.argument("tool", metavar="TOOL")
@click.argument("arguments", metavar="ARGS...", nargs=-1, type=click.UNPROCESSED)
def command(tool: str, arguments: tuple[str, ...]) -> int:
    """Run one tool."""
    if tool not in TOOLS:
        raise click.UsageError(f"no such tool {tool!r}; the tools are {', '.join(TOOLS)}", click.get_current_context())
    status: int = import_module(f"tcpsight.compat.{TOOLS[tool][0]}").run(tool, list(arguments))
    return status
