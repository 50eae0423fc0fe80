"""POST /cdc create: every field of milvus-cdc, its precedence and its refusals."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from cdc_actors.service.views import CollectionView
from cdc_actors.tasks.spec import ConnectParam
from tests.support.http_service import TARGET, Api, FakeService, error_of, task_view

URI = "http://localhost:19530"
TLS_URI = "https://localhost:19530"
PREFIX = "fail to handle the create request, error: "


def connect(**fields):
    """Return the target and the token that such a milvus_connect_param means."""
    spec = Api().created(milvus_connect_param=fields)
    return spec.target, spec.token


def refusal(**fields):
    """Return why a create with these fields is refused."""
    api = Api()
    message = error_of(api.create(**fields), 400)
    assert api.service.asked == []
    return message


def refused_connect(**fields):
    """Return why such a milvus_connect_param is refused."""
    return refusal(milvus_connect_param=fields)


@pytest.mark.parametrize(
    "uri",
    [
        URI,
        "https://in01-abc.aws.vectordb.zillizcloud.com:443",
        "https://example.com",
        "tcp://10.0.0.1:19530",
        "http://[::1]:19530",
    ],
)
def test_uri(uri):
    """Addresses that pymilvus knows are taken as they are."""
    assert connect(uri=uri) == (ConnectParam(uri=uri, connect_timeout=10), "")


def test_a_closing_slash_is_dropped():
    """One target has one address."""
    assert connect(uri=URI + "/")[0].uri == URI


@pytest.mark.parametrize(
    ("tls", "host", "uri"),
    [
        (False, "localhost", "http://localhost:19530"),
        (True, "localhost", "https://localhost:19530"),
        (False, "::1", "http://[::1]:19530"),
        (False, "[::1]", "http://[::1]:19530"),
    ],
)
def test_host_and_port(tls, host, uri):
    """Host, port and enable_tls make an address."""
    assert connect(host=host, port=19530, enable_tls=tls)[0].uri == uri


def test_port_as_text():
    """Scripts write the port in quotes, too."""
    assert connect(host="localhost", port="19530")[0].uri == URI


def test_what_has_no_effect_is_told():
    """The task is created, and its answer says which field changed nothing."""
    api = Api()
    param = {**TARGET, "ignore_partition": True}
    (warning,) = api.create(milvus_connect_param=param).json["data"]["warnings"]
    assert warning.startswith("milvus_connect_param.ignore_partition has no effect")
    assert "warnings" not in api.create().json["data"]


@pytest.mark.parametrize("task_id", [None, "mine"])
def test_what_does_not_fit_at_the_target_is_told(task_id):
    """The task is created nonetheless: its other collections are replicated."""
    api = Api(FakeService(unfit=["the target has another"]))
    answer = api.create(**({"task_id": task_id} if task_id else {}))
    assert answer.json["data"]["warnings"] == ["the target has another"]


@pytest.mark.parametrize(
    "name",
    [
        "db1.books",
        "order_*",
        "**",
        "books ",
        " books",
        "1books",
        "b/c",
        "ü",
        "a\n",
        "-a",
    ],
)
def test_names_that_milvus_cannot_have(name):
    """Nothing would ever be replicated of them; the field is named, and the name."""
    infos = [{"name": "ok"}, {"name": name}]
    for field, fields in {
        "collection_infos": {"collection_infos": infos},
        "db_collections.d": {"db_collections": {"d": infos}},
        "db_collections": {"db_collections": {name: [{"name": "*"}]}},
        "name_mapping[0].target_db": {
            "name_mapping": [{"source_db": "default", "target_db": name}]
        },
    }.items():
        message = refusal(**fields)
        assert f"{field} has the name `{name}`" in message


@pytest.mark.parametrize("name", ["_a", "A1", "a_$", "a-b", "a" * 255])
def test_names_that_milvus_can_have(name):
    """Letters, digits, _ and what a setting of Milvus may allow."""
    assert Api().created(collection_infos=[{"name": name}]).collection_infos == (name,)


def test_uri_wins_over_host_and_port():
    """With both given the uri counts."""
    assert connect(uri=URI, host="other", port=1)[0].uri == URI


@pytest.mark.parametrize(
    ("fields", "token"),
    [
        ({"token": "t"}, "t"),
        ({"username": "u", "password": "p"}, "u:p"),
        ({"token": "t", "username": "u", "password": "p"}, "t"),
        ({}, ""),
    ],
)
def test_token_wins_over_username_and_password(fields, token):
    """The credentials become one token."""
    assert connect(uri=URI, **fields)[1] == token


@pytest.mark.parametrize(
    ("fields", "token"),
    [
        ({}, "us:p@ss"),
        ({"token": "t"}, "t"),
        ({"username": "u", "password": "p"}, "u:p"),
    ],
)
def test_credentials_inside_the_uri_are_moved_out_of_it(fields, token):
    """They are the token unless another is given, and the uri never shows them."""
    target, found = connect(uri="http://us:p%40ss@localhost:19530", **fields)
    assert (target.uri, found) == (URI, token)


def test_dial_config_and_timeout():
    """TLS files and the time-out reach the service; channel_num changes nothing."""
    dial = {
        "server_name": "a",
        "server_pem_path": "b",
        "ca_pem_path": "c",
        "client_pem_path": "d",
        "client_key_path": "e",
    }
    target, _ = connect(
        uri=TLS_URI,
        connect_timeout=600,
        channel_num=16,
        ignore_partition=False,
        dial_config={**dial, "channel_num": 4},
    )
    assert target == ConnectParam(uri=TLS_URI, connect_timeout=600, **dial)


def test_connect_timeout_zero_is_the_default():
    """Zero means that none is given, as in milvus-cdc."""
    assert connect(uri=URI, connect_timeout=0)[0].connect_timeout == 10


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"token": "t"}, "the milvus host is empty"),
        ({"host": "h"}, "the milvus port is less or equal zero"),
        ({"host": "h", "port": -1}, "the milvus port is less or equal zero"),
        ({"uri": "http://h:0"}, "the milvus port is less or equal zero"),
        ({"uri": "http://:19530"}, "the milvus host is empty"),
        (
            {"uri": URI, "username": "u"},
            "cannot set only one of the milvus username and password",
        ),
        (
            {"uri": URI, "password": "p"},
            "cannot set only one of the milvus username and password",
        ),
        (
            {"uri": "http://u@localhost:19530"},
            "cannot set only one of the milvus username and password",
        ),
        (
            {"uri": URI, "connect_timeout": -1},
            "the milvus connect timeout is less zero",
        ),
    ],
)
def test_connection_refused_in_the_words_of_milvus_cdc(fields, text):
    """Its own texts stand where it has one."""
    assert refused_connect(**fields) == PREFIX + text


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"host": "h", "port": 65536}, "port"),
        ({"host": "http://h", "port": 1}, "milvus_connect_param.host"),
        ({"host": "u:secret@h", "port": 1}, "milvus_connect_param.host"),
        ({"uri": URI, "connect_timeout": 601}, "milvus_connect_param.connect_timeout"),
        ({"uri": URI, "connect_timeout": 10**30}, "connect_timeout"),
        ({"uri": URI, "enable_tls": True}, "milvus_connect_param.enable_tls"),
        ({"host": "h", "port": "65536"}, "port"),
        ({"uri": URI, "dial_config": {"ca_pem_path": "a"}}, "ca_pem_path"),
        ({"uri": URI, "dial_config": {"server_name": "a"}}, "dial_config"),
        (
            {
                "uri": TLS_URI,
                "dial_config": {"client_pem_path": "a", "ca_pem_path": "b"},
            },
            "client_key_path",
        ),
        (
            {
                "uri": TLS_URI,
                "dial_config": {"client_pem_path": "a", "client_key_path": "b"},
            },
            "ca_pem_path",
        ),
        ({"host": "h", "port": 1, "dial_config": {"server_pem_path": "a"}}, "https"),
    ],
)
def test_connection_fields_refused_by_name(fields, named):
    """What milvus-cdc has no text for is named."""
    message = refused_connect(**fields)
    assert named in message
    assert "secret" not in message


@pytest.mark.parametrize(
    "uri",
    [
        "localhost:19530",
        "localhost",
        "ftp://u:secret@localhost",
        "unix:///run/secret.sock",
        "http:/localhost",
        "http://u:secret@localhost:99999",
        "http://u:secret@localhost:port",
        "http://u:secret@[::1",
        "http://u:secret@localhost:19530/db",
        "http://localhost:19530?x=secret",
        "http://localhost:19530#secret",
        "http://local host:19530",
        "http://localhost:19530\n",
        "http://\x00secret:1",
    ],
)
def test_wrong_uris_are_refused_and_not_repeated(uri):
    """The message names the field and shows a right one, never what was given."""
    message = refused_connect(uri=uri)
    assert "milvus_connect_param.uri" in message
    assert "http://localhost:19530" in message
    assert "secret" not in message


def test_several_collections():
    """Several collections are one task, each once."""
    infos = [{"name": "a"}, {"name": "b", "use_start_position": True}, {"name": "a"}]
    assert Api().created(collection_infos=infos).collection_infos == ("a", "b")


def test_databases_with_and_without_collections_of_default():
    """Both kinds of selection may be given, alone or together."""
    dbs = {"db": [{"name": "x"}, {"name": "y"}], "*": [{"name": "*"}]}
    selected = {"db": ("x", "y"), "*": ("*",)}
    alone = Api().created(collection_infos=None, db_collections=dbs)
    both = Api().created(collection_infos=[{"name": "c"}], db_collections=dbs)
    assert (alone.collection_infos, alone.db_collections) == ((), selected)
    assert (both.collection_infos, both.db_collections) == (("c",), selected)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"collection_infos": []}, "the collection info is empty"),
        ({"collection_infos": None}, "the collection info is empty"),
        (
            {"collection_infos": None, "db_collections": {"db": []}},
            "empty collection info",
        ),
        (
            {"collection_infos": [{"name": "a"}, {}]},
            "there is a collection name that is empty. ",
        ),
        (
            {"db_collections": {"db": [{"name": ""}]}},
            "there is a collection name that is empty. ",
        ),
        (
            {
                "collection_infos": [
                    {"name": "aaaaaa"},
                    {"name": "b"},
                    {"name": "ü" * 6},
                ]
            },
            (
                "there are some collection names whose length exceeds 5 characters, "
                "[aaaaaa üüüüüü]"
            ),
        ),
        (
            {"db_collections": {"dddddd": [{"name": "*"}]}},
            "the db name length exceeds 5 characters, dddddd",
        ),
        (
            {"collection_infos": [{"name": "*", "positions": {"ch": "AA=="}}]},
            "the collection name is `*`, the positions should be empty",
        ),
        ({"buffer_config": {"period": -1}}, "the cache period is less zero"),
        ({"buffer_config": {"size": -1}}, "the cache size is less zero"),
        ({"milvus_connect_param": None}, "the downstream address is empty"),
        ({"milvus_connect_param": {}}, "the downstream address is empty"),
        (
            {"kafka_connect_param": {"address": "k:9092", "topic": "t"}},
            "don't support milvus and kafka at the same time now",
        ),
    ],
)
def test_create_refused_in_the_words_of_milvus_cdc(fields, text):
    """Its own texts stand where it has one."""
    api = Api(max_name_length=5)
    assert error_of(api.create(**fields), 400) == PREFIX + text
    assert api.service.asked == []


def test_an_empty_database_name_is_refused():
    """A database is named or is `*`."""
    assert "db_collections" in refusal(db_collections={"": [{"name": "*"}]})


def test_a_name_may_have_all_its_length():
    """The bound itself is allowed."""
    infos = [{"name": "n" * 5}]
    spec = Api(max_name_length=5).created(
        collection_infos=infos, db_collections={"d" * 5: infos}
    )
    assert spec.collection_infos == ("nnnnn",)


def test_another_channel_of_requests_is_refused():
    """The service reads the configured one for all tasks; both are named."""
    api = Api(requests_channel="prod-replicate-msg")
    answer = api.create(rpc_channel_info={"name": "by-dev-replicate-msg"})
    assert answer.status_code == 400
    assert "rpc_channel_info.name is `by-dev-replicate-msg`" in answer.json["message"]
    assert "`prod-replicate-msg` (sourceConfig.replicateChan)" in answer.json["message"]
    for name in ("", "prod-replicate-msg"):
        api.created(rpc_channel_info={"name": name})


def test_what_changes_nothing_is_accepted():
    """A request of milvus-cdc with its other fields at rest creates the same task."""
    plain = Api().created()
    full = Api().created(
        kafka_connect_param={
            "address": "",
            "topic": "",
            "enable_sasl": False,
            "sasl": {
                "username": "",
                "password": "",
                "mechanisms": "",
                "security_protocol": "",
            },
        },
        rpc_channel_info={"name": "by-dev-replicate-msg", "position": ""},
        extra_info={"enable_user_role": False},
        buffer_config={"period": 3, "size": 10},
        name_mapping=[],
        disable_auto_start=False,
        snapshot="auto",
        consistency="tick",
        positions={},
        db_collections={},
        collection_infos=[{"name": "*", "positions": {}, "use_start_position": False}],
    )
    assert full == plain


def test_null_is_as_if_left_out():
    """Clients in Go send null for lists and maps that they do not fill."""
    api = Api()
    answer = api.ask(
        "create",
        {
            "milvus_connect_param": {**TARGET, "token": None, "dial_config": None},
            "collection_infos": [{"name": "*", "positions": None}],
            "db_collections": None,
            "name_mapping": None,
            "task_id": None,
        },
    )
    assert answer.status_code == 200
    assert api.service.asked[0][2] == Api().created()


def test_rows_that_do_not_wait_for_ticks_are_asked_for():
    """``consistency`` is part of what the task is to do, and shown if not ``tick``."""
    api = Api()
    task_id = api.create(consistency="early").json["data"]["task_id"]
    spec = api.service.asked[0][2]
    assert spec.consistency == "early"
    api.service.tasks[task_id] = task_view(task_id, spec)
    shown = api.ask("get", {"task_id": task_id}).json["data"]["task"]
    assert shown["consistency"] == "early"
    usual = replace(spec, consistency="tick")
    api.service.tasks[task_id] = task_view(task_id, usual)
    shown = api.ask("get", {"task_id": task_id}).json["data"]["task"]
    assert "consistency" not in shown


def test_users_and_roles_are_asked_for():
    """``extra_info.enable_user_role`` is part of what the task is to do."""
    api = Api()
    answer = api.create(extra_info={"enable_user_role": True})
    assert answer.status_code == 200
    assert api.service.asked[0][2].enable_user_role


def test_fields_that_the_target_cannot_hold_are_asked_for():
    """``extra_info.skip_unsupported_fields`` is shown, and what came of it."""
    api = Api()
    asked = {"skip_unsupported_fields": True}
    task_id = api.create(extra_info=asked).json["data"]["task_id"]
    spec = api.service.asked[0][2]
    assert spec.skip_unsupported_fields
    names = {"database": "db", "name": "c", "target": ("db", "c")}
    each = CollectionView(
        **names, collection_id=7, state="live", skipped_fields=("place",)
    )
    view = dataclasses.replace(task_view(task_id, spec), collections=(each,))
    api.service.tasks[task_id] = view
    shown = api.ask("get", {"task_id": task_id}).json["data"]["task"]
    assert shown["extra_info"] == asked
    assert shown["collections"][0]["skipped_fields"] == ["place"]


def test_a_start_that_is_not_to_be_by_itself_is_asked_for():
    """``disable_auto_start`` is part of the task; what it means is said."""
    api = Api()
    answer = api.create(disable_auto_start=True)
    assert api.service.asked[0][2].disable_auto_start
    (warning,) = answer.json["data"]["warnings"]
    assert "paused whenever the service starts" in warning


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"positions": {"ch": "AA=="}}, "positions"),
        (
            {"milvus_connect_param": None, "kafka_connect_param": {"address": "k"}},
            "kafka_connect_param.address",
        ),
    ],
)
def test_what_this_version_does_not_do_is_refused_by_name(fields, named):
    """A wish that would be ignored is a 400 that names it."""
    message = refusal(**fields)
    assert "this version does not support" in message
    assert f"`{named}`" in message


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"colection_infos": []}, "`colection_infos`"),
        ({"milvus_connect_param": {"url": "x"}}, "`url` - at `$.milvus_connect_param`"),
        (
            {"milvus_connect_param": {"dial_config": {"x": 1}}},
            "`x` - at `$.milvus_connect_param.dial_config`",
        ),
        ({"collection_infos": [{"nam": "a"}]}, "`nam` - at `$.collection_infos[0]`"),
        ({"db_collections": {"db": [{"nam": "a"}]}}, "`nam` - at `$.db_collections"),
        ({"extra_info": {"x": 1}}, "`x` - at `$.extra_info`"),
        ({"buffer_config": {"x": 1}}, "`x` - at `$.buffer_config`"),
        (
            {"kafka_connect_param": {"sasl": {"x": 1}}},
            "at `$.kafka_connect_param.sasl`",
        ),
        ({"name_mapping": [{"x": 1}]}, "`x` - at `$.name_mapping[0]`"),
        ({"rpc_channel_info": {"x": 1}}, "`x` - at `$.rpc_channel_info`"),
    ],
)
def test_unknown_fields_are_named_with_their_place(fields, path):
    """A misspelt field at any depth is a 400 with its name."""
    message = refusal(**fields)
    assert message.startswith("fail to decode the create request, error: ")
    assert path in message


FIELDS = [
    "task_id",
    "milvus_connect_param",
    "milvus_connect_param.uri",
    "milvus_connect_param.token",
    "milvus_connect_param.host",
    "milvus_connect_param.port",
    "milvus_connect_param.enable_tls",
    "milvus_connect_param.username",
    "milvus_connect_param.password",
    "milvus_connect_param.connect_timeout",
    "milvus_connect_param.dial_config",
    "milvus_connect_param.dial_config.server_name",
    "milvus_connect_param.ignore_partition",
    "collection_infos",
    "db_collections",
    "kafka_connect_param",
    "kafka_connect_param.address",
    "rpc_channel_info",
    "extra_info.enable_user_role",
    "extra_info.skip_unsupported_fields",
    "buffer_config.period",
    "name_mapping",
    "disable_auto_start",
    "snapshot",
    "consistency",
    "positions",
]


@pytest.mark.parametrize("value", [1.5, [[1]], "\x00" * 3 + "x"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_value_of_the_wrong_type_is_named(field, value):
    """No field takes a value of another type, and the message says where it is."""
    if isinstance(value, str) and field.endswith(
        ("task_id", "uri", "token", "host", "username", "password", "name", "address")
    ):
        value = {"a": value}
    data = value
    for name in reversed(field.split(".")):
        data = {name: data}
    message = refusal(**data)
    wrong = ("Expected", "Invalid enum value")
    assert message.removeprefix(
        "fail to decode the create request, error: "
    ).startswith(wrong)
    assert f"$.{field}" in message


@pytest.mark.parametrize("infos", [["a"], [1], [[]], {"name": "a"}, [{"name": 1}]])
def test_collection_infos_is_a_list_of_objects(infos):
    """What is no list of named collections is refused with its place."""
    assert "$.collection_infos" in refusal(collection_infos=infos)
    assert "$.db_collections" in refusal(db_collections={"db": infos})
