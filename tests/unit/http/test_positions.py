"""The positions of a ``create``, as milvus-backup and milvus-cdc write them."""

from __future__ import annotations

import base64

import pytest
from pymilvus.grpc_gen import msg_pb2

from cdc_actors.tasks.spec import StartPosition
from tests.support.http_service import Api, error_of

SHARD, OTHER = "by-dev-rootcoord-dml_0_445v0", "by-dev-rootcoord-dml_1_445v1"
REQUESTS = "by-dev-replicate-msg"


def position(channel: str = SHARD, msg_id: bytes = b"\1\2", timestamp: int = 7) -> str:
    """Return a position as a request has it."""
    message = msg_pb2.MsgPosition(
        channel_name=channel, msgID=msg_id, timestamp=timestamp
    )
    return base64.b64encode(message.SerializeToString()).decode()


def of(positions: dict[str, str], name: str = "books") -> dict[str, object]:
    """Return the part of a request that names a collection with positions."""
    return {"collection_infos": [{"name": name, "positions": positions}]}


@pytest.mark.parametrize("channel", ["", SHARD, "by-dev-rootcoord-dml_0"])
def test_positions_are_taken(channel: str) -> None:
    """They are part of the task, whichever name of the channel they have inside."""
    spec = Api().created(**of({SHARD: position(channel), OTHER: position(OTHER)}))
    wanted = StartPosition(message_id=b"\1\2", timestamp=7)
    assert spec.positions == {SHARD: wanted, OTHER: wanted}
    assert spec.collection_infos == ("books",)


@pytest.mark.parametrize("msg_id", [b"\x80" * 7 + b"\x7f", b"\xff" * 9])
def test_ids_of_every_queue_are_taken(msg_id: bytes) -> None:
    """A large number is none below zero, nor is what is no number."""
    spec = Api().created(**of({SHARD: position(msg_id=msg_id)}))
    assert spec.positions[SHARD].message_id == msg_id


@pytest.mark.parametrize(
    ("infos", "named"),
    [
        ([{"name": "books", "positions": {}}], ["the positions of books are empty"]),
        ([{"name": "books", "positions": None}], []),
        ([{"name": "*", "positions": {}}], []),
    ],
)
def test_positions_that_are_empty(infos: object, named: list[str]) -> None:
    """They are none, which is said where there might be some."""
    api = Api()
    said = api.create(collection_infos=infos).json["data"].get("warnings", [])
    assert [each.partition(",")[0] for each in said] == named
    assert api.created(collection_infos=infos).positions == {}


def test_positions_of_a_database() -> None:
    """Those in ``db_collections`` count as well."""
    spec = Api().created(
        collection_infos=[],
        db_collections={"shop": [{"name": "a", "positions": {SHARD: position()}}]},
    )
    assert set(spec.positions) == {SHARD}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (of({SHARD: position()}, "*"), "the collection name is `*`"),
        (
            {
                "db_collections": {
                    "*": [{"name": "a", "positions": {SHARD: position()}}]
                }
            },
            "the db name is `*`",
        ),
        (of({"dml_0": position()}), "is not virtual channel, dml_0"),
        (of({f"dml_0_{'4' * 5000}v0": position("")}), "is not virtual channel"),
        (
            of({SHARD: position(), "dml_0_446v0": position("")}),
            "should be in the same collection",
        ),
        (of({SHARD: "%"}), f"the position of {SHARD} is not the base64"),
        (of({SHARD: "AA=="}), f"the position of {SHARD} is not the base64"),
        (of({SHARD: position(OTHER)}), f"is one of {OTHER}"),
        (of({SHARD: position(msg_id=b"")}), "has no msgID"),
        (of({SHARD: position(msg_id=b"\xfe" + b"\xff" * 7)}), "a msgID below zero"),
        (of({SHARD: position(timestamp=0)}), "has no timestamp"),
        (of({SHARD: position(timestamp=1 << 63)}), "which is no timestamp"),
        (of({SHARD: position()}) | {"snapshot": "always"}, "snapshot: always"),
        (
            {"rpc_channel_info": {"position": "%"}},
            "rpc_channel_info.position is not the base64",
        ),
        (
            {"rpc_channel_info": {"position": position(OTHER)}},
            f"rpc_channel_info.position is one of {OTHER}",
        ),
        ({"positions": {SHARD: position()}}, "does not support `positions`"),
    ],
)
def test_wrong_positions_are_named(fields: dict[str, object], words: str) -> None:
    """What no position can be of, or is none, is a 400 that says which."""
    api = Api()
    wanted = {"collection_infos": []} if "db_collections" in fields else {}
    assert words in error_of(api.create(**wanted, **fields), 400)
    assert api.service.asked == []


def test_a_position_of_requests_has_no_effect() -> None:
    """It is checked, and said to have none."""
    answer = Api().create(rpc_channel_info={"position": position(REQUESTS)})
    [said] = answer.json["data"]["warnings"]
    assert "rpc_channel_info.position has no effect" in said


def test_other_positions_are_another_body() -> None:
    """A repeated ``create`` must have the same ones."""
    one, other = (
        Api().created(**of({SHARD: position(timestamp=time)})) for time in (7, 8)
    )
    assert one.differing_members(other) == ["collection_infos, db_collections"]
    assert type(one).from_json(one.to_json()).positions == one.positions
