"""What a task leaves at its target once it is deleted."""

from __future__ import annotations

from dataclasses import replace as dataclass_replace
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from pymilvus.grpc_gen import schema_pb2

from cdc_actors.marks import PROPERTY, RIVAL, Mark
from cdc_actors.service import mark_release
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_target import FakeTarget, StoredCollection
from tests.support.tasks import CLAIMANT, SPEC, entry

if TYPE_CHECKING:
    from cdc_actors.tasks import CollectionEntry

LEFT = {"ours": 1, "theirs": 2, "gone": 3}


@pytest.fixture
def target(monkeypatch: pytest.MonkeyPatch) -> FakeTarget:
    """Return a target that has two collections, one of which is marked as another's."""
    target = FakeTarget()
    monkeypatch.setattr(
        mark_release, "connect", lambda *_: target.connect(cancelled=lambda: False)
    )
    for name in ("ours", "theirs"):
        mark = CLAIMANT.mark(known(name))
        if name == "theirs":
            mark = replace(mark, store="0e1d")
        schema = schema_pb2.CollectionSchema(name=name)
        stored = StoredCollection(schema, mark.to_properties())
        target.collections["default", name] = stored
    return target


def known(name: str, state: CollectionState = CollectionState.LIVE) -> CollectionEntry:
    """Return a collection of the task."""
    return entry(LEFT[name], name=name, state=state)


def test_only_its_own_marks_are_removed(target: FakeTarget) -> None:
    """Whatever state the collection is in; what is not there needs nothing."""
    left = [known("ours", CollectionState.SET_ASIDE), known("theirs"), known("gone")]
    mark_release.release_marks(SPEC, left, "", CLAIMANT)
    assert target.collections["default", "ours"].properties == {PROPERTY: ""}
    theirs = Mark.of(target.collections["default", "theirs"].properties)
    assert theirs is not None
    assert theirs.store == "0e1d"


def test_who_wanted_it_is_forgotten_with_the_mark(target: FakeTarget) -> None:
    """The next task would report it as refused, long after."""
    ours = target.collections["default", "ours"].properties
    wanted = replace(CLAIMANT.mark(known("ours")), store="0e1d")
    ours.update(wanted.to_properties(RIVAL))
    mark_release.release_marks(SPEC, [known("ours")], "", CLAIMANT)
    assert ours == {PROPERTY: "", RIVAL: ""}


def test_a_target_that_is_away_keeps_them(target: FakeTarget) -> None:
    """The task is deleted all the same."""
    target.fail("DescribeCollection", is_done=False)
    mark_release.release_marks(SPEC, [known("ours")], "", CLAIMANT)
    assert target.collections["default", "ours"].properties[PROPERTY]


def test_shadow_goes(target: FakeTarget) -> None:
    """A collection that was to get another one's place is dropped, the other stays."""
    ours = dataclass_replace(known("ours"), shadow=True)
    name = SPEC.written_name(ours)[1]
    properties = CLAIMANT.mark(ours).to_properties()
    schema = schema_pb2.CollectionSchema(name=name)
    target.collections["default", name] = StoredCollection(schema, properties)
    mark_release.release_marks(SPEC, [ours], "", CLAIMANT)
    assert ("default", name) not in target.collections
    assert target.collections["default", "ours"].properties == {PROPERTY: ""}
