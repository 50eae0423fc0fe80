"""Three services on one PostgreSQL: whatever happens to the working one, another goes on.

It is killed, stopped and let go on later, told to end, or cut off from the database, which
is killed, too, under a random load at the source. The short form runs with the others;

    python -m pytest -n 0 -s --kills 100 tests/chaos/test_take_over.py

is the long one. It prints, of each kind of fault, how often it was, and the seconds until
another service worked, and until a row that the source was given then was at the target.
With ``--kills 25 --seed 10`` rows were equal, and the slowest of five of each kind was

    cut off          works 7.5, row 10.7 s        killed           works 0.8, row 4.0 s
    stopped          works 7.4, row  9.9 s        ended            works 3.1, row 5.8 s
    database killed  works 0.4, row  2.1 s
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

import pytest

from tests.chaos.test_crash import assert_nothing_left_out, compared
from tests.support.audit import audit
from tests.support.books import Books
from tests.support.busy_source import Writer
from tests.support.cdc import Cdc, wait_until
from tests.support.postgres import postgres_server, postgres_url  # noqa: F401
from tests.support.proxy import TcpProxy
from tests.support.workload import Workload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.postgres import PostgresServer

SERVICES = 3
DATABASE = "database killed"
KINDS = ("killed", "stopped", "cut off", "ended", DATABASE)
LATEST = 1.5
"""Seconds after the source begins to be written to."""


class Services:
    """Services on one store, each with its own way to it, of which one works."""

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
            self._ways[cdc] = way

    def __enter__(self) -> Self:
        for cdc, way in self._ways.items():
            self._open.enter_context(way)
            self._open.push(cdc.__exit__)
            cdc.launch()
        return self

    def __exit__(self, *_: object) -> None:
        for cdc in self._ways:
            if cdc.process is not None:
                cdc.process.send_signal(signal.SIGCONT)
        self._open.close()

    def owner(self, besides: Cdc | None = None) -> Cdc:
        """Wait for the one that works, another one than ``besides``, and return it."""
        found: list[Cdc] = []

        def works() -> bool:
            others = (each for each in self._ways if each is not besides)
            found.extend(each for each in others if each.request("list")[0] == 200)
            return bool(found)

        wait_until(works, "one of the services works")
        return found[0]

    def break_off(self, kind: str, owner: Cdc) -> None:
        """Let something happen to the one that works."""
        assert owner.process is not None
        match kind:
            case "killed":
                owner.kill()
            case "stopped":
                owner.process.send_signal(signal.SIGSTOP)
            case "cut off":
                self._ways[owner].half_open()
            case "ended":
                owner.process.send_signal(signal.SIGTERM)

    def bring_back(self, kind: str, former: Cdc) -> None:
        """Let it go on, and wait until it knows that another one works."""
        assert kind == "killed" or former.process is not None
        match kind:
            case "killed":
                former.launch()
            case "stopped":
                former.process.send_signal(signal.SIGCONT)
            case "cut off":
                self._ways[former].heal()
            case "ended":
                assert former.process.wait(30) == 0
                former.launch()
        wait_until(
            lambda: "belongs to" in former.request("list")[1].get("message", ""),
            f"it waits, {former.log}",
        )


class Probe:
    """Rows one by one, of a collection for this alone."""

    def __init__(self, source: MilvusClient, target: MilvusClient) -> None:
        self._books = Books(source, "probe").create()
        self._target = target
        self._keys = count()

    def wait(self) -> None:
        """Insert a row, and wait until it is at the target."""
        key = next(self._keys)
        self._books.insert([key])
        there = {"consistency_level": "Strong", "output_fields": ["id"]}
        wait_until(
            lambda: bool(self._target.query("probe", f"id == {key}", **there)),
            f"row {key} is there",
        )


@pytest.fixture
def services(
    source: EmbeddedMilvus,
    tmp_path: Path,
    postgres_url: str,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Services]:
    """Yield three services that share a store and its key."""
    monkeypatch.setenv("CDC_ACTORS_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    with Services(tmp_path, source, postgres_url) as services:
        yield services


def kinds_of(moments: random.Random) -> Iterator[str]:
    """Yield kinds of faults, all of them before one comes again."""
    while True:
        yield from moments.sample(KINDS, len(KINDS))


def text_of(times: dict[str, list[tuple[float, float]]]) -> str:
    """Return the figures in a line for each kind."""
    return "\n".join(
        f"  {kind:18} {len(each):4}  works {spread(works for works, _ in each)}"
        f"  row {spread(row for _, row in each)}"
        for kind, each in sorted(times.items())
    )


def spread(times: Iterable[float]) -> str:
    """Return median and 99th percentile of seconds."""
    each = sorted(times)
    p99 = each[min(len(each) - 1, int(len(each) * 0.99))]
    return f"p50 {statistics.median(each):.1f}, p99 {p99:.1f} s"


@pytest.mark.timeout(10_000)
def test_rows_are_equal_whatever_happens_to_who_works(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    emptied,
    postgres_server: PostgresServer,  # noqa: F811
    services: Services,
    seed: int,
    kills: int,
) -> None:
    """Nothing is lost or doubled, and the log that all of them wrote is one chain."""
    moments, times = random.Random(seed), defaultdict(list)
    target = target_milvus
    there, here = emptied(target), emptied(source)
    owner = services.owner()
    task = owner.create(target.uri)
    probe = Probe(here, there)
    with Workload(source.uri, seed, binary_vectors=True) as workload:
        workload.setup()
        writer = Writer(workload.step)
        for kind, _ in zip(kinds_of(moments), range(kills), strict=False):
            writer.go_on()
            threading.Event().wait(moments.uniform(0, LATEST))
            begun, former = time.monotonic(), owner
            if kind == DATABASE:
                postgres_server.kill()
                postgres_server.start()
                owner = services.owner()
            else:
                services.break_off(kind, former)
                owner = services.owner(besides=former)
            works = time.monotonic() - begun
            probe.wait()
            times[kind].append((works, time.monotonic() - begun))
            writer.pause()
            if kind != DATABASE:
                services.bring_back(kind, former)
        owner.wait_caught_up(task, 240)
        report = compared(source.uri, target.uri)
        text = f"seed {seed}, equal: {report.equal}\n{text_of(times)}"
        print(text)  # noqa: T201 - the figures
        assert report.equal, f"{text}\n{report}\nwritten: {workload.rows()}"
    assert_nothing_left_out(owner, task)
    audit(owner.config, "verify")
    here.close()
    there.close()
