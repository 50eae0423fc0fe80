"""Databases that come and go at the target as they do in the source's catalog.

The log tells of them from Milvus 2.3.2 on, and for as long as it is kept also of those
that are long gone; the catalog shows which exist, whatever the version.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from cdc_actors.changes import DEFAULT_DATABASE, replicated_properties
from cdc_actors.errors import OperationRefusedError
from cdc_actors.pipeline.forwarding import attempt
from cdc_actors.pipeline.messages import RecordOperationStarted
from cdc_actors.target.databases import drop_database, ensure_database
from cdc_actors.target.properties import alter_database
from cdc_actors.tasks import (
    ALTER_DATABASE,
    CREATE_DATABASE,
    DROP_DATABASE,
    Operation,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cdc_actors.pipeline.collection_table import CollectionTable
    from cdc_actors.pipeline.context import RunContext
    from cdc_actors.pipeline.run_spec import RunSpec
    from cdc_actors.pipeline.target_names import TargetNames
    from cdc_actors.target.connection import Connection


class Databases:
    """Creates and drops the databases of one run. The reader's thread.

    Only those of which everything is selected. What was done is compared with what there
    is now, so that a restart finds what happened meanwhile.
    """

    def __init__(
        self,
        context: RunContext,
        collections: CollectionTable,
        target_names: TargetNames,
        target: Connection,
        spec: RunSpec,
    ) -> None:
        known, given = spec.databases, spec.database_properties
        self._context = context
        self._collections = collections
        self._target_names = target_names
        self._target = target
        self._spec = spec.task
        self._begun = set(known)
        self._made = {name for name, made in known.items() if made}
        self._given = {name: dict(properties) for name, properties in given.items()}
        self._existing: dict[str, dict[str, str]] = {}
        self._gone: set[str] = set()

    def update(self, found: Mapping[str, Mapping[str, str]]) -> None:
        """Know which databases the source has now, with their properties.

        One that came and went between two looks may have been made with its collections.
        """
        self._existing = {
            name: replicated_properties(properties)
            for name, properties in found.items()
            if self._is_ours(name)
        }
        filled = filter(self._is_ours, self._collections.databases())
        self._gone = self._gone.union(self._begun, filled) - self._existing.keys()

    def advance(self) -> None:
        """Create what is new, and drop what is gone and has no collections any more."""
        for name in sorted(self._existing.keys() - self._made):
            self._create(name)
        for name, properties in sorted(self._existing.items()):
            if self._given.get(name, {}) != properties:
                self._alter(name, properties)
        if self._gone:
            for name in sorted(self._gone - self._collections.databases()):
                self._drop(name)

    def _is_ours(self, name: str) -> bool:
        return name != DEFAULT_DATABASE and self._spec.selects_database(name)

    def _create(self, name: str) -> None:
        operation = self._operation(CREATE_DATABASE, name)
        self._begun.add(name)
        self._made.add(name)
        target_name = self._spec.target_database(name)
        self._do(operation, lambda: ensure_database(self._target, target_name))

    def _alter(self, name: str, properties: dict[str, str]) -> None:
        """Doing it again does no harm: nothing is written down before."""
        before, self._given[name] = self._given.get(name, {}), properties
        altered = dict(properties.items() - before.items())
        dropped = sorted(before.keys() - properties.keys())
        begun = self._operation(ALTER_DATABASE, name)
        detail = begun.detail | {"properties": altered, "dropped": dropped}
        target_name = self._spec.target_database(name)
        attempt(
            self._context,
            replace(begun, detail=detail),
            lambda: alter_database(self._target, target_name, altered, dropped),
        )

    def _drop(self, name: str) -> None:
        for each in (self._begun, self._made, self._gone):
            each.discard(name)
        self._given.pop(name, None)
        operation = self._operation(DROP_DATABASE, name)
        self._do(operation, lambda: self._drop_unless_shared(name))

    def _drop_unless_shared(self, name: str) -> None:
        """Drop it at the target unless it has collections of others, too.

        It is not even asked for: it could come between the steps of creating the first
        collection that another database has in it.
        """
        target_name = self._spec.target_database(name)
        if self._target_names.is_shared(name):
            raise OperationRefusedError(
                f"{target_name} at the target holds collections of other databases, too"
            )
        drop_database(self._target, target_name)

    def _operation(self, kind: str, name: str) -> Operation:
        """The catalog need not know when it was."""
        wanted = {"db_name": self._spec.target_database(name)}
        return Operation(
            kind=kind,
            timestamp=self._context.source_time(),
            database=name,
            name="",
            detail={"request": wanted},
        )

    def _do(self, operation: Operation, act: Callable[[], None]) -> None:
        """Do it and write it down, or why not.

        What may be half done must be known after a crash: the source may have undone it.
        """
        if operation.kind not in self._context.refused_kinds:
            self._context.record(RecordOperationStarted(operation))
        attempt(self._context, operation, act)
