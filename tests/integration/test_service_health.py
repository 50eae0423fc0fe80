"""Health and lag are true while a server answers nothing."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from pymilvus import DataType

from cdc_actors.cli.main import main
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.faults import hanging

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus

LIMIT = 30.0
"""Seconds within which a task that stands still must say so."""

NOT_WELL = {"stalled", "retrying"}


@pytest.mark.parametrize(
    "hung", [pytest.param("target_lite", marks=pytest.mark.thorough), "source"]
)
def test_task_that_stands_still_says_so(
    hung: str,
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    cdc: Cdc,
    request: pytest.FixtureRequest,
) -> None:
    """Within 30 s it is not called well any more, and the lag grows; then it recovers."""
    server = request.getfixturevalue(hung)
    books = Books(client).create()
    books.insert(range(3))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    cdc.wait_caught_up(task)
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well")
    wait_until(lambda: cdc.get(task)["lag_seconds"] < 10, "the lag is small")
    if hung == "target_lite":
        books.insert(range(3, 6))
    with hanging(server):
        began = time.time()
        wait_until(
            lambda: cdc.get(task)["health"]["status"] in NOT_WELL, "it says so", LIMIT
        )
        asked = time.time()
        shown = cdc.get(task)
        assert shown["health"]["error"]
        assert shown["state"] == "Running"
        assert shown["lag_seconds"] >= asked - began - 2
        later = cdc.get(task)["lag_seconds"]
        assert later >= shown["lag_seconds"]
    if hung == "source":  # One that has hung for so long ends by itself.
        server.kill()
        server.start()
    books.insert(range(6, 9))
    wait_until(lambda: cdc.get(task)["health"]["status"] == "ok", "it is well", 90)
    wait_equal(source, target_lite)
    cdc.wait_caught_up(task)
    wait_until(lambda: cdc.get(task)["lag_seconds"] < 10, "the lag is small again")


def test_lag_right_after_a_restart_is_the_truth(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """While nothing was replicated the lag grew: it is never shown smaller."""
    Books(client).create().insert(range(3))
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    cdc.wait_caught_up(task)
    cdc.kill()
    killed = time.time()
    with hanging(target_lite):
        cdc.start()
        asked = time.time()
        shown = cdc.get(task)["lag_seconds"]
        assert shown is None or shown >= asked - killed - 2
    cdc.wait_caught_up(task, 90)


def watch_until_ok(cdc: Cdc, task: str) -> Result:
    """Run the command that waits until a task is well; return how it ended."""
    url = f"http://127.0.0.1:{cdc.port}"
    watch = ["task", "watch", task, "--url", url, "--interval", "0.1", "--until", "ok"]
    return CliRunner().invoke(main, watch)


def test_task_of_which_a_part_is_not_well_is_degraded(
    target_lite: EmbeddedLite, client: MilvusClient, lite: MilvusClient, cdc: Cdc
) -> None:
    """Everything that tells of a task says so, with counts and why, until it is mended.

    Or acknowledged, which holds after a restart, too.
    """
    Books(client, "binary").create(index=False, vector=DataType.BINARY_VECTOR)
    Books(client).create().insert(range(3))
    Books(client, "parts").create(index=False).index()
    client.load_partitions("parts", ["_default"])
    task = cdc.create(target_lite.uri)
    wait_keys(lite, range(3))
    wait_until(lambda: cdc.get(task)["operations_refused"]["count"] == 1, "it is noted")
    cdc.wait_caught_up(task)
    gave_up = watch_until_ok(cdc, task)
    assert gave_up.exit_code == 4
    assert "1 set aside, 1 refused" in gave_up.output
    wait_until(lambda: (cdc.get(task)["lag_seconds"] or 99) < 10, "it keeps up")
    shown = cdc.get(task)
    health = shown["health"]
    assert (health["status"], shown["state"]) == ("degraded", "Running")
    assert health["problems"]["set_aside"] == 1
    assert health["problems"]["operations_refused"] == 1
    aside, refused = health["problems"]["reasons"]
    assert aside.startswith("default.binary is set aside: ")
    assert refused.startswith("LoadPartitions of default.parts was refused: ")
    assert health["error"] == f"{aside}; and 1 more"
    listed = cdc.ask("list")["tasks"][0]["health"]
    assert listed["problems"] == health["problems"]
    assert cdc.probe("/readyz")[1]["tasks"] == {"degraded": 1}
    said = [json.loads(line) for line in cdc.log.read_text("utf-8").splitlines()]
    changes = [each for each in said if each["event"] == "collection_state_changed"]
    found = {(each["collection"], each["from"], each["to"]) for each in changes}
    assert ("default.binary", None, "set_aside") in found
    assert ("default.books", "creating", "live") in found
    assert {each["task_id"] for each in changes} == {task}
    cdc.ask("acknowledge", task_id=task, kinds=["LoadPartitions"])
    cdc.kill()
    cdc.start()
    wait_until(lambda: cdc.get(task)["health"]["status"] == "degraded", "as before")
    shown = cdc.get(task)
    assert shown["health"]["problems"]["operations_refused"] == 0
    assert shown["operations_refused"]["count"] == 1
    client.drop_collection("binary")
    assert watch_until_ok(cdc, task).exit_code == 0


SHIFTED = """
import runpy, sys, time, types
import grpc._channel, pymilvus.client.grpc_handler
wrong = types.ModuleType("time")
wrong.__dict__.update(time.__dict__)
wrong.time = lambda: time.time() + {seconds}
sys.modules["time"] = wrong
runpy.run_module("cdc_actors", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("seconds", [-600, 3600], ids=["behind", "ahead"])
def test_lag_is_counted_by_the_clock_of_the_source(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    tmp_path: Path,
    seconds: int,
) -> None:
    """A service with a wrong clock is well, its lag true; that it is wrong is told."""
    Books(client).create().insert(range(3))
    program = ("-c", SHIFTED.format(seconds=seconds))
    with Cdc(tmp_path, source, program=program) as cdc:
        task = cdc.create(target_lite.uri)
        wait_keys(lite, range(3))
        wait_until(lambda: cdc.get(task)["health"]["warnings"], "it is said", LIMIT)
        shown: dict[str, Any] = {}

        def is_well() -> bool:
            shown.update(cdc.get(task))
            lag = shown["lag_seconds"]
            return (
                shown["health"]["status"] == "ok" and lag is not None and 0 < lag < 10
            )

        wait_until(is_well, "it is well")
        side = "ahead of" if seconds > 0 else "behind"
        assert f"{side} the source's" in shown["health"]["warnings"][0]
        said = cdc.log.read_text("utf-8")
        assert '"clock_difference_changed"' in said
