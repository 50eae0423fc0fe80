"""Which collections a command names, as the requests of ``POST /cdc`` have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import OperatorError
from cdc_actors.tasks import NameMapping
from cdc_actors.tasks.names import intersect

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from cdc_actors.changes import FullName

_Command = TypeVar("_Command", bound="Callable[..., Any]")


def collections_option(
    text: str, *, required: bool = False
) -> Callable[[_Command], _Command]:
    """Return the option that names collections of a task; ``text`` is its help."""
    return click.option(
        "--collection",
        "collections",
        multiple=True,
        required=required,
        metavar="[DATABASE.]NAME",
        help=text,
    )


def selection(collections: Sequence[str]) -> dict[str, Any]:
    """Return the members of a request that select collections named ``[DATABASE.]NAME``."""
    infos: list[dict[str, str]] = []
    by_database: dict[str, list[dict[str, str]]] = {}
    for each in collections:
        database, dot, name = each.rpartition(".")
        chosen = by_database.setdefault(database, []) if dot else infos
        chosen.append({"name": name})
    return {"collection_infos": infos, "db_collections": by_database}


def changed_selection(
    shown: dict[str, Any], add: Iterable[str], remove: Iterable[str]
) -> dict[str, Any]:
    """Return the selection of a task with some more, and without some.

    Raises:
        OperatorError: The task does not name one that is to be removed.
    """
    names = [each["name"] for each in shown["collection_infos"]]
    for database, infos in shown.get("db_collections", {}).items():
        names += [f"{database}.{each['name']}" for each in infos]
    for name in remove:
        if name not in names:
            raise OperatorError(
                f"the task does not name {name}, it has {', '.join(names)}"
            )
    left = set(remove)
    return selection([*(name for name in names if name not in left), *add])


def mapping_within(
    shown: dict[str, Any], selected: dict[str, Any]
) -> tuple[list[dict[str, Any]], list[FullName]]:
    """Return the ``name_mapping`` of a task for what is selected, and what it drops."""
    patterns = [
        (DEFAULT_DATABASE, each["name"]) for each in selected["collection_infos"]
    ]
    for database, infos in selected["db_collections"].items():
        patterns += [(database, each["name"]) for each in infos]
    kept: list[dict[str, Any]] = []
    dropped: list[FullName] = []
    for entry in shown.get("name_mapping", ()):
        rules = [pattern for pattern, _ in NameMapping(**entry).rules]
        outside = [
            rule
            for rule in rules
            if not any(intersect(each, rule) for each in patterns)
        ]
        dropped += outside
        if len(outside) < len(rules):
            gone = {name for _, name in outside}
            names = entry.get("collection_mapping", {}).items()
            left = {here: there for here, there in names if here not in gone}
            kept.append({**entry, "collection_mapping": left})
    return kept, dropped
