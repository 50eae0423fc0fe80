"""What is said about wrong settings."""

from __future__ import annotations

import pytest

from cdc_actors.config import load
from cdc_actors.errors import OperatorError

NATS = {"CDC_ACTORS_SOURCE_CONFIG__NATSMQ__ADDRESS": "nats://127.0.0.1:4222"}
TOKEN = f"{{name: a, role: viewer, hash: 'scrypt:{'0' * 32}:{'1' * 64}'}}"


@pytest.fixture
def refusal(tmp_path):
    """Return a function that loads a text which must be refused, and tells how."""

    def read(text: str, environ: dict[str, str] = NATS) -> str:
        path = tmp_path / "cdc.yaml"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(OperatorError) as caught:
            load(path, environ, {})
        message = str(caught.value)
        assert "\n" not in message
        return message.replace(str(path), "FILE")

    return read


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("maxTaskNum: many", "maxTaskNum (file FILE:1) must be a whole number"),
        ("maxTaskNum: 0", "of at least 1, not 0"),
        ("maxTaskNum: true", "not True"),
        ("maxNameLength: -1", "maxNameLength (file FILE:1) must be a whole number"),
        ("\nlogLevel: loud", "logLevel (file FILE:2) must be debug, info, warn or"),
        ("address: '8444'", "address (file FILE:1) must be host:port"),
        ("address: ':8444'", "must be host:port such as 127.0.0.1:8444 or [::1]:8444"),
        ("address: '::1:8444'", "must be host:port"),
        ("address: 'a:65536'", "must be host:port"),
        ("address: [a]", "address (file FILE:1) must be host:port"),
        (
            "nodeUrl: '10.0.0.3:8444'",
            "nodeUrl (file FILE:1) must be an address without",
        ),
        ("nodeUrl: 'ftp://a'", "such as http://10.0.0.3:8444, or empty"),
        ("nodeUrl: 'http://a/cdc'", "must be an address without a path"),
        ("nodeUrl: 'http://u:p@a:1'", "must be an address without a path"),
        (
            "nodeUrl: 'http://a:65536'",
            "nodeUrl (file FILE:1) has a host or a port that",
        ),
        ("nodeUrl: 'http://[::g]'", "must be an address without a path"),
        ("metaStoreConfig: {storeType: redis}", "must be sqlite or postgres"),
        ("metaStoreConfig: {sqlite: {path: ''}}", "must be text that is not empty"),
        ("sourceConfig: {uri: 'localhost:19530'}", "such as http://127.0.0.1:19530"),
        (
            "sourceConfig: {uri: 'http://[::1'}",
            "sourceConfig.uri (file FILE:1) has a host",
        ),
        ("sourceConfig: {uri: 'http://a:65536'}", "a port that is none: it must be an"),
        ("sourceConfig: {natsmq: {address: 'a:1'}}", "such as nats://127.0.0.1:4222"),
        ("sourceConfig: {rocksmq: {path: ''}}", "must be text that is not empty"),
        ("sourceConfig: {kafka: {address: 'k://a'}}", "such as 127.0.0.1:9092"),
        ("sourceConfig: {kafka: {address: a, securityProtocol: x}}", "SSL, SASL_PLAIN"),
        ("sourceConfig: {kafka: {address: a, consumer: [x]}}", "names and values"),
        ("sourceConfig: {kafka: {address: a, consumer: x}}", "names and values"),
        ("sourceConfig: {pulsar: {address: 'a:1'}}", "such as pulsar://127.0.0.1:6650"),
        ("sourceConfig: {token: 123}", "sourceConfig.token (file FILE:1) must be text"),
        ("sourceConfig: {etcd: {address: []}}", "a list of at least one address"),
        ("sourceConfig: {etcd: {address: [1]}}", "sourceConfig.etcd.address (file"),
        ("sourceConfig: {etcd: {enableAuth: 'on'}}", "must be true or false"),
        ("sourceConfig: {etcd: {enableTLS: 1}}", "must be true or false, not 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(refusal, text, words):
    """The error has the dotted key, where it stands and what it must be."""
    queues = ("natsmq", "rocksmq", "kafka", "pulsar")
    environ = {} if any(queue in text for queue in queues) else NATS
    assert words in refusal(text, environ)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("maxTaskNumber: 1", "did you mean maxTaskNum?"),
        ("maxtasknum: 1", "did you mean maxTaskNum?"),
        (
            "sourceConfig: {etcd: {rootpath: x}}",
            "did you mean sourceConfig.etcd.rootPath?",
        ),
        ("natsmq: {address: x}", "did you mean sourceConfig.natsmq?"),
        (
            "sourceConfig: {etcd: {zzz: x}}",
            "sourceConfig.etcd.zzz (file FILE:1) is not a",
        ),
        (
            "sourceConfig: {natsmq: {tls: x}}",
            "sourceConfig.natsmq.tls (file FILE:1) is",
        ),
        ("1: x", "1 (file FILE:1) is not a known key"),
        ("sourceConfig: [x]", "sourceConfig (file FILE:1) must be a section"),
        (
            "metaStoreConfig: {sqlite: x.db}",
            "metaStoreConfig.sqlite (file FILE:1) must",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_closest(refusal, text, words):
    """The error has the full path of the key, and a suggestion if one is near."""
    assert words in refusal(text)


def test_without_any_setting_the_error_says_where_to_give_them():
    """Somebody forgot to name the file; which keys it must have is the next question."""
    with pytest.raises(OperatorError, match="--config"):
        load(None, {"CDC_ACTORS_URL": "http://127.0.0.1:8444"}, {})


def test_a_queue_needs_its_address(refusal):
    """A section without the key that it cannot be without names that key."""
    message = refusal("sourceConfig: {kafka: {saslUsername: a}}", {})

    assert "sourceConfig.kafka.address is missing: it must be host:port such" in message
    assert "pulsar" not in message


def test_several_queues_are_refused_with_where_each_is(refusal):
    """Of two queues neither is taken, even if one comes from the environment."""
    message = refusal("sourceConfig: {rocksmq: {path: /a}}")

    assert "sourceConfig.rocksmq (file FILE:1) and sourceConfig.natsmq (env" in message
    assert "a Milvus has one message queue" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "metaStoreConfig: {storeType: postgres}",
            "metaStoreConfig.postgres.url is missing",
        ),
        (
            "metaStoreConfig: {storeType: postgres, postgres: {url: 'host=db'}}",
            "such as postgresql://",
        ),
        (
            "sourceConfig: {etcd: {enableAuth: true}}",
            "sourceConfig.etcd.username is missing",
        ),
        (
            "sourceConfig: {etcd: {enableTLS: true, tlsCertPath: a}}",
            "needs both of tlsCertPath and tlsKeyPath",
        ),
        (
            "sourceConfig: {kafka: {address: a, saslUsername: b}}",
            "needs both of saslUsername and saslPassword",
        ),
        (
            "sourceConfig: {kafka: {address: a, saslUsername: b, saslPassword: c}}",
            "sourceConfig.kafka.saslMechanisms is missing",
        ),
        *(
            (f"address: '{address}'", "can be reached by others")
            for address in ("0.0.0.0:1", "[::]:1", "192.0.2.1:1", "example.org:1")
        ),
        ("tls: {certPath: a}", "tls needs both of certPath and keyPath"),
        (f"auth: {{tokens: [{TOKEN}, {TOKEN}]}}", "than one token called a"),
        (
            f"auth: {{allowAnonymous: true, tokens: [{TOKEN}]}}",
            "auth.allowAnonymous (file FILE:1) is true although there are auth.tokens",
        ),
        *(
            (
                f"auth: {{tokens: {wrong}}}",
                "auth.tokens (file FILE:1) must be a list of",
            )
            for wrong in (
                "a",
                "[a]",
                "[{name: a, role: viewer}]",
                "[{name: a, role: viewer, hash: planted}]",
                f"[{TOKEN.replace('viewer', 'admin')}]",
                f"[{TOKEN.replace('name: a', 'name: a.b')}]",
                f"[{TOKEN.replace('name: a', 'nam: a')}]",
            )
        ),
    ],
)
def test_settings_that_need_others_say_so(refusal, text, words):
    """A setting without its companion is refused."""
    message = refusal(text, {} if "kafka" in text else NATS)
    assert words in message
    assert "planted" not in message


def test_everything_wrong_is_said_at_once(refusal):
    """One run is enough to learn of all mistakes."""
    message = refusal("maxTaskNum: 0\nfoo: 1\n", {"CDC_ACTORS_LOG_LEVEL": "loud"})

    assert all(
        word in message for word in ("maxTaskNum", "foo", "CDC_ACTORS_LOG_LEVEL")
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: b: c", "is not valid YAML: mapping values are not allowed here in line 1"),
        ("a: " + "[" * 5000, "is not valid YAML: it is nested too deeply."),
        (
            "a: " + "9" * 5000,
            "is not valid YAML: a number or a date that cannot be one",
        ),
        ("a: 2026-13-01", "is not valid YAML: a number or a date that cannot be one"),
        ("- a", "must hold keys and values"),
        ("address: a:1\naddress: b:1", "has address twice, in the lines 1 and 2"),
        (
            "sourceConfig:\n  uri: x\n  uri: y",
            "has sourceConfig.uri twice, in the lines",
        ),
    ],
)
def test_a_file_that_is_no_configuration_is_explained(refusal, text, words):
    """Broken YAML, no mapping, and a key given twice each have their sentence."""
    assert words in refusal(text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    """A wrong path gives the path and the system's reason."""
    with pytest.raises(OperatorError, match=r"none\.yaml cannot be read: No such file"):
        load(tmp_path / "none.yaml", NATS, {})


def test_a_file_that_is_not_text_is_refused(tmp_path):
    """Bytes that are not UTF-8 are an error, not a traceback."""
    path = tmp_path / "cdc.yaml"
    path.write_bytes(b"address: \xff\xfe")

    with pytest.raises(OperatorError, match="not UTF-8"):
        load(path, NATS, {})


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"CDC_ACTORS_ADRESS": "x"}, "CDC_ACTORS_ADRESS belongs to no known key; did"),
        ({"CDC_ACTORS_ZZZ": "x"}, "CDC_ACTORS_ZZZ belongs to no known key"),
        ({"CDC_ACTORS_MAX_TASK_NUM": ""}, "(environment CDC_ACTORS_MAX_TASK_NUM) must"),
        ({"CDC_ACTORS_MAX_TASK_NUM": "1.5"}, "not '1.5'"),
        (
            {"CDC_ACTORS_LOG_LEVEL": "info", "CDC_ACTORS_LOG_LEVEL_FILE": "x"},
            "CDC_ACTORS_LOG_LEVEL and CDC_ACTORS_LOG_LEVEL_FILE are both set",
        ),
        (
            {"CDC_ACTORS_LOG_LEVEL_FILE": "/nonexistent/x"},
            "CDC_ACTORS_LOG_LEVEL_FILE names a file that cannot be read: No such file",
        ),
    ],
)
def test_wrong_variables_are_named(environ, words):
    """An unknown, wrong or doubled variable is an error with its name."""
    with pytest.raises(OperatorError) as caught:
        load(None, NATS | environ, {})

    assert words in str(caught.value)


def test_a_wrong_flag_is_named():
    """A value from the command line is checked as any other."""
    with pytest.raises(OperatorError, match="flag --address"):
        load(None, NATS, {"address": "nowhere"})
