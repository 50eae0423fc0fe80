"""What several services on one PostgreSQL take: events a second, claims, and nothing to do.

    python -m benchmarks.nodes [--tasks 10000] [--nodes 4]

First so many processes write events side by side, each of a task of its own, for a few
seconds: the rate of all, as a ratio to that of one, median (and least and most) of rounds.
Then services with paused tasks share them out: how long that takes from the start of the
first one, and once all have as many, what services and database take of a core, how many
transactions a second those are; and what a lease and the count of all tasks take alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import secrets
import statistics
import tempfile
import time
from base64 import b64encode
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.event_log import SAYS, create
from benchmarks.processes import processor_seconds, resident
from cdc_actors.service.claiming import PASS_SECONDS
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.postgres import opening
from cdc_actors.store.postgres_lease import PostgresLease
from cdc_actors.store.secrets import KEY_VARIABLE
from cdc_actors.store.task_owners import TaskOwners
from tests.support.away import AWAY
from tests.support.cdc import Cdc, wait_until
from tests.support.postgres import running

if TYPE_CHECKING:
    from multiprocessing.synchronize import Barrier

    from tests.support.postgres import PostgresServer

WRITE_SECONDS = 3.0
SETTLE_SECONDS = 30.0
IDLE_SECONDS = 20.0
WRITERS = (1, 2, 4)
ROUNDS = 3


def write(url: str, together: Barrier, counts: multiprocessing.Queue[int]) -> None:
    """Write events of one task for a while; put how many they were."""
    lease = PostgresLease(url)
    lease.acquire()
    assert lease.fence is not None
    with opening(url, lease.fence):
        log = TaskLog.postgres(url, lease.fence)
    with closing(log):
        task = create()
        log.save(task)
        together.wait()
        count, end = 0, time.monotonic() + WRITE_SECONDS
        while time.monotonic() < end:
            (task.resume if count % 2 else task.pause)(
                *(() if count % 2 else ("by hand", [])), **SAYS
            )
            log.save(task)
            count += 1
    lease.release()
    counts.put(count)


def rate(server: PostgresServer, writers: int) -> float:
    """Return the events a second of so many processes."""
    url, context = server.new_schema(), multiprocessing.get_context("spawn")
    together, counts = context.Barrier(writers), context.Queue()
    processes = [
        context.Process(target=write, args=[url, together, counts])
        for _ in range(writers)
    ]
    for each in processes:
        each.start()
    total = sum(counts.get() for _ in processes)
    for each in processes:
        each.join()
    return total / WRITE_SECONDS


def fill(url: str, tasks: int) -> None:
    """Write tasks that are paused."""
    lease = PostgresLease(url)
    lease.acquire(alone=True)
    with closing(TaskLog.postgres(url, lease.fence)) as log:
        for _ in range(tasks):
            task = create()
            task.pause("by hand", [], **SAYS)
            log.save(task)
    lease.release()


def of_postgres(server: PostgresServer, query: str) -> int:
    """Return a number that the server tells."""
    with server.connect() as session:
        (number,) = session.execute(query.encode()).fetchone() or (0,)
    return int(number)


def database_seconds(server: PostgresServer) -> float:
    """Return what the server's sessions have taken of the processors, while they last."""
    with server.connect() as session:
        pids = session.execute("SELECT pid FROM pg_stat_activity").fetchall()
    return sum(processor_seconds(pid) for (pid,) in pids if _lives(pid))


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists()


def share(server: PostgresServer, nodes: int, tasks: int) -> None:
    """Start services on paused tasks, and print what they take."""
    url = server.new_schema()
    fill(url, tasks)
    os.environ[KEY_VARIABLE] = b64encode(secrets.token_bytes(32)).decode()
    store = json.dumps({"storeType": "postgres", "postgres": {"url": url}})
    query = (
        f"SELECT count(*) FROM {url.rpartition('schema=')[2]}.task_owners "  # noqa: S608
        "WHERE token <> '' GROUP BY token ORDER BY 1"
    )
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        services = [Cdc(folder / str(n), AWAY, store=store) for n in range(nodes)]
        began = time.monotonic()
        for each in services:
            each.launch()
            stack.push(each.__exit__)

        def counts() -> list[int]:
            with server.connect() as session:
                return [n for (n,) in session.execute(query.encode()).fetchall()]

        wait_until(lambda: sum(counts()) == tasks, "all are claimed", 300)
        claimed = time.monotonic() - began
        print(f"{tasks} tasks claimed after {claimed:.1f} s, by node: {counts()}")
        wait_until(lambda: even(counts(), nodes), "each has as many", 3600)
        print(f"even after {time.monotonic() - began:.1f} s")
        time.sleep(SETTLE_SECONDS)
        pids = [each.process.pid for each in services if each.process]
        before = [processor_seconds(pid) for pid in pids]
        base, commits = database_seconds(server), _commits(server)
        time.sleep(IDLE_SECONDS)
        of_services = sum(map(processor_seconds, pids)) - sum(before)
        of_database = database_seconds(server) - base
        print(
            f"idle, of a core: a service {of_services / nodes / IDLE_SECONDS:.1%}, the "
            f"database {of_database / IDLE_SECONDS:.1%}; "
            f"{(_commits(server) - commits) / IDLE_SECONDS:.0f} transactions a second; "
            f"{max(map(resident, pids))} MiB the largest service"
        )
        for each in services:
            each.kill()
    print(f"heartbeats alone: {heartbeats(url):.2%} of a core")


def heartbeats(url: str) -> float:
    """Return what part of a core it takes to have a lease, and to count all tasks."""
    lease = PostgresLease(url)
    lease.acquire()
    assert lease.fence is not None
    with closing(TaskLog.postgres(url, lease.fence)) as log:
        owners = TaskOwners(log.database, lease.fence.token)
        began, end = time.process_time(), time.monotonic() + IDLE_SECONDS
        while time.monotonic() < end:
            owners.census()
            time.sleep(PASS_SECONDS)
        spent = time.process_time() - began
    lease.release()
    return spent / IDLE_SECONDS


def even(counts: list[int], nodes: int) -> bool:
    """Tell whether all have tasks, and as many, give or take one."""
    return len(counts) == nodes and max(counts) - min(counts) <= 1


def _commits(server: PostgresServer) -> int:
    return of_postgres(
        server,
        "SELECT xact_commit + xact_rollback FROM pg_stat_database "
        "WHERE datname = current_database()",
    )


def main() -> None:
    """Run both measurements."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--nodes", type=int, default=4)
    arguments = parser.parse_args()
    with running() as server:
        rates = [[rate(server, nodes) for nodes in WRITERS] for _ in range(ROUNDS)]
        print(f"1 node: {statistics.median(r[0] for r in rates):.0f} events a second")
        for place, nodes in enumerate(WRITERS[1:], start=1):
            ratios = sorted(each[place] / each[0] for each in rates)
            print(
                f"{nodes} nodes: {statistics.median(ratios):.2f} of that "
                f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
            )
        share(server, arguments.nodes, arguments.tasks)


if __name__ == "__main__":
    main()
