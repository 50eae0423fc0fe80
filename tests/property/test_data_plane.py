"""Whatever a source does, and whenever a run ends, its target comes to be equal.

By the real reader and appliers, on doubles in memory.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any
from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule
from msgspec import structs

from cdc_actors.errors import AccessRefusedError, TransientError
from cdc_actors.pipeline import attempts, send_horizon
from tests.fakes.fake_source import A, B
from tests.fakes.pipeline import Pipeline
from tests.support.tasks import SPEC

if TYPE_CHECKING:
    from tests.fakes.fake_target import StoredCollection

NAMES = ("books", "novels", "papers")
ALIASES = ("new", "old")
PARTITIONS = ("_default", "p")
BUSY = ("put", "put", "delete", "write", "write", "write", "write", "tick")
FEW = st.integers(-3, -1)
"""Keys that are written over and over."""
ATTEMPTS = 50
ROUNDS = 5
ANSWERS = (
    "CreatePartition",
    "Delete",
    "DescribeCollection",
    "DropCollection",
    "DropPartition",
    "Insert",
    "ShowPartitions",
)
GUARDED = (
    *ANSWERS,
    "AlterAlias",
    "AlterCollection",
    "CreateAlias",
    "CreateCollection",
    "DropAlias",
    "ListDatabases",
    "RenameCollection",
    "ShowCollections",
)
REFUSABLE = (
    "CreateCollection",
    "CreatePartition",
    "Delete",
    "DropPartition",
    "Insert",
    "RenameCollection",
)


class Replication(RuleBasedStateMachine):
    """A source that does what it likes; the model is what it has by now.

    ``rows`` are the keys of each collection, with their partitions, by its present name;
    ``gone`` are keys that it had, with their channels.
    """

    spec = SPEC

    def __init__(self) -> None:
        super().__init__()
        self.delays = mock.patch.object(attempts, "LONGEST_DELAY", 0.001)
        self.delays.start()
        # As far ahead of the source's small steps in time as of real ones.
        self.horizon_steps = mock.patch.object(send_horizon, "HORIZON_STEP", 5)
        self.horizon_steps.start()
        self.pipeline = Pipeline(self.spec)
        self.source, self.target = self.pipeline.source, self.pipeline.target
        self.keys = count(1)
        self.metas = {}
        self.rows = {}
        self.gone = {}
        self.partitions = {}
        self.aliases = {}
        self.attempts = ATTEMPTS
        self.pipeline.start()

    # What clients do at the source.

    @rule(name=st.sampled_from(NAMES), channels=st.sampled_from([(A,), (B,), (A, B)]))
    def create(self, name: str, channels: tuple[str, ...]) -> None:
        """Create a collection, unless the name is taken."""
        if name not in self.metas:
            self.create_on(name, *channels)

    def create_on(self, name: str, *channels: str) -> None:
        """Create a collection."""
        self.metas[name] = self.source.create(name, *channels)
        self.rows[name] = {}
        self.gone[name] = {}
        self.partitions[name] = {}

    @precondition(lambda self: self.metas)
    @rule(data=st.data(), partition=st.sampled_from(PARTITIONS))
    def insert(self, data: st.DataObject, partition: str) -> None:
        """Insert two rows into a shard, and into a partition that is made if need be."""
        name = data.draw(st.sampled_from(sorted(self.metas)))
        channel = data.draw(st.sampled_from(self.metas[name].channels))
        self.insert_into(name, partition, channel)

    def insert_into(self, name: str, partition: str, channel: str) -> None:
        """Insert two rows."""
        self.make_partition(name, partition)
        keys = [next(self.keys), next(self.keys)]
        self.source.insert(self.metas[name], keys, channel, partition)
        self.rows[name] |= dict.fromkeys(keys, (channel, partition))
        self.look()

    def make_partition(self, name: str, partition: str) -> None:
        """Create a partition unless it is there."""
        if partition != "_default" and partition not in self.partitions[name]:
            made = self.source.create_partition(self.metas[name], partition)
            self.partitions[name][partition] = made

    @precondition(lambda self: any(self.gone.values()))
    @rule(data=st.data(), partition=st.sampled_from(PARTITIONS))
    def insert_again(self, data: st.DataObject, partition: str) -> None:
        """Insert a row with the key of one that was deleted."""
        name = data.draw(st.sampled_from(sorted(n for n, g in self.gone.items() if g)))
        key = data.draw(st.sampled_from(sorted(self.gone[name])))
        channel = self.gone[name].pop(key)
        self.make_partition(name, partition)
        self.source.insert(self.metas[name], [key], channel, partition)
        self.rows[name][key] = channel, partition
        self.look()

    @precondition(lambda self: any(self.rows.values()))
    @rule(data=st.data(), partition=st.sampled_from(PARTITIONS))
    def upsert(self, data: st.DataObject, partition: str) -> None:
        """Put a row in the place of another, in whichever partition."""
        name = data.draw(st.sampled_from(sorted(n for n, r in self.rows.items() if r)))
        key = data.draw(st.sampled_from(sorted(self.rows[name])))
        channel, _ = self.rows[name][key]
        self.make_partition(name, partition)
        self.source.upsert(self.metas[name], [key], channel, partition)
        self.rows[name][key] = channel, partition
        self.look()

    @precondition(lambda self: any(self.rows.values()))
    @rule(data=st.data())
    def delete(self, data: st.DataObject) -> None:
        """Delete a row."""
        name = data.draw(st.sampled_from(sorted(n for n, r in self.rows.items() if r)))
        key = data.draw(st.sampled_from(sorted(self.rows[name])))
        channel, _ = self.rows[name].pop(key)
        self.source.delete(self.metas[name], [key], channel)
        self.gone[name][key] = channel
        self.look()

    @precondition(lambda self: any(self.partitions.values()))
    @rule(data=st.data())
    def drop_partition(self, data: st.DataObject) -> None:
        """Drop a partition with its rows."""
        names = sorted(n for n, found in self.partitions.items() if found)
        name = data.draw(st.sampled_from(names))
        partition, made = self.partitions[name].popitem()
        self.source.drop_partition(self.metas[name], partition, made)
        left = {k: at for k, at in self.rows[name].items() if at[1] != partition}
        self.rows[name] = left

    @precondition(lambda self: self.metas)
    @rule(data=st.data())
    def drop(self, data: st.DataObject) -> None:
        """Drop a collection."""
        name = data.draw(st.sampled_from(sorted(self.metas)))
        self.source.drop(self.metas.pop(name))
        del self.rows[name], self.gone[name], self.partitions[name]
        self.aliases = {a: owner for a, owner in self.aliases.items() if owner != name}

    @precondition(lambda self: self.metas)
    @rule(data=st.data(), new=st.sampled_from(NAMES))
    def rename(self, data: st.DataObject, new: str) -> None:
        """Rename a collection, unless the name is taken."""
        old = data.draw(st.sampled_from(sorted(self.metas)))
        if new not in self.metas:
            self.source.rename(self.metas[old], new)
            for each in (self.metas, self.rows, self.gone, self.partitions):
                each[new] = each.pop(old)
            self.aliases = {a: new if o == old else o for a, o in self.aliases.items()}

    @precondition(lambda self: self.metas)
    @rule(data=st.data(), alias=st.sampled_from(ALIASES))
    def point(self, data: st.DataObject, alias: str) -> None:
        """Let an alias stand for a collection, whatever it stood for."""
        self.aliases[alias] = data.draw(st.sampled_from(sorted(self.metas)))
        self.source.point(alias, self.metas[self.aliases[alias]])

    @precondition(lambda self: self.aliases)
    @rule()
    def drop_alias(self) -> None:
        """Drop an alias."""
        alias, _ = self.aliases.popitem()
        self.source.point(alias, None)

    # What the log and the watch do.

    @rule(channels=st.sampled_from([(A,), (B,), (A, B)]))
    def tick(self, channels: tuple[str, ...]) -> None:
        """Cover what some channels have."""
        self.source.tick(*channels)

    @rule(slow=st.booleans())
    def be_slow(self, *, slow: bool) -> None:
        """Have messages come to the log late, as of some proxies, or at once."""
        self.source.slow = slow

    @precondition(lambda self: any(self.source.unwritten.values()))
    @rule(data=st.data())
    def write_out(self, data: st.DataObject) -> None:
        """Have one that is late come to the log."""
        self.write_any(data)

    def write_any(self, data: st.DataObject) -> None:
        """Write out a message of any channel."""
        late = {c: len(each) for c, each in self.source.unwritten.items() if each}
        channel = data.draw(st.sampled_from(sorted(late)))
        number = data.draw(st.integers(0, late[channel] - 1))
        self.source.write_out(channel, number)
        self.look()

    @rule()
    def tell(self) -> None:
        """Let the watch tell."""
        self.source.catalog.tell()

    # What the target and the run do.

    @rule()
    def let_the_reader_step(self) -> None:
        """Let time pass."""
        self.recovering(self.pipeline.wait_for_steps)

    @rule(is_done=st.booleans())
    def fail(self, *, is_done: bool) -> None:
        """Let an insert have no answer."""
        self.attempts += 1
        self.target.fail("Insert", is_done=is_done)

    @rule(method=st.sampled_from(ANSWERS), is_done=st.booleans())
    def answer_unclearly(self, method: str, *, is_done: bool) -> None:
        """Let a request be answered in a way that says nothing."""
        self.target.answer_once_unclearly(method, is_done=is_done)

    @rule(methods=st.sets(st.sampled_from(GUARDED), min_size=1))
    def withdraw(self, methods: set[str]) -> None:
        """Let the user lack some privileges for a moment."""
        for method in methods:
            self.attempts += 1
            self.target.refuse_login(method)

    @rule(method=st.sampled_from(REFUSABLE))
    def refuse(self, method: str) -> None:
        """Let a request be refused: a collection is set aside, or it is done anew."""
        self.target.refuse(method)

    @precondition(lambda self: self.metas)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """Let somebody drop a collection at the target; rows that follow show it."""
        name = data.draw(st.sampled_from(sorted(self.metas)))
        with self.target.changed:
            self.target.collections.pop(("default", name), None)
            aliases = self.target.aliases.items()
            kept = {alias: to for alias, to in aliases if to != name}
            self.target.aliases = kept
        self.insert_into(name, "_default", self.metas[name].channels[0])

    @rule()
    def retry(self) -> None:
        """Have taken up again what is set aside."""
        if self.pipeline.task.task.has_retriable:
            self.pipeline.retry()
            self.recovering(self.pipeline.wait_for_steps)

    @rule()
    def pause_and_resume(self) -> None:
        """End the run in good order and begin another."""
        self.pipeline.stop()
        self.pipeline.begin()
        self.recovering(self.pipeline.wait_for_steps)

    @rule()
    def kill_and_start(self) -> None:
        """End the run without a word and begin another."""
        self.pipeline.kill()
        self.pipeline.begin()
        self.recovering(self.pipeline.wait_for_steps)

    def look(self) -> None:
        """Do nothing: what was written is read whenever time passes."""

    def recovering(self, step) -> None:
        """Take a step; after a failure of the run begin another, as the task does."""
        for _ in range(self.attempts):
            try:
                step()
            except (AccessRefusedError, TransientError):
                self.pipeline.stop()
                self.pipeline.begin()
            else:
                return
        raise AssertionError("the run goes on failing")

    def teardown(self) -> None:
        """In the end the target has what the source has, and nothing is held."""
        try:
            self.come_to_an_end()
        finally:
            self.pipeline.__exit__(None, None, None)
            self.delays.stop()
            self.horizon_steps.stop()

    def come_to_an_end(self) -> None:
        """Let all be done that can be, and wait until both sides are equal."""
        self.target.speak()
        self.source.catalog.tell()
        self.recovering(self.pipeline.wait_for_steps)
        self.source.tick()
        self.recovering(self.pipeline.settle)
        for _ in range(ROUNDS):
            if self.pipeline.task.task.has_retriable:
                self.pipeline.retry()
                self.recovering(self.pipeline.settle)
        self.wait_for_equality()
        self.pipeline.wait_until(lambda: self.pipeline.memory.used == 0)

    def wait_for_equality(self) -> None:
        """Wait until the target has what the source has."""
        rows = {
            name: {(partition, key): 1 for key, (_, partition) in keys.items()}
            for name, keys in self.rows.items()
        }
        partitions = {n: {"_default", *made} for n, made in self.partitions.items()}
        expected = rows, partitions, self.aliases
        try:
            self.pipeline.wait_until(lambda: self.found() == expected)
        except AssertionError:
            assert self.found() == expected  # Says what the difference is.
            raise

    def found(self) -> tuple[dict[str, Any], dict[str, set[str]], dict[str, str]]:
        """Return the target's rows and partitions by collection, and its aliases."""
        with self.target.changed:
            stored = self.target.collections.items()
            rows = {name: _rows(each) for (_, name), each in stored}
            partitions = {name: set(each.partitions) for (_, name), each in stored}
            aliases = {alias: name for (_, alias), name in self.target.aliases.items()}
            return rows, partitions, aliases


class EarlyReplication(Replication):
    """A task that does not wait for ticks, and less else that happens to it."""

    spec = structs.replace(SPEC, consistency="early")
    point = drop_alias = withdraw = refuse = lose = retry = None

    def __init__(self) -> None:
        super().__init__()
        for name in NAMES[:2]:
            self.create_on(name, A, B)
        self.source.catalog.tell()
        self.source.tick()
        self.recovering(self.pipeline.settle)

    def look(self) -> None:
        """Have rows read, and sent, before their tick."""
        self.recovering(self.pipeline.wait_for_steps)

    @rule()
    def go_on(self) -> None:
        """Come to the stretch in which rows may be early, as every run does soon."""
        self.source.catalog.tell()
        self.source.tick()
        self.recovering(self.pipeline.settle)

    @precondition(lambda self: self.metas)
    @rule(
        data=st.data(), steps=st.lists(st.sampled_from(BUSY), min_size=5, max_size=25)
    )
    def be_busy(self, data: st.DataObject, steps: list[str]) -> None:
        """Change few rows often, with messages in any order, ticks and reads between."""
        self.go_on()
        self.source.slow = True
        name = data.draw(st.sampled_from(sorted(self.metas)))
        for step in steps:
            if step == "put":
                self.put(name, data.draw(FEW), data.draw(st.sampled_from(PARTITIONS)))
            elif step == "delete":
                self.delete_one(name, data.draw(FEW))
            elif step == "write" and any(self.source.unwritten.values()):
                self.write_any(data)
            elif step == "tick":
                self.source.tick(*data.draw(st.sampled_from([(A,), (B,), (A, B)])))

    def put(self, name: str, key: int, partition: str) -> None:
        """Have a row in a partition: insert it, or put it in the place of another."""
        channels = self.metas[name].channels
        channel = channels[key % len(channels)]
        self.make_partition(name, partition)
        write = self.source.upsert if key in self.rows[name] else self.source.insert
        write(self.metas[name], [key], channel, partition)
        self.gone[name].pop(key, None)
        self.rows[name][key] = channel, partition

    def delete_one(self, name: str, key: int) -> None:
        """Delete a row, if it is there."""
        if key in self.rows[name]:
            channel, _ = self.rows[name].pop(key)
            self.source.delete(self.metas[name], [key], channel)
            self.gone[name][key] = channel


def _rows(stored: StoredCollection) -> dict[tuple[str, int], int]:
    """Return how often each key is in each partition."""
    return {
        (partition, key): number
        for partition, keys in stored.partitions.items()
        for key, number in keys.items()
    }


Replication.TestCase.settings = EarlyReplication.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
test_replication = Replication.TestCase
test_early_replication = EarlyReplication.TestCase
