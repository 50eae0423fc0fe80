"""The service is killed at every point between event, target call and checkpoint.

    python -m pytest -n 0 -s --all-points tests/chaos/test_crash_points.py

ended with equal rows after each of 70 points.
"""

from __future__ import annotations

import random
import uuid
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import crashing
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

DEFAULT_POINTS = 3
"""How many of the points a run takes that was not asked for all of them."""

TARGET_SECONDS = 60

MAX_REPEATS = 3
"""How many stories a point may need: some are passed only if changes come one by one."""


class Scenario:
    """Something of everything, told again and again with other names."""

    def __init__(self, client: MilvusClient) -> None:
        self._client = client
        self._told = 0

    def tell(self) -> None:
        """Write rows, change them, drop a partition and what was told before."""
        self._told += 1
        books = Books(self._client, f"books_{self._told}").create()
        books.insert(range(10))
        self._client.create_partition(books.name, "new")
        books.insert(range(10, 20), partition="new")
        self._client.create_partition(books.name, "empty")
        books.upsert(range(5))
        books.delete(range(5, 8))
        self._client.create_partition(books.name, "old")
        books.insert(range(20, 25), partition="old")
        self._client.release_partitions(books.name, ["old"])
        self._client.drop_partition(books.name, "old")
        if self._told > 1:
            self._client.drop_collection(f"books_{self._told - 1}")

    def revise(self) -> None:
        """Change once more what was told last, all of which has arrived."""
        Books(self._client, f"books_{self._told}").upsert(range(5))


ONCE = ("TaskCreated", "SourceIdentified", "ListDatabases")
"""What is saved once in a task's life, or asked by ``create`` alone."""


class Killed:
    """A service that dies at points, with one task."""

    def __init__(self, cdc: Cdc, target: str) -> None:
        self.cdc = cdc
        self.task = uuid.uuid4().hex
        self._target = target

    def arm(self, point: str) -> None:
        """Let the service die at a point."""
        partial = self.cdc.folder / "partial"
        partial.write_text(point)
        partial.rename(self.cdc.folder / crashing.ARMED)

    def points(self) -> list[str]:
        """Return the points passed so far, each once."""
        passed = (self.cdc.folder / crashing.POINTS).read_text().splitlines()
        return list(dict.fromkeys(passed))

    def create(self) -> int:
        """Ask for the task; return the status."""
        return self.cdc.request(
            "create",
            task_id=self.task,
            milvus_connect_param={"uri": self._target},
            collection_infos=[{"name": "*"}],
        )[0]

    def wait_dead(self, point: str) -> None:
        """Wait until the service has died at the point; then start it again."""
        wait_until(self.is_dead, f"it dies {point}")
        assert not (self.cdc.folder / crashing.ARMED).exists()
        self.cdc.start()

    def is_dead(self) -> bool:
        """Tell whether the service has ended."""
        return self.cdc.process is not None and self.cdc.process.poll() is not None

    def pause_and_resume(self) -> None:
        """Ask for both; whoever dies meanwhile does not answer."""
        self.cdc.request("pause", task_id=self.task)
        self.cdc.request("resume", task_id=self.task)


@pytest.mark.timeout(2400)
def test_rows_are_equal_after_a_kill_at_each_point(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    emptied,
    tmp_path: Path,
    seed: int,
    pytestconfig: pytest.Config,
) -> None:
    """One story passes the points; in the next ones the service dies at each in turn."""
    program = [str(Path(crashing.__file__))]
    emptied(target_lite).close()
    with (
        closing(emptied(source)) as client,
        Cdc(tmp_path, source, program=program) as cdc,
    ):
        scenario = Scenario(client)
        killed = Killed(cdc, target_lite.uri)
        for point in ("before save TaskCreated", "after save TaskCreated"):
            killed.arm(point)
            assert killed.create() == 0, point
            killed.wait_dead(point)
        # Of the points in a task's life these are passed by its first run alone.
        killed.arm("before save SourceIdentified")
        killed.create()
        killed.wait_dead("before save SourceIdentified")
        killed.arm("after save SourceIdentified")
        killed.wait_dead("after save SourceIdentified")
        for _ in range(2):
            scenario.tell()
            killed.pause_and_resume()
            wait_equal(source, target_lite, timeout=TARGET_SECONDS)
        points = [each for each in killed.points() if not each.endswith(ONCE)]
        chosen = (
            points
            if pytestconfig.getoption("--all-points")
            else (random.Random(seed).sample(points, DEFAULT_POINTS))
        )
        for point in chosen:
            killed.arm(point)
            for _ in range(MAX_REPEATS):
                scenario.tell()
                killed.pause_and_resume()
                wait_equal(
                    source, target_lite, timeout=TARGET_SECONDS, or_else=killed.is_dead
                )
                if killed.is_dead():
                    break
                scenario.revise()
            killed.wait_dead(f"{point}, seed {seed}")
            if cdc.get(killed.task)["state"] == "Paused":
                cdc.ask("resume", task_id=killed.task)
            wait_equal(source, target_lite, timeout=TARGET_SECONDS)
        print(f"{len(chosen)} of {len(points)} points, seed {seed}: all equal")  # noqa: T201
        for point in ("before save TaskDeleted", "after save TaskDeleted"):
            killed.arm(point)
            assert cdc.request("delete", task_id=killed.task)[0] == 0, point
            killed.wait_dead(point)
        assert cdc.request("get", task_id=killed.task)[0] == 404


@pytest.mark.parametrize(
    ("meanwhile", "point"),
    [
        ("drop", "before"),
        ("rename", "after"),
        pytest.param("drop", "after", marks=pytest.mark.thorough),
        pytest.param("rename", "before", marks=pytest.mark.thorough),
    ],
)
def test_killed_while_a_collection_is_created(
    meanwhile: str,
    point: str,
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    emptied,
    tmp_path: Path,
) -> None:
    """What the source drops or renames before the restart leaves nothing behind."""
    program = [str(Path(crashing.__file__))]
    emptied(target_lite).close()
    with (
        closing(emptied(source)) as client,
        Cdc(tmp_path, source, program=program) as cdc,
    ):
        killed = Killed(cdc, target_lite.uri)
        assert killed.create() == 200
        killed.arm(f"{point} call CreateCollection")
        books = Books(client).create()
        wait_until(killed.is_dead, "it dies")
        books.insert(range(3))
        if meanwhile == "drop":
            client.drop_collection("books")
            Books(client, "others").create().insert(range(3))
        else:
            client.rename_collection("books", "tomes")
            Books(client, "tomes").insert(range(3, 6))
        cdc.start()
        wait_equal(source, target_lite)
        found = cdc.get(killed.task)["collections"]
        assert {each["state"] for each in found} == {"live"}


@pytest.mark.thorough
def test_killed_between_the_two_renames_of_a_shadow(
    source: EmbeddedMilvus, target_milvus: EmbeddedMilvus, emptied, tmp_path: Path
) -> None:
    """Nothing has the name then, and what an alias shows is right; the next run ends it."""
    program = [str(Path(crashing.__file__))]
    with (
        closing(emptied(source)) as client,
        closing(emptied(target_milvus)) as copy,
        Cdc(tmp_path, source, program=program) as cdc,
    ):
        killed = Killed(cdc, target_milvus.uri)
        assert killed.create() == 200
        Books(client).create().insert(range(20))
        client.create_alias("books", "read")
        wait_until(lambda: copy.has_collection("read"), "the alias is there")
        wait_keys(copy, range(20), "read")
        Books(copy).insert(range(50, 60))
        Books(copy).delete(range(5))
        killed.arm("after call RenameCollection")
        cdc.ask("resync", task_id=killed.task, collections=["books"], method="shadow")
        wait_until(killed.is_dead, "it dies")
        shadow, parting = sorted(copy.list_collections(), reverse=True)
        assert (shadow[:18], parting[:19]) == (
            "cdc_actors_shadow_",
            "cdc_actors_parting_",
        )
        wait_keys(copy, range(20), "read")
        cdc.start()
        wait_keys(copy, range(20))
        wait_until(lambda: copy.list_collections() == ["books"], "nothing else is left")
        wait_equal(source, target_milvus)
        [found] = copy.query("read", output_fields=["count(*)"])
        assert found["count(*)"] == 20
        wait_until(lambda: states(cdc, killed) == ["live"], "it is told")


def states(cdc: Cdc, killed: Killed) -> list[str]:
    """Return the states of the task's collections."""
    return [each["state"] for each in cdc.get(killed.task)["collections"]]
