"""Secrets in the settings are nowhere to be seen."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.config import load
from cdc_actors.errors import (
    OperationRefusedError,
    OperatorError,
    TargetRefusedError,
    TransientError,
)
from cdc_actors.masking import mask_urls

ALPHABET = st.characters(
    codec="ascii", categories=("L", "N"), include_characters=":@/?%"
)
SECRETS = st.text(ALPHABET, min_size=8, max_size=20).map("Zq7".__add__)


@given(secret=SECRETS)
def test_no_secret_in_any_text_form(secret):
    """Neither repr, str nor what is shown holds a token or password."""
    resolved = load(
        None,
        {
            "CDC_ACTORS_SOURCE_CONFIG__TOKEN": secret,
            "CDC_ACTORS_SOURCE_CONFIG__URI": f"http://me:{secret}@a:1",
            "CDC_ACTORS_SOURCE_CONFIG__ETCD__PASSWORD": secret,
            "CDC_ACTORS_SOURCE_CONFIG__ETCD__ADDRESS": f"http://me:{secret}@a:1",
            "CDC_ACTORS_SOURCE_CONFIG__NATSMQ__ADDRESS": f"nats://{secret}@a:1",
            "CDC_ACTORS_META_STORE_CONFIG__POSTGRES__URL": f"postgres://u:{secret}@a/b",
        },
        {},
    )

    assert resolved.config.source_config.token == secret
    texts = repr(resolved), str(resolved.config), repr(resolved.shown())
    assert not any("Zq7" in text for text in texts)
    assert resolved.shown()["sourceConfig.token"] == "******"


def test_of_tokens_only_the_names_are_shown():
    """Hashes are salted, and still nobody's business."""
    token = {"name": "ops", "role": "viewer", "hash": f"scrypt:{'0' * 32}:{'1' * 64}"}
    environ = {
        "CDC_ACTORS_SOURCE_CONFIG__NATSMQ__ADDRESS": "nats://a:1",
        "CDC_ACTORS_AUTH__TOKENS": json.dumps([token]),
    }
    resolved = load(None, environ, {})
    assert resolved.config.auth.tokens[0].hash == token["hash"]
    assert resolved.shown()["auth.tokens"] == ("ops",)
    assert "scrypt" not in repr(resolved) + repr(resolved.config.auth.tokens)


@given(secret=SECRETS)
def test_no_secret_of_a_queue_in_any_text_form(secret):
    """Logins and options that may be secret are masked; other options are shown."""
    kafka = "CDC_ACTORS_SOURCE_CONFIG__KAFKA__"
    pulsar = "CDC_ACTORS_SOURCE_CONFIG__PULSAR__"
    configs = [
        {
            f"{kafka}ADDRESS": "a:1",
            f"{kafka}SASL_USERNAME": "u",
            f"{kafka}SASL_PASSWORD": secret,
            f"{kafka}SASL_MECHANISMS": "PLAIN",
            f"{kafka}CONSUMER": f"ssl.key.password={secret},client.id=shown",
        },
        {
            f"{pulsar}ADDRESS": f"pulsar://u:{secret}@a:1",
            f"{pulsar}AUTH_PARAMS": f"token:{secret}",
        },
    ]
    for environ in configs:
        resolved = load(None, environ, {})
        texts = repr(resolved), str(resolved.config), repr(resolved.shown())
        assert not any("Zq7" in text for text in texts)
        assert all("shown" in text for text in texts) or "PULSAR" in str(environ)


def test_an_empty_secret_shows_as_empty():
    """What is not set is not masked, so that one sees that it is missing."""
    environ = {"CDC_ACTORS_SOURCE_CONFIG__NATSMQ__ADDRESS": "nats://a:1"}

    assert load(None, environ, {}).shown()["sourceConfig.token"] == ""


@pytest.mark.parametrize(
    "text",
    [
        "sourceConfig: {token: [Zq7secret]}",
        "sourceConfig: {natsmq: {address: 'Zq7secret@a:1'}}",
        "sourceConfig: {uri: 'root:Zq7secret@a:1'}",
        "metaStoreConfig: {postgres: {url: 'password=Zq7secret host=db'}}",
        "sourceConfig: {token: *Zq7secret}",
        "sourceConfig: {token: !Zq7secret x}",
        'sourceConfig: {token: "Zq7secret}',
        "sourceConfig: {kafka: {saslPassword: Zq7secret}}",
        "sourceConfig: {kafka: {consumer: {ssl.key.password: [Zq7secret]}}}",
        "sourceConfig: {pulsar: {address: 'token:Zq7secret@a'}}",
        "sourceConfig: {pulsar: {authParams: [Zq7secret]}}",
    ],
)
def test_no_secret_in_an_error(tmp_path, text):
    """An error names the key and the line, and repeats no value that may be secret."""
    path = tmp_path / "cdc.yaml"
    path.write_text(text, encoding="utf-8")

    with pytest.raises(OperatorError) as caught:
        load(path, {}, {})

    assert "Zq7" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://a:1/b?c=d", "http://a:1/b?c=d"),
        ("http://me@a:1", "http://me@a:1"),
        ("http://me:pw@a:1", "http://me:******@a:1"),
        ("nats://token@a:1", "nats://******@a:1"),
        ("tls://u:p@a:1", "tls://******@a:1"),
        ("postgresql://u:p@rt@a,b/c", "postgresql://u:******@a,b/c"),
        (
            "postgresql://a/b?user=u&password=p&x=y",
            "postgresql://a/b?user=u&password=******&x=y",
        ),
        ("cannot reach https://u:p@a: x@y", "cannot reach https://u:******@a: x@y"),
        ("nothing to hide", "nothing to hide"),
        (
            "no address for u:p@a:1: no such name",
            "no address for u:******@a:1: no such name",
        ),
        ("[u:p/q@rt@a:1]:9092 failed", "[u:******@a:1]:9092 failed"),
        ("dns:///u:p@a:1", "dns:///u:******@a:1"),
        ("reply to me@a: no", "reply to me@a: no"),
    ],
)
def test_passwords_in_urls_are_masked(text, shown):
    """Scheme, user, host and the text around stay; passwords and NATS tokens go."""
    assert mask_urls(text) == shown


@pytest.mark.parametrize(
    "error",
    [
        TransientError("cannot connect to http://u:Zq7secret@a:1"),
        OperationRefusedError("no address for u:Zq7secret@a:1", 1),
        TargetRefusedError("fail to connect the milvus, tcp://u:Zq7secret@a:1"),
    ],
    ids=type,
)
def test_no_secret_in_any_error_of_ours(error):
    """Whatever is made of it: an answer, a line of the history, a line on a terminal."""
    assert "Zq7" not in f"{error}{error!r}{error.args}"
    assert "u:******@a:1" in str(error)
