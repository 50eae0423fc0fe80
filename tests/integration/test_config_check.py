"""``config check`` as an operator sees it, on a real source and on none."""

from __future__ import annotations

import json
from contextlib import closing
from typing import TYPE_CHECKING

import grpc
import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import main
from tests.support.books import Books
from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result
    from pymilvus import MilvusClient

    from cdc_actors.embedded.lite import EmbeddedLite
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
    assert [first for first, _ in lines] == ["ok"] * 6
    assert "store          sqlite, 0 tasks" in result.output
    assert f"source api     Milvus v2.3.5-lite at {server.uri}" in result.output
    assert "source version 2.3.5" in result.output
    assert "etcd           1 collection in 1 database" in result.output
    assert "in use; the log holds every collection's beginning" in result.output


def test_an_address_alone_of_an_older_source(
    source: EmbeddedMilvus, file: Path
) -> None:
    """Its API does not tell its log: what else is needed is said, by every part."""
    result = check(file, {"uri": source.uri})
    assert result.exit_code == 4
    for part in ("source version", "catalog", "message queue", "channels"):
        line = next(each for each in result.output.splitlines() if f" {part}" in each)
        assert line.startswith("FAILED"), line
        assert "the source is Milvus 2.3.5, whose API does not tell all of its" in line
        assert "name its etcd in sourceConfig.etcd.address" in line


def test_nothing_is_there(file: Path) -> None:
    """What cannot be reached is said part by part with the reason; status 4.

    What has no effect is said on standard error, as by ``config show``.
    """
    source = {
        "readChanLen": 4,
        "uri": f"http://{NOBODY}",
        "etcd": {"address": [f"http://{NOBODY}"]},
        "natsmq": {"address": f"nats://{NOBODY}"},
    }
    result = check(file, source, "-o", "json")
    assert result.exit_code == 4, result.output
    assert result.stderr.startswith("Warning: Keys of milvus-cdc without effect here")
    found = {each["part"]: each for each in json.loads(result.stdout)}
    assert found["store"]["ok"]
    for part in ("source api", "source version", "etcd", "message queue", "channels"):
        assert not found[part]["ok"]
        assert NOBODY in found[part]["words"], part


@pytest.mark.parametrize("scheme", ["http://", ""])
def test_no_credential_is_repeated(file: Path, scheme: str) -> None:
    """Neither by the parts nor by the libraries that could not read the address."""
    login = f"user:Zq7secret@{NOBODY}"
    source = {
        "uri": f"http://{login}",
        "etcd": {"address": [f"{scheme}{login}"]},
        "kafka": {"address": login},
    }
    result = check(file, source)
    assert result.exit_code == 4, result.output
    shown = CliRunner().invoke(main, ["config", "show", "--config", str(file)])
    for output in (result.output, shown.output):
        assert "Zq7" not in output
        assert f"user:******@{NOBODY}" in output


def test_a_source_that_is_too_old(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its version and those that can be a source are said, wherever one asks."""
    session = b"old/meta/session/rootcoord", b'{"Version":"2.1.4"}'
    put = b"".join(
        bytes([tag, len(x)]) + x for tag, x in zip(b"\n\x12", session, strict=True)
    )
    with grpc.insecure_channel(source.etcd_address.removeprefix("http://")) as channel:
        channel.unary_unary("/etcdserverpb.KV/Put")(put, timeout=60)
    etcd = {"address": [source.etcd_address], "rootPath": "old"}
    result = check(file, {"uri": source.uri, "etcd": etcd, **source.queue})
    assert result.exit_code == 4, result.output
    words = "the source is Milvus 2.1.4; what can be replicated from are the versions"
    assert words in result.output
    monkeypatch.setenv("CDC_ACTORS_SOURCE_CONFIG__ETCD__ROOT_PATH", "old")
    with Cdc(tmp_path / "cdc", source) as cdc:
        wait_until(
            lambda: "source version" in cdc.probe("/readyz")[1].get("missing", {}),
            "the version is known",
        )
        status, ready = cdc.probe("/readyz")
        assert (status, words in ready["missing"]["source version"]) == (503, True)
        target = {"uri": target_lite.uri}
        everything = [{"name": "*"}]
        status, answer = cdc.request(
            "create", milvus_connect_param=target, collection_infos=everything
        )
        assert (status, words in answer["message"]) == (422, True)


def test_an_api_that_is_another_milvus(
    source: EmbeddedMilvus, target_milvus: EmbeddedMilvus, emptied, file: Path
) -> None:
    """It is found out with and without collections; the setting is named."""
    emptied(source).close()
    with closing(emptied(target_milvus)) as client:
        settings = {
            "uri": target_milvus.uri,
            "etcd": {"address": [source.etcd_address]},
            **source.queue,
        }
        result = check(file, settings)
        assert result.exit_code == 4, result.output
        words = f"sourceConfig.uri {target_milvus.uri} is not the Milvus of"
        assert words in result.output
        assert "their root coordinators are" in result.output
        Books(client).create(index=False)
        assert words in check(file, settings).output


def test_a_channel_of_requests_that_is_another_milvuss(
    source: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    client: MilvusClient,
    file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The right one is proposed, wherever one asks; without a collection none is known."""
    chosen = {
        "uri": source.uri,
        "etcd": {"address": [source.etcd_address]},
        **source.queue,
    }
    Books(client).create()
    for name in ("prod-replicate-msg", "by-dev-requests"):
        result = check(file, chosen | {"replicateChan": name})
        assert result.exit_code == 4, result.output
        assert f"sourceConfig.replicateChan is {name}" in result.output
        assert "set it to by-dev-replicate-msg" in result.output
    variable = "CDC_ACTORS_SOURCE_CONFIG__REPLICATE_CHAN"
    monkeypatch.setenv(variable, "prod-replicate-msg")
    with Cdc(tmp_path / "cdc", source) as cdc:
        name = "sourceConfig.replicateChan"
        wait_until(
            lambda: name in cdc.probe("/readyz")[1].get("missing", {}),
            "the channel is known to be wrong",
        )
        status, answer = cdc.request(
            "create",
            milvus_connect_param={"uri": target_lite.uri},
            collection_infos=[{"name": "*"}],
        )
        assert status == 422
        assert "set it to by-dev-replicate-msg" in answer["message"]


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
