"""The ways to target, queue and etcd break again and again under a random load.

So does the access to the target: see ``tests.support.access_faults``.

    python -m pytest -n 0 -s --kills 30 tests/chaos/test_random_faults.py

ended with equal rows for seeds 1 to 6, 180 faults in all; and since access to the target is
among them with ``--kills 60 --seed 32``, 11 of whose faults were of access.
"""

from __future__ import annotations

import random
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from tests.chaos.test_crash import PATIENCE, assert_nothing_left_out, compared
from tests.support.access_faults import access_by
from tests.support.cdc import Cdc
from tests.support.proxy import TcpProxy
from tests.support.ways import PLACES, ways_between
from tests.support.workload import Workload

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.guarded import GuardedMilvus

STEPS = (2, 12)
FAULTS = {
    "reset": TcpProxy.reset,
    "cut": TcpProxy.cut,
    "half open": TcpProxy.half_open,
    "slow": lambda way: way.throttle(200_000),
    "late": lambda way: way.delay(0.2),
}
ACCESS = "access"
PAUSED = 0.2
"""How often the task is paused in the middle of it, and resumed."""


@pytest.mark.timeout(3600)
def test_rows_are_equal_after_random_faults(
    source: EmbeddedMilvus,
    target_guarded: GuardedMilvus,
    emptied,
    tmp_path: Path,
    seed: int,
    kills: int,
    consistency: str,
) -> None:
    """Whatever breaks on its way, with the service alive: nothing lost or doubled."""
    for each in (source, target_guarded):
        emptied(each).close()
    moments = random.Random(seed)
    told = []
    with (
        ways_between(source, target_guarded) as ways,
        access_by(
            ways.proxies["target"], target_guarded, random.Random(f"{seed}, access")
        ) as access,
        Cdc(tmp_path, ways) as cdc,  # type: ignore[arg-type]
        Workload(source.uri, seed, binary_vectors=True) as workload,
    ):
        task = access.create_task(cdc, consistency=consistency)
        workload.setup()
        for _ in range(kills):
            place = moments.choice((*PLACES, ACCESS))
            fault = access.take_away
            if place != ACCESS:
                name = moments.choice(list(FAULTS))
                told.append(f"{place} {name}")
                fault = partial(FAULTS[name], ways.proxies[place])
            break_it = threading.Timer(moments.uniform(0, 1), fault)
            break_it.start()
            for _ in range(moments.randint(*STEPS)):
                workload.step()
            break_it.join()
            if moments.random() < PAUSED:
                cdc.ask("pause", task_id=task)
                cdc.ask("resume", task_id=task)
            if place == ACCESS:
                access.give_back(cdc, task)
            else:
                ways.proxies[place].cut()
                ways.proxies[place].heal()
        access.settle(cdc, task)
        cdc.wait_caught_up(task, PATIENCE)
        report = compared(source.uri, target_guarded.uri)
        text = f"seed {seed}, faults {told + access.told}, equal: {report.equal}"
        print(text)  # noqa: T201 - what the docstring speaks of
        assert report.equal, f"{text}\n{report}"
        assert_nothing_left_out(cdc, task)
