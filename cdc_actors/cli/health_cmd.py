"""``cdc-actors health``: a probe for whoever cannot send HTTP requests, as containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cdc_actors.cli.api import api_options
from cdc_actors.cli.output import dump, output_option
from cdc_actors.errors import UnavailableError

if TYPE_CHECKING:
    from cdc_actors.cli.api import Api

_EXAMPLES = """\b
Examples:
  cdc-actors health
  cdc-actors health --ready

Exit status: 0 it is, 1 failure, 2 wrong usage, 4 it is not.
"""


@click.command(epilog=_EXAMPLES)
@api_options
@click.option(
    "--ready",
    is_flag=True,
    help="Ask whether the service can do its work, and not only whether it is alive.",
)
@output_option
def health(*, api: Api, ready: bool, output: str) -> None:
    """Tell whether the service is alive: its supervisor answers.

    No token is needed. With one, --ready says what is missing.
    """
    word = "ready" if ready else "alive"
    answer = api.probe("/readyz" if ready else "/livez")
    is_well = answer[word]
    if output != "table":
        click.echo(dump(answer, output))
    elif is_well:
        click.echo(word)
    if not is_well:
        missing = answer.get("missing", {}).items()
        why = "; ".join(f"{what}: {words}" for what, words in missing)
        raise UnavailableError(f"the service is not {word}{': ' * bool(why)}{why}")
