"""The store's PostgreSQL has trouble: it is said, rows wait or go on, and none is lost."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.audit import audit
from tests.support.books import Books, wait_equal, wait_keys
from tests.support.cdc import Cdc, wait_until
from tests.support.postgres import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg
    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.usefixtures("store_key")

SLOW = """
CREATE OR REPLACE FUNCTION {schema}.wait() RETURNS trigger LANGUAGE plpgsql AS
'BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END';
CREATE TRIGGER slow BEFORE INSERT OR UPDATE ON {schema}.{table}
FOR EACH ROW EXECUTE FUNCTION {schema}.wait()
"""
TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
END_SESSIONS = (
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
    "WHERE application_name LIKE 'cdc-actors-%'"
)
ROUNDS = 20


def service(folder: Path, source: EmbeddedMilvus, url: str) -> Cdc:
    """Return a service that keeps its store in PostgreSQL, not started."""
    store = {"storeType": "postgres", "postgres": {"url": url}}
    return Cdc(folder, source, store=json.dumps(store))


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Yield a folder that holds four megabytes, of whom PostgreSQL runs as."""
    folder = Path(tempfile.mkdtemp(prefix="cdc-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(folder)]
    try:
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            pytest.skip("this user cannot mount a small disk")
        shutil.chown(folder, "nobody")
        yield folder
    finally:
        subprocess.run(["umount", "-lq", str(folder)], check=False)
        folder.rmdir()


@contextmanager
def full(folder: Path) -> Iterator[None]:
    """Fill a disk."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(1024))
    yield
    filler.unlink()


def test_its_disk_is_full(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    small_disk: Path,
    tmp_path: Path,
) -> None:
    """What cannot be written down is not done, and said; then all goes on by itself."""
    with running() as server:
        with server.connect() as session:
            session.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'".encode())
            session.execute("ALTER DATABASE postgres SET default_tablespace = small")
        with service(tmp_path, source, server.new_schema()) as cdc:
            books = Books(client).create()
            books.insert(range(10))
            task = cdc.create(target_lite.uri, collection_infos=[{"name": "books"}])
            wait_keys(lite, range(10))
            with full(small_disk):
                answer = refusal(cdc, task)
                assert "No space left on device" in answer["message"], answer
                assert cdc.probe("/livez")[0] == 200
                before = cdc.get(task)["state"]
                books.insert(range(10, 20))
                wait_until(lambda: cdc.probe("/readyz")[0] == 503, "it is not ready")
            wait_until(lambda: cdc.probe("/readyz")[0] == 200, "it is ready again")
            assert cdc.get(task)["state"] == before
            cdc.request("resume", task_id=task)
            wait_equal(source, target_lite)
            audit(cdc.config, "verify")


def refusal(cdc: Cdc, task: str) -> dict[str, Any]:
    """Pause and resume a task until one of that is refused; return the answer."""
    while True:
        for kind in ("pause", "resume"):
            status, answer = cdc.request(kind, task_id=task)
            if status != 200:
                assert status == 503, answer
                return answer


@pytest.fixture
def started(
    source: EmbeddedMilvus,
    tmp_path: Path,
    postgres_url: str,
) -> Iterator[tuple[Cdc, str]]:
    """Yield a service, and the schema of its store."""
    with service(tmp_path, source, postgres_url) as cdc:
        yield cdc, postgres_url.rpartition("schema=")[2]


def slow_down(session: psycopg.Connection[Any], schema: str) -> None:
    """Have each row that is written take as long as on a disk that is overloaded."""
    for (table,) in session.execute(TABLES, [schema]).fetchall():
        session.execute(SLOW.format(schema=schema, table=table).encode())


@pytest.mark.parametrize("trouble", ["sessions end", "slow"])
def test_rows_are_equal_though_it_has_trouble(
    trouble: str,
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    lite: MilvusClient,
    started: tuple[Cdc, str],
    postgres_server: PostgresServer,
) -> None:
    """Its disk takes half a second for a row, or its sessions are ended all the time."""
    cdc, schema = started
    books = Books(client).create()
    task = cdc.create(target_lite.uri, collection_infos=[{"name": "books"}])
    with postgres_server.connect() as session:
        if trouble == "slow":
            slow_down(session, schema)
        for number in range(ROUNDS):
            books.insert(range(10 * number, 10 * number + 10))
            books.upsert(range(10 * number, 10 * number + 5))
            if trouble == "sessions end":
                session.execute(END_SESSIONS)
            elif number % 5 == 0:
                cdc.ask("pause", task_id=task)
                cdc.ask("resume", task_id=task)
        wait_keys(lite, range(10 * ROUNDS))
        assert cdc.get(task)["state"] == "Running"
    wait_equal(source, target_lite)
    audit(cdc.config, "verify")
