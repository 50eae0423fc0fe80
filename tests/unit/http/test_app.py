"""The app around the requests: paths, methods, bodies, health and failures."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

import cdc_http
from cdc_actors.errors import UnavailableError
from cdc_actors.service.views import Readiness
from tests.support.http_service import ALL, TARGET, Api, error_of

LIST = b'{"request_type":"list"}'
EMPTY = {"code": 200, "data": {"tasks": []}}


def test_the_package_exports_what_it_says():
    """The facade is sorted and complete."""
    assert cdc_http.__all__ == sorted(cdc_http.__all__)
    assert all(hasattr(cdc_http, name) for name in cdc_http.__all__)


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "application/json; charset=utf-8",
        'Application/JSON;charset="UTF-8"',
        "application/x-www-form-urlencoded",
        "",
    ],
)
def test_content_types_that_are_taken(content_type):
    """JSON is, and what curl -d says when it sends JSON."""
    answer = Api().send(LIST, headers={"Content-Type": content_type})
    assert answer.json == EMPTY


def test_a_missing_content_type_is_taken():
    """Clients that say nothing are taken at their body."""
    assert Api().send(LIST, headers={}).json == EMPTY


@pytest.mark.parametrize(
    "content_type",
    [
        "text/xml",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/json; charset=latin-1",
        "application/jsonx",
        "/",
        ";",
    ],
)
def test_other_content_types_are_415(content_type):
    """The message says which was sent and which to send."""
    answer = Api().send(LIST, headers={"Content-Type": content_type})
    message = error_of(answer, 415)
    assert content_type in message
    assert "application/json" in message


@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"]
)
def test_cdc_takes_post_only(method):
    """Every other method is a 405 in milvus-cdc's words."""
    answer = Api().client.simulate_request(method, "/cdc")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST"
    if method != "HEAD":
        assert error_of(answer, 405) == "only support the POST method"


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_health_takes_get_only(path):
    """Its 405 has the shape of every error."""
    answer = Api().client.simulate_post(path)
    assert error_of(answer, 405) == "only support the GET method"


@pytest.mark.parametrize("path", ["/page", "/cdc/", "/cdc/nothing", "/x%ff%0a", "/CDC"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_paths_are_404(path, method):
    """Their answer says where the API is."""
    answer = Api().client.simulate_request(method, path)
    assert "POST /cdc" in error_of(answer, 404)


def test_livez():
    """It is 200 while the supervisor works and 500 once it does not."""
    api = Api()
    alive = api.client.simulate_get("/livez")
    api.service.is_alive = False
    dead = api.client.simulate_get("/livez")
    assert (alive.status_code, alive.json) == (200, {"alive": True})
    assert (dead.status_code, dead.json) == (500, {"alive": False})


def test_readyz():
    """It is 200, or 503 with what is missing; how the tasks are decides nothing."""
    api = Api()
    ready = api.client.simulate_get("/readyz")
    tasks = {"ok": 2, "degraded": 1}
    api.service.ready = Readiness(ready=True, missing={}, tasks=tasks)
    degraded = api.client.simulate_get("/readyz")
    missing = {"source": "connection refused"}
    api.service.ready = Readiness(ready=False, missing=missing, tasks=tasks)
    waiting = api.client.simulate_get("/readyz")
    assert (ready.status_code, ready.json) == (200, {"ready": True})
    assert degraded.status_code == 200
    assert degraded.json == {"ready": True, "tasks": tasks}
    assert waiting.status_code == 503
    assert waiting.json == {"ready": False, "missing": missing, "tasks": tasks}


def test_readyz_of_a_supervisor_that_does_not_answer():
    """A supervisor that misses its deadline is a 503 like any other."""
    api = Api()
    api.service.failure = UnavailableError("no answer within 5 s")
    message = error_of(api.client.simulate_get("/readyz"), 503)
    assert message == "no answer within 5 s"


def test_an_unexpected_exception_is_a_500_and_logged_once():
    """The client learns nothing of the inside; the log has the exception."""
    api = Api()
    api.service.failure = ZeroDivisionError("root:Milvus")
    with capture_logs() as logs:
        answer = api.ask("list")
    assert "root:Milvus" not in error_of(answer, 500)
    assert "Traceback" not in answer.text
    assert logs == [
        {
            "event": "request_failed",
            "log_level": "error",
            "method": "POST",
            "path": "/cdc",
            "exc_info": api.service.failure,
        }
    ]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"not json",
        b"request_type=list",
        b'{"request_type":"list"} trailing',
        b'\xef\xbb\xbf{"request_type":"list"}',
        b'{"request_type":"li\xff"}',
        b'{"request_type":"\\ud800"}',
        b'{"request_type":"\\udc00x"}',
        b"\xff\xfe{\x00}\x00",
        b'{"request_type":NaN}',
        b'{"request_type":-Infinity}',
        b'{"request_type":1e999}',
        b'{"request_type":"list","request_data":{"x":' + b"1" * 5000 + b"}}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"request_type":"get","request_type":"list"}',
        b'{"request_type":"list","request_data":{"a":1,"a":null}}',
    ],
    ids=range(18),
)
def test_what_is_no_json_is_a_400(body):
    """Nothing that a client can send for JSON becomes a 500."""
    api = Api()
    message = error_of(api.send(body), 400)
    assert message.startswith("fail to unmarshal the request, error: ")
    assert api.service.asked == []


def test_a_body_without_anything_is_told_of():
    """It is what comes of a shell's variable that is empty."""
    said = error_of(Api().send(b" "), 400)
    assert said == "fail to unmarshal the request, error: the body is empty"


def test_a_field_given_twice_is_named():
    """Of two values neither is silently the one."""
    body = b'{"request_type":"get","request_data":{"task_id":"a","task_id":"b"}}'
    assert "`task_id` is given twice" in error_of(Api().send(body), 400)


@pytest.mark.parametrize("body", [b"[]", b"null", b"1", b'"list"', b"true"])
def test_a_request_is_an_object(body):
    """Any other JSON value is a 400 that says so."""
    assert "Expected `object`" in error_of(Api().send(body), 400)


@pytest.mark.parametrize("kind", ["", "LIST", "x" * 99])
def test_unknown_request_types_are_400(kind):
    """The message lists those that there are, in milvus-cdc's words."""
    assert error_of(Api().ask(kind), 400) == (
        "invalid 'request_type' param, can be set "
        "[acknowledge, cancel_comparison, compare, comparison, create, delete, get, "
        "history, lag_samples, list, maintenance, overview, pause, position, resume, "
        "resync, retry, update]"
    )


def test_a_missing_request_type_is_named():
    """Without a type there is nothing to do."""
    assert "'request_type'" in error_of(Api().send(b"{}"), 400)


@pytest.mark.parametrize("kind", [1, ["list"], {"a": 1}, True])
def test_a_request_type_that_is_no_text_is_named(kind):
    """Its place is in the message."""
    assert "$.request_type" in error_of(Api().ask(kind), 400)


@pytest.mark.parametrize("data", [1, [], "x", [1], True, 1.5])
def test_request_data_that_is_no_object_is_refused(data):
    """The message has milvus-cdc's words and the type."""
    message = error_of(Api().ask("get", data), 400)
    assert message.startswith(
        "fail to decode the get request, error: Expected `object`"
    )


def test_an_unknown_field_beside_the_request_is_named():
    """A misspelt request_data is not taken for an empty one."""
    answer = Api().send(b'{"request_type":"list","requst_data":{}}')
    assert "`requst_data`" in error_of(answer, 400)


def test_the_body_may_have_all_its_length_and_no_byte_more():
    """The bound itself is allowed, one more is a 413."""
    api = Api(max_body_bytes=len(LIST) + 10)
    assert api.send(LIST + b" " * 10).json == EMPTY
    assert f"larger than {len(LIST) + 10} bytes" in error_of(
        api.send(LIST + b" " * 11), 413
    )


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
NAMES = st.sampled_from(
    [
        "task_id",
        "as_of",
        "after",
        "limit",
        "ignore_not_found",
        "milvus_connect_param",
        "uri",
        "token",
        "host",
        "port",
        "username",
        "password",
        "connect_timeout",
        "enable_tls",
        "dial_config",
        "collection_infos",
        "name",
        "positions",
        "db_collections",
        "name_mapping",
        "extra_info",
        "buffer_config",
        "period",
        "size",
    ]
)
LIKELY = st.recursive(
    VALUES | st.sampled_from(["*", "http://h:1", "http://u:p@h", "a" * 300]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5)
    ),
    max_leaves=12,
)
REQUESTS = st.fixed_dictionaries(
    {
        "request_type": st.sampled_from(
            ["create", "list", "get", "history", "pause", "resume", "delete"]
        ),
        "request_data": st.one_of(
            LIKELY,
            st.dictionaries(NAMES, LIKELY).map(
                lambda more: {
                    "milvus_connect_param": TARGET,
                    "collection_infos": ALL,
                    **more,
                }
            ),
        ),
    }
)


def _check(body: bytes) -> None:
    answer = Api().send(body)
    assert answer.headers["content-type"] == "application/json"
    assert answer.json["code"] == answer.status_code < 500


@given(VALUES | REQUESTS)
def test_any_json_value_is_answered(value):
    """Whatever JSON comes in, JSON goes out, its code is the status, and no 500."""
    _check(json.dumps(value).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(body):
    """Whatever bytes come in, the answer is JSON and no 500."""
    _check(body)
