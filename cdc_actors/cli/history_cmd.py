"""``cdc-actors history``: what was done to a task, and what it was."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from cdc_actors.cli.api import Api, api_options
from cdc_actors.cli.output import (
    DIFFERENT,
    dump,
    dump_line,
    flat,
    is_read,
    output_option,
    table,
    text_of,
)
from cdc_actors.cli.task_cmd import print_task, task_argument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD = {"number": "NUMBER", "time": "TIME", "who": "WHO", "text": "WHAT", "why": "WHY"}
_EXAMPLES = """\b
Examples:
  cdc-actors history TASK
  cdc-actors history TASK --follow -o json
  cdc-actors history TASK --as-of 2026-01-31T12:00:00Z
  cdc-actors history TASK --diff 3 2026-01-31T12:00:00Z

Exit status: 0 ok, 1 failure, 2 wrong usage, 3 --diff found differences,
4 the service is not there or not ready.
"""


@click.command(epilog=_EXAMPLES)
@task_argument
@api_options
@click.option(
    "--after",
    type=click.IntRange(0),
    default=0,
    help="Number of the event to start after.",
)
@click.option(
    "--follow", is_flag=True, help="Print new events until the task is deleted."
)
@click.option("--as-of", metavar="WHEN", help="Print the task as it was at WHEN.")
@click.option(
    "--diff", nargs=2, metavar="A B", help="Print what changed between A and B."
)
@output_option
def history(
    *,
    task_id: str,
    api: Api,
    after: int,
    follow: bool,
    as_of: str | None,
    diff: tuple[str, str] | None,
    output: str,
) -> None:
    """Print the history of a task.

    What was done, when, by whom and why. A deleted task has one, too, by its whole id.
    WHEN, A and B are numbers of events, or times in ISO 8601.
    """
    if sum((follow, as_of is not None, diff is not None)) > 1:
        raise click.UsageError("Take one of --follow, --as-of and --diff.")
    if as_of is not None:
        print_task(api.task(task_id, as_of), output)
    elif diff is not None:
        changes = _changes(*(api.task(task_id, moment) for moment in diff))
        _print_changes(changes, diff, output)
        click.get_current_context().exit(DIFFERENT if changes else 0)
    elif follow:
        _print_each(_while_read(api.follow(task_id, after)), output)
    elif output == "table":
        _print_each(api.history(task_id, after), output)
    else:
        click.echo(dump(list(api.history(task_id, after)), output))


def _print_each(events: Iterable[dict[str, Any]], output: str) -> None:
    """Print events as they come: no column waits for the last one."""
    if output != "table":
        for event in events:
            click.echo(dump_line(event, output))
        return
    for line in lines_of(events):
        click.echo(line)


def _while_read(events: Iterable[dict[str, Any] | None]) -> Iterator[dict[str, Any]]:
    """Yield events until nobody reads any more what is printed."""
    for event in events:
        if event is not None:
            yield event
        elif not is_read():
            return


def lines_of(events: Iterable[dict[str, Any]]) -> Iterator[str]:
    """Yield a headline once there is an event, and a line for each as the API has it."""
    for number, event in enumerate(events):
        if number == 0:
            yield _line(_HEAD)
        yield _line(event | {"who": _who(event["who"]), "time": _time(event["time"])})


def _line(event: dict[str, Any]) -> str:
    cells = (" ".join(str(event[name]).split()) for name in _HEAD)
    number, time, who, text, why = cells
    return f"{number:>6}  {time:24}  {who:22}  {text}  [{why}]"


def _time(text: str) -> str:
    """Return a time to the millisecond, with its zone, which is UTC."""
    time = datetime.fromisoformat(text).astimezone(UTC)
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _who(who: dict[str, str | None]) -> str:
    return " ".join(filter(None, (who["kind"], who["token_name"], who["address"])))


def _changes(
    before: dict[str, Any], after: dict[str, Any]
) -> dict[str, dict[str, Any]]:
    """Return each value that differs, None where it is not there.

    That something was empty is not said beside what has come into it, or has left it.
    """
    old, new = dict(flat(before)), dict(flat(after))
    both = old.keys() & new.keys()
    return {
        name: {"from": old.get(name), "to": new.get(name)}
        for name in old | new
        if name != "as_of" and old.get(name) != new.get(name)
        if name in both or (old | new)[name] not in ([], {})
    }


def _print_changes(
    changes: dict[str, dict[str, Any]], diff: tuple[str, str], output: str
) -> None:
    if output != "table":
        click.echo(dump(changes, output))
    elif changes:
        rows: Iterator[tuple[str, ...]] = (
            (name, *map(text_of, change.values())) for name, change in changes.items()
        )
        click.echo(table(("FIELD", *diff), rows))
