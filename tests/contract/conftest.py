"""The message queues for the contract of the readers."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from cdc_actors.embedded.milvus import EmbeddedMilvus
from tests.support.wal import MemoryWal, NatsWal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.wal import Wal


@pytest.fixture(scope="session")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMilvus]:
    """A real Milvus, for the NATS server inside it."""
    with EmbeddedMilvus(tmp_path_factory.mktemp("milvus")) as server:
        yield server


@pytest.fixture
def natsmq(milvus: EmbeddedMilvus) -> Iterator[NatsWal]:
    """The queue natsmq."""
    wal = NatsWal(milvus)
    yield wal
    wal.close()


@pytest.fixture(params=["memory", "natsmq"])
def wal(request: pytest.FixtureRequest) -> Wal:
    """Each queue in turn."""
    if request.param == "memory":
        return MemoryWal()
    return request.getfixturevalue("natsmq")


@pytest.fixture
def channel() -> str:
    """A channel that no other test uses."""
    return f"test-{uuid.uuid4().hex}"
