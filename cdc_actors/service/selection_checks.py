"""What of the source a task's selection leaves out, though its client may not expect it.

``*`` in ``collection_infos`` is the database ``default`` alone, as in milvus-cdc. Who
makes a copy of everything hears of it at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.tasks import names
from cdc_actors.tasks.names import ANY

if TYPE_CHECKING:
    from collections.abc import Collection

    from cdc_actors.changes import FullName
    from cdc_actors.tasks import TaskSpec

NOTHING_YET = (
    "nothing at the source is selected yet: a collection that the selection takes is "
    "replicated once it is created"
)

_NAMED = 3
"""How many databases a sentence names."""


def left_out(spec: TaskSpec, there: Collection[FullName]) -> list[str]:
    """Return what is to be said of a selection; ``there`` are the source's collections."""
    said = []
    databases = _other_databases(spec, there)
    if databases and (DEFAULT_DATABASE, ANY) in spec.selectors:
        said.append(_said_of(databases))
    if not any(spec.selects(*name) for name in there):
        said.append(NOTHING_YET)
    return said


def _other_databases(spec: TaskSpec, there: Collection[FullName]) -> list[str]:
    """Return the databases of which nothing is asked for, even if another task has it."""
    asked = {
        name[0]
        for name in there
        if any(names.contains(each, name) for each in spec.selectors)
    }
    return sorted({database for database, _ in there} - asked)


def _said_of(databases: list[str]) -> str:
    more = len(databases) - _NAMED
    named = ", ".join(databases[:_NAMED]) + (f" and {more} more" if more > 0 else "")
    return (
        f"the selection takes all of the database {DEFAULT_DATABASE}, and nothing of "
        f"other databases of the source that have collections: {named}. To replicate "
        'everything, ask for db_collections {"*": [{"name": "*"}]}, in the command line '
        "--collection '*.*'"
    )
