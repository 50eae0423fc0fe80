"""What the catalog tells of loads, and what clients asked meanwhile."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from cdc_actors.actors.parking import Parking
from cdc_actors.actors.serving import SETTLED, Serving
from cdc_actors.actors.work import Repeat
from cdc_actors.changes import Request
from cdc_actors.source.catalog import LoadMeta, ServingMeta
from cdc_actors.source.catalog_meta import PartitionMeta
from cdc_actors.tasks import (
    LOAD_COLLECTION,
    RELEASE_COLLECTION,
    RELEASE_PARTITIONS,
)
from tests.support.tasks import entry

if TYPE_CHECKING:
    from cdc_actors.actors.work import Work

BOOKS, MAPS = 5, 7


class Stage:
    """A collection of two partitions; what it is given to do is kept."""

    def __init__(self) -> None:
        self.tick = SETTLED
        self.given: list[str] = []
        books = SimpleNamespace(entry=entry(BOOKS), channels=("dml_0",))
        names = SimpleNamespace(
            is_outdated=lambda *_: False, is_free_for=lambda *_: True
        )
        router = SimpleNamespace(
            get={BOOKS: books}.get,
            is_gone=lambda _: False,
            names=names,
            give=self._give,
            give_told=self._give,
        )
        channels = SimpleNamespace(tick=lambda _: self.tick, is_behind=lambda _: False)
        catalog = SimpleNamespace(
            version=lambda: (2, 3, 5),
            serving=lambda found: dict.fromkeys(found, self.now),
        )
        self.now = ServingMeta()
        self.parking = Parking(SimpleNamespace(), router, channels, SimpleNamespace())
        self.serving = Serving(router, self.parking, channels, catalog, "requests")

    def _give(self, _collection: object, work: Work) -> None:
        self.given.append(work.request.kind if isinstance(work, Repeat) else work.kind)

    def see(self, *loaded: int) -> None:
        """See in the catalog that these partitions are loaded, or nothing is."""
        load = LoadMeta(
            collection_id=BOOKS,
            replicas=1,
            whole=True,
            partitions=frozenset(loaded),
        )
        self.now = ServingMeta(load=load if loaded else None)
        partitions = {MAPS: PartitionMeta("maps", 0), 8: PartitionMeta("plays", 0)}
        self.serving.see(SimpleNamespace(id=BOOKS, partitions=partitions))
        self.serving.advance()

    def ask(self, kind: str, timestamp: int) -> None:
        """Read in the log what a client asked."""
        request = Request(kind, timestamp, "default", ("books",), b"")
        self.serving.park(Repeat(request, ()), BOOKS)

    def advance(self, tick: int) -> list[str]:
        """Let the log come to a tick; return what was given."""
        self.tick = tick
        self.given.clear()
        self.parking.advance()
        return list(self.given)


def test_a_request_that_comes_after_what_it_did() -> None:
    """The catalog shows a release before the log does, and a load comes behind it."""
    stage = Stage()
    stage.ask(LOAD_COLLECTION, 1)
    stage.see(MAPS)
    assert stage.advance(2 * SETTLED) == [LOAD_COLLECTION, RELEASE_PARTITIONS]
    stage.see()
    stage.ask(RELEASE_COLLECTION, 2 * SETTLED + 1)
    stage.ask(LOAD_COLLECTION, 2 * SETTLED + 2)
    assert stage.advance(4 * SETTLED) == [RELEASE_COLLECTION, LOAD_COLLECTION]
