"""A task whose target is its source writes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.config import (
    Config,
    Etcd,
    MetaStoreConfig,
    Natsmq,
    SourceConfig,
    Sqlite,
)
from cdc_actors.service.service import Service
from cdc_actors.tasks import ConnectParam, TaskSpec, Who
from tests.support.books import Books
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.cdc import Cdc

CLIENT = Who(kind="client", address="127.0.0.1")
ROWS = 20


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("empty", [True, False], ids=["empty", "with rows"])
def test_create_is_refused(
    source: EmbeddedMilvus,
    client: MilvusClient,
    cdc: Cdc,
    host: str,
    empty: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Whatever the address, and whether or not there are collections to be compared."""
    if not empty:
        Books(client).create().insert(range(ROWS))
    param = {"host": host, "port": source.ports["api"]}
    status, answer = cdc.request(
        "create", milvus_connect_param=param, collection_infos=[{"name": "*"}]
    )
    assert status == 422
    assert "is the source itself" in answer["message"]
    assert cdc.ask("list")["tasks"] == []


@pytest.fixture
def unwary(
    source: EmbeddedMilvus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Service]:
    """Yield a service that does not look at the target of a ``create``."""
    monkeypatch.setattr(
        "cdc_actors.service.target_trial.refuse_source", lambda *_: None
    )
    service = Service(
        Config(
            meta_store_config=MetaStoreConfig(
                sqlite=Sqlite(path=str(tmp_path / "cdc.db"))
            ),
            source_config=SourceConfig(
                uri=source.uri,
                etcd=Etcd(address=(source.etcd_address,)),
                natsmq=Natsmq(address=source.nats_address),
            ),
        )
    )
    service.start()
    yield service
    service.stop(10)


def test_task_of_an_earlier_version_stops_before_it_writes(
    source: EmbeddedMilvus, client: MilvusClient, unwary: Service
) -> None:
    """It pauses with the reason when it is started, and every row is where it was."""
    Books(client).create().insert(range(ROWS))
    spec = TaskSpec(target=ConnectParam(uri=source.uri), collection_infos=("*",))
    task = unwary.create(None, spec, CLIENT)
    wait_until(lambda: unwary.get(task).state == "Paused", "the task has paused")
    assert "is the source itself" in (unwary.get(task).health.error or "")
    assert unwary.get(task).collections == ()
    rows = client.query("books", output_fields=["count(*)"], consistency_level="Strong")
    assert rows[0]["count(*)"] == ROWS
