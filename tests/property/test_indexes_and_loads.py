"""Indexes and loads that only the catalog tells of come to the target all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from cdc_actors.tasks import Operation
from tests.fakes.indexes_and_loads import ID, Harness, Server, Source
from tests.support.tasks import SUPERVISOR, entry, new_task

if TYPE_CHECKING:
    from cdc_actors.pipeline.work import CatalogOperation

FIELDS = st.sampled_from(["vector", "title"])
SOME = st.none() | st.sets(st.integers(1, 3), min_size=1)


def operation(work: CatalogOperation) -> Operation:
    """Return what is written down of an operation."""
    return Operation(
        kind=work.kind,
        timestamp=work.timestamp,
        database="default",
        name="c",
        collection_id=ID,
        detail=work.detail.to_json(),
    )


class Looks(RuleBasedStateMachine):
    """Much happens between two looks; a restart loses what was issued and not done."""

    @initialize(names_partitions=st.booleans())
    def begin(self, *, names_partitions: bool) -> None:
        """Begin with an index and two partitions at the source."""
        self.source, self.target = Source(), Server()
        self.source.names_partitions = names_partitions
        self.create_partition(2)
        self.source.create_index("vector", "FLAT")
        self.task = new_task()
        self.record(Operation.create_collection(entry(ID)))
        self.start()

    def record(self, operation: Operation) -> None:
        """Write down what was done."""
        self.task.apply_operation(operation, who=SUPERVISOR, why="")

    def do(self, work: CatalogOperation) -> None:
        """As the applier does, but for writing down that it is done."""
        begun = operation(work)
        self.task.start_operation(begun, who=SUPERVISOR, why="")
        self.target.do(work)

    def start(self) -> None:
        """Begin with what the task's events say was done."""
        self.harness = Harness(self.source, self.task.collections[ID])

    # What clients do at the source.

    @rule(number=st.integers(2, 3))
    def create_partition(self, number: int) -> None:
        """Create a partition; it comes to the target by itself."""
        for server in (self.source, self.target):
            server.create_partition(number)

    @rule(name=FIELDS, kind=st.sampled_from(["FLAT", "HNSW"]))
    def create_index(self, name: str, kind: str) -> None:
        """Create an index of a field that has none."""
        if name not in self.source.indexes:
            self.source.create_index(name, kind)

    @precondition(lambda self: not self.source.loaded)
    @rule(name=FIELDS)
    def drop_index(self, name: str) -> None:
        """Drop an index; a client has to release the collection first."""
        self.source.drop_index(name)

    @precondition(lambda self: self.source.indexes)
    @rule(some=SOME)
    def load(self, some: set[int] | None) -> None:
        """Load all, or some partitions; a client needs an index for that."""
        self.source.load(some and some & self.source.partitions)

    @rule(some=SOME)
    def release(self, some: set[int] | None) -> None:
        """Release all, or some partitions; Milvus 2.2 none of a whole collection."""
        if self.source.names_partitions or not self.source.whole:
            self.source.release(some)

    # What the service does, or what is done to it.

    @rule(count=st.sampled_from([0, 1, 9]))
    def look(self, count: int) -> None:
        """Compare with what the catalog has now; do some of what was issued."""
        for work in self.harness.look()[:count]:
            self.do(work)
            self.record(operation(work))
        del self.harness.issued[:count]

    @rule(half_done=st.booleans())
    def restart(self, *, half_done: bool) -> None:
        """Be killed, perhaps after something was done and before it is written down."""
        if half_done and self.harness.issued:
            self.do(self.harness.issued[0])
        self.start()

    @rule()
    def settle(self) -> None:
        """After a look, and once all that was issued is done, both sides are alike."""
        while self.harness.look():
            self.look(len(self.harness.issued))
        assert self.target.shown == self.source.shown

    def teardown(self) -> None:
        """Settle in the end."""
        if hasattr(self, "harness"):
            self.settle()


TestLooks = Looks.TestCase
EXAMPLES = 4 * settings().max_examples
TestLooks.settings = settings(max_examples=EXAMPLES, deadline=None)
