"""``cdc-actors audit``: the proof that the event log is the one that was written."""

from __future__ import annotations

import os
import sys
from contextlib import closing
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from cdc_actors.cli.config_cmd import config_option
from cdc_actors.cli.output import dump, output_option, say
from cdc_actors.config import load
from cdc_actors.errors import OperatorError, UnavailableError
from cdc_actors.store.audit.export import export, import_log
from cdc_actors.store.audit.verify import Head, count, head_of, verify
from cdc_actors.store.event_log import TaskLog, postgres_database
from cdc_actors.store.leases import held, lease_of
from cdc_actors.store.sqlite import open_sqlite

if TYPE_CHECKING:
    from cdc_actors.store.audit.verify import VerificationResult
    from cdc_actors.store.database import Database
    from cdc_actors.store.fence import Fence

_DIFFERENT = 3
_EXAMPLES = """\b
Examples:
  cdc-actors audit verify --config cdc.yaml
  cdc-actors audit head --config cdc.yaml > head.txt
  cdc-actors audit verify --config cdc.yaml --head "$(cat head.txt)"
  cdc-actors audit export --config cdc.yaml log.jsonl
  cdc-actors audit import --config other.yaml log.jsonl

Exit status: 0 ok, 1 failure, 2 wrong usage, 3 the log is not the one that was written,
4 the store does not answer, or the log has no hashes yet.
"""


@click.group(epilog=_EXAMPLES)
def audit() -> None:
    """Verify and copy the event log, also while the service is running.

    Each event has a hash over itself and the events before it. The last hash is the
    head: a copy kept elsewhere later shows whether the log was truncated or rewritten.
    """


@audit.command("verify")
@config_option
@click.option(
    "--head", metavar="HEAD", help="An earlier head of this log to check against."
)
@output_option
def verify_log(path: Path | None, head: str | None, output: str) -> None:
    """Check whether any event was changed, removed, moved or inserted."""
    expected = Head.parse(head) if head else None
    with closing(_open(path)) as database, _progress(count(database)) as bar:
        result = verify(database, expected, bar.update)
    if result.unsealed:
        raise UnavailableError(
            f"{result.unsealed} events without hashes, by an earlier version: nothing "
            "can be said of them; they get hashes when this version's service starts"
        )
    if output != "table":
        click.echo(dump(_printed(result), output))
    else:
        _tell(result)
    click.get_current_context().exit(0 if result.valid else _DIFFERENT)


def _printed(result: VerificationResult) -> dict[str, Any]:
    """Return the result under the names that scripts know."""
    return {
        "fits": result.valid,
        "head": str(result.head),
        "misfit": result.mismatch,
        "sealed": result.sealed,
        "sealed_at": result.sealed_at,
        "unsealed": result.unsealed,
    }


def _tell(result: VerificationResult) -> None:
    if result.mismatch:
        click.echo(f"Not the log that was written: {result.mismatch}.")
        return
    click.echo(f"All {result.head.events} events fit. Head {result.head}")
    if result.sealed:
        click.echo(
            f"The first {result.sealed} were written by an earlier version without "
            f"hashes and got them at {result.sealed_at}: what was before is not known."
        )


@audit.command()
@config_option
def head(path: Path | None) -> None:
    """Print the current head of the log."""
    with closing(_open(path)) as database:
        click.echo(str(head_of(database)))


@audit.command("export")
@config_option
@click.argument("file", type=click.File("wb", lazy=True), default="-")
def export_log(path: Path | None, file: IO[bytes]) -> None:
    """Write the whole log, one JSON object a line.

    Without FILE it goes to standard output. Secrets stay encrypted. Checkpoints are
    included: it is a backup, also while the service is running. Stop that first if another
    one is to continue with the copy.
    """
    with closing(_open(path)) as database, _progress(count(database)) as bar:
        for line in export(TaskLog(database)):
            file.write(line)
            bar.update(1)


@audit.command("import")
@config_option
@click.argument("file", type=click.File("rb"), default="-")
def import_file(path: Path | None, file: IO[bytes]) -> None:
    """Fill an empty store with an exported log, all of it or nothing.

    Without FILE it comes from standard input. No service may run on the store. The key of
    its secrets has to be copied, too. Where the log is a backup, rows that were sent since
    come to be at the target once.
    """
    lease = lease_of(load(path, os.environ, {}).config.meta_store_config)
    with held(lease), closing(_open(path, new=True, fence=lease.fence)) as database:
        imported = import_log(TaskLog(database), file)
    say(f"Imported {imported.events} events. Head {imported}")


def _open(
    path: Path | None, *, new: bool = False, fence: Fence | None = None
) -> Database:
    store = load(path, os.environ, {}).config.meta_store_config
    if store.store_type == "postgres":
        return postgres_database(store.postgres.url, fence)
    if not new and not Path(store.sqlite.path).exists():
        raise OperatorError(f"There is no event log {store.sqlite.path}.")
    return open_sqlite(store.sqlite.path)


def _progress(events: int) -> Any:
    """Return a progress bar, which only a terminal shows."""
    return click.progressbar(
        length=events, file=sys.stderr, hidden=not sys.stderr.isatty()
    )
