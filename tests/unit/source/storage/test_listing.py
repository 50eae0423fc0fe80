"""What the catalog says of a collection's files."""

from __future__ import annotations

import pytest

from cdc_actors.source.storage import segments_pb2
from cdc_actors.source.storage.listing import checkpoints, listing, prefixes, written_at
from tests.unit.source.storage.test_rows import meta

SHARD = "dml_0_1v0"
FLUSHED, DROPPED, IMPORTING = 4, 6, 7


def segment(**fields: object) -> tuple[str, bytes]:
    """Return what the catalog has of a segment."""
    made = segments_pb2.Segment(id=5, partition_id=7, channel=SHARD, **fields)
    return "datacoord-meta/s/1/7/5", made.SerializeToString()


@pytest.mark.parametrize(
    ("state", "is_importing", "expected"),
    [
        (FLUSHED, False, False),
        (FLUSHED, True, True),
        (IMPORTING, True, True),
        (DROPPED, True, False),
    ],
)
def test_import_under_way_is_told(state, is_importing, expected):
    """One that failed is not waited for: its segments are dropped."""
    found = listing(meta(), [segment(state=state, is_importing=is_importing)])
    assert found.is_importing == expected
    assert found.segments == ()


def test_checkpoints_are_those_of_the_collection():
    """A name that begins like that of a shard is another one's."""
    at = segments_pb2.Position(message_id=b"m", timestamp=9).SerializeToString()
    pairs = [(f"datacoord-meta/channel-cp/{SHARD}{more}", at) for more in ("", "7")]
    assert {
        name: each.timestamp for name, each in checkpoints(meta(), pairs).items()
    } == {SHARD: 9}
    assert set(written_at(meta())) < set(prefixes(meta()))
