"""The ways to target, queue and etcd break again and again under a random load.

    python -m pytest -n 0 -s --kills 30 tests/chaos/test_random_faults.py

ended with equal rows for seeds 1 to 6, 180 faults in all.
"""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING

import pytest

from tests.chaos.test_crash import PATIENCE, compared
from tests.support.cdc import Cdc
from tests.support.proxy import TcpProxy
from tests.support.ways import PLACES, ways_between
from tests.support.workload import Workload

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.milvus import EmbeddedMilvus

STEPS = (2, 12)
FAULTS = {
    "reset": TcpProxy.reset,
    "cut": TcpProxy.cut,
    "half open": TcpProxy.half_open,
    "slow": lambda way: way.throttle(200_000),
    "late": lambda way: way.delay(0.2),
}
PAUSED = 0.2
"""How often the task is paused in the middle of it, and resumed."""


@pytest.mark.timeout(3600)
def test_rows_are_equal_after_random_faults(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    emptied,
    tmp_path: Path,
    seed: int,
    kills: int,
) -> None:
    """Whatever breaks on its way, with the service alive: nothing lost or doubled."""
    for each in (source, target_milvus):
        emptied(each).close()
    moments = random.Random(seed)
    told = []
    with (
        ways_between(source, target_milvus) as ways,
        Cdc(tmp_path, ways) as cdc,  # type: ignore[arg-type]
        Workload(source.uri, seed, binary_vectors=True) as workload,
    ):
        task = cdc.create(ways.target_uri)
        workload.setup()
        for _ in range(kills):
            place, fault = moments.choice(PLACES), moments.choice(list(FAULTS))
            told.append(f"{place} {fault}")
            way = ways.proxies[place]
            break_it = threading.Timer(moments.uniform(0, 1), FAULTS[fault], [way])
            break_it.start()
            for _ in range(moments.randint(*STEPS)):
                workload.step()
            break_it.join()
            if moments.random() < PAUSED:
                cdc.ask("pause", task_id=task)
                cdc.ask("resume", task_id=task)
            way.cut()
            way.heal()
        cdc.wait_caught_up(task, PATIENCE)
        report = compared(source.uri, target_milvus.uri)
        print(f"seed {seed}, faults {len(told)}, equal: {report.equal}")  # noqa: T201
        assert report.equal, f"seed {seed}, {told}\n{report}"
        assert [c for c in cdc.get(task)["collections"] if c["state"] != "live"] == []
