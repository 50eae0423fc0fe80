"""``cdc-actors``: the group of commands, its exit statuses and how failures look."""

from __future__ import annotations

from importlib.metadata import version as installed_version
from typing import Any

import click

from cdc_actors.cli.api import service_options
from cdc_actors.cli.assets_cmd import assets
from cdc_actors.cli.audit_cmd import audit
from cdc_actors.cli.compare_cmd import compare
from cdc_actors.cli.config_cmd import config
from cdc_actors.cli.demo import demo
from cdc_actors.cli.doctor_cmd import doctor
from cdc_actors.cli.health_cmd import health
from cdc_actors.cli.history_cmd import history
from cdc_actors.cli.key_cmd import key
from cdc_actors.cli.nodes_cmd import nodes
from cdc_actors.cli.output import NOT_READY
from cdc_actors.cli.serve import serve
from cdc_actors.cli.task_cmd import task
from cdc_actors.cli.token_cmd import token
from cdc_actors.cli.watch_cmd import watch
from cdc_actors.errors import CdcError, UnavailableError

_INTERRUPTED = 130
_EPILOG = """\b
Examples:
  cdc-actors config show --config cdc.yaml
  cdc-actors serve --config cdc.yaml
  cdc-actors task list
  cdc-actors history TASK --follow

Exit status: 0 ok, 1 failure, 2 wrong usage, 3 a difference was found, 4 not ready,
130 Ctrl-C.
"""


class _Failure(click.ClickException):
    """One line on standard error instead of a traceback."""

    def __init__(self, error: CdcError) -> None:
        super().__init__(" ".join(str(error).split()))


class _NotReady(_Failure):
    exit_code = NOT_READY


class CdcGroup(click.Group):
    """Commands whose ``CdcError`` ends the process with a line and a status."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except UnavailableError as error:
            raise _NotReady(error) from error
        except CdcError as error:
            raise _Failure(error) from error
        except KeyboardInterrupt:
            ctx.exit(_INTERRUPTED)


@click.group(
    cls=CdcGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EPILOG,
)
@service_options
@click.version_option(package_name="cdc-actors", message="cdc-actors %(version)s")
def main() -> None:
    """Keep one Milvus equal to another by reading its write-ahead log."""


@click.command()
def version() -> None:
    """Print the version."""
    click.echo(f"cdc-actors {installed_version('cdc-actors')}")


COMMANDS = (
    serve,
    demo,
    health,
    nodes,
    task,
    history,
    compare,
    audit,
    config,
    token,
    key,
    assets,
    doctor,
    version,
)

for _command in COMMANDS:
    main.add_command(_command)
task.add_command(watch)
