"""The PostgreSQL behind the service dies, and its standby takes its place.

Replication to the standby is not synchronous, as PostgreSQL has it unless told otherwise:
what was committed last may be lost with the primary.
"""

from __future__ import annotations

import json
import random
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.chaos.test_crash import assert_nothing_left_out, compared
from tests.support.audit import audit
from tests.support.busy_source import Writer
from tests.support.cdc import Cdc, wait_until
from tests.support.postgres import PostgresServer, running
from tests.support.proxy import TcpProxy
from tests.support.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from cdc_actors.embedded.milvus import EmbeddedMilvus

READ_ONLY_SECONDS = 3.0
"""How long nothing can be written: until somebody sees that the primary is gone."""


@pytest.fixture
def servers() -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """Yield a primary, and a standby that follows it."""
    with running() as primary, running(primary) as standby:
        yield primary, standby


def two_hosts(
    primary: PostgresServer, standby: PostgresServer, _stack: ExitStack
) -> tuple[str, Callable[[], None]]:
    """Name both, of which libpq takes the one that can be written to."""
    first = f"127.0.0.1:{primary.port}"
    hosts = f"{first},127.0.0.1:{standby.port}"
    url = primary.url(target_session_attrs="read-write").replace(first, hosts)
    return url, lambda: None


def one_address(
    primary: PostgresServer, standby: PostgresServer, stack: ExitStack
) -> tuple[str, Callable[[], None]]:
    """Name an address that leads to the standby as soon as the primary is gone."""
    way = stack.enter_context(TcpProxy(primary.port))
    url = primary.url().replace(f":{primary.port}/", f":{way.port}/")
    return url, lambda: way.lead_to(standby.port)


def is_owned(cdc: Cdc, task: str) -> bool:
    """Tell whether the lease was renewed, or taken anew, since there is a primary again.

    Before, a service still answers for as long as its lease lasts.
    """
    status, answer = cdc.probe("/cdc/nodes")
    if status != 200 or cdc.request("get", task_id=task)[0] != 200:
        return False
    heard = [each["silent_seconds"] for each in answer["data"]["nodes"]]
    return min(heard, default=READ_ONLY_SECONDS) < READ_ONLY_SECONDS


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "named", [pytest.param(two_hosts, marks=pytest.mark.thorough), one_address]
)
def test_rows_are_equal_after_a_fail_over(
    named: Callable[..., tuple[str, Callable[[], None]]],
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    emptied,
    servers: tuple[PostgresServer, PostgresServer],
    tmp_path: Path,
    seed: int,
) -> None:
    """It waits while nothing can be written, says so, and goes on: nothing is lost."""
    primary, standby = servers
    for each in (source, target_milvus):
        emptied(each).close()
    with ExitStack() as stack:
        url, lead = named(primary, standby, stack)
        store = json.dumps({"storeType": "postgres", "postgres": {"url": url}})
        cdc = stack.enter_context(Cdc(tmp_path, source, store=store))
        task = cdc.create(target_milvus.uri)
        workload = stack.enter_context(Workload(source.uri, seed, binary_vectors=True))
        workload.setup()
        writer = Writer(workload.step)
        writer.go_on()
        threading.Event().wait(random.Random(seed).uniform(1, 3))
        primary.kill()
        lead()
        wait_until(lambda: cdc.probe("/readyz")[0] == 503, "it says that it cannot")
        threading.Event().wait(READ_ONLY_SECONDS)
        status, answer = cdc.request("pause", task_id=task)
        assert (status, bool(answer["message"])) == (503, True)
        standby.promote()
        wait_until(lambda: is_owned(cdc, task), "it owns the new primary's store")
        wait_until(lambda: cdc.probe("/readyz")[0] == 200, "it works again")
        writer.pause()
        cdc.wait_caught_up(task, 240)
        report = compared(source.uri, target_milvus.uri)
        assert report.equal, f"seed {seed}\n{report}\nwritten: {workload.rows()}"
        assert_nothing_left_out(cdc, task)
        audit(cdc.config, "verify")
