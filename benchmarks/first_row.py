"""How soon the first row is readable at the target after a resume, and after a start.

    python -m benchmarks.first_row --mq kafka --rounds 9

A source and a target are started here. Before each round a row is written at the source
while the task is paused, or the service killed. Taken is the time from the answer of
``resume``, or from when the API of a service that was started knows its tasks, until a
query finds that row. Beside it, in the same round, a row is written to the target itself:
what it takes until that is found is the target's own part. Only figures of one run can be
compared.
"""

from __future__ import annotations

import statistics
import time
from itertools import count
from typing import TYPE_CHECKING

from benchmarks.replication import (
    create_with_number,
    insert,
    is_loaded,
    options,
    since,
    started,
)
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from pymilvus import MilvusClient

    from tests.support.cdc import Cdc

REPLICATED, BARE = "replicated", "bare"

TICKS_SECONDS = 1.0
"""How long the source has to write the ticks that release a row."""

LOOK_SECONDS = 0.01
"""How often it is looked whether a row has come."""


class Rounds:
    """One source, target and service, and the keys of the rows still to be written."""

    def __init__(self, cdc: Cdc, source: MilvusClient, target: MilvusClient) -> None:
        self._cdc = cdc
        self._source = source
        self._target = target
        self._keys = count()

    def after_resume(self, task: str) -> float:
        """Return the seconds from a resume's answer to the first row."""
        self._cdc.ask("pause", task_id=task)
        key = self._write()
        self._cdc.ask("resume", task_id=task)
        return self._until_found(REPLICATED, key)

    def to_api(self) -> tuple[float, float]:
        """Return the seconds from a process's start to its API, and on to the first row."""
        self._cdc.kill()
        key = self._write()
        begun = time.perf_counter()
        self._cdc.start()
        return since(begun), self._until_found(REPLICATED, key)

    def bare(self) -> float:
        """Return the seconds from an insert's answer at the target to its row."""
        key = next(self._keys)
        insert(self._target, BARE, key)
        return self._until_found(BARE, key)

    def _write(self) -> int:
        key = next(self._keys)
        insert(self._source, REPLICATED, key)
        time.sleep(TICKS_SECONDS)
        return key

    def _until_found(self, name: str, key: int) -> float:
        begun = time.perf_counter()
        while not self._target.query(
            name, filter=f"id == {key}", consistency_level="Bounded"
        ):
            time.sleep(LOOK_SECONDS)
        return since(begun)


def measure(rounds: Rounds, task: str, number: int) -> None:
    """Print the medians of so many rounds, and the longest."""
    kinds: dict[str, Callable[[], float]] = {
        "bare insert -> readable": rounds.bare,
        "resume -> readable": lambda: rounds.after_resume(task),
    }
    taken: dict[str, list[float]] = {}
    for _ in range(number):
        for kind, take in kinds.items():
            taken.setdefault(kind, []).append(take())
        start, first = rounds.to_api()
        taken.setdefault("start of the process -> API", []).append(start)
        taken.setdefault("API -> readable", []).append(first)
    for kind, seconds in taken.items():
        print(
            f"{kind:28} {statistics.median(seconds):.2f} s, at most {max(seconds):.2f}"
        )


def main() -> None:
    """Run it."""
    parser = options(__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    with started(args) as (cdc, from_source, from_target, target_uri):
        task = cdc.create(target_uri)
        create_with_number(from_source, REPLICATED)
        create_with_number(from_target, BARE)
        for name in (REPLICATED, BARE):
            wait_until(lambda name=name: from_target.has_collection(name), name)
            wait_until(lambda name=name: is_loaded(from_target, name), name)
        print(f"{args.mq} to {args.target}, medians of {args.rounds} rounds")
        measure(Rounds(cdc, from_source, from_target), task, args.rounds)


if __name__ == "__main__":
    main()
