"""POST /cdc: each request type, its answer, and what reaches the service."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from urllib.parse import quote

import pytest

from cdc_actors.errors import (
    TargetRefusedError,
    TaskConflictError,
    TaskLimitError,
    UnavailableError,
    UnknownTaskError,
)
from cdc_actors.service.comparison_state import ComparisonRequest
from cdc_actors.service.views import CollectionView, DatabaseView, Health, Refusal
from cdc_actors.tasks.spec import ConnectParam, TaskSpec
from cdc_actors.tasks.state import Who
from tests.support.http_service import (
    ALL,
    TARGET,
    WHEN,
    Api,
    FakeService,
    entry,
    error_of,
    task_view,
)

ID = "0123456789abcdef0123456789abcdef"
OF_A_TASK = ["acknowledge", "get", "pause", "resume", "retry", "delete"]
UUID = "01234567-89AB-cdef-0123-456789abcdef"
SPEC = TaskSpec(
    target=ConnectParam(uri="http://localhost:19530"),
    token="root:Milvus",
    collection_infos=("*",),
)
CLIENT = Who(kind="client", address="127.0.0.1", token_name=None)


def api_with_task(**changes: object) -> Api:
    """Return an app whose service has one task."""
    api = Api()
    api.service.tasks[ID] = replace(task_view(ID, SPEC), **changes)
    return api


def test_create_of_the_manual_is_answered_with_the_task_id():
    """The manual's create request reaches the service whole, with who asked."""
    api = Api()
    target = {
        "uri": "http://localhost:19530",
        "token": "root:Milvus",
        "connect_timeout": 10,
    }

    answer = api.create(milvus_connect_param=target)

    assert answer.json == {"code": 200, "data": {"task_id": f"{0:032x}"}}
    assert api.service.asked == [("create", None, SPEC, CLIENT)]


@pytest.mark.parametrize("given", [ID, ID.upper(), UUID])
def test_create_normalises_a_task_id(given):
    """A client's own id is 32 hex digits or a UUID, and reaches the service as hex."""
    api = Api()
    assert api.create(task_id=given).json["data"] == {"task_id": ID}
    assert api.service.asked[0][1] == ID


NAMES = ["my-task", ID[1:], ID + "0", f"{{{ID}}}", "é", "a" * 256]


@pytest.mark.parametrize("given", NAMES)
def test_a_task_id_may_be_any_text(given):
    """Every request knows the task by it, and every answer says it."""
    api = Api(FakeService(events=[entry(1, "created")]))
    assert api.create(task_id=given).json["data"] == {"task_id": given}
    assert api.create(task_id=given).json["data"] == {"task_id": given}
    asked = {"task_id": given}
    (listed,) = api.ask("list").json["data"]["tasks"]
    got = api.ask("get", asked).json["data"]["task"]
    assert listed["task_id"] == got["task_id"] == given
    assert api.ask("history", asked).json["data"]["task_id"] == given
    for data in (asked, {}):
        positions = api.ask("position", data).json["data"]["positions"]
        assert [each["task_id"] for each in positions] == [given]
    page = api.client.simulate_get(f"/cdc/tasks/{quote(given)}/events").json["data"]
    assert page["task_id"] == given
    for kind in ("pause", "resume", "retry", "delete"):
        assert api.ask(kind, asked).json == {"code": 200, "data": {}}
    assert error_of(api.ask("get", asked), 404).endswith(f"[{given}]")


def test_a_task_id_that_is_too_long():
    """It has at most as many characters as a name."""
    message = error_of(Api().create(task_id="a" * 257), 400)
    assert message.endswith("the task id length exceeds 256 characters")


def test_an_empty_task_id_is_none():
    """Clients in Go send one that they leave out as an empty text."""
    assert Api().create(task_id="").json["data"] == {"task_id": f"{0:032x}"}


def test_list_shows_every_task():
    """List gives the task objects, and an empty list where there are none."""
    assert Api().ask("list").json == {"code": 200, "data": {"tasks": []}}
    tasks = api_with_task().ask("list", {}).json["data"]["tasks"]
    assert [task["task_id"] for task in tasks] == [ID]


def test_list_needs_no_request_data():
    """The manual's list request has a type and nothing more."""
    answer = Api().send(b'{"request_type":"list"}')
    assert answer.json == {"code": 200, "data": {"tasks": []}}


def test_get_shows_the_task_under_both_names():
    """The object is there as Task and as task, and carries no reason while it runs."""
    data = api_with_task().ask("get", {"task_id": ID}).json["data"]
    assert data["Task"] == data["task"]
    assert data["task"] == {
        "task_id": ID,
        "milvus_connect_param": {
            "uri": "http://localhost:19530",
            "connect_timeout": 10,
        },
        "collection_infos": [{"name": "*"}],
        "state": "Running",
        "created_at": "2026-11-24T12:30:00Z",
        "health": {
            "status": "starting",
            "since": "2026-11-24T12:30:00Z",
            "error": None,
            "failure_class": None,
            "attempt": 0,
            "next_try": None,
            "problems": {
                "set_aside": 0,
                "retrying": 0,
                "resync_needed": 0,
                "operations_refused": 0,
                "since": None,
                "reasons": [],
            },
            "warnings": [],
        },
        "lag_seconds": None,
        "rows_applied": 0,
        "databases": [],
        "collections": [],
        "operations_refused": {"count": 0, "newest": []},
    }


def test_get_shows_reason_health_collections_and_databases():
    """What a troubled task has to tell is all in its object."""
    health = Health(
        status="retrying",
        since=WHEN,
        error="connection refused",
        failure_class="transient",
        attempt=3,
        next_try=WHEN + timedelta(seconds=8),
    )
    collection = CollectionView(
        database="db",
        name="c",
        target=("there", "c2"),
        collection_id=7,
        state="set_aside",
        reason="no",
        resync_needed="a bulk import",
    )
    refusal = Refusal(
        kind="CreateAlias", database="db", name="c", at=WHEN, reason="no alias"
    )
    spec = TaskSpec(
        target=SPEC.target,
        db_collections={"db": ("c", "d")},
        excludes=(("db", "e"),),
        enable_user_role=True,
    )
    api = api_with_task(
        spec=spec,
        state="Paused",
        reason="why",
        health=health,
        lag_seconds=1.5,
        databases=(DatabaseView(name="db", target="there", whole=True),),
        collections=(collection,),
        refused=12,
        refusals=(refusal,),
    )

    task = api.ask("get", {"task_id": ID}).json["data"]["task"]

    assert task["reason"] == "why"
    assert task["health"]["next_try"] == "2026-11-24T12:30:08Z"
    assert task["health"]["attempt"] == 3
    assert task["lag_seconds"] == 1.5
    assert task["collection_infos"] == []
    assert task["db_collections"] == {"db": [{"name": "c"}, {"name": "d"}]}
    assert task["excludes"] == [{"database": "db", "name": "e"}]
    assert task["databases"] == [{"name": "db", "target_name": "there", "whole": True}]
    assert task["collections"] == [
        {
            "database": "db",
            "name": "c",
            "target_database": "there",
            "target_name": "c2",
            "collection_id": 7,
            "state": "set_aside",
            "reason": "no",
            "resync_needed": "a bulk import",
        }
    ]
    assert task["extra_info"] == {"enable_user_role": True}
    assert task["operations_refused"] == {
        "count": 12,
        "newest": [
            {
                "kind": "CreateAlias",
                "database": "db",
                "name": "c",
                "at": "2026-11-24T12:30:00Z",
                "reason": "no alias",
            }
        ],
    }


@pytest.mark.parametrize("kind", ["get", "list"])
def test_no_answer_holds_the_token(kind):
    """The credentials of a task are in no answer."""
    answer = api_with_task().ask(kind, {"task_id": ID} if kind == "get" else None)
    assert ID in answer.text
    assert "root" not in answer.text
    assert "token" not in answer.text


@pytest.mark.parametrize(
    ("kind", "state", "after"),
    [("pause", "Running", "Paused"), ("resume", "Paused", "Running")],
)
def test_pause_and_resume(kind, state, after):
    """Both answer an empty object, and tell the service who asked."""
    api = api_with_task(state=state)
    assert api.ask(kind, {"task_id": UUID}).json == {"code": 200, "data": {}}
    assert api.service.asked == [(kind, ID, CLIENT)]
    assert api.service.tasks[ID].state == after


@pytest.mark.parametrize(
    ("data", "collections"),
    [
        ({}, ()),
        ({"collection_infos": [{"name": "a"}]}, (("default", "a"),)),
        (
            {"db_collections": {"db": [{"name": "b"}, {"name": "*"}]}},
            (("db", "b"), ("db", "*")),
        ),
    ],
)
def test_retry(data, collections):
    """It answers an empty object, and tells the service which collections and who."""
    api = api_with_task()
    answer = api.ask("retry", {"task_id": UUID} | data)
    assert answer.json == {"code": 200, "data": {}}
    assert api.service.asked[-1] == ("retry", ID, collections, CLIENT)


def test_retry_of_a_paused_task():
    """It is done once the task is resumed, and the answer says so."""
    api = api_with_task()
    api.ask("pause", {"task_id": ID})
    (warning,) = api.ask("retry", {"task_id": ID}).json["data"]["warnings"]
    assert "stays so until it is resumed" in warning


@pytest.mark.parametrize(
    ("said", "method"),
    [
        ({}, "in_place"),
        ({"drop_target": False}, "in_place"),
        ({"drop_target": True}, "drop_target"),
        ({"drop_target": True, "method": "drop_target"}, "drop_target"),
        ({"method": "shadow"}, "shadow"),
    ],
)
def test_resync(said, method):
    """It tells the service which collections, how and who; a paused task stays so."""
    api = api_with_task()
    data = {"task_id": UUID, "collections": ["a", "db.*"]} | said
    assert api.ask("resync", data).json == {"code": 200, "data": {}}
    names = (("default", "a"), ("db", "*"))
    assert ("resync", ID, names, CLIENT, method) in api.service.asked
    api.ask("pause", {"task_id": ID})
    (warning,) = api.ask("resync", data).json["data"]["warnings"]
    assert "stays so until it is resumed" in warning


def test_resync_that_says_two_things():
    """Neither member is taken for the other."""
    data = {"task_id": UUID, "collections": ["a"], "drop_target": True}
    answer = api_with_task().ask("resync", data | {"method": "shadow"})
    assert answer.json["code"] == 400
    assert "leave one out" in answer.json["message"]


@pytest.mark.parametrize(
    ("collections", "words"),
    [
        ([], "collections names none: give them as `database.name`"),
        (["a b"], "collections has the name `a b`"),
        (["db."], "collections has the name ``"),
        (["a.b.c"], "collections has the name `a.b`"),
        ("a", "Expected `array`"),
    ],
)
def test_resync_of_what_has_no_name(collections, words):
    """Nothing is done, and the answer says what is wrong."""
    api = api_with_task()
    answer = api.ask("resync", {"task_id": UUID, "collections": collections})
    assert words in error_of(answer, 400)
    assert api.service.asked == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"collection_infos": [{}]}, "collection_infos: there is a collection without"),
        ({"db_collections": {"db": [{"name": ""}]}}, "db_collections.db: there is"),
        ({"db_collections": {"a b": []}}, "db_collections has the name `a b`"),
        ({"collection_infos": [{"name": "db.c"}]}, "collection_infos has the name"),
    ],
)
def test_retry_of_what_has_no_name(data, words):
    """The answer says where a name is missing, or is none."""
    api = api_with_task()
    assert words in error_of(api.ask("retry", {"task_id": UUID} | data), 400)
    assert api.service.asked == []


@pytest.mark.parametrize("kinds", [[], ["CreateIndex"]])
def test_acknowledge(kinds):
    """It answers an empty object, and tells the service what is accepted, and by whom."""
    api = api_with_task()
    answer = api.ask("acknowledge", {"task_id": UUID, "kinds": kinds})
    assert answer.json == {"code": 200, "data": {}}
    assert api.service.asked[-1] == ("acknowledge", ID, kinds, CLIENT)


@pytest.mark.parametrize("ignore", [True, False])
def test_delete(ignore):
    """Delete answers an empty object and hands on ignore_not_found."""
    api = api_with_task()
    answer = api.ask("delete", {"task_id": ID, "ignore_not_found": ignore})
    assert answer.json == {"code": 200, "data": {}}
    assert api.service.asked == [("delete", ID, CLIENT, ignore)]


@pytest.mark.parametrize("kind", OF_A_TASK)
def test_a_missing_task_id_is_named(kind):
    """Without a task_id nothing is asked of the service."""
    api = Api()
    for data in (None, {}, {"task_id": ""}, {"task_id": None}):
        assert error_of(api.ask(kind, data), 400).endswith("task_id is empty")
    assert api.service.asked == []


@pytest.mark.parametrize("kind", OF_A_TASK)
@pytest.mark.parametrize("task_id", ["xxxx", ID, "ü" * 300])
def test_an_unknown_task_is_404(kind, task_id):
    """Any text may be asked for; what names no task is a 404 and no 400."""
    message = error_of(Api().ask(kind, {"task_id": task_id}), 404)
    assert message.startswith(f"fail to handle the {kind} request, error: not found")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnknownTaskError, 404),
        (TaskConflictError, 409),
        (TargetRefusedError, 422),
        (TaskLimitError, 429),
        (UnavailableError, 503),
    ],
)
def test_what_the_service_refuses_has_its_status(error, status):
    """The error's class is the status, its words are in the message."""
    api = Api()
    api.service.failure = error("its words")
    message = error_of(api.create(), status)
    assert message == "fail to handle the create request, error: its words"


def test_a_message_that_is_no_utf8_is_still_an_answer():
    """A peer's words with what UTF-8 cannot hold do not break the answer."""
    api = Api()
    api.service.failure = TargetRefusedError("bad \udcff byte")
    assert error_of(api.create(), 422).endswith("bad ? byte")


def test_a_long_message_is_cut():
    """An answer does not repeat a megabyte that came in."""
    message = error_of(Api().create(collection_infos=[{"name": "n" * 500_000}]), 400)
    assert "exceeds 256 characters" in message
    assert len(message) < 3000


@pytest.mark.parametrize("field", ["positions", "dbs", "Task_id"])
@pytest.mark.parametrize("kind", ["list", "get", "pause", "resume", "delete"])
def test_unknown_fields_are_named(kind, field):
    """A field that a request does not have is a 400 with its name."""
    message = error_of(Api().ask(kind, {field: "x"}), 400)
    assert message.startswith(f"fail to decode the {kind} request, error: ")
    assert f"`{field}`" in message


def test_a_second_create_of_the_same_id_gives_the_same_answer():
    """A create that is repeated after a lost answer is answered like the first."""
    api = Api()
    first = api.create(task_id=ID, collection_infos=ALL, milvus_connect_param=TARGET)
    again = api.create(task_id=ID, collection_infos=ALL, milvus_connect_param=TARGET)
    assert first.json == again.json == {"code": 200, "data": {"task_id": ID}}
    assert list(api.service.tasks) == [ID]


def test_a_comparison_is_begun_shown_and_ended():
    """Which collections, how fast and who reach the service; then how it is, or 404."""
    api = api_with_task()
    asked = {"task_id": ID, "collection_infos": [{"name": "books"}]}
    begun = api.ask("compare", asked | {"rows_per_second": 5}).json["data"]
    request = ComparisonRequest(collections=(("default", "books"),), rows_per_second=5)
    assert ("compare", ID, request, CLIENT) in api.service.asked
    assert (begun["task_id"], begun["status"], begun["reports"]) == (ID, "equal", [])
    error_of(api.ask("compare", asked), 409)
    [report] = api.ask("comparison", {"task_id": ID}).json["data"]["reports"]
    assert (report["name"], report["verdict"]) == ("books", "equal")
    assert report["missing"] == {"count": 0, "examples": []}
    assert api.ask("cancel_comparison", {"task_id": ID}).json["data"] == {}
    error_of(api.ask("comparison", {"task_id": ID}), 404)
    error_of(api.ask("compare", asked | {"rows_per_second": 0}), 400)
