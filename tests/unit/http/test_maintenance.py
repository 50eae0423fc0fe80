"""The requests ``position`` and ``maintenance``."""

from __future__ import annotations

import base64
from uuid import UUID

import pytest
from pymilvus.grpc_gen import msg_pb2

from tests.support.http_service import Api, FakeService, error_of

FIRST, SECOND = f"{1:032x}", f"{2:032x}"


@pytest.fixture
def api():
    """Return the app over a service with two tasks."""
    api = Api(FakeService())
    for task_id in (FIRST, SECOND):
        api.create(task_id=task_id, collection_infos=[{"name": f"c{task_id[-1]}"}])
    return api


def test_position_of_one_task(api):
    """Rows and requests apart, readable, and as Milvus has it; never a target's."""
    data = api.ask("position", {"task_id": FIRST}).json["data"]
    (found,) = data["positions"]
    message = msg_pb2.MsgPosition.FromString(base64.b64decode(found.pop("msg_id")))
    assert (message.channel_name, message.timestamp) == ("dml_0", 7)
    assert message.msgID == (7).to_bytes(8, "little")
    assert found == {
        "task_id": FIRST,
        "channel_name": "dml_0",
        "position": "7",
        "time": 0,
        "tt": 7,
    }
    assert [each["channel_name"] for each in data["op_positions"]] == ["requests"]
    assert data["target_positions"] == []


def test_positions_of_all_tasks(api):
    """Without a task there are those of each, as with milvus-cdc."""
    data = api.ask("position", {}).json["data"]
    assert [each["task_id"] for each in data["positions"]] == [FIRST, SECOND]


@pytest.mark.parametrize(
    ("data", "state"),
    [
        ({}, "unsupported operation: , it is set_log_level"),
        (
            {"operation": "reset_log_msg"},
            "unsupported operation: reset_log_msg, it is set_log_level",
        ),
        ({"operation": "set_log_level"}, "log_level is required"),
        (
            {"operation": "set_log_level", "params": {"log_level": ["x"]}},
            "invalid log level: ['x'], it is one of debug, info, warn, error",
        ),
    ],
)
def test_maintenance_that_is_not_done(api, data, state):
    """It is a 400 in milvus-cdc's words, which says them with a 200."""
    message = error_of(api.ask("maintenance", data), 400)
    assert message == f"fail to handle the maintenance request, error: {state}"


def test_position_of_a_task_that_is_not_there(api):
    """It is a 404, and a UUID is taken with its dashes."""
    assert "not found" in error_of(api.ask("position", {"task_id": "x"}), 404)
    dashed = str(UUID(FIRST))
    data = api.ask("position", {"task_id": dashed}).json["data"]
    assert [each["task_id"] for each in data["positions"]] == [FIRST]


def test_log_level_is_set(api):
    """The service logs from another level on."""
    data = {"operation": "set_log_level", "params": {"log_level": "debug"}}
    answer = api.ask("maintenance", data)
    assert answer.json["data"] == {"State": "set log level success"}
    assert api.service.asked[-1] == ("set_log_level", "debug")
