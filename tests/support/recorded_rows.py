"""What a task has brought of a recorded life to a real target."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from pymilvus import MilvusClient

from cdc_actors.grpc_common import NO_KEEPALIVE
from cdc_actors.tasks import CollectionState
from tests.support.cdc import wait_until
from tests.support.recorded_life import end, is_same

if TYPE_CHECKING:
    from collections.abc import Collection

    from cdc_actors.changes import Key
    from tests.fakes.recorded_source import RecordedPipeline


def aside(pipeline: RecordedPipeline) -> dict[str, str | None]:
    """Wait until all is confirmed; return why collections are set aside, by name."""
    wait_until(lambda: _is_settled(pipeline), "all is confirmed")
    entries = pipeline.task.task.collections.values()
    return {e.name: e.reason for e in entries if e.state is CollectionState.SET_ASIDE}


def check_all_rows(uri: str, version: str, without: Collection[str]) -> None:
    """Check every collection that a life left, but for some."""
    for (database, name), wanted in end(version).rows.items():
        if name not in without:
            with closing(
                MilvusClient(
                    uri, db_name=database, dedicated=True, grpc_options=NO_KEEPALIVE
                )
            ) as client:
                check_rows(client, name, wanted)


def check_rows(
    client: MilvusClient, name: str, wanted: dict[Key, tuple[str, dict[str, Any]]]
) -> None:
    """Check that a collection has the rows that its client gave, and no others."""
    client.load_collection(name)
    found = client.query(name, filter="", limit=1000, output_fields=["*"])
    [key] = {f["name"] for f in client.describe_collection(name)["fields"][:1]}
    rows = {row[key]: row for row in found}
    assert rows.keys() == wanted.keys()
    assert len(rows) == len(found)
    for each, (_, values) in wanted.items():
        row = rows[each]
        assert {f: v for f, v in values.items() if not is_same(v, row.get(f))} == {}, (
            row
        )


def _is_settled(pipeline: RecordedPipeline) -> bool:
    """Tell whether all of the log is confirmed."""
    assert pipeline.task.failures == []
    return pipeline._is_settled()
