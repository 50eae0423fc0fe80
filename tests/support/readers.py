"""Threads that read collections all the time, and keep each answer that is new."""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING, Self

from pymilvus import MilvusClient
from pymilvus.exceptions import MilvusException

from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEOUT = 60.0


class Readers:
    """One thread for each name of a collection, or alias. One thread uses it."""

    def __init__(self, uri: str, names: Iterable[str]) -> None:
        self._uri = uri
        self._over = threading.Event()
        self._seen: dict[str, list[frozenset[int] | str]] = {name: [] for name in names}
        self._threads = [
            threading.Thread(target=self._read, args=(name,)) for name in self._seen
        ]

    def answers(self, name: str) -> list[frozenset[int]]:
        """Return the keys that were read by a name: each answer once, until another."""
        return [each for each in self._seen[name] if isinstance(each, frozenset)]

    def wait_for(self, keys: frozenset[int]) -> None:
        """Wait until each has read these keys."""
        seen = self._seen.values()
        wait_until(lambda: all(keys in each for each in seen), "all have read it")

    def _read(self, name: str) -> None:
        seen = self._seen[name]
        with closing(
            MilvusClient(self._uri, timeout=TIMEOUT, dedicated=True)
        ) as client:
            while not self._over.is_set():
                answer = _answer(client, name)
                if answer not in seen[-1:]:
                    seen.append(answer)

    def __enter__(self) -> Self:
        """Return once each has read something."""
        for thread in self._threads:
            thread.start()
        wait_until(lambda: all(self._seen.values()), "each has read something")
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()


def _answer(client: MilvusClient, name: str) -> frozenset[int] | str:
    try:
        rows = client.query(name, "id >= 0", output_fields=["id"], timeout=TIMEOUT)
    except MilvusException as error:
        return str(error)
    return frozenset(row["id"] for row in rows)
