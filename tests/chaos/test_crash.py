"""Nothing is lost, nothing doubled, however often the service is killed.

    python -m pytest -n 0 --kills 10 --thorough tests/chaos/test_crash.py

ended with equal rows in 8 of 8 runs from a source on Pulsar to a Milvus, 5 of 5 on Kafka
and 5 of 5 on RocksMQ, with another seed each. Since then a task's access to its target
comes and goes as well (``tests.support.access_faults``):

    python -m pytest -n 0 -s --kills 100 --seed 22 tests/chaos/test_crash.py -k rocksmq

ended with equal rows after 100 kills, the access taken away 48 times: 21 changed passwords,
9 times rights withdrawn, 18 times a proxy that refused.
"""

from __future__ import annotations

import random
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from cdc_actors.compare import Report, compare
from cdc_actors.errors import CdcError
from tests.support.access_faults import access_by
from tests.support.accounts import ROOT
from tests.support.cdc import Cdc, wait_until
from tests.support.proxy import TcpProxy
from tests.support.workload import Workload

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.milvus import EmbeddedMilvus

STEPS_BETWEEN_KILLS = {"tick": (2, 12), "early": (10, 100)}
LATEST_KILL = {"tick": 1.5, "early": 12.0}
"""Seconds after a start. Nothing is early before the horizon of the last run has passed."""

TARGETS = {"milvus": "target_guarded", "lite": "target_lite"}
PATIENCE = 240
"""Seconds: on a busy machine one comparison alone takes most of a minute."""


@pytest.mark.shows("2.3.5", "natsmq", "2.3.5", "Milvus Lite 3.2.2", by="real server")
@pytest.mark.shows("2.3.5", "RocksMQ", "2.3.5", by="real server")
@pytest.mark.shows("2.3.5", "Kafka 3.9.1", "2.3.5", by="real server")
@pytest.mark.shows("2.3.5", "Pulsar 3.0.7", "2.3.5", by="real server")
@pytest.mark.parametrize(
    ("origin", "target"),
    [
        # Ordinarily `test_everything_dies` does this, and more.
        pytest.param("source", "milvus", marks=pytest.mark.thorough),
        ("source", "lite"),
        ("source_rocksmq", "milvus"),
        pytest.param("source_kafka", "milvus", marks=pytest.mark.thorough),
        pytest.param("source_pulsar", "milvus", marks=pytest.mark.thorough),
    ],
)
def test_rows_are_equal_after_random_kills(
    origin: str,
    target: str,
    request: pytest.FixtureRequest,
    emptied,
    tmp_path: Path,
    seed: int,
    kills: int,
) -> None:
    """Random writes, SIGKILLs, and access that comes and goes: both sides end equal.

    Also (``--early``) if rows do not wait for ticks.
    """
    source: EmbeddedMilvus = request.getfixturevalue(origin)
    server = request.getfixturevalue(TARGETS[target])
    for each in (source, server):
        emptied(each).close()
    moments = random.Random(seed)
    consistency = request.getfixturevalue("consistency")
    with (
        TcpProxy(server.ports["api"]) as way,
        access_by(way, server, random.Random(f"{seed}, access")) as access,
        Cdc(tmp_path, source) as cdc,
        Workload(source.uri, seed, binary_vectors=target == "milvus") as workload,
    ):
        task = access.create_task(cdc, consistency=consistency)
        workload.setup()
        for _ in range(kills):
            access.perhaps_take_away()
            run_and_kill(cdc, workload, moments, consistency)
            cdc.start()
            access.perhaps_give_back(cdc, task)
        access.settle(cdc, task)
        cdc.wait_caught_up(task, PATIENCE)
        report = compared(source.uri, server.uri)
        text = f"seed {seed}, {kills} kills, {access.told}, equal: {report.equal}"
        print(text)  # noqa: T201 - what the docstring speaks of
        assert report.equal, f"{text}\n{report}\nwritten: {workload.rows()}"
        assert_nothing_left_out(cdc, task)


def assert_nothing_left_out(cdc: Cdc, task: str) -> None:
    """No collection is set aside, and no operation was not done."""
    shown = cdc.get(task)
    assert [c for c in shown["collections"] if c["state"] != "live"] == []
    assert shown["operations_refused"]["count"] == 0, shown["operations_refused"]


def run_and_kill(
    cdc: Cdc, workload: Workload, moments: random.Random, consistency: str
) -> None:
    """Write at the source; somewhere in the middle the service dies; go on writing."""
    steps = moments.randint(*STEPS_BETWEEN_KILLS[consistency])
    latest = LATEST_KILL[consistency]
    timer = threading.Timer(moments.uniform(0, latest), cdc.kill)
    timer.start()
    for _ in range(steps):
        workload.step()
    timer.join()


def compared(source: str, target: str) -> Report:
    """Compare until both are equal or it takes too long; return the last report."""
    reports: list[Report] = []

    def equal() -> bool:
        try:
            reports.append(compare(source, "", target, ROOT, load=True))
        except CdcError:
            return False  # A collection was dropped while it was read.
        return reports[-1].equal

    with suppress(AssertionError):
        wait_until(equal, "both sides are equal", PATIENCE)
    return reports[-1]
