"""``cdc-actors task``: the requests of ``POST /cdc`` as commands."""

from __future__ import annotations

from functools import wraps
from typing import IO, TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from cdc_actors.cli.api import api_of, api_options, service_options
from cdc_actors.cli.output import (
    dump,
    flat,
    lag_of,
    output_option,
    problems,
    say,
    table,
    text_of,
)
from cdc_actors.cli.request_file import read_request
from cdc_actors.cli.selection import (
    changed_selection,
    collections_option,
    mapping_within,
    selection,
)
from cdc_actors.errors import CdcError
from cdc_actors.tasks.names import listed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cdc_actors.cli.api import Api

_COMPLETION_SECONDS = 1.0
_EXAMPLES = """\b
Examples:
  cdc-actors task create --target http://localhost:19531 --collection '*.*'
  cdc-actors task list -o json
  cdc-actors task watch TASK --until ok
"""
_CREATE_EXAMPLES = """\b
Examples:
  cdc-actors task create --target http://localhost:19531 --collection '*.*'
  cdc-actors task create --target http://localhost:19531 \\
    --collection shop.carts --token-file t
  cdc-actors task create -f task.yaml
"""
_UPDATE_EXAMPLES = """\b
Examples:
  cdc-actors task update TASK --token-file new-token
  cdc-actors task update TASK --target http://milvus.example:19530
  cdc-actors task update TASK --add books --remove shop.carts
"""


def _complete(
    context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Offer the tasks of the service, if it answers at once."""
    try:
        tasks = api_of(context, timeout=_COMPLETION_SECONDS).ask("list")["tasks"]
    except (CdcError, click.ClickException):
        return []
    return [
        CompletionItem(task["task_id"], help=task["state"])
        for task in tasks
        if task["task_id"].startswith(incomplete)
    ]


task_argument = click.argument("task", metavar="TASK", shell_complete=_complete)


@click.group(epilog=_EXAMPLES)
@service_options
def task() -> None:
    """Create and manage the tasks of a running service.

    TASK is the id of a task, or as much of its beginning as no other task has.
    """


_REQUEST_OPTIONS = (
    click.option(
        "-f",
        "--file",
        type=click.File(encoding="utf-8"),
        help="YAML or JSON file with the request_data; - is standard input.",
    ),
    click.option(
        "--target", metavar="URI", help="Address of the Milvus to replicate to."
    ),
    click.option(
        "--token-file",
        type=click.File(encoding="utf-8"),
        help="File with the target's token or user:password; - is standard input.",
    ),
    click.option(
        "--connect-timeout",
        type=click.IntRange(1),
        metavar="SECONDS",
        help="How long connecting to the target may take.",
    ),
    click.option(
        "--collection",
        "collections",
        multiple=True,
        metavar="[DATABASE.]NAME",
        help="Collection to replicate: *.* for everything, DB.* for a database, * for the "
        "database default. May be repeated.",
    ),
    click.option(
        "--skip-unsupported-fields/--keep-unsupported-fields",
        default=None,
        help="Whether collections come without the fields that the target cannot hold.",
    ),
)


_consistency_option = click.option(
    "--consistency",
    type=click.Choice(["tick", "early"]),
    help="Whether rows wait for the source's next time tick, so that the target is what "
    "the source was at a moment, or are sent as soon as they are read (early).",
)


def _request_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that make a request, and it as ``request``."""

    @wraps(command)
    def with_request(
        *,
        file: IO[str] | None,
        target: str | None,
        token_file: IO[str] | None,
        connect_timeout: int | None,
        collections: Sequence[str],
        skip_unsupported_fields: bool | None,
        **given: Any,
    ) -> None:
        request = read_request(file) if file else {}
        connect = {
            "uri": target,
            "token": token_file.read().strip() if token_file else None,
            "connect_timeout": connect_timeout,
        }
        changes = {key: value for key, value in connect.items() if value is not None}
        if changes:
            param = request.get("milvus_connect_param") or {}
            request["milvus_connect_param"] = {**param, **changes}
        if collections:
            request |= selection(collections)
        if skip_unsupported_fields is not None:
            extra = request.get("extra_info") or {}
            asked = {"skip_unsupported_fields": skip_unsupported_fields}
            request["extra_info"] = extra | asked
        command(request=request, **given)

    with_options: Callable[..., None] = with_request
    for option in reversed(_REQUEST_OPTIONS):
        with_options = option(with_options)
    return with_options


@task.command(epilog=_CREATE_EXAMPLES)
@api_options
@_request_options
@click.option(
    "--task-id", help="Id of the task, so that the command can be repeated safely."
)
@click.option(
    "--snapshot",
    type=click.Choice(["auto", "always", "never"]),
    help="Which collections come from the source's files, where the service may read "
    "them: those whose beginning the log no longer holds, or that are much cheaper to "
    "read there (auto), all that are there already, or none.",
)
@_consistency_option
def create(*, api: Api, request: dict[str, Any], **given: str | None) -> None:
    """Create a task and print its id. Options take precedence over the file."""
    request |= {name: value for name, value in given.items() if value}
    created = api.ask("create", **request)
    _warn(created)
    click.echo(created["task_id"])


@task.command(epilog=_UPDATE_EXAMPLES)
@task_argument
@api_options
@_request_options
@click.option(
    "--add",
    multiple=True,
    metavar="[DATABASE.]NAME",
    help="Collection to replicate beside the present ones. May be repeated.",
)
@click.option(
    "--remove",
    multiple=True,
    metavar="[DATABASE.]NAME",
    help="Collection to replicate no more, as the task names it, nor to map to another "
    "name. May be repeated.",
)
@click.option("--same-milvus", is_flag=True, help="Say so where nothing else tells.")
@_consistency_option
def update(
    task_id: str,
    api: Api,
    request: dict[str, Any],
    add: Sequence[str],
    remove: Sequence[str],
    *,
    same_milvus: bool,
    consistency: str | None,
) -> None:
    """Change what a task replicates, or how it comes to its target.

    What is not given stays. --collection names all that is to be replicated from now on.
    A new address must lead to the same Milvus. Options take precedence over the file.
    """
    if add or remove:
        if {"collection_infos", "db_collections"} & request.keys():
            raise click.UsageError("--add and --remove change the present selection.")
        shown = api.task(task_id)
        request |= changed_selection(shown, add, remove)
        mapping, unmapped = mapping_within(shown, request)
        if unmapped and "name_mapping" not in request:
            request["name_mapping"] = mapping
            said = f"{listed(unmapped)} leaves the task's name_mapping, too"
            _warn({"warnings": [said]})
    if same_milvus:
        request["same_milvus"] = True
    if consistency:
        request["consistency"] = consistency
    updated = api.ask("update", **request | {"task_id": task_id})
    _warn(updated)
    changed = ", ".join(updated["changed"]) or "nothing, it was like this already"
    say(f"Updated {task_id}: {changed}.")


def _warn(answer: dict[str, Any]) -> None:
    for warning in answer.get("warnings", ()):
        click.echo(f"Warning: {warning}.", err=True)


@task.command("list")
@api_options
@output_option
def list_tasks(api: Api, output: str) -> None:
    """Print all tasks."""
    tasks = api.ask("list")["tasks"]
    if output != "table":
        click.echo(dump(tasks, output))
        return
    head = ("TASK", "STATE", "HEALTH", "LAG", "TARGET", "PROBLEMS")
    click.echo(table(head, [row_of(each) for each in tasks]))


def row_of(shown: dict[str, Any]) -> tuple[str, ...]:
    """Return the columns of ``list`` for a task as the API shows it."""
    return (
        shown["task_id"],
        shown["state"],
        shown["health"]["status"],
        lag_of(shown),
        shown["milvus_connect_param"]["uri"],
        problems(shown),
    )


@task.command()
@task_argument
@api_options
@click.option("--as-of", metavar="WHEN", help="Number of an event, or a time.")
@output_option
def get(task_id: str, api: Api, as_of: str | None, output: str) -> None:
    """Print one task, as it is now or as it was."""
    print_task(api.task(task_id, as_of), output)


def print_task(shown: dict[str, Any], output: str) -> None:
    """Print a task with all there is to it."""
    if output != "table":
        click.echo(dump(shown, output))
        return
    rows = [(name, text_of(value)) for name, value in flat(shown)]
    click.echo(table(("FIELD", "VALUE"), rows))


@task.command()
@task_argument
@api_options
def pause(task_id: str, api: Api) -> None:
    """Pause a task until it is resumed."""
    api.ask("pause", task_id=task_id)
    say(f"Paused {task_id}.")


@task.command()
@task_argument
@api_options
def resume(task_id: str, api: Api) -> None:
    """Resume a paused task, and retry what it has set aside."""
    api.ask("resume", task_id=task_id)
    say(f"Resumed {task_id}.")


@task.command()
@task_argument
@api_options
@collections_option(
    "Collection to take up again, by the source's name; all without. May be repeated."
)
def retry(task_id: str, api: Api, collections: Sequence[str]) -> None:
    """Take up again what is set aside.

    Each collection goes on from where it stood.
    """
    answer = api.ask("retry", task_id=task_id, **selection(collections))
    say(f"Retried {task_id}.")
    _warn(answer)


@task.command()
@task_argument
@api_options
@collections_option(
    "Collection to bring anew, by the source's name; *.* for all. May be repeated.",
    required=True,
)
@click.option("--drop-target", is_flag=True, help="Drop the target's collection first.")
@click.option(
    "--shadow",
    is_flag=True,
    help="Fill another collection, which then takes the place of the target's.",
)
def resync(
    task_id: str,
    api: Api,
    collections: Sequence[str],
    *,
    drop_target: bool,
    shadow: bool,
) -> None:
    """Bring collections anew, whatever the target has.

    In place, rows that are too much at the target are deleted.
    """
    if drop_target and shadow:
        raise click.UsageError("--drop-target and --shadow exclude each other")
    asked = {"method": "shadow"} if shadow else {"drop_target": drop_target}
    answer = api.ask("resync", task_id=task_id, collections=list(collections), **asked)
    say(f"Resyncing {', '.join(collections)} of {task_id}.")
    _warn(answer)


@task.command()
@task_argument
@api_options
@click.option(
    "--kind",
    "kinds",
    multiple=True,
    metavar="KIND",
    help="Kind of operation, such as CreateIndex; all without. May be repeated.",
)
def acknowledge(task_id: str, api: Api, kinds: Sequence[str]) -> None:
    """Accept refused operations.

    They make the task degraded no more.
    """
    api.ask("acknowledge", task_id=task_id, kinds=list(kinds))
    say(f"Acknowledged what {task_id} has not done.")


@task.command()
@task_argument
@api_options
@click.option(
    "--ignore-not-found", is_flag=True, help="Exit with 0 if there is no such task."
)
def delete(task_id: str, api: Api, *, ignore_not_found: bool) -> None:
    """Delete a task. The target keeps its data, and the event log the history."""
    api.ask("delete", task_id=task_id, ignore_not_found=ignore_not_found)
    say(f"Deleted {task_id}.")
