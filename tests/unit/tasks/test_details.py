"""What events hold of operations, written and read again: the JSON is a file format."""

from __future__ import annotations

import pytest

from cdc_actors.tasks import (
    CREATE_INDEX,
    DROP_INDEX,
    LOAD_PARTITIONS,
    RELEASE_COLLECTION,
    RENAME_COLLECTION,
    Loaded,
    Operation,
)
from cdc_actors.tasks.details import (
    AliasDetail,
    Detail,
    IndexDetail,
    LoadDetail,
    PropertiesDetail,
    RenameDetail,
    begun_detail,
)

DETAILS = [
    (
        RENAME_COLLECTION,
        RenameDetail(("db", "new"), loaded=True),
        {"to_database": "db", "to_name": "new", "loaded": True},
    ),
    (
        CREATE_INDEX,
        IndexDetail(7, {"field_name": "vector"}, "by_vector"),
        {"index": 7, "index_name": "by_vector", "request": {"field_name": "vector"}},
    ),
    (
        DROP_INDEX,
        IndexDetail(7, {"index_name": "by_vector"}),
        {"index": 7, "request": {"index_name": "by_vector"}},
    ),
    (
        LOAD_PARTITIONS,
        LoadDetail({"replica_number": 1}, Loaded(False, frozenset({2, 1}))),
        {"request": {"replica_number": 1}, "whole": False, "loaded": [1, 2]},
    ),
    (
        RELEASE_COLLECTION,
        LoadDetail({}, None),
        {"request": {}, "whole": False},
    ),
]


@pytest.mark.parametrize(("kind", "detail", "json"), DETAILS)
def test_what_may_have_begun(kind: str, detail: Detail, json: dict) -> None:
    """The next run reads what the one before wrote."""
    assert detail.to_json() == json
    begun = Operation(kind=kind, timestamp=1, database="db", name="old", detail=json)
    assert begun_detail(begun) == detail


def test_what_is_only_written() -> None:
    """A rename that has not begun does not say whether the collection is loaded."""
    assert RenameDetail(("db", "new")).to_json() == {
        "to_database": "db",
        "to_name": "new",
    }
    assert AliasDetail("al").to_json() == {"alias": "al"}
    assert PropertiesDetail({"ttl": "1"}).to_json() == {"properties": {"ttl": "1"}}
    dropped = PropertiesDetail({}, ("ttl",)).to_json()
    assert dropped == {"properties": {}, "dropped": ["ttl"]}
