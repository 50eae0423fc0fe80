"""A random walk over everything that a source can do, the service killed meanwhile.

The short form runs with the other tests; ``--thorough`` is the long one. Hypothesis draws
the walks; it does not shrink them, for real servers never do the same twice in the same
time. What a walk did is in the message of its failure.
"""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from cdc_actors.compare import Kind, compare
from cdc_actors.compare.server import Endpoint
from cdc_actors.embedded.lite import EmbeddedLite
from cdc_actors.errors import CdcError
from tests.support.cdc import Cdc, wait_until
from tests.support.walk import DATABASES, INDEXES, PARTITIONS, SPECS, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.walk import Collection

IN_SHORT = 1, 12
THOROUGH = 8, 60
"""How many walks there are, and how many steps each has."""

TIMEOUT = 180.0
"""Seconds until both sides are equal: after the longest walk, on a busy machine."""

SEEDS = st.integers(0, 2**32 - 1)


@dataclass(slots=True, kw_only=True)
class Stage:
    """The servers of all walks of a test, and what the walks came to."""

    source: EmbeddedMilvus
    target: EmbeddedMilvus | EmbeddedLite
    emptied: Callable[[EmbeddedMilvus | EmbeddedLite], Any]
    folder: Path
    walks: int = 0
    done: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None

    def begin(self) -> Walk:
        """Return the next walk; when one has failed, Hypothesis gets no other."""
        if self.failure is not None:
            raise self.failure
        return Walk(self)

    def run(self, seed: int, walks: int, steps: int) -> None:
        """Make the walks; the first failure ends them."""
        try:
            run_state_machine_as_test(
                hypothesis.seed(seed)(lambda: self.begin()),  # noqa: PLW0108 - takes a mark
                settings=settings(
                    max_examples=walks,
                    stateful_step_count=steps,
                    phases=[Phase.generate],
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        except Exception:
            if self.failure is not None:
                raise self.failure from None
            raise


def about(find: Callable[[Walk], Sequence[Any]]) -> Callable[..., Any]:
    """Make a rule about one of the things that ``find`` returns, if there are any."""

    def decorate(operation: Callable[[Walk, Any, Any], None]) -> Any:
        def run(walk: Walk, data: st.DataObject) -> None:
            thing = data.draw(st.sampled_from(find(walk)))
            walk.go_on()
            walk.note(operation.__name__)
            operation(walk, thing, data)

        run.__name__ = operation.__name__
        chosen = rule(data=st.data())(run)
        return precondition(lambda walk: bool(find(walk)))(chosen)

    return decorate


def collections(wanted: Callable[[Collection], Any]) -> Callable[[Walk], Sequence[Any]]:
    """Return what finds the collections of which something is true."""
    return lambda walk: [c for c in walk.world.collections if wanted(c)]


def beside_a_free_name(walk: Walk) -> list[Collection]:
    """Return the collections in whose databases a name is free."""
    free_names = walk.world.free_names
    return [each for each in walk.world.collections if free_names(each.database)]


class Walk(RuleBasedStateMachine):
    """One walk: from empty servers to a comparison."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self._steps: list[str] = []
        self._task = ""
        self._dies: threading.Timer | None = None
        self._step = 0
        self._due: dict[str, int] = {}
        self.cdc: Any = None
        self.world = World(stage.source.uri, self._steps)

    def note(self, operation: str) -> None:
        """Count an operation."""
        self._stage.done[operation] += 1

    def go_on(self) -> None:
        """Take the next step; what was to happen to the service by then happens first."""
        self._step += 1
        for name, at in list(self._due.items()):
            if at <= self._step and (self._up or name == "start"):
                del self._due[name]
                getattr(self, name)()

    # How it begins, and what happens to the service.

    @initialize(seeds=st.tuples(SEEDS, SEEDS), step=st.integers(1, 10))
    def begin(self, seeds: tuple[int, int], step: int) -> None:
        """Have two collections, and somewhat later a task.

        Of all walks Hypothesis takes the simplest first: one operation for ever.
        """
        assume(any(seeds))
        self._stage.walks += 1
        for server in (self._stage.source, self._stage.target):
            self._stage.emptied(server).close()
        folder = self._stage.folder / f"walk_{self._stage.walks}"
        self.cdc = Cdc(folder, self._stage.source)
        self.cdc.start()
        for name, seed in zip("ab", seeds, strict=True):
            self._create("default", name, random.Random(seed))
        self._due["create_task"] = step

    def create_task(self) -> None:
        """Replicate everything, what is there already too."""
        self._event("create_task")
        self._task = self.cdc.create(
            self._stage.target.uri, db_collections={"*": [{"name": "*"}]}
        )

    def _event(self, what: str) -> None:
        self.note(what)
        self._steps.append(what)

    @property
    def _up(self) -> bool:
        return self.cdc.process is not None and self._dies is None

    @precondition(lambda self: self._up)
    @rule(after=st.floats(0, 2), steps=st.integers(1, 5))
    def kill(self, after: float, steps: int) -> None:
        """Let the service die in a moment, whatever is done then, and come back."""
        self._event("kill")
        self._dies = threading.Timer(after, self.cdc.kill)
        self._dies.start()
        self._due["start"] = self._step + steps

    kill_again = kill_once_more = kill

    def start(self) -> None:
        """Start the service that was killed."""
        self._event("start")
        if self._dies is not None:
            self._dies.join()
            self._dies = None
        self.cdc.start()

    @precondition(lambda self: self._up and self._task and "resume" not in self._due)
    @rule(steps=st.integers(1, 5))
    def pause(self, steps: int) -> None:
        """Pause the task for a while."""
        self._event("pause")
        self.cdc.ask("pause", task_id=self._task)
        self._due["resume"] = self._step + steps

    def resume(self) -> None:
        """Resume the task."""
        self._event("resume")
        self.cdc.ask("resume", task_id=self._task)

    # What happens to databases and collections.

    @about(lambda walk: [d for d in DATABASES if d not in walk.world.databases])
    def create_database(self, name: str, _: Any) -> None:
        """Create a database."""
        self.world.create_database(name)

    @about(lambda walk: walk.world.databases[1:])
    def drop_database(self, name: str, _: Any) -> None:
        """Drop a database, what is in it first."""
        self.world.drop_database(name)

    @about(lambda walk: walk.world.roomy())
    def create_collection(self, database: str, data: Any) -> None:
        """Create a collection with some rows."""
        name = data.draw(st.sampled_from(self.world.free_names(database)))
        self._create(database, name, random.Random(data.draw(SEEDS)))

    def _create(self, database: str, name: str, rng: random.Random) -> None:
        created = self.world.create(database, name, rng.choice(SPECS), rng)
        self.world.insert(created, created.partitions[0], rng)

    @about(collections(lambda _: True))
    def drop_collection(self, collection: Collection, _: Any) -> None:
        """Drop a collection."""
        self.world.drop(collection)

    @about(collections(lambda _: True))
    def create_again(self, collection: Collection, data: Any) -> None:
        """Drop a collection; another gets its name."""
        self.world.drop(collection)
        rng = random.Random(data.draw(SEEDS))
        self._create(collection.database, collection.name, rng)

    @about(beside_a_free_name)
    def rename(self, collection: Collection, data: Any) -> None:
        """Call a collection otherwise: perhaps as one that is gone."""
        names = self.world.free_names(collection.database)
        self.world.rename(collection, data.draw(st.sampled_from(names)))

    @about(
        lambda walk: [
            (one, other)
            for one in walk.world.collections
            for other in walk.world.collections
            if one.database == other.database and one.name < other.name
        ]
    )
    def exchange(self, pair: tuple[Collection, Collection], _: Any) -> None:
        """Give two collections each the name of the other."""
        self.world.exchange(*pair)

    @about(lambda walk: walk.movable())
    def move(self, collection: Collection, data: Any) -> None:
        """Rename a collection into another database."""
        places = self.places(collection)
        database, name = data.draw(st.sampled_from(places))
        self.world.rename(collection, name, database)

    def movable(self) -> list[Collection]:
        """Return what can be renamed into another database.

        At Milvus Lite nothing; 2.3.5 wants all aliases dropped before.
        """
        if isinstance(self._stage.target, EmbeddedLite):
            return []
        found = [c for c in self.world.collections if not self.world.aliases_of(c)]
        return [c for c in found if self.places(c)]

    def places(self, collection: Collection) -> list[tuple[str, str]]:
        """Return the names that a collection may have in other databases."""
        return [
            (database, name)
            for database in self.world.databases
            if database != collection.database
            for name in self.world.free_names(database)
        ]

    @about(collections(lambda _: True))
    def alter_properties(self, collection: Collection, data: Any) -> None:
        """Alter how long rows live; it is long."""
        ttl = data.draw(st.integers(100_000, 900_000))
        self.world.alter_properties(collection, ttl)

    # What happens to partitions.

    @about(collections(lambda c: not c.divided and len(c.partitions) < 4))
    def create_partition(self, collection: Collection, data: Any) -> None:
        """Create a partition."""
        names = [name for name in PARTITIONS if name not in collection.partitions]
        self.world.create_partition(collection, data.draw(st.sampled_from(names)))

    @about(collections(lambda c: len(c.partitions) > 1))
    def drop_partition(self, collection: Collection, data: Any) -> None:
        """Drop a partition."""
        name = data.draw(st.sampled_from(collection.partitions[1:]))
        self.world.drop_partition(collection, name)

    @about(collections(lambda c: len(c.partitions) > 1 and c.index))
    def load_partition(self, collection: Collection, data: Any) -> None:
        """Load a partition."""
        name = data.draw(st.sampled_from(collection.partitions[1:]))
        self.world.load_partition(collection, name)

    @about(collections(lambda c: len(c.partitions) > 1 and c.loaded))
    def release_partition(self, collection: Collection, data: Any) -> None:
        """Release a partition."""
        name = data.draw(st.sampled_from(collection.partitions[1:]))
        self.world.release_partition(collection, name)

    # What happens to aliases.

    @about(beside_a_free_name)
    def create_alias(self, collection: Collection, data: Any) -> None:
        """Create an alias: perhaps of a name that a collection had."""
        names = self.world.free_names(collection.database)
        self.world.create_alias(collection, data.draw(st.sampled_from(names)))

    @about(
        lambda walk: [
            (alias, c)
            for alias, to in walk.world.aliases.items()
            for c in walk.world.collections
            if c.database == alias[0] and c is not to
        ]
    )
    def alter_alias(self, pair: Any, _: Any) -> None:
        """Turn an alias to another collection."""
        self.world.alter_alias(*pair)

    @about(lambda walk: list(walk.world.aliases))
    def drop_alias(self, alias: tuple[str, str], _: Any) -> None:
        """Drop an alias."""
        self.world.drop_alias(alias)

    # Indexes, loading, flushing.

    @about(collections(lambda c: not c.index))
    def create_index(self, collection: Collection, data: Any) -> None:
        """Create an index of one kind or another."""
        self.world.create_index(collection, data.draw(st.sampled_from(sorted(INDEXES))))

    @about(collections(lambda c: c.index))
    def drop_index(self, collection: Collection, _: Any) -> None:
        """Drop the index."""
        self.world.drop_index(collection)

    @about(collections(lambda c: c.index))
    def load(self, collection: Collection, _: Any) -> None:
        """Load a collection."""
        self.world.load(collection)

    @about(collections(lambda c: c.loaded))
    def release(self, collection: Collection, _: Any) -> None:
        """Release a collection."""
        self.world.release(collection)

    @about(collections(lambda _: True))
    def flush(self, collection: Collection, _: Any) -> None:
        """Flush a collection."""
        self.world.flush(collection)

    # What happens to rows.

    @about(collections(lambda _: True))
    def write(self, collection: Collection, data: Any) -> None:
        """Write to one collection several times."""
        for seed in data.draw(st.lists(SEEDS, min_size=1, max_size=6)):
            rng = random.Random(seed)
            partition = rng.choice(collection.partitions)
            if rng.random() < 0.2:
                self.world.delete(collection, "", rng)
            else:
                kinds = (self.world.insert, self.world.upsert, self.world.delete)
                rng.choice(kinds)(collection, partition, rng)

    write_more = write_again = write

    # How it ends.

    def teardown(self) -> None:
        """Compare both sides, unless the walk has failed before.

        One that Hypothesis abandons, for there is no rule left, has come to its end.
        """
        if self.cdc is None:
            return
        failure = sys.exc_info()[1]
        if not isinstance(failure, Exception) or isinstance(
            failure, HypothesisException
        ):
            failure = None
        try:
            if failure is None:
                self._end()
        except Exception as error:
            failure = error
            raise
        finally:
            self._close(failure)

    def _close(self, failure: BaseException | None) -> None:
        if failure is not None:
            steps = "\n  ".join(self._steps)
            failure.add_note(f"walk in {self.cdc.folder}:\n  {steps}")
            self._stage.failure = failure
        if self._dies is not None:
            self._dies.join()
        self.cdc.__exit__()
        self.world.close()

    def _end(self) -> None:
        """Compare as it is; then have all rows readable, and compare again."""
        while self._due:
            self.go_on()
        self._wait_equal("as it is", rows=False)
        for collection in self.world.collections:
            if not collection.index:
                self.world.create_index(collection, "FLAT")
            self.world.release(collection)
            self.world.load(collection)
        self._wait_equal("with everything loaded", rows=True)
        aside = [c for c in self.cdc.get(self._task)["collections"] if c["reason"]]
        assert aside == []

    def _wait_equal(self, when: str, *, rows: bool) -> None:
        found = ["never compared"]

        def equal() -> bool:
            try:
                found[:] = self._differences(rows=rows)
            except CdcError as error:
                found[:] = [str(error)]
            return not found

        try:
            wait_until(equal, f"both sides are equal, {when}", TIMEOUT)
        except AssertionError as error:
            with suppress(AssertionError):
                error.add_note(str(self.cdc.get(self._task)))
            error.add_note("\n".join(found))
            raise

    def _differences(self, *, rows: bool) -> list[str]:
        """Compare both sides; for rows not yet, unless they can be read."""
        uris = self._stage.source.uri, self._stage.target.uri
        left, right = (sorted(Endpoint("side", uri, "").databases()) for uri in uris)
        found = [] if left == right else [f"databases {left} -> {right}"]
        report = compare(uris[0], "", uris[1], "")
        unknown = {str(c) for c in self.world.collections if self._is_load_unknown(c)}
        for each in report.collections:
            name = f"{each.database}.{each.name}"
            kinds = {Kind.UNREAD, Kind.LOAD} if name in unknown else {Kind.UNREAD}
            wrong = [one for one in each.findings if one.kind not in kinds]
            found += [f"{name}: {one.kind} {one.text}" for one in wrong]
        return [*found, str(report)] if rows and not report.equal else found

    def _is_load_unknown(self, collection: Collection) -> bool:
        """Tell whether the target cannot be loaded as the source is.

        2.3.5 does not log that single partitions are loaded or released. What has no
        index is loaded at Milvus Lite, and can be neither loaded nor released there.
        """
        lite = isinstance(self._stage.target, EmbeddedLite)
        return collection.loaded == "partly" or (lite and not collection.index)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("target", ["milvus", "lite"])
def test_both_sides_are_equal_after_a_random_walk(
    target: str,
    source: EmbeddedMilvus,
    emptied,
    tmp_path: Path,
    seed: int,
    request: pytest.FixtureRequest,
) -> None:
    """Whatever happens at the source and to the service, the target has all of it."""
    print(f"seed {seed}")  # noqa: T201
    server = request.getfixturevalue(f"target_{target}")
    stage = Stage(source=source, target=server, emptied=emptied, folder=tmp_path)
    thorough = request.config.getoption("--thorough")
    stage.run(seed, *(THOROUGH if thorough else IN_SHORT))
    print(f"{stage.walks} walks, {stage.done.total()} steps: {dict(stage.done)}")  # noqa: T201
