"""Three services on one PostgreSQL: whatever happens to one, the others have its tasks.

It is killed, stopped and let go on later, told to end, or cut off from the database, which
is killed, too, under a random load at the source, while tasks move to whoever has fewer.
The short form runs with the others;

    python -m pytest -n 0 -s --kills 100 tests/chaos/test_take_over.py

is the long one. It prints, of each kind of fault, how often it was, and the seconds until
the others had all tasks, and until a row that the source was given then was at the target:
one of a task that had to be taken over, and one of each task. With ``--kills 100
--seed 41`` rows were equal; the medians (slowest of twenty) of each kind, and of the rows
without a fault

    cut off          claimed 6.0 (7.0), a row 7.0 (8.1), of each 7.5 (8.3) s
    stopped          claimed 6.3 (7.3), a row 7.1 (8.9), of each 7.3 (9.1) s
    killed           claimed 0.7 (1.4), a row 1.6 (3.6), of each 1.7 (3.9) s
    ended            claimed 0.8 (3.0), a row 1.8 (5.1), of each 1.8 (5.3) s
    database killed  claimed 0.1 (0.3), a row 0.8 (1.2), of each 1.3 (3.6) s
    no fault                            a row 0.7 (2.1), of each 0.8 (2.7) s
"""

from __future__ import annotations

import json
import random
import signal
import statistics
import threading
import time
from collections import defaultdict
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Self
from urllib.request import Request, urlopen

import pytest

from tests.chaos.test_crash import assert_nothing_left_out, compared
from tests.support.audit import audit
from tests.support.books import Books
from tests.support.busy_source import Writer
from tests.support.cdc import Cdc, wait_until
from tests.support.proxy import TcpProxy
from tests.support.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.postgres import PostgresServer

SERVICES = 3
PROBES = ("probe_a", "probe_b", "probe_c", "probe_d")
"""Collections, of which all but the last have a task of their own."""

DATABASE = "database killed"
NOTHING = "(no fault)"
KINDS = ("killed", "stopped", "cut off", "ended", DATABASE)
LATEST = 1.5
"""Seconds after the source begins to be written to."""


class Services:
    """Services on one store, each with its own way to it."""

    def __init__(self, folder: Path, source: EmbeddedMilvus, url: str) -> None:
        address, _, rest = url.rpartition("@127.0.0.1:")
        port, slash, database = rest.partition("/")
        self._open = ExitStack()
        self._ways: dict[Cdc, TcpProxy] = {}
        for number in range(SERVICES):
            way = TcpProxy(int(port))
            there = f"{address}@127.0.0.1:{way.port}{slash}{database}"
            store = {"storeType": "postgres", "postgres": {"url": there}}
            cdc = Cdc(folder / str(number), source, store=json.dumps(store))
            with cdc.config.open("a") as config:
                config.write(f"\nnodeUrl: http://127.0.0.1:{cdc.port}\n")
            self._ways[cdc] = way

    def __enter__(self) -> Self:
        for cdc, way in self._ways.items():
            self._open.enter_context(way)
            self._open.push(cdc.__exit__)
            cdc.start()
        return self

    def __exit__(self, *_: object) -> None:
        for cdc in self._ways:
            if cdc.process is not None:
                cdc.process.send_signal(signal.SIGCONT)
        self._open.close()

    def __iter__(self) -> Iterator[Cdc]:
        return iter(self._ways)

    def wait_claimed(self, tasks: Iterable[str], besides: Cdc | None = None) -> None:
        """Wait until all tasks are of services, another one than ``besides``."""
        wanted = sorted(tasks)
        others = [each for each in self if each is not besides]
        wait_until(
            lambda: sorted(task for each in others for task in own(each)) == wanted,
            "each task is of one of them",
        )

    def wait_even(self) -> None:
        """Wait until none has two tasks more than another."""

        def even() -> bool:
            counts = [len(own(each)) for each in self]
            return max(counts) - min(counts) < 2 and sum(counts) == len(PROBES)

        wait_until(even, "the tasks are spread")

    def break_off(self, kind: str, cdc: Cdc) -> None:
        """Let something happen to one."""
        assert cdc.process is not None
        match kind:
            case "killed":
                cdc.kill()
            case "stopped":
                cdc.process.send_signal(signal.SIGSTOP)
            case "cut off":
                self._ways[cdc].half_open()
            case "ended":
                cdc.process.send_signal(signal.SIGTERM)

    def bring_back(self, kind: str, cdc: Cdc) -> None:
        """Let it go on."""
        assert kind == "killed" or cdc.process is not None
        match kind:
            case "killed":
                cdc.start()
            case "stopped":
                cdc.process.send_signal(signal.SIGCONT)
            case "cut off":
                self._ways[cdc].heal()
            case "ended":
                assert cdc.process.wait(30) == 0
                cdc.start()


def own(cdc: Cdc) -> list[str]:
    """Return the tasks that a service has, as it tells another one."""
    asked = Request(
        f"http://127.0.0.1:{cdc.port}/cdc",
        json.dumps({"request_type": "list"}).encode(),
        {"Content-Type": "application/json", "Cdc-Client": "127.0.0.1"},
    )
    try:
        with urlopen(asked, timeout=5) as answer:
            return [each["task_id"] for each in json.load(answer)["data"]["tasks"]]
    except OSError:
        return []


class Probe:
    """Rows one by one, of collections for this alone."""

    def __init__(self, source: MilvusClient, target: MilvusClient) -> None:
        self._books = {name: Books(source, name).create() for name in PROBES}
        self._target = target
        self._keys = count()

    def wait(self, lost: Sequence[str] = PROBES) -> tuple[float, float]:
        """Insert a row into each; return when the first of ``lost``, and all were there.

        In seconds of the monotonic clock.
        """
        key = next(self._keys)
        for name in sorted(PROBES, key=lambda each: each not in lost):
            self._books[name].insert([key])
        wait_until(
            lambda: any(self._has(name, key) for name in lost),
            f"row {key} of one of {lost} is there",
        )
        first = time.monotonic()
        for name in PROBES:
            wait_until(lambda: self._has(name, key), f"row {key} of {name} is there")  # noqa: B023
        return first, time.monotonic()

    def _has(self, name: str, key: int) -> bool:
        # Any other level would have each look wait for the target's next tick.
        there = {"consistency_level": "Eventually", "output_fields": ["id"]}
        return bool(self._target.query(name, f"id == {key}", **there))


@pytest.fixture
def services(
    source: EmbeddedMilvus,
    tmp_path: Path,
    postgres_url: str,
    store_key: None,
) -> Iterator[Services]:
    """Yield three services that share a store and its key."""
    with Services(tmp_path, source, postgres_url) as services:
        yield services


def kinds_of(moments: random.Random) -> Iterator[str]:
    """Yield kinds of faults, all of them before one comes again."""
    while True:
        yield from moments.sample(KINDS, len(KINDS))


def text_of(times: dict[str, list[tuple[float, float, float]]]) -> str:
    """Return the figures in a line for each kind."""
    return "\n".join(
        f"  {kind:18} {len(each):4}  claimed {spread(claimed for claimed, *_ in each)}"
        f"  a row {spread(first for _, first, _ in each)}"
        f"  of each {spread(last for *_, last in each)}"
        for kind, each in sorted(times.items())
    )


def spread(times: Iterable[float]) -> str:
    """Return median and 99th percentile of seconds."""
    each = sorted(times)
    p99 = each[min(len(each) - 1, int(len(each) * 0.99))]
    return f"p50 {statistics.median(each):.1f}, p99 {p99:.1f} s"


@pytest.mark.timeout(10_000)
def test_rows_are_equal_whatever_happens_to_a_service(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    emptied,
    postgres_server: PostgresServer,
    services: Services,
    seed: int,
    kills: int,
) -> None:
    """Nothing is lost or doubled, and the log that all of them wrote is one chain."""
    moments, times = random.Random(seed), defaultdict(list)
    target = target_milvus
    there, here = emptied(target), emptied(source)
    first, *_ = services
    selected = [[{"name": name}] for name in [*PROBES[:-1], "*"]]
    tasks = [first.create(target.uri, collection_infos=each) for each in selected]
    names = dict(zip(tasks, PROBES, strict=True))
    probe = Probe(here, there)
    services.wait_even()
    with Workload(source.uri, seed, binary_vectors=True) as workload:
        workload.setup()
        writer = Writer(workload.step)
        for kind, _ in zip(kinds_of(moments), range(kills), strict=False):
            writer.go_on()
            threading.Event().wait(moments.uniform(0, LATEST))
            begun = time.monotonic()
            first_row, last_row = probe.wait()
            times[NOTHING].append((0.0, first_row - begun, last_row - begun))
            victim = moments.choice([each for each in services if own(each)])
            lost = [names[task] for task in own(victim)]
            begun = time.monotonic()
            if kind == DATABASE:
                postgres_server.kill()
                postgres_server.start()
                services.wait_claimed(tasks)
                lost = list(PROBES)
            else:
                services.break_off(kind, victim)
                services.wait_claimed(tasks, besides=victim)
            claimed = time.monotonic() - begun
            first_row, last_row = probe.wait(lost)
            times[kind].append((claimed, first_row - begun, last_row - begun))
            writer.pause()
            if kind != DATABASE:
                services.bring_back(kind, victim)
                services.wait_even()
        for task in tasks:
            first.wait_caught_up(task, 240)
        report = compared(source.uri, target.uri)
        text = f"seed {seed}, equal: {report.equal}\n{text_of(times)}"
        print(text)  # noqa: T201 - the figures
        assert report.equal, f"{text}\n{report}\nwritten: {workload.rows()}"
    for task in tasks:
        assert_nothing_left_out(first, task)
    audit(first.config, "verify")
    here.close()
    there.close()
