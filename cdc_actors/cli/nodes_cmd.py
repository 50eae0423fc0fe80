"""``cdc-actors nodes``: the services on one store, and which of them have tasks."""

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
  cdc-actors nodes drain 0f3a9c1e
"""
_HEAD = (
    "NODE",
    "STATE",
    "URL",
    "HOST",
    "PID",
    "SINCE",
    "HEARD OF",
    "TASKS",
    "LOAD",
    "LAG",
)


@click.group(epilog=_EXAMPLES, invoke_without_command=True)
@api_options
@output_option
@click.pass_context
def nodes(context: click.Context, *, api: Api, output: str) -> None:
    """List the services on the store of the one that is asked.

    In PostgreSQL each of them has some of the tasks, and passes on what is asked of the
    others. One that is silent may be gone: the others take its tasks within seconds.
    """
    if context.invoked_subcommand is None:
        _show(api.nodes(), output)


@nodes.command()
@click.argument("node")
@click.option("--off", is_flag=True, help="Let it have tasks again.")
@api_options
@output_option
def drain(*, node: str, off: bool, api: Api, output: str) -> None:
    """Have others take all tasks of NODE.

    A few at a time, so that each stands still for a moment only. NODE is what `cdc-actors
    nodes` calls it. It goes on to answer requests, and has tasks again once it is started
    anew, or if no other service is left.
    """
    _show(api.drain(node, drains=not off), output)


def _show(found: list[dict[str, Any]], output: str) -> None:
    if output != "table":
        click.echo(dump({"nodes": found}, output))
    else:
        click.echo(table(_HEAD, [_row(each) for each in found]))


def _row(node: dict[str, Any]) -> list[str]:
    return [
        node["node_id"] or "-",
        node["state"],
        node["url"] or "-",
        node["host"],
        str(node["pid"]),
        node["since"],
        f"{node['silent_seconds']:.0f} s ago",
        text_of(node["tasks"]),
        text_of(node["load"]),
        lag_of(node),
    ]
