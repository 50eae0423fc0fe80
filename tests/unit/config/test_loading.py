"""Reading the settings: defaults, precedence, origins."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.config import Config, load
from cdc_actors.config.keys import KEYS, SECTIONS, Key
from cdc_actors.config.model import host_and_port

if TYPE_CHECKING:
    from pathlib import Path

NATS = {"CDC_ACTORS_SOURCE_CONFIG__NATSMQ__ADDRESS": "nats://127.0.0.1:4222"}
HASH = f"scrypt:{'0' * 32}:{'1' * 64}"
TOKEN = {"name": "ops", "role": "viewer", "hash": HASH}
EVERYTHING = """
address: 127.0.0.1:8444
nodeUrl: https://10.0.0.3:8444
maxTaskNum: 100
maxNameLength: 256
maxMemoryBytes: 268435456
metaStoreConfig:
  storeType: sqlite
  verifyAtStart: true
  sqlite: {path: ./cdc.db}
  postgres: {url: "postgresql://cdc@127.0.0.1:5432/cdc"}
sourceConfig:
  uri: http://127.0.0.1:19530
  token: ""
  etcd: {address: [http://127.0.0.1:2379], rootPath: by-dev, metaSubPath: meta,
    enableAuth: false, username: "", password: "",
    enableTLS: false, tlsCertPath: "", tlsKeyPath: "", tlsCACertPath: ""}
  replicateChan: by-dev-replicate-msg
  storage: {type: local, path: /var/lib/milvus/data, address: "s3:9000", bucketName: b,
    rootPath: files, region: "", useSSL: false, caCert: "", accessKeyID: u,
    secretAccessKey: p, maxSnapshotBytesPerSecond: 1048576}
  QUEUE
logLevel: info
auth:
  tokens: [{name: ops, role: operator, hash: HASH}]
  allowAnonymous: false
tls: {certPath: cert.pem, keyPath: key.pem, caPath: ca.pem}
"""
QUEUES = {
    "natsmq": "{address: nats://127.0.0.1:4222}",
    "rocksmq": "{path: /var/lib/milvus/rdb_data, retentionTimeInMinutes: 4320}",
    "kafka": "{address: '127.0.0.1:9092', saslUsername: u, saslPassword: p, "
    "saslMechanisms: PLAIN, securityProtocol: SASL_SSL, consumer: {a.b: 1}}",
    "pulsar": "{address: pulsar://127.0.0.1:6650, webAddress: a, tenant: public, "
    "namespace: default, authPlugin: token, authParams: t, tlsTrustCertsFilePath: a, "
    "tlsAllowInsecureConnection: false, tlsValidateHostname: true}",
}


def everything(queue: str) -> str:
    """Return a file with every key there is for a source with that queue."""
    with_hash = EVERYTHING.replace("HASH", HASH)
    return with_hash.replace("QUEUE", f"{queue}: {QUEUES[queue]}")


@pytest.fixture
def file(tmp_path: Path):
    """Return a function that writes a configuration and returns its path."""

    def write(text: str) -> Path:
        path = tmp_path / "cdc.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_every_key_has_its_default_but_the_queue():
    """With only the queue set, all else is as documented."""
    config = load(None, NATS, {}).config

    assert msgspec.to_builtins(config) == {
        "address": "127.0.0.1:8444",
        "nodeUrl": "",
        "maxTaskNum": 100,
        "maxNameLength": 256,
        "maxMemoryBytes": 256 << 20,
        "metaStoreConfig": {
            "storeType": "sqlite",
            "verifyAtStart": True,
            "sqlite": {"path": "./cdc.db"},
            "postgres": {"url": ""},
        },
        "sourceConfig": {
            "uri": "http://127.0.0.1:19530",
            "token": "",
            "etcd": {
                "address": ("http://127.0.0.1:2379",),
                "rootPath": "by-dev",
                "metaSubPath": "meta",
                "enableAuth": False,
                "username": "",
                "password": "",
                "enableTLS": False,
                "tlsCertPath": "",
                "tlsKeyPath": "",
                "tlsCACertPath": "",
            },
            "replicateChan": "by-dev-replicate-msg",
            "storage": {
                "type": "none",
                "path": "",
                "address": "",
                "bucketName": "",
                "rootPath": "",
                "region": "",
                "useSSL": False,
                "caCert": "",
                "accessKeyID": "",
                "secretAccessKey": "",
                "maxSnapshotBytesPerSecond": 0,
            },
            "natsmq": {"address": "nats://127.0.0.1:4222"},
            "rocksmq": None,
            "kafka": None,
            "pulsar": None,
            "streaming": {},
        },
        "logLevel": "info",
        "auth": {"tokens": (), "allowAnonymous": False},
        "tls": {"certPath": "", "keyPath": "", "caPath": ""},
    }


@pytest.mark.parametrize("queue", QUEUES)
def test_a_file_with_every_key_is_read(file, queue):
    """Each key of the documented file is known, and each origin is that file."""
    path = file(everything(queue))

    resolved = load(path, {}, {})

    assert set(resolved.origins) == {
        key
        for key in KEYS
        if not key.startswith(tuple(f"sourceConfig.{each}." for each in QUEUES))
        or key.startswith(f"sourceConfig.{queue}.")
    }
    assert set(resolved.shown()) == set(resolved.origins)
    assert all(each.startswith(f"file {path}:") for each in resolved.origins.values())
    assert resolved.warnings == ()


def test_attributes_are_snake_case(file):
    """Python code reads the settings by Python names."""
    config = load(file(everything("natsmq")), {}, {}).config

    assert config.listen == ("127.0.0.1", 8444)
    assert config.meta_store_config.store_type == "sqlite"
    assert config.source_config.etcd.address == ("http://127.0.0.1:2379",)
    assert config.source_config.etcd.enable_tls is False
    assert config.source_config.etcd.tls_ca_cert_path == ""
    assert config.source_config.natsmq.address == "nats://127.0.0.1:4222"


def test_settings_cannot_be_changed():
    """A configuration is frozen, sections included."""
    config = load(None, NATS, {}).config

    with pytest.raises(AttributeError):
        config.source_config.etcd.root_path = "other"  # type: ignore[misc]


def test_flags_beat_the_environment_which_beats_the_file(file):
    """Of several places the nearest to the operator counts, and is named as origin."""
    path = file("address: 127.0.0.1:1\nlogLevel: error\nmaxTaskNum: 7\n")
    environ = NATS | {
        "CDC_ACTORS_ADDRESS": "127.0.0.2:2",
        "CDC_ACTORS_LOG_LEVEL": "debug",
    }

    resolved = load(path, environ, {"logLevel": "warn"})

    assert resolved.config.max_task_num == 7
    assert resolved.config.address == "127.0.0.2:2"
    assert resolved.config.log_level == "warn"
    assert resolved.origins["maxTaskNum"] == f"file {path}:3"
    assert resolved.origins["address"] == "environment CDC_ACTORS_ADDRESS"
    assert resolved.origins["logLevel"] == "flag --log-level"
    assert resolved.origins["maxNameLength"] == "default"


LISTS = {
    "sourceConfig.etcd.address": (
        "http://a:1, http://b:2",
        ("http://a:1", "http://b:2"),
    ),
    "auth.tokens": (json.dumps([TOKEN]), (TOKEN,)),
}


def example(key: Key) -> tuple[str, Any]:
    """Return a text that is no default, and the value it stands for."""
    special = {
        "address": "[::1]:9444",
        "nodeUrl": "https://[::1]:9444/",
        "metaStoreConfig.storeType": "postgres",
        "metaStoreConfig.postgres.url": "postgresql://somewhere/cdc",
        "sourceConfig.storage.type": "s3",
        "sourceConfig.uri": "https://somewhere:1",
        "sourceConfig.natsmq.address": "tls://somewhere:1",
        "sourceConfig.kafka.address": "a:1, b:2",
        "sourceConfig.kafka.securityProtocol": "ssl",
        "sourceConfig.pulsar.address": "pulsar+ssl://somewhere:1",
        "logLevel": "debug",
    }
    kind = get_args(key.kind)[0]
    if key.dotted in special:
        return special[key.dotted], special[key.dotted]
    if kind is bool:
        return "true", True
    if kind is int:
        return "40000000", 40_000_000
    if isinstance(key.default, dict):
        return "a.b=1, c=x", {"a.b": "1", "c": "x"}
    if isinstance(key.default, tuple):
        return LISTS[key.dotted]
    return "something", "something"


COMPANIONS = {
    "CDC_ACTORS_META_STORE_CONFIG__POSTGRES__URL": "postgresql://db/cdc",
    "CDC_ACTORS_SOURCE_CONFIG__ETCD__USERNAME": "me",
    "CDC_ACTORS_SOURCE_CONFIG__ETCD__TLS_CERT_PATH": "cert",
    "CDC_ACTORS_SOURCE_CONFIG__ETCD__TLS_KEY_PATH": "key",
    "CDC_ACTORS_SOURCE_CONFIG__STORAGE__BUCKET_NAME": "bucket",
    "CDC_ACTORS_SOURCE_CONFIG__STORAGE__ACCESS_KEY_ID": "me",
    "CDC_ACTORS_SOURCE_CONFIG__STORAGE__SECRET_ACCESS_KEY": "mine",
    "CDC_ACTORS_TLS__CERT_PATH": "cert",
    "CDC_ACTORS_TLS__KEY_PATH": "key",
}


QUEUE_COMPANIONS = {
    "sourceConfig.rocksmq": {"CDC_ACTORS_SOURCE_CONFIG__ROCKSMQ__PATH": "/a"},
    "sourceConfig.kafka": {
        "CDC_ACTORS_SOURCE_CONFIG__KAFKA__ADDRESS": "a:1",
        "CDC_ACTORS_SOURCE_CONFIG__KAFKA__SASL_USERNAME": "u",
        "CDC_ACTORS_SOURCE_CONFIG__KAFKA__SASL_PASSWORD": "p",
        "CDC_ACTORS_SOURCE_CONFIG__KAFKA__SASL_MECHANISMS": "PLAIN",
    },
    "sourceConfig.pulsar": {
        "CDC_ACTORS_SOURCE_CONFIG__PULSAR__ADDRESS": "pulsar://a:1",
    },
}


@pytest.mark.parametrize("key", KEYS.values(), ids=str)
def test_every_key_can_come_from_the_environment(key):
    """Any key has a variable, which its origin names."""
    text, value = example(key)
    queue = QUEUE_COMPANIONS.get(key.dotted.rpartition(".")[0], NATS)

    resolved = load(None, COMPANIONS | queue | {key.variable: text}, {})

    config: Any = msgspec.to_builtins(resolved.config)
    for name in key.dotted.split("."):
        config = config[name]
    assert config == value
    assert resolved.origins[key.dotted] == f"environment {key.variable}"


@pytest.mark.parametrize("queue", QUEUES)
def test_only_the_queue_given_is_there(file, queue):
    """A configuration has the section of one message queue, and None for the rest."""
    source = load(file(everything(queue)), {}, {}).config.source_config

    assert [each for each in QUEUES if getattr(source, each) is not None] == [queue]


@pytest.mark.parametrize("text", ["{}", "{streaming: {}}", "{natsmq: {}}"])
def test_a_source_of_2_6_needs_no_queue(file, text):
    """Its version says so, once it is asked; there is no default for a queue."""
    source = load(file(f"sourceConfig: {text}\nlogLevel: info"), {}, {})

    source = source.config.source_config
    assert [each for each in QUEUES if getattr(source, each) is not None] == []


@pytest.mark.parametrize(
    ("source", "by_api"),
    [
        ("{uri: 'http://milvus:19530'}", True),
        ("{uri: 'http://milvus:19530', token: 'a:b', streaming: {}}", True),
        ("{uri: 'http://milvus:19530', etcd: {rootPath: a}}", False),
        ("{uri: 'http://milvus:19530', rocksmq: {path: /a}}", False),
        ("{uri: 'http://milvus:19530', storage: {type: local, path: /a}}", False),
        ("{token: 'a:b'}", False),
    ],
)
def test_a_source_that_is_read_by_its_api_alone(file, source, by_api):
    """That of which an address is given, and nothing else to read it by."""
    resolved = load(file(f"sourceConfig: {source}"), {}, {})
    assert (resolved.config.source_config.etcd is None) is by_api
    shown = "sourceConfig.etcd.address" in resolved.shown()
    assert shown is not by_api


def test_options_of_the_client_library_may_be_numbers(file):
    """What librdkafka takes as a number or a flag need not be quoted."""
    text = "{address: a, consumer: {fetch.min.bytes: 7, check.crcs: true, x: y}}"

    config = load(file(f"sourceConfig: {{kafka: {text}}}"), {}, {}).config

    assert config.source_config.kafka is not None
    assert config.source_config.kafka.consumer == {
        "fetch.min.bytes": 7,
        "check.crcs": True,
        "x": "y",
    }


@pytest.mark.parametrize(
    ("dotted", "variable"),
    [
        ("maxTaskNum", "CDC_ACTORS_MAX_TASK_NUM"),
        ("metaStoreConfig.sqlite.path", "CDC_ACTORS_META_STORE_CONFIG__SQLITE__PATH"),
        (
            "sourceConfig.etcd.rootPath",
            "CDC_ACTORS_SOURCE_CONFIG__ETCD__ROOT_PATH",
        ),
        (
            "sourceConfig.etcd.enableTLS",
            "CDC_ACTORS_SOURCE_CONFIG__ETCD__ENABLE_TLS",
        ),
        (
            "sourceConfig.etcd.tlsCACertPath",
            "CDC_ACTORS_SOURCE_CONFIG__ETCD__TLS_CA_CERT_PATH",
        ),
        (
            "sourceConfig.kafka.saslPassword",
            "CDC_ACTORS_SOURCE_CONFIG__KAFKA__SASL_PASSWORD",
        ),
        (
            "sourceConfig.pulsar.tlsTrustCertsFilePath",
            "CDC_ACTORS_SOURCE_CONFIG__PULSAR__TLS_TRUST_CERTS_FILE_PATH",
        ),
    ],
)
def test_variables_are_the_keys_in_capitals(dotted, variable):
    """A dot becomes two underscores, a capital or a run of them begins a word."""
    assert KEYS[dotted].variable == variable


def test_a_value_can_be_in_a_file_of_its_own(tmp_path):
    """A variable with _FILE names a file, whose last line end does not count."""
    text = "root:Milvus"
    secret = tmp_path / "token"
    secret.write_text(f"{text}\n", encoding="utf-8")
    name = "CDC_ACTORS_SOURCE_CONFIG__TOKEN_FILE"

    resolved = load(None, NATS | {name: str(secret)}, {})

    assert resolved.config.source_config.token == text
    assert resolved.origins["sourceConfig.token"] == f"environment {name}"


def test_the_key_of_the_secrets_is_no_setting():
    """CDC_ACTORS_KEY is left to what encrypts secrets."""
    assert load(None, NATS | {"CDC_ACTORS_KEY": "x"}, {}).warnings == ()


def test_the_token_of_commands_is_no_setting():
    """The variable with which commands log in may stand beside those of the service."""
    ours = {"CDC_ACTORS_TOKEN": "ops.secret", "CDC_ACTORS_URL": "http://h:8444"}
    assert load(None, NATS | ours, {}).config


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:1"])
def test_a_loopback_address_needs_no_tokens(address):
    """Who can reach it is on this machine."""
    assert load(None, NATS, {"address": address}).config.address == address


@pytest.mark.parametrize(
    "more",
    [
        {"CDC_ACTORS_AUTH__TOKENS": json.dumps([TOKEN])},
        {"CDC_ACTORS_AUTH__ALLOW_ANONYMOUS": "true"},
    ],
)
def test_any_address_with_tokens_or_told_so(more):
    """Others may reach what asks for tokens, and what is meant for everybody."""
    assert load(None, NATS | more, {"address": "0.0.0.0:1"}).config.listen[1] == 1


def test_tokens_in_clear_are_warned_of():
    """Where others can listen to the network, tokens need TLS; on loopback they do not."""
    environ = NATS | {"CDC_ACTORS_AUTH__TOKENS": json.dumps([TOKEN])}
    tls = {"tls.certPath": "cert", "tls.keyPath": "key"}
    everywhere = {"address": "0.0.0.0:1"}

    (warning,) = load(None, environ, everywhere).warnings

    assert "in clear: set tls" in warning
    assert load(None, environ, {}).warnings == ()
    assert load(None, environ, everywhere | tls).warnings == ()
    node = everywhere | tls | {"nodeUrl": "http://10.0.0.3:1"}
    (warning,) = load(None, environ, node).warnings
    assert "to nodeUrl over the network in clear" in warning
    (warning,) = load(
        None, environ, node | {"tls.certPath": "", "tls.keyPath": ""}
    ).warnings
    assert "in clear: set tls" in warning
    for url in ("https://10.0.0.3:1", "http://127.0.0.1:1", "http://[::1]:1"):
        assert load(None, environ, node | {"nodeUrl": url}).warnings == ()


@pytest.mark.parametrize(
    ("more", "warned"),
    [
        ("", True),
        (", securityProtocol: SSL", True),
        (", securityProtocol: SASL_SSL", False),
        (", consumer: {security.protocol: sasl_plaintext}", False),
    ],
)
def test_a_login_that_kafka_would_not_see_is_warned_of(tmp_path, more, warned):
    """The client library passes over it without the protocol that has a login."""
    login = "saslUsername: u, saslPassword: p, saslMechanisms: PLAIN"
    file = tmp_path / "cdc.yaml"
    file.write_text(f"sourceConfig: {{kafka: {{address: 'h:9092', {login}{more}}}}}\n")

    warnings = load(file, {}, {}).warnings

    assert ["saslUsername has no effect" in each for each in warnings] == [
        True
    ] * warned


def test_other_variables_do_not_concern_us():
    """Only names with our prefix are looked at."""
    environ = NATS | {"ADDRESS": "x", "CDC_ADDRESS": "x", "cdc_actors_address": "x"}

    assert load(None, environ, {}).config.address == "127.0.0.1:8444"


@pytest.mark.parametrize("text", ["", "# nothing\n", "sourceConfig:\n", "address: ~\n"])
def test_what_is_left_empty_keeps_its_default(file, text):
    """An empty file, section or key is as if it were not there."""
    resolved = load(file(text), NATS, {})

    assert resolved.config == load(None, NATS, {}).config


def test_one_etcd_address_need_not_be_a_list(file):
    """As in milvus-cdc, one text stands for a list of it."""
    path = file("sourceConfig: {etcd: {address: 'http://a:1'}}")

    config = load(path, NATS, {}).config

    assert config.source_config.etcd.address == ("http://a:1",)


def test_keys_by_reference_are_read(file):
    """YAML's anchors and merges work."""
    text = (
        "sourceConfig:\n  etcd: &e {rootPath: a}\n  natsmq:\n    address: nats://a:1\n"
    )
    path = file(text + "metaStoreConfig:\n  etcd:\n    <<: *e\n")

    assert load(path, {}, {}).config.source_config.etcd.root_path == "a"


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("127.0.0.1:8444", ("127.0.0.1", 8444)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
    ],
)
def test_addresses_split_into_host_and_port(address, parts):
    """Names, IPv4 and bracketed IPv6 addresses are taken; port 0 is any free one."""
    assert host_and_port(address) == parts


@given(st.text(max_size=30))
def test_no_text_breaks_the_address(text):
    """An address is split, or refused with ValueError."""
    try:
        host, port = host_and_port(text)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65535


def test_sections_and_keys_are_those_of_the_model():
    """The table of keys is the model's, walked through."""
    assert {f"sourceConfig.{queue}" for queue in QUEUES} < SECTIONS
    assert len(KEYS) == 57
    assert dataclasses.is_dataclass(KEYS["address"])
    assert isinstance(load(None, NATS, {}).config, Config)
