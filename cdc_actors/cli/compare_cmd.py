"""``cdc-actors compare``: whether a task's source and target hold the same."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

import click

from cdc_actors.cli.api import Api, api_options
from cdc_actors.cli.output import DIFFERENT, NOT_READY, dump, output_option
from cdc_actors.cli.selection import collections_option, selection
from cdc_actors.cli.task_cmd import task_argument
from cdc_actors.errors import OperatorError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

FIRST_POLL_SECONDS = 0.02
POLL_SECONDS = 0.3
"""How often to ask how far it is: at first soon, as a small comparison soon ends."""

ABSENCE_SECONDS = 60.0
"""How long the service may be away meanwhile: it goes on when it is back."""

_BAR = 24
_STATUSES = {"equal": 0, "different": DIFFERENT, "undecided": NOT_READY}
_WITHOUT_RESULT = {"cancelled", "failed"}
_EXAMPLES = """\b
Examples:
  cdc-actors compare TASK
  cdc-actors compare TASK --collection books --rows-per-second 20000
  cdc-actors compare TASK --repair
  cdc-actors compare TASK --attach -o json

Exit status: 0 equal, 1 failure, 2 wrong usage, 3 different, 4 the service is not there,
or undecided: a collection is not loaded somewhere, a difference could not be looked at
again because the task is paused, or a row never stood still.
"""


@click.command(epilog=_EXAMPLES)
@task_argument
@api_options
@collections_option(
    "Collection to compare, by the source's name; all without. May be repeated."
)
@click.option(
    "--rows-per-second",
    type=click.IntRange(1),
    help="How many rows of the source to read in a second at most.",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Send the source's rows where the target's differ or are missing, and compare "
    "them again.",
)
@click.option(
    "--delete-extra",
    is_flag=True,
    help="With --repair, delete what only the target has, your own rows there included.",
)
@click.option(
    "--attach",
    is_flag=True,
    help="Follow the comparison that runs, or print the last one; start none.",
)
@click.option("--cancel", is_flag=True, help="End the comparison that runs.")
@output_option
def compare(
    *,
    task_id: str,
    api: Api,
    collections: Sequence[str],
    attach: bool,
    cancel: bool,
    output: str,
    **asked: Any,
) -> None:
    """Compare a task's source with its target.

    Both may be written to meanwhile. Schemas, partitions, indexes, aliases and load state,
    then every row by its content, vectors to the bit, and how often its key occurs. What
    differs is looked at again once the task has come to that moment, so that changes on
    their way are no difference. The service does it: after Ctrl-C, and after a restart, it
    goes on.
    """
    if cancel:
        api.ask("cancel_comparison", task_id=task_id)
        return
    if not attach:
        api.ask("compare", task_id=task_id, **asked, **selection(collections))
    try:
        found = _followed(api, task_id)
    except KeyboardInterrupt:
        click.echo(
            "\nThe service goes on: --attach follows it, --cancel ends it.", err=True
        )
        raise
    _print(found, output)


def _followed(api: Api, task_id: str) -> dict[str, Any]:
    """Return the comparison once it has ended; show how far it is on a terminal."""
    live = sys.stderr.isatty()
    asked_at, pause = time.monotonic(), FIRST_POLL_SECONDS
    while True:
        try:
            found = api.ask("comparison", task_id=task_id, details=False)
            asked_at = time.monotonic()
        except UnavailableError:
            if time.monotonic() > asked_at + ABSENCE_SECONDS:
                raise
            found = {}
        if live:
            end = "" if found.get("ended") else _line(found)
            click.echo(f"\r\x1b[K{end}", nl=False, err=True)
        if found.get("ended"):
            shown: dict[str, Any] = api.ask("comparison", task_id=task_id)
            return shown
        time.sleep(pause)
        pause = min(2 * pause, POLL_SECONDS)


def _line(found: dict[str, Any]) -> str:
    """Return how far a comparison is as a line."""
    if not found:
        return "The service does not answer; waiting for it."
    done, total = found["collections_done"], found["collections"]
    rows, expected = found["collection_rows"], found["collection_rows_expected"]
    share = (done + min(1.0, rows / expected if expected else 0)) / max(1, total)
    bar = "#" * round(share * _BAR)
    line = f"[{bar:-<{_BAR}}] {share:4.0%}  {done} of {total} collections"
    if found["collection"]:
        line += f", {found['collection']}: {rows:,}"
        line += f" of {expected:,} rows" if expected else " rows"
    return f"{line}; {found['error']}" if found["error"] else line


def _print(found: dict[str, Any], output: str) -> None:
    """Print a comparison that has ended, and end with its status."""
    if output != "table":
        click.echo(dump(found, output))
    else:
        for line in _lines(found):
            click.echo(line)
    status = found["status"]
    if status in _WITHOUT_RESULT:
        raise OperatorError(f"the comparison {_ended(found)}")
    click.get_current_context().exit(_STATUSES[status])


def _lines(found: dict[str, Any]) -> Iterator[str]:
    """Yield what was found; of all collections together only if all were compared."""
    # Not before it is needed: what reads a Milvus takes long to load.
    import msgspec  # noqa: PLC0415

    from cdc_actors.comparison_report import CollectionReport, Report  # noqa: PLC0415

    reports = msgspec.convert(found["reports"], list[CollectionReport])
    if found["status"] not in _WITHOUT_RESULT:
        yield from Report(collections=reports).lines()
        return
    for report in reports:
        yield from report.lines()


def _ended(found: dict[str, Any]) -> str:
    if found["status"] == "cancelled":
        return "was cancelled"
    return f"has failed: {found['error']}"
