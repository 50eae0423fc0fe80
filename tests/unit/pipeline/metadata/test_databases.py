"""Which databases are created and dropped at the target, whatever was done before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from cdc_actors.errors import (
    AccessRefusedError,
    KindRefusedError,
    OperationRefusedError,
)
from cdc_actors.pipeline.messages import RecordOperationStarted
from cdc_actors.pipeline.metadata.databases import Databases
from cdc_actors.pipeline.refused_kinds import RefusedKinds
from cdc_actors.tasks import TaskSpec
from tests.support.tasks import SPEC, SUPERVISOR, new_task

EVERYTHING = TaskSpec(target=SPEC.target, db_collections={"*": ("*",)})


class Harness:
    """A source's databases, a target's, and what the task writes down, over many runs.

    ``dies_after`` is what the service does last: the target does it, the task does not
    write it down.
    """

    def __init__(self) -> None:
        self.task = new_task()
        self.there = {"default"}
        self.filled: set[str] = set()
        self.asked: list[str] = []
        self.dies_after = ""
        self.refuses = False
        self.has_none = False
        self.tried: list[str] = []
        self.cannot_alter = False
        self.start()

    def start(self) -> None:
        """Begin a run with what the task has written down."""
        self.databases = Databases(
            SimpleNamespace(
                record=self.record,
                source_time=lambda: 7,
                refused_kinds=RefusedKinds(self.task.refused_kinds),
            ),
            SimpleNamespace(databases=lambda: self.filled),
            SimpleNamespace(is_shared=lambda _name: False),
            SimpleNamespace(call=self.call),
            SimpleNamespace(
                task=EVERYTHING,
                databases=self.task.databases,
                database_properties=self.task.database_properties,
            ),
        )

    def record(self, message: Any) -> None:
        """As the stream does."""
        begins = isinstance(message, RecordOperationStarted)
        if not begins and message.operation.kind == self.dies_after:
            raise ConnectionError
        write = self.task.start_operation if begins else self.task.apply_operation
        write(message.operation, who=SUPERVISOR, why="")

    def call(self, method: str, request: Any, _database: str) -> Any:
        """As the target does."""
        if self.refuses:
            raise AccessRefusedError("the target refuses the login")
        if self.has_none:
            self.tried.append(method)
            raise KindRefusedError("the target has no databases")
        if method == "ListDatabases":
            return SimpleNamespace(db_names=sorted(self.there))
        if method == "AlterDatabase":
            return self.alter(request)
        self.asked.append(f"{method} {request.db_name}")
        change = self.there.add if method == "CreateDatabase" else self.there.remove
        return change(request.db_name)

    def alter(self, request: Any) -> None:
        """As the target does."""
        if self.cannot_alter:
            raise OperationRefusedError("the target does not know this operation")
        for pair in request.properties:
            self.asked.append(f"set {pair.key}={pair.value} of {request.db_name}")
        for key in request.delete_keys:
            self.asked.append(f"drop {key} of {request.db_name}")

    def look(self, *source: str, **properties: dict[str, str]) -> list[str]:
        """See what the source has; return what the target is asked for that."""
        self.asked.clear()
        bare: dict[str, dict[str, str]] = {name: {} for name in source}
        self.databases.update({"default": {}, **bare, **properties})
        try:
            self.databases.advance()
        except ConnectionError:
            self.dies_after = ""
        return self.asked


def test_they_come_and_go() -> None:
    """What is new is created and what is gone is dropped, once, also over a restart."""
    harness = Harness()
    assert harness.look("a", "b") == ["CreateDatabase a", "CreateDatabase b"]
    assert harness.look("a", "b") == []
    harness.start()
    assert harness.look("b", "c") == ["CreateDatabase c", "DropDatabase a"]
    harness.start()
    assert harness.look("b", "c") == []
    assert harness.task.databases == {"b": True, "c": True}


def test_one_that_has_collections_is_dropped_after_them() -> None:
    """A drop waits for the collections, unless the database comes back meanwhile."""
    harness = Harness()
    harness.look("a")
    harness.filled = {"a"}
    assert harness.look() == []
    assert harness.look("a") == []
    assert harness.look() == []
    harness.filled = set()
    assert harness.look() == ["DropDatabase a"]


def test_one_that_came_and_went_with_its_collections() -> None:
    """What was only made with a collection goes, too, however often one looks between."""
    harness = Harness()
    harness.there.add("a")
    harness.filled = {"a"}
    assert harness.look() == []
    harness.filled = set()
    assert harness.look() == ["DropDatabase a"]


def test_killed_before_the_creation_is_written_down() -> None:
    """The next run creates it, or drops what the source has dropped meanwhile."""
    for source, asked in ((("a",), []), ((), ["DropDatabase a"])):
        harness = Harness()
        harness.dies_after = "CreateDatabase"
        assert harness.look("a") == ["CreateDatabase a"]
        assert harness.task.databases == {"a": False}
        harness.start()
        assert harness.look(*source) == asked
        assert harness.task.databases == dict.fromkeys(source, True)
        assert harness.there == {"default", *source}


def test_killed_before_the_drop_is_written_down() -> None:
    """The next run writes it down, or creates what the source has created meanwhile."""
    for source, asked in (((), []), (("a",), ["CreateDatabase a"])):
        harness = Harness()
        harness.look("a")
        harness.dies_after = "DropDatabase"
        assert harness.look() == ["DropDatabase a"]
        assert harness.task.databases == {"a": False}
        harness.start()
        assert harness.look(*source) == asked
        assert harness.task.databases == dict.fromkeys(source, True)
        assert harness.there == {"default", *source}


def test_refused_login_is_not_written_down() -> None:
    """The run ends, and the next one creates the database when the login is good again."""
    harness = Harness()
    harness.refuses = True
    with pytest.raises(AccessRefusedError):
        harness.look("a")
    assert (harness.task.databases, harness.task.refused) == ({"a": False}, 0)
    harness.refuses = False
    harness.start()
    assert harness.look("a") == ["CreateDatabase a"]
    assert harness.task.databases == {"a": True}


def test_properties_are_those_of_the_source() -> None:
    """What was set, altered and dropped is, once, also over a restart."""
    harness = Harness()
    first = {"my.key": "v", "database.max.collections": "10"}
    asked = ["CreateDatabase a", "set database.max.collections=10 of a"]
    assert sorted(harness.look(a=first)) == [*asked, "set my.key=v of a"]
    assert harness.look(a=first) == []
    harness.start()
    second = {"database.max.collections": "20"}
    assert harness.look(a=second) == [
        "set database.max.collections=20 of a",
        "drop my.key of a",
    ]
    harness.start()
    assert harness.look(a=second) == []
    assert harness.look() == ["DropDatabase a"]
    assert sorted(harness.look(a=first)) == [*asked, "set my.key=v of a"]


def test_properties_about_the_source_itself_are_not_copied() -> None:
    """Its query nodes, and that its clients may not write: nor may the task, then."""
    harness = Harness()
    own = {
        "database.replica.number": "2",
        "database.resource_groups": "rg",
        "database.force.deny.writing": "true",
        "replicate.id": "x",
    }
    assert harness.look(a=own) == ["CreateDatabase a"]


def test_a_target_without_properties_of_databases() -> None:
    """It is written down as what the target lacks, until the database is dropped."""
    harness = Harness()
    harness.cannot_alter = True
    for _ in range(2):
        harness.look(a={"database.max.collections": "10"})
        assert harness.task.refused == 1
        [refused] = harness.task.unresolved["database", "a"]
        assert refused.kind == "AlterDatabase"
        harness.start()
    harness.look()
    assert harness.task.unresolved == {}


def test_a_target_without_databases() -> None:
    """It is asked once a run, and said once, until it has some; nothing is degraded."""
    harness = Harness()
    harness.has_none = True
    for _ in range(2):
        harness.tried.clear()
        harness.look("a", "b")
        harness.look("a", "b", "c")
        assert harness.tried.count("CreateDatabase") == 1
        assert (harness.task.refused, harness.task.unresolved) == (1, {})
        assert list(harness.task.refused_kinds) == ["CreateDatabase"]
        harness.start()
    harness.has_none = False
    assert harness.look("a", "b") == ["CreateDatabase a", "CreateDatabase b"]
    assert harness.task.refused_kinds == {}
