"""The Task aggregate against a model made of plain values, replayed at every step."""

from __future__ import annotations

import tempfile
from datetime import UTC
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from cdc_actors.errors import FailureClass, TaskConflictError, UnknownTaskError
from cdc_actors.store.event_log import TaskLog
from cdc_actors.tasks import Operation
from tests.support.tasks import CLIENT, SUPERVISOR, checkpoint, entry, new_task

IDS = st.integers(1, 4)
TEXT = st.text(max_size=10)
TICKS = st.lists(st.integers(0, 1 << 62), max_size=2)
WHO = st.sampled_from([CLIENT, SUPERVISOR])
CLASSES = st.sampled_from(FailureClass)
TRIES = st.none() | st.datetimes(timezones=st.just(UTC))


class TaskMachine(RuleBasedStateMachine):
    """Any order of commands, allowed or not."""

    @initialize(collections=st.lists(TEXT, max_size=2))
    def create(self, collections):
        """Begin with a new task."""
        self.folder = tempfile.TemporaryDirectory()
        self.log = TaskLog.sqlite(str(Path(self.folder.name) / "cdc.db"))
        self.task = new_task()
        self.model = {
            "state": "Running",
            "deleted": False,
            "reason": None,
            "failure": None,
            "collections": {},
        }
        self.topics = ["task.created"]
        self.log.save(self.task)

    def does(self, topic, command, *, refused_when_paused=False, otherwise=None):
        """Run a command; return whether the model, too, allows it."""
        if self.model["deleted"]:
            expected = UnknownTaskError
        elif refused_when_paused and self.model["state"] == "Paused":
            expected = TaskConflictError
        else:
            expected = otherwise
        if expected is not None:
            with pytest.raises(expected):
                command()
            assert self.task.pending_events == []
            return False
        command()
        self.log.save(self.task)
        self.topics.append(topic)
        return True

    @rule(ticks=TICKS, who=WHO, why=TEXT)
    def start(self, ticks, who, why):
        """Starting changes nothing but the history."""
        start = [checkpoint(f"ch-{n}", tick) for n, tick in enumerate(ticks)]
        self.does(
            "task.started",
            lambda: self.task.start(start, who=who, why=why),
            refused_when_paused=True,
        )

    @rule(reason=TEXT, ticks=TICKS, who=WHO, why=TEXT)
    def pause(self, reason, ticks, who, why):
        """Pausing sets state and reason."""
        at = [checkpoint(f"ch-{n}", tick) for n, tick in enumerate(ticks)]
        if self.does(
            "task.paused",
            lambda: self.task.pause(reason, at, who=who, why=why),
            refused_when_paused=True,
        ):
            self.model |= {"state": "Paused", "reason": reason}

    @rule(who=WHO, why=TEXT)
    def resume(self, who, why):
        """Resuming clears reason and failure."""
        running = self.model["state"] == "Running"
        if self.does(
            "task.resumed",
            lambda: self.task.resume(who=who, why=why),
            otherwise=TaskConflictError if running else None,
        ):
            self.model |= {"state": "Running", "reason": None, "failure": None}

    @rule(error=TEXT, failure_class=CLASSES, next_try=TRIES, who=WHO, why=TEXT)
    def fail(self, error, failure_class, next_try, who, why):
        """Failing counts the attempts."""
        if self.does(
            "task.failed",
            lambda: self.task.fail(
                error, failure_class, next_try=next_try, who=who, why=why
            ),
            refused_when_paused=True,
        ):
            attempt = self.model["failure"][2] + 1 if self.model["failure"] else 1
            self.model["failure"] = (error, failure_class, attempt, next_try)

    @rule(who=WHO, why=TEXT)
    def recover(self, who, why):
        """Recovering clears the failure, if there is one."""
        if self.does(
            "task.recovered",
            lambda: self.task.recover(who=who, why=why),
            refused_when_paused=True,
            otherwise=None if self.model["failure"] else TaskConflictError,
        ):
            self.model["failure"] = None

    @rule(
        number=IDS, name=TEXT, schema=st.binary(max_size=20), created=st.integers(1, 9)
    )
    def create_collection(self, number, name, schema, created):
        """A created collection is live."""
        made = entry(number, name=name, schema=schema, created=created)
        operation = Operation.create_collection(made)
        if self.does(
            "task.operation_applied",
            lambda: self.task.apply_operation(operation, who=SUPERVISOR, why=""),
        ):
            self.model["collections"][number] = {
                "name": name,
                "schema": schema,
                "created": created,
                "dropped": None,
                "state": "live",
                "reason": None,
            }

    @rule(number=IDS, timestamp=st.integers(10, 99), done=st.booleans())
    def drop_collection(self, number, timestamp, done):
        """A drop that begins or is done marks a collection that there is."""
        operation = Operation.drop_collection(entry(number), timestamp)
        if done:
            topic, command = "task.operation_applied", self.task.apply_operation
            changes = {"state": "dropped", "dropped": timestamp}
        else:
            topic, command = "task.operation_started", self.task.start_operation
            changes = {"state": "dropping"}
        accepted = self.does(topic, lambda: command(operation, who=SUPERVISOR, why=""))
        if accepted and number in self.model["collections"]:
            self.model["collections"][number] |= changes

    @rule(kind=st.sampled_from(["CreateIndex", "LoadCollection", "Flush"]), number=IDS)
    def other_operation(self, kind, number):
        """Other operations change nothing but the history."""
        operation = Operation(
            kind=kind,
            timestamp=5,
            database="default",
            name="c",
            collection_id=number,
            detail={"field": "vector", "params": [{"key": "M", "value": 8}]},
        )
        self.does(
            "task.operation_applied",
            lambda: self.task.apply_operation(operation, who=SUPERVISOR, why=""),
        )

    @rule(number=IDS, reason=TEXT, failure_class=CLASSES)
    def set_aside(self, number, reason, failure_class):
        """A collection is set aside, whether it is known or not."""
        if self.does(
            "task.collection_set_aside",
            lambda: self.task.set_aside(
                entry(number), reason, failure_class, [], who=SUPERVISOR, why=""
            ),
        ):
            known = self.model["collections"].setdefault(
                number,
                {"name": f"c{number}", "schema": b"", "created": 0, "dropped": None},
            )
            known |= {"state": "set_aside", "reason": reason}

    @rule(secret=TEXT, who=WHO)
    def rekey(self, secret, who):
        """A secret under another key takes the place of the one before, in any state."""
        command = self.task.rekey
        if self.does("task.rekeyed", lambda: command(secret, who=who, why="newer key")):
            assert self.task.secret == secret

    @rule(reason=TEXT, luck=st.integers(0, 9))
    def delete(self, reason, luck):
        """Deleting, seldom enough to leave time for the rest, closes the task."""
        if luck == 0 and self.does(
            "task.deleted",
            lambda: self.task.delete(reason, [], who=CLIENT, why="over"),
        ):
            self.model["deleted"] = True

    @invariant()
    def task_equals_model(self):
        """The attributes are what the model says."""
        failure = self.task.failure
        assert self.model == {
            "state": self.task.state.value,
            "deleted": self.task.deleted,
            "reason": self.task.reason,
            "failure": failure
            and (
                failure.error,
                failure.failure_class,
                failure.attempt,
                failure.next_try,
            ),
            "collections": {
                number: {
                    "name": held.name,
                    "schema": held.schema,
                    "created": held.created,
                    "dropped": held.dropped,
                    "state": held.state.value,
                    "reason": held.reason,
                }
                for number, held in self.task.collections.items()
            },
        }

    @invariant()
    def replay_equals_memory(self):
        """The log gives back the very task in memory, and every event of it."""
        task_id = self.task.task_id
        assert [event.TOPIC for event in self.log.history(task_id)] == self.topics
        if self.task.deleted:
            assert self.log.alive_ids() == []
            with pytest.raises(UnknownTaskError):
                self.log.load(task_id)
        else:
            assert self.log.alive_ids() == [task_id]
            assert self.log.load(task_id) == self.task

    def teardown(self):
        """Close what the example opened."""
        self.log.close()
        self.folder.cleanup()


TestTask = TaskMachine.TestCase
TestTask.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
