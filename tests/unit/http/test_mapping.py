"""POST /cdc create: name_mapping, its forms and its refusals, and how it is shown."""

from __future__ import annotations

import pytest

from cdc_actors.tasks import NameMapping
from tests.support.http_service import Api, error_of

PREFIX = "fail to handle the create request, error: "
EVERYTHING = {"*": [{"name": "*"}]}


def entry(source: str = "d", target: str = "e", **collections: str) -> dict:
    """Return one entry of name_mapping."""
    return {
        "source_db": source,
        "target_db": target,
        "collection_mapping": collections,
    }


def ask(mapping, selected=None):
    """Ask for a task of all databases, or of those selected."""
    api = Api(max_name_length=5)
    answer = api.create(
        collection_infos=None,
        db_collections=selected or EVERYTHING,
        name_mapping=mapping,
    )
    return api, answer


def refusal(mapping, selected=None) -> str:
    """Return why such a mapping is refused."""
    api, answer = ask(mapping, selected)
    message = error_of(answer, 400)
    assert api.service.asked == []
    return message.removeprefix(PREFIX)


@pytest.mark.parametrize(
    ("given", "means"),
    [
        (
            {"source_db": "d", "target_db": "e"},
            NameMapping(source_db="d", target_db="e"),
        ),
        (
            entry(a="b"),
            NameMapping(source_db="d", target_db="e", collection_mapping={"a": "b"}),
        ),
        (
            entry(a="*"),
            NameMapping(source_db="d", target_db="e", collection_mapping={"a": "*"}),
        ),
        (
            entry("*", "*", a="b"),
            NameMapping(source_db="*", target_db="*", collection_mapping={"a": "b"}),
        ),
    ],
)
def test_forms(given, means):
    """A whole database, some of its collections, wildcards; and get shows them again."""
    api, answer = ask([given])
    assert answer.status_code == 200, answer.text
    assert api.service.asked[0][2].name_mapping == (means,)
    task_id = answer.json["data"]["task_id"]
    (shown,) = api.ask("get", {"task_id": task_id}).json["data"]["task"]["name_mapping"]
    assert shown == {"collection_mapping": {}, **given}


@pytest.mark.parametrize(
    ("mapping", "named"),
    [
        ([{"target_db": "e"}], "name_mapping[0].source_db"),
        ([entry(), {"source_db": "f"}], "name_mapping[1].target_db"),
        ([entry(source="dddddd")], "name_mapping[0].source_db"),
        ([entry(target="dddddd")], "name_mapping[0].target_db"),
        ([entry(**{"": "b"})], "name_mapping[0].collection_mapping"),
        ([entry(a="")], "name_mapping[0].collection_mapping.a"),
        ([entry(aaaaaa="b")], "name_mapping[0].collection_mapping"),
        ([entry(a="bbbbbb")], "name_mapping[0].collection_mapping.a"),
        ([entry(**{"*": "b"})], "name_mapping[0].collection_mapping"),
    ],
)
def test_wrong_names_are_refused_with_their_place(mapping, named):
    """Empty, too long, or one name for everything: the field is named."""
    assert refusal(mapping).startswith(f"{named} ")


@pytest.mark.parametrize(
    ("mapping", "field"),
    [
        ("d", "$.name_mapping"),
        ([["d", "e"]], "$.name_mapping[0]"),
        ([{"source_db": 1}], "$.name_mapping[0].source_db"),
        ([{"target_db": []}], "$.name_mapping[0].target_db"),
        ([{"collection_mapping": ["a"]}], "$.name_mapping[0].collection_mapping"),
        ([{"collection_mapping": {"a": 1}}], "$.name_mapping[0].collection_mapping"),
    ],
)
def test_wrong_types_are_refused_with_their_place(mapping, field):
    """No part of a mapping takes a value of another type."""
    assert field in refusal(mapping)


@pytest.mark.parametrize(
    ("mapping", "named"),
    [
        ([entry(), entry(target="f")], "[d.*]"),
        ([entry(a="b"), entry(a="b")], "[d.a]"),
        ([entry(), entry(**{"*": "*"})], "[d.*]"),
    ],
)
def test_a_name_is_mapped_once(mapping, named):
    """Two rules of one name would leave it to chance which counts."""
    assert refusal(mapping) == f"name_mapping maps {named} more than once"


@pytest.mark.parametrize(
    ("mapping", "selected", "named"),
    [
        ([entry(source="x")], {"d": [{"name": "*"}]}, "[x.*]"),
        ([entry(a="b", c="d")], {"d": [{"name": "a"}]}, "[d.c]"),
        ([entry(source="*", c="d")], {"d": [{"name": "a"}]}, "[*.c]"),
    ],
)
def test_a_mapping_of_what_is_not_selected(mapping, selected, named):
    """It is refused in milvus-cdc's words, and named."""
    assert refusal(mapping, selected) == (
        "the collection name in the name mapping is not in the collection info, "
        f"checkout it, {named}"
    )


@pytest.mark.parametrize(
    ("mapping", "selected"),
    [
        ([entry()], {"d": [{"name": "a"}, {"name": "b"}]}),
        ([entry("*", "e")], {"d": [{"name": "a"}]}),
        ([entry(a="b")], {"*": [{"name": "a"}]}),
    ],
)
def test_a_mapping_may_say_more_than_is_selected(mapping, selected):
    """A rule counts where at least something of it is selected."""
    assert ask(mapping, selected)[1].status_code == 200


@pytest.mark.parametrize(
    ("mapping", "selected", "sources", "there"),
    [
        ([entry(a="x", b="x")], None, "[d.a d.b]", "[e.x]"),
        (
            [entry("d", "d", a="b")],
            {"d": [{"name": "*"}, {"name": "b"}]},
            "[d.b d.a]",
            "[d.b]",
        ),
        (
            [entry("*", "e")],
            {"c": [{"name": "a"}], "d": [{"name": "a"}]},
            "[c.a d.a]",
            "[e.a]",
        ),
    ],
)
def test_two_collections_of_one_name_at_the_target(mapping, selected, sources, there):
    """Where the request itself makes two into one it is refused."""
    message = refusal(mapping, selected)
    assert f"makes {sources} one at the target, {there}" in message
