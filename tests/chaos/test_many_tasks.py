"""Tasks that share a source's log and watch: nothing is lost or doubled for any of them.

python -m pytest -n 0 --kills 20 tests/chaos/test_many_tasks.py
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Self

from tests.support.books import Books, keys, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

TASKS = 3
BATCH = 50


class Writer:
    """Writes to every collection in turn, and deletes some of it, until it is told."""

    def __init__(self, shelves: list[Books]) -> None:
        self._shelves = shelves
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.rounds = 0

    def stop(self) -> None:
        """Stop writing."""
        self._over.set()
        self._thread.join()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write(self) -> None:
        while not self._over.is_set():
            first = self.rounds * BATCH
            for books in self._shelves:
                books.insert(range(first, first + BATCH))
                books.delete([first + 1])
            self.rounds += 1


def test_tasks_that_share_a_log_lose_and_double_nothing(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    emptied,
    tmp_path: Path,
    seed: int,
    kills: int,
) -> None:
    """The service is killed; between that tasks are paused, and come back to the end."""
    rng = random.Random(seed)
    client, lite = emptied(source), emptied(target_lite)
    shelves = [Books(client, f"shelf_{n}").create() for n in range(TASKS)]
    with Cdc(tmp_path, source) as cdc:
        tasks = [
            cdc.create(target_lite.uri, collection_infos=[{"name": books.name}])
            for books in shelves
        ]
        with Writer(shelves) as writer:
            for _ in range(kills):
                before = writer.rounds
                paused = rng.choice(tasks)
                cdc.ask("pause", task_id=paused)
                wait_until(lambda n=before: writer.rounds > n + 2, "more is written")
                cdc.ask("resume", task_id=paused)
                for task in rng.sample(tasks, rng.randint(0, TASKS)):
                    cdc.wait_caught_up(task)
                cdc.kill()
                cdc.start()
        for books in shelves:
            wait_keys(lite, keys(client, books.name), books.name)
    client.close()
    lite.close()
