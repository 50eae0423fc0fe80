"""One operation at the source with rows around it, the service up or down meanwhile."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.books import Books, wait_equal, wait_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc


class Scenario:
    """A source, a target, and a service between them that a test may have down.

    ``client`` and ``other`` are clients of the empty source and the empty target.
    """

    def __init__(
        self,
        source: EmbeddedMilvus,
        target: EmbeddedMilvus | EmbeddedLite,
        clients: tuple[MilvusClient, MilvusClient],
        cdc: Cdc,
        *,
        down: bool,
    ) -> None:
        self.source, self.target = source, target
        self.client, self.other = clients
        self.cdc = cdc
        self.down = down
        self.task = ""

    def create_task(self, **data: object) -> str:
        """Create the task, of every database unless told otherwise."""
        data = data or {"db_collections": {"*": [{"name": "*"}]}}
        self.task = self.cdc.create(self.target.uri, **data)
        return self.task

    def begin(self, name: str = "books") -> Books:
        """Create the task and a collection with ten rows, and wait for them."""
        self.create_task()
        books = Books(self.client, name).create()
        books.insert(range(10))
        wait_keys(self.other, range(10), name)
        return books

    @contextmanager
    def meanwhile(self) -> Iterator[None]:
        """Hold the service down, if that is the test's wish."""
        if self.down:
            self.cdc.kill()
        yield
        if self.down:
            self.cdc.start()

    def restart(self) -> None:
        """Kill the service and start it again."""
        self.cdc.kill()
        self.cdc.start()

    def wait_equal(self) -> None:
        """Wait until both sides hold the same."""
        wait_equal(self.source, self.target)

    def refusals(self) -> list[str]:
        """Return the kinds of operations that were not done."""
        found = self.cdc.get(self.task)["operations_refused"]["newest"]
        return [each["kind"] for each in found]

    def reasons(self) -> list[str]:
        """Return why collections were set aside, the oldest collection first."""
        found = self.cdc.get(self.task)["collections"]
        return [c["reason"] for c in found if c["state"] == "set_aside"]
