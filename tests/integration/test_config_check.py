"""``config check`` as an operator sees it, on a real source and on none."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import main
from tests.support.books import Books

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus

NOBODY = "127.0.0.1:1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return where the configuration goes."""
    return tmp_path / "cdc.yaml"


def check(file: Path, source: dict[str, object], *options: str) -> Result:
    """Write a configuration with this source; check it."""
    store = {"sqlite": {"path": str(file.parent / "cdc.db")}}
    content = {"metaStoreConfig": store, "sourceConfig": source}
    file.write_text(json.dumps(content), "utf-8")
    return CliRunner().invoke(
        main, ["config", "check", "--config", str(file), *options]
    )


@pytest.mark.parametrize("kind", ["source", "source_rocksmq"])
def test_everything_works(
    kind: str, file: Path, emptied, request: pytest.FixtureRequest
) -> None:
    """Each part has a line that says what is there; status 0."""
    server: EmbeddedMilvus = request.getfixturevalue(kind)
    client: MilvusClient = emptied(server)
    Books(client).create(index=False)
    client.close()
    etcd = {"address": [server.etcd_address]}
    result = check(file, {"uri": server.uri, "etcd": etcd, **server.queue})
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=1) for line in result.output.splitlines()]
    assert [first for first, _ in lines] == ["ok"] * 5
    assert "store          sqlite, 0 tasks" in result.output
    assert f"source api     Milvus v2.3.5-lite at {server.uri}" in result.output
    assert "etcd           1 collections in 1 databases" in result.output
    assert "in use; the log holds every collection's beginning" in result.output


def test_nothing_is_there(file: Path) -> None:
    """What cannot be reached is said part by part with the reason; status 4."""
    source = {
        "uri": f"http://{NOBODY}",
        "etcd": {"address": [f"http://{NOBODY}"]},
        "natsmq": {"address": f"nats://{NOBODY}"},
    }
    result = check(file, source, "-o", "json")
    assert result.exit_code == 4, result.output
    found = {each["part"]: each for each in json.loads(result.output)}
    assert found["store"]["ok"]
    for part in ("source api", "etcd", "message queue", "channels"):
        assert not found[part]["ok"]
        assert NOBODY in found[part]["words"], part


def test_another_queue_than_the_sources(
    source: EmbeddedMilvus, source_rocksmq: EmbeddedMilvus, emptied, file: Path
) -> None:
    """A queue that works, but has not the source's channels, is found out."""
    client = emptied(source_rocksmq)
    Books(client).create(index=False)
    client.close()
    etcd = {"address": [source_rocksmq.etcd_address]}
    emptied(source).close()
    result = check(file, {"uri": source_rocksmq.uri, "etcd": etcd, **source.queue})
    assert result.exit_code == 4, result.output
    assert "is it the queue of this source?" in result.output or (
        "no longer holds the beginning of default.books" in result.output
    )
