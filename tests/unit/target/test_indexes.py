"""A refused request about an index is done if the index is as it asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import Request
from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.requests import index_of, issue, message_for

BOOKS = "default", "books"
HNSW = {"index_type": "HNSW", "metric_type": "L2", "M": "8"}


class Target:
    """A Milvus with some indexes that refuses every other one, and every drop."""

    is_lite = False

    def __init__(self, *indexes: tuple[str, str, dict[str, str]]) -> None:
        self._indexes = indexes

    def call(self, method: str, _request: Any, _database: str) -> Any:
        """Describe the indexes, or refuse."""
        if method != "DescribeIndex" or not self._indexes:
            raise OperationRefusedError(f"{method} is refused", 65535)
        found = milvus_pb2.DescribeIndexResponse()
        for name, field, params in self._indexes:
            found.index_descriptions.add(
                index_name=name, field_name=field, params=pairs(params)
            )
        return found


def pairs(params: dict[str, str]) -> list[dict[str, str]]:
    """Return parameters as a message has them."""
    return [{"key": key, "value": value} for key, value in params.items()]


def create(target: Target, **params: str) -> None:
    """Create an index of the field ``vector``."""
    arguments = {
        "field_name": "vector",
        "index_name": "vi",
        "extra_params": pairs(params),
    }
    issue(target, "CreateIndex", BOOKS, arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("shown", [HNSW, {"index_type": "HNSW", "metric_type": "L2"}])
def test_equal_index_is_a_success(shown: dict[str, str]) -> None:
    """It may have another name, and a server need not show its parameters."""
    target = Target(("other", "vector", shown))
    create(target, index_type="HNSW", metric_type="L2", params='{"M": 8}')


@pytest.mark.parametrize(
    ("field", "shown"),
    [
        ("vector", HNSW | {"metric_type": "IP"}),
        ("vector", HNSW | {"M": "16"}),
        ("title", HNSW),
    ],
)
def test_other_index_is_not(field: str, shown: dict[str, str]) -> None:
    """Another metric, another parameter, another field."""
    with pytest.raises(OperationRefusedError, match="CreateIndex is refused"):
        create(
            Target(("vi", field, shown)),
            index_type="HNSW",
            metric_type="L2",
            params='{"M": 8}',
        )


@pytest.mark.parametrize(
    "arguments", [{"index_name": "vi"}, {"index_name": "x", "field_name": "vector"}]
)
def test_index_that_is_gone_is_dropped(arguments: dict[str, str]) -> None:
    """By its name, or by its field where that is known, as Milvus Lite has them."""
    others = Target(("ti", "title", HNSW))
    issue(others, "DropIndex", BOOKS, arguments)  # type: ignore[arg-type]
    issue(Target(), "DropIndex", BOOKS, arguments)  # type: ignore[arg-type]
    there = Target(("vi", "vector", HNSW))
    with pytest.raises(OperationRefusedError, match="DropIndex is refused"):
        issue(there, "DropIndex", BOOKS, arguments)  # type: ignore[arg-type]


def test_milvus_lite_is_not_asked_to_drop_an_index_of_no_field() -> None:
    """It would drop all of them."""
    target = Target(("vector", "vector", HNSW))
    target.is_lite = True
    with pytest.raises(OperationRefusedError, match="every index"):
        issue(target, "DropIndex", BOOKS, {"index_name": "vector"})  # type: ignore[arg-type]


def test_field_of_an_index_goes_with_its_drop() -> None:
    """Clients name the index alone."""
    message = milvus_pb2.DropIndexRequest(index_name="vi")
    request = Request("DropIndex", 7, "default", ("a",), message.SerializeToString())
    assert index_of(request) == "vi"
    assert message_for(request, *BOOKS, "vector").field_name == "vector"
    message.field_name = "text"
    named = replace(request, payload=message.SerializeToString())
    assert index_of(named) == ""
    assert message_for(named, *BOOKS).field_name == "text"
