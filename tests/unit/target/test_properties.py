"""Properties and descriptions at targets that take them, and at those that do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.errors import OperationRefusedError
from cdc_actors.target.properties import CONSISTENCY, DESCRIPTION, alter_properties


@dataclass
class Target:
    """One collection of a Milvus 2.5, or of an older one that ignores what it lacks."""

    old: bool = False
    is_lite: bool = True
    description: str = "first"
    consistency: str = "Bounded"
    properties: dict[str, str] = field(default_factory=lambda: {"a": "1", "b": "2"})
    asked: list[Any] = field(default_factory=list)

    def call(self, method: str, request: Any, _database: str) -> Any:
        """Answer as Milvus does."""
        if method == "DescribeCollection":
            pairs = [{"key": k, "value": v} for k, v in self.properties.items()]
            schema = {"name": "books", "description": self.description}
            return milvus_pb2.DescribeCollectionResponse(
                schema=schema, properties=pairs, consistency_level=self.consistency
            )
        self.asked.append(request)
        assert not (request.properties and request.delete_keys), "it takes no both"
        altered = {each.key: each.value for each in request.properties}
        if not self.old:
            self.description = altered.pop(DESCRIPTION, self.description)
            self.consistency = altered.get(CONSISTENCY, self.consistency)
            for key in request.delete_keys:
                self.properties.pop(key, None)
        self.properties.update(altered)
        return None


def test_some_are_set_and_others_dropped() -> None:
    """In requests of their own; what is not named stays, and the description comes."""
    target = Target()
    altered = {"a": "3", DESCRIPTION: "second"}
    alter_properties(target, "default", "books", altered, ["b"])  # type: ignore[arg-type]
    assert (target.properties, target.description) == ({"a": "3"}, "second")


def test_nothing_to_do_asks_nothing() -> None:
    """An empty request is refused by Milvus."""
    target = Target()
    alter_properties(target, "default", "books", {})  # type: ignore[arg-type]
    assert target.asked == []


@pytest.mark.parametrize(
    ("altered", "dropped", "named"),
    [
        ({}, ["b"], "b"),
        ({DESCRIPTION: "second"}, [], DESCRIPTION),
        ({CONSISTENCY: "Strong"}, [], CONSISTENCY),
    ],
)
def test_a_target_that_does_nothing_is_found_out(
    altered: dict[str, str], dropped: list[str], named: str
) -> None:
    """An older Milvus calls it done: what it did not do is named."""
    target = Target(old=True, is_lite=False)
    with pytest.raises(OperationRefusedError, match=f"too old.*: {named}$"):
        alter_properties(target, "default", "books", altered, dropped)  # type: ignore[arg-type]


def test_another_consistency_level() -> None:
    """Milvus 2.5 has it from then on; Milvus Lite has one for all."""
    altered = {CONSISTENCY: "Eventually"}
    target = Target(is_lite=False)
    alter_properties(target, "default", "books", altered)  # type: ignore[arg-type]
    assert target.consistency == "Eventually"
    lite = Target(old=True)
    alter_properties(lite, "default", "books", altered)  # type: ignore[arg-type]


def test_what_milvus_stores_late_is_asked_twice() -> None:
    """Milvus 2.3.5 shows after a restart what was before a request."""
    target = Target(is_lite=False)
    alter_properties(target, "default", "books", {"a": "3"})  # type: ignore[arg-type]
    assert len(target.asked) == 2
