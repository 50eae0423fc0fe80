"""Bulk imports into a real Milvus."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from pymilvus.grpc_gen import common_pb2, milvus_pb2

from tests.support.books import book
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pymilvus import MilvusClient

    from cdc_actors.embedded.milvus import EmbeddedMilvus


def bulk_import(
    source: EmbeddedMilvus, client: MilvusClient, name: str, keys: Iterable[int]
) -> None:
    """Import books into a collection of the source, and wait until that is done."""
    path = source.folder / "data" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"rows": [book(key) for key in keys]}))
    stub = client._get_connection()._stub
    asked = stub.Import(
        milvus_pb2.ImportRequest(
            collection_name=name, files=[str(path)], row_based=True
        )
    )
    request = milvus_pb2.GetImportStateRequest(task=asked.tasks[0])
    wait_until(
        lambda: stub.GetImportState(request).state == common_pb2.ImportCompleted,
        "it is imported",
        timeout=200,
    )
