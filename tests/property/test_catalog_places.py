"""The catalog remembers where collections stand, and answers as if it did not."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from cdc_actors.source.catalog import model as meta
from tests.fakes.fake_etcd import FakeEtcd

DATABASES = 3
databases = st.integers(1, DATABASES)
names = st.sampled_from("abc")
any_ = st.integers(0, 9)


class Places(RuleBasedStateMachine):
    """A source whose collections come, go, move and exchange names."""

    def __init__(self) -> None:
        super().__init__()
        self.etcd = FakeEtcd(DATABASES)
        self.catalog = self.etcd.catalog()
        self.watch = self.catalog.watch(self.catalog.snapshot().revision + 1)
        self.ever: list[int] = []
        self.last = DATABASES

    def holder(self, database: int, name: str) -> int | None:
        """Return the collection that has a name."""
        for each, own in self.etcd.collections.items():
            if own == (database, name) and each not in self.etcd.dropping:
                return each
        return None

    def one(self, number: int) -> int:
        """Return one of the collections that there are."""
        there = sorted(self.etcd.collections)
        return there[number % len(there)]

    def id_of(self, database: int) -> int:
        """Return the present id of a database."""
        return self.last if database == DATABASES else database

    @rule(database=databases, name=names)
    def create(self, database: int, name: str) -> None:
        """Make a collection."""
        database = self.id_of(database)
        if not self.holder(database, name):
            self.ever.append(self.etcd.create(database, name))

    @precondition(lambda self: self.etcd.collections)
    @rule(number=any_, database=databases, name=names)
    def rename(self, number: int, database: int, name: str) -> None:
        """Rename a collection, perhaps into another database."""
        database, renamed = self.id_of(database), self.one(number)
        if not self.holder(database, name) and renamed not in self.etcd.dropping:
            self.etcd.rename(renamed, database, name)

    @precondition(lambda self: self.etcd.collections)
    @rule(number=any_, at_once=st.booleans())
    def drop(self, number: int, at_once: bool) -> None:  # noqa: FBT001
        """Drop a collection, or begin to."""
        dropped = self.one(number)
        if at_once or dropped in self.etcd.dropping:
            self.etcd.drop(dropped)
        else:
            self.etcd.begin_drop(dropped)

    @rule()
    def recreate_database(self) -> None:
        """Drop the last database with what is in it; another one gets its name."""
        for each, (database, _) in [*self.etcd.collections.items()]:
            if database == self.last:
                self.etcd.drop(each)
        self.etcd.delete(f"{meta.DATABASES}{self.last}")
        self.last += 1
        self.etcd.create_database(self.last, f"d{DATABASES}")

    @rule()
    def hear(self) -> None:
        """Let the watch tell."""
        self.watch.changed()

    @rule(database=databases, name=names)
    def find(self, database: int, name: str) -> None:
        """A name leads to the collection that has it now."""
        home = "default" if database == 1 else f"d{database}"
        found = self.catalog.find(home, name)
        assert (found.id if found else None) == self.holder(self.id_of(database), name)

    @precondition(lambda self: self.ever)
    @rule(numbers=st.lists(any_, min_size=1, max_size=4), heard=st.booleans())
    def read(self, numbers: list[int], heard: bool) -> None:  # noqa: FBT001
        """A collection is what it is; its earlier names are there once they were told."""
        wanted = sorted({self.ever[each % len(self.ever)] for each in numbers})
        if heard:
            self.watch.changed()
        found = self.catalog.collections(wanted)
        other = self.etcd.catalog()
        # The name of a database that came and went unseen can no longer be had.
        other._database_names = dict(self.catalog._database_names)
        truth = other.snapshot().collections
        expected = {each: truth[each] for each in wanted if each in truth}
        if not heard:
            found = {i: replace(each, names=()) for i, each in found.items()}
            expected = {i: replace(each, names=()) for i, each in expected.items()}
        assert found == expected


TestPlaces = Places.TestCase
TestPlaces.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
