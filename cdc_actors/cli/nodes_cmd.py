"""``cdc-actors nodes``: the services on one store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from cdc_actors.cli.api import api_options
from cdc_actors.cli.output import dump, lag_of, output_option, table, text_of

if TYPE_CHECKING:
    from cdc_actors.cli.api import Api

_EXAMPLES = """\b
Examples:
  cdc-actors nodes
  cdc-actors nodes --url http://10.0.0.3:8444 -o json
"""
_HEAD = ("STATE", "URL", "HOST", "PID", "SINCE", "HEARD OF", "TASKS", "LAG")


@click.command(epilog=_EXAMPLES)
@api_options
@output_option
def nodes(*, api: Api, output: str) -> None:
    """List the services on the store of the one that is asked.

    One of them works, for all tasks; the others wait to take over, and pass requests on.
    One that is silent may be gone: it is forgotten after a day.
    """
    found = api.nodes()
    if output != "table":
        click.echo(dump({"nodes": found}, output))
    else:
        click.echo(table(_HEAD, [_row(each) for each in found]))


def _row(node: dict[str, Any]) -> list[str]:
    return [
        node["state"],
        node["url"] or "-",
        node["host"],
        str(node["pid"]),
        node["since"],
        f"{node['silent_seconds']:.0f} s ago",
        text_of(node["tasks"]),
        lag_of(node),
    ]
