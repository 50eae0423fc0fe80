"""What the catalog says of a collection's files."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.errors import CollectionError
from cdc_actors.source.storage import segments_pb2
from cdc_actors.source.storage.listing import (
    FileSet,
    StoredFile,
    checkpoints,
    listing,
    prefixes,
    written_at,
)
from tests.unit.source.storage.test_rows import meta

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.source.storage.listing import Listing

SHARD = "dml_0_1v0"
FLUSHED, DROPPED, IMPORTING = 4, 6, 7


def segment(number: int = 5, partition: int = 7, **fields: Any) -> tuple[str, bytes]:
    """Return what the catalog has of a segment."""
    fields = {"channel": SHARD, "state": FLUSHED} | fields
    made = segments_pb2.Segment(id=number, partition_id=partition, **fields)
    return f"datacoord-meta/s/1/{partition}/{number}", made.SerializeToString()


def files(
    kind: str,
    place: str,
    *numbers: int,
    fields: Iterable[int] = (),
    path: str = "",
) -> tuple[str, bytes]:
    """Return what the catalog has of a segment's files of a field or group, or deletes."""
    made = segments_pb2.FieldFiles(child_fields=fields)
    for each in numbers:
        made.files.add(id=each, rows=3, size=10, path=path)
    return f"datacoord-meta/{kind}/1/{place}", made.SerializeToString()


def deletes_of(found: Listing) -> dict[int, list[str]]:
    """Return the paths of deletes by segment."""
    return {
        s.id: [each.path for each in chain(s.deletes, *s.shared)]
        for s in found.segments
    }


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


def test_segments_of_both_forms_in_one_collection() -> None:
    """A file a field (until 2.5), or a group (2.6): the n-th belong together."""
    pairs = [
        segment(5),
        files("binlog", "7/5/1", 11, 12),
        files("binlog", "7/5/100", 13, 14),
        segment(6, storage_version=2, commit_timestamp=8),
        files("binlog", "7/6/0", 21, 22, fields=(0, 1, 100)),
        files("binlog", "7/6/101", 23, 24, fields=(101,)),
    ]

    def file(place: str) -> StoredFile:
        return StoredFile(f"insert_log/1/7/{place}", 3, 10)

    own, groups = listing(meta(), pairs).segments
    assert own.sets == (
        FileSet({1: file("5/1/11"), 100: file("5/100/13")}),
        FileSet({1: file("5/1/12"), 100: file("5/100/14")}),
    )
    fields = {0: (0, 1, 100), 101: (101,)}
    assert groups.sets == (
        FileSet({0: file("6/0/21"), 101: file("6/101/23")}, fields),
        FileSet({0: file("6/0/22"), 101: file("6/101/24")}, fields),
    )
    assert (groups.rows, groups.size) == (6, 40)
    assert (own.committed, groups.committed) == (0, 8)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"storage_version": 3}, "version 3 of Milvus's storage"),
        ({"storage_version": 2, "manifest_path": "a/b"}, "manifest of their own"),
    ],
)
def test_forms_that_are_not_read(fields: dict[str, Any], reason: str) -> None:
    """They are named; what is dropped does not matter."""
    with pytest.raises(CollectionError, match=f"the files of default.c are .*{reason}"):
        listing(meta(), [segment(**fields)])
    assert listing(meta(), [segment(state=DROPPED, **fields)]).segments == ()


def test_files_of_which_it_is_not_known_which_belong_together() -> None:
    """Nothing is guessed."""
    pairs = [
        segment(),
        files("binlog", "7/5/1", 11, 12),
        files("binlog", "7/5/100", 13),
    ]
    with pytest.raises(CollectionError, match=r"the segment 5 of default\.c"):
        listing(meta(), pairs)


def test_deletes_of_a_shard_and_of_one_partition() -> None:
    """Segments of nothing but deletes (2.4): for all partitions, or for theirs."""
    other = "dml_1_1v1"
    pairs = [
        *(segment(n, p) for n, p in ((5, 7), (6, 8))),
        segment(9, 7, channel=other),
        segment(1, -1, level=1),
        segment(2, 7, level=1),
        segment(3, -1, level=1, channel=other),
        segment(4, -1, level=1, state=DROPPED),
        *(files("binlog", f"{place}/1", 10) for place in ("7/5", "8/6", "7/9")),
        files("deltalog", "7/5/100", 15),
        files("deltalog", "8/6/0"),
        *(files("deltalog", f"-1/{number}/100", number) for number in (1, 3, 4)),
        files("deltalog", "7/2/0", 2),
    ]
    assert deletes_of(listing(meta(), pairs)) == {
        5: ["delta_log/1/7/5/15", "delta_log/1/-1/1/1", "delta_log/1/7/2/2"],
        6: ["delta_log/1/-1/1/1"],
        9: ["delta_log/1/-1/3/3"],
    }


@pytest.mark.parametrize(
    ("fields", "is_live"),
    [
        ({}, True),
        ({"is_invisible": True}, True),
        ({"created_by_compaction": True}, True),
        ({"is_invisible": True, "created_by_compaction": True}, False),
        ({"level": 2, "state": 2}, True),
        ({"state": 5}, True),
        ({"state": 1}, False),
        ({"is_fake": True}, False),
    ],
)
def test_which_segments_are_live(
    fields: dict[str, Any],
    is_live: bool,  # noqa: FBT001
) -> None:
    """One that is not seen yet is (2.5), unless it was made of others, which are then."""
    pairs = [segment(**fields), files("binlog", "7/5/1", 11)]
    assert bool(listing(meta(), pairs).segments) == is_live


@pytest.mark.parametrize(
    "path",
    ["files/insert_log/1/7/5/1/11", "insert_log/1/7/5/1/11", "a/insert_log/1/7/5/1/11"],
)
def test_a_path_that_is_written_down(path: str) -> None:
    """It is read below the root that the configuration has."""
    pairs = [segment(), files("binlog", "7/5/1", 11, path=path)]
    [one] = listing(meta(), pairs).segments
    assert one.sets[0].files[1].path == "insert_log/1/7/5/1/11"


def test_bytes_of_all_files() -> None:
    """Files of rows and of deletes count once; of one without a size none is known."""
    shared = segment(6, level=1), files("deltalog", "7/6/0", 30)
    pairs = [
        *(each for n in (5, 8) for each in (segment(n), files("binlog", f"7/{n}/1", n)))
    ]
    assert listing(meta(), pairs).size == 20
    assert listing(meta(), [*pairs, *shared]).size == 30
    unknown = segments_pb2.FieldFiles()
    unknown.files.add(id=9, rows=3)
    more = "datacoord-meta/binlog/1/7/9/1", unknown.SerializeToString()
    assert listing(meta(), [*pairs, segment(9), more]).size is None
