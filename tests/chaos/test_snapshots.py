"""Snapshots at random moments of a source that writes, merges and removes files.

    python -m pytest -n 0 -s --thorough --snapshots 30 tests/chaos/test_snapshots.py

The service is killed while half of them are under way. Afterwards the target has what the
source has; where a Milvus 2.3.5 has forgotten deletes that stand in its log, what the log
says.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from cdc_actors.compare import compare
from cdc_actors.comparison_report import Kind
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.errors import CdcError
from tests.support.busy_source import (
    SETTINGS,
    Churn,
    ShortLog,
    Writer,
    busy_client,
    folder_of,
)
from tests.support.cdc import Cdc, wait_until
from tests.support.workload import Workload
from tests.support.workload_schemas import KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.changes import Key
    from cdc_actors.compare import Report

pytestmark = pytest.mark.thorough

PATIENCE = 300
WARM_UP = (40, 60)
PAUSE = (5, 25)
"""Seconds of writing before a snapshot: some of it is to be no longer in the log."""


@dataclass(slots=True)
class Totals:
    """What all snapshots of a test came to."""

    tasks: int = 0
    snapshots: int = 0
    rows: int = 0
    kills: int = 0
    killed: int = 0
    """Snapshots that were not complete when the service was killed."""
    listed_anew: int = 0
    forgotten: Counter[str] = field(default_factory=Counter)


@pytest.fixture
def busy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMilvus]:
    """Yield a source whose files change all the time."""
    folder = tmp_path_factory.mktemp("busy")
    with EmbeddedMilvus(folder, wanted=SETTINGS) as server:
        yield server


def test_snapshots_at_random_moments(
    busy: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    emptied,
    tmp_path: Path,
    seed: int,
    pytestconfig: pytest.Config,
) -> None:
    """Not a row is missing, doubled or too many, whenever a snapshot is taken."""
    milvus = emptied(target_milvus)
    wanted: int = pytestconfig.getoption("--snapshots")
    moments = random.Random(seed)
    totals = Totals()
    storage = f"  storage: {{type: local, path: {folder_of(busy)}}}\n"
    with (
        ShortLog(busy) as log,
        Cdc(tmp_path, busy, settings=storage) as cdc,
        Workload(busy.uri, seed, binary_vectors=True) as workload,
    ):
        churn = Churn(busy_client(busy.uri), seed)
        churn.setup()
        workload.setup()
        writers = [Writer(churn.step), Writer(workload.step)]
        while totals.snapshots < wanted:
            for writer in writers:
                writer.go_on()
            take(cdc, log, busy, target_milvus.uri, moments, totals, writers)
            for name in milvus.list_collections():
                milvus.drop_collection(name)
    print(f"seed {seed}: {totals}")  # noqa: T201 - what the docstring speaks of


def take(
    cdc: Cdc,
    log: ShortLog,
    source: EmbeddedMilvus,
    target: str,
    moments: random.Random,
    totals: Totals,
    writers: list[Writer],
) -> None:
    """Have one task take all collections; see that both sides are the same."""
    threading.Event().wait(moments.uniform(*(PAUSE if totals.tasks else WARM_UP)))
    log.cut()
    task = cdc.create(target, snapshot="always", collection_infos=[{"name": "*"}])
    first_kill = None
    if totals.killed * 2 <= totals.snapshots:
        first_kill = kill_meanwhile(cdc, moments, totals)
    threading.Event().wait(moments.uniform(0, 3))
    for writer in writers:
        writer.pause()
    cdc.wait_caught_up(task, PATIENCE)
    wait_until(lambda: all_live(cdc, task), f"all is live, {cdc.log}", PATIENCE)
    cdc.wait_caught_up(task, PATIENCE)
    log.read()
    check(log, source.uri, target, totals)
    events = cdc.ask("history", task_id=task, limit=1000)["events"]
    done = [e for e in events if e["event"] == "snapshot_completed"]
    totals.tasks += 1
    totals.snapshots += len(done)
    totals.rows += sum(each["content"]["rows"] for each in done)
    if first_kill:
        late = [e for e in done if datetime.fromisoformat(e["time"]) > first_kill]
        totals.killed += len(late)
    totals.listed_anew = cdc.log.read_text().count("files_listed_anew")
    print(totals, flush=True)  # noqa: T201 - it takes long
    cdc.ask("delete", task_id=task)


def kill_meanwhile(cdc: Cdc, moments: random.Random, totals: Totals) -> datetime:
    """Kill the service one to three times; return when it was first."""
    first = None
    for _ in range(moments.randint(1, 3)):
        threading.Event().wait(moments.uniform(0, 1.5))
        first = first or datetime.now(UTC)
        cdc.kill()
        totals.kills += 1
        cdc.start()
    assert first
    return first


def all_live(cdc: Cdc, task: str) -> bool:
    """Tell whether no collection waits for anything, and none was set aside."""
    shown = cdc.get(task)["collections"]
    assert [each for each in shown if each["state"] == "set_aside"] == []
    return {each["state"] for each in shown} == {"live"}


def check(log: ShortLog, source: str, target: str, totals: Totals) -> None:
    """See that both sides are equal, or that only the source has forgotten deletes."""
    reports: list[Report] = []

    def compared() -> bool:
        try:
            reports[:] = [compare(source, "", target, "", load=True)]
        except CdcError:
            return False
        return not any(e.findings_of(Kind.UNREAD) for e in reports[0].collections)

    # Once: what lag says must be true at once.
    wait_until(compared, "both sides can be read")
    if reports[0].equal:
        return
    with closing(busy_client(source)) as one, closing(busy_client(target)) as other:
        for name, meta in log.collections().items():
            told = log.told(meta)
            has, seen = keys(one, name), keys(other, name)
            assert not told - seen, f"{name} lacks {told - seen}: {reports[0]}"
            more = seen - told - (has - told)
            assert not more, f"{name} has too many, {more}: {reports[0]}"
            totals.forgotten[name] += (has - told).total()
    assert totals.forgotten.total(), reports[0]


def keys(client: MilvusClient, name: str) -> Counter[Key]:
    """Return how often a query finds each key."""
    rows = client.query(
        name,
        "id >= 0" if name == "churn" else "grp >= 0",
        output_fields=[KEY],
        consistency_level="Strong",
        timeout=PATIENCE,
    )
    return Counter(row[KEY] for row in rows)
