"""POST /cdc update: what changes, what stays, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as struct_replace

from cdc_actors.errors import TaskConflictError
from cdc_actors.tasks.names import NameMapping
from cdc_actors.tasks.spec import ConnectParam, TaskSpec
from cdc_actors.tasks.state import Who
from tests.support.http_service import Api, error_of, task_view

ID = "0123456789abcdef0123456789abcdef"
CLIENT = Who(kind="client", address="127.0.0.1", token_name=None)
TLS = ConnectParam(
    uri="https://target:19530", connect_timeout=7, server_pem_path="/etc/s.pem"
)
SPEC = TaskSpec(target=TLS, collection_infos=("a", "b"), db_collections={"d": ("*",)})


def api_with_task(**changes: Any) -> Api:
    """Return an app whose service has one task."""
    api = Api()
    api.service.tasks[ID] = replace(task_view(ID, SPEC), **changes)
    return api


def updated(**fields: Any) -> TaskSpec:
    """Return what the task is to be after such an update."""
    api = api_with_task()
    answer = api.ask("update", {"task_id": ID, **fields})
    assert answer.status_code == 200, answer.text
    kind, task_id, before, spec, who = api.service.asked[-1]
    assert (kind, task_id, before, who) == ("update", ID, SPEC, CLIENT)
    return spec


def target_after(**param: Any) -> ConnectParam:
    """Return how the target is reached after such a change."""
    return updated(milvus_connect_param=param).target


def refusal(**fields: Any) -> str:
    """Return why an update with these fields is refused; nothing reaches the service."""
    api = api_with_task()
    message = error_of(api.ask("update", {"task_id": ID, **fields}), 400)
    assert [each[0] for each in api.service.asked] == ["get"]
    return message


def refusal_of_value(**fields: Any) -> str:
    """Return why a value is refused that a field never has."""
    return error_of(api_with_task().ask("update", {"task_id": ID, **fields}), 400)


@pytest.mark.parametrize(
    "param",
    [
        {"token": "root:new"},
        {"username": "root", "password": "new"},
        {"uri": "https://root:new@target:19530"},
    ],
)
def test_another_login(param):
    """Every way of a create to say a login is one; all else stays as it was."""
    spec = updated(milvus_connect_param=param)
    assert spec == struct_replace(SPEC, token="root:new")


def test_what_is_left_out_stays():
    """Without any member, or with empty ones, the task is to be what it is."""
    param = {"uri": "", "token": "", "connect_timeout": 0, "dial_config": None}
    assert updated() == updated(milvus_connect_param=param) == SPEC


def test_another_address():
    """TLS files go with an address that has TLS, and stay behind where it has none."""
    assert target_after(uri="https://other:1") == struct_replace(
        TLS, uri="https://other:1"
    )
    assert target_after(host="other", port="1", enable_tls=True) == struct_replace(
        TLS, uri="https://other:1"
    )
    plain = ConnectParam(uri="http://other:1", connect_timeout=7)
    assert target_after(uri="http://other:1") == plain
    assert target_after(host="other", port=1) == plain


def test_the_clients_word_that_it_is_the_same_milvus():
    """It is passed on to the service."""
    api = api_with_task()
    param = {"uri": "http://other:19530"}
    request = {"task_id": ID, "milvus_connect_param": param, "same_milvus": True}
    assert api.ask("update", request).status_code == 200
    assert api.service.asked[-1][-1] is True


def test_other_tls_files():
    """They replace all that there were; an empty object has none."""
    files = {"ca_pem_path": "/c", "client_pem_path": "/p", "client_key_path": "/k"}
    assert target_after(dial_config=files) == struct_replace(
        TLS, server_pem_path="", **files
    )
    assert target_after(dial_config={}).server_pem_path == ""


def test_another_timeout():
    """It is checked as at a create."""
    assert target_after(connect_timeout=600).connect_timeout == 600
    assert "greater than 600" in refusal(milvus_connect_param={"connect_timeout": 601})


def test_another_selection():
    """Either member, or both, is the whole of it."""
    spec = updated(collection_infos=[{"name": "a"}, {"name": "c"}])
    assert (spec.collection_infos, spec.db_collections) == (("a", "c"), {})
    spec = updated(db_collections={"d": [{"name": "x"}]})
    assert (spec.collection_infos, spec.db_collections) == ((), {"d": ("x",)})


def test_the_same_selection_in_another_order():
    """It is none other, however it is written."""
    everything = {"d": [{"name": "*"}], "default": [{"name": "a"}]}
    assert updated(collection_infos=[{"name": "b"}], db_collections=everything) == SPEC


def test_whether_rows_wait_for_ticks():
    """It is changed alone, and stays where nothing is said of it."""
    early = struct_replace(SPEC, consistency="early")
    assert updated(consistency="early") == early
    api = api_with_task(spec=early)
    api.ask("update", {"task_id": ID, "collection_infos": [{"name": "a"}]})
    assert api.service.asked[-1][3].consistency == "early"
    assert "Invalid enum value" in refusal_of_value(consistency="soon")


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"collection_infos": []}, "the collection info is empty"),
        ({"collection_infos": [{"name": "a.b"}]}, "which Milvus cannot have"),
        ({"db_collections": {"d": []}}, "empty collection info"),
        (
            {"collection_infos": [{"name": "a", "positions": {"c": "p"}}]},
            "`collection_infos.positions` is of `create` alone",
        ),
        ({"milvus_connect_param": {"uri": "target"}}, "milvus_connect_param.uri"),
        ({"milvus_connect_param": {"username": "u"}}, "username and password"),
        (
            {"extra_info": {"enable_user_role": True}},
            "unknown field `enable_user_role`",
        ),
        (
            {"name_mapping": [{"source_db": "x", "target_db": "y"}]},
            "is not in the collection info",
        ),
    ],
)
def test_what_a_create_would_not_take(fields, words):
    """It is refused in the same words, before the service is asked."""
    api = api_with_task()
    message = error_of(api.ask("update", {"task_id": ID, **fields}), 400)
    assert words in message
    assert "update" not in [each[0] for each in api.service.asked]


def test_another_mapping():
    """It replaces the whole mapping; an empty one takes it away."""
    spec = updated(name_mapping=[{"source_db": "d", "target_db": "e"}])
    assert spec.name_mapping == (NameMapping(source_db="d", target_db="e"),)
    assert updated(name_mapping=[]).name_mapping == ()


def test_the_answer():
    """It says what made a difference, and that a paused task stays so."""
    api = api_with_task(state="Paused")
    change = {"token": "root:new", "connect_timeout": 9, "ignore_partition": True}
    answer = api.ask("update", {"task_id": ID, "milvus_connect_param": change})
    data = answer.json["data"]
    assert data["task_id"] == ID
    assert data["changed"] == ["milvus_connect_param", "milvus_connect_param.token"]
    stays, ignored = data["warnings"]
    assert "stays so until it is resumed" in stays
    assert ignored.startswith("milvus_connect_param.ignore_partition")
    nothing = api_with_task(state="Paused").ask("update", {"task_id": ID})
    assert nothing.json["data"] == {"task_id": ID, "changed": []}


def test_another_selection_takes_over_what_is_there():
    """Rows that the target has under a name that is new are not taken for others."""
    api = api_with_task()
    data = api.ask("update", {"task_id": ID, "collection_infos": [{"name": "b"}]})
    (warning,) = data.json["data"]["warnings"]
    assert "takes over the rows that the target has" in warning


def test_what_does_not_fit_at_the_target_is_told():
    """After a change alone: what is as it was has been told."""
    api = api_with_task()
    api.service.unfit = ["the target has another"]
    mapping = [{"source_db": "d", "target_db": "e"}]
    data = api.ask("update", {"task_id": ID, "name_mapping": mapping}).json["data"]
    assert data["warnings"] == ["the target has another"]
    assert "warnings" not in api.ask("update", {"task_id": ID}).json["data"]


def test_the_services_refusals():
    """They keep their status, and say the task as the client does."""
    api = api_with_task()
    assert error_of(api.ask("update", {"task_id": "mine"}), 404).endswith("[mine]")
    assert error_of(api.ask("update", {}), 400).endswith("task_id is empty")
    api.service.failure = TaskConflictError("in the way")
    assert error_of(api.ask("update", {"task_id": ID}), 409).endswith("in the way")
