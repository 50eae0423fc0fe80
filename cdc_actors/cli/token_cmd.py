"""``cdc-actors token``: who may use the API."""

from __future__ import annotations

import re
from typing import Any, get_args

import click

from cdc_actors.cli.output import dump, output_option
from cdc_actors.config.auth import Role, TokenName
from cdc_actors.config.setting_types import meta

_EXAMPLES = """\b
Examples:
  cdc-actors token create dashboard
  cdc-actors token create ops --role operator
"""
_NAME = re.compile(meta(TokenName).pattern or "")


@click.group()
def token() -> None:
    """Create tokens for the API."""


def _name(_context: Any, _parameter: Any, given: str) -> str:
    if not _NAME.match(given):
        raise click.BadParameter("take up to 64 letters, digits, - and _")
    return given


@token.command(epilog=_EXAMPLES)
@click.argument("name", callback=_name)
@click.option(
    "--role",
    type=click.Choice(get_args(Role)),
    default="viewer",
    show_default=True,
    help="A viewer sees everything; an operator may also change it.",
)
@output_option
def create(name: str, role: str, output: str) -> None:
    """Create a token and its settings entry.

    The token is printed once and stored nowhere. The service accepts it from its next
    start with that entry, which holds a salted hash only.
    """
    from cdc_http.tokens import new_token  # noqa: PLC0415 - it loads the app

    made, hashed = new_token(name)
    entry = {"name": name, "role": role, "hash": hashed}
    if output != "table":
        click.echo(dump({"token": made, "settings": entry}, output))
        return
    click.echo(
        f"{made}\n\nThis is the token; it is not shown again. In the settings:\n"
    )
    click.echo(dump({"auth": {"tokens": [entry]}}, "yaml"))
