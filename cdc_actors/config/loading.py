"""Putting the settings together: file < environment < flags, then checks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import reduce
from ipaddress import ip_address
from operator import getitem
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from cdc_actors.config import yamlfile
from cdc_actors.config.keys import ETCD, KEYS, QUEUES, STORAGE, URI, Key
from cdc_actors.config.model import Config
from cdc_actors.config.setting_types import masked
from cdc_actors.config.sources import (
    Setting,
    from_environment,
    from_file,
    from_flags,
    parts,
)
from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from cdc_actors.config.auth import Auth
    from cdc_actors.config.model import Storage
    from cdc_actors.config.queues import Kafka

_MECHANISMS = frozenset({"sasl.mechanism", "sasl.mechanisms"})
_ONE_QUEUE = "a Milvus has one message queue, so keep one of these sections"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """The settings, where each in effect comes from by dotted key, what to warn of."""

    config: Config
    origins: Mapping[str, str]
    warnings: tuple[str, ...]

    def shown(self) -> dict[str, Any]:
        """Return every setting in effect by dotted key, with secrets masked."""
        tree = msgspec.to_builtins(self.config)
        return {
            dotted: masked(reduce(getitem, dotted.split("."), tree), KEYS[dotted].kind)
            for dotted in self.origins
        }


def load(
    path: Path | None, environ: Mapping[str, str], flags: Mapping[str, str]
) -> Resolved:
    """Read the settings.

    Args:
        path: A YAML file; None for none.
        environ: Variables called ``CDC_ACTORS_`` and the key in capitals (``__`` for a
            dot, commas in a list). With ``_FILE`` behind, the value is in that file.
        flags: Values from the command line by dotted key.

    Raises:
        OperatorError: Something is wrong; the text names every key concerned.
    """
    problems: list[str] = []
    ignored: list[str] = []
    settings: dict[str, Setting] = {}
    if path is not None:
        settings |= from_file(yamlfile.read(path), problems, ignored)
    settings |= from_environment(environ, problems)
    settings |= from_flags(flags)
    if path is None and not settings and not problems:
        raise OperatorError(
            "There are no settings: name their file with --config, or set variables that "
            "begin with CDC_ACTORS_."
        )
    wrong: list[str] = []
    values = _values(settings, wrong)
    origins = {
        dotted: _origin(settings.get(dotted)) for dotted in values if dotted in KEYS
    }
    # What is wrong in itself is not compared with the rest.
    wrong = wrong or list(_conflicts(_config(values), origins))
    queues = _queues(settings)
    if len(queues) > 1:
        wrong.append(f"{' and '.join(queues.values())}: {_ONE_QUEUE}")
    _raise_if([*problems, *wrong])
    config = _config(values)
    warnings = tuple(_warnings(config, ignored))
    return Resolved(config=config, origins=origins, warnings=warnings)


def _values(settings: Mapping[str, Setting], problems: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    queues = _queues(settings)
    unused = frozenset(QUEUES) - frozenset(queues)
    if _is_by_api_alone(settings):
        values[ETCD], unused = None, unused | {ETCD}
    for dotted, key in KEYS.items():
        if dotted in settings:
            values[dotted] = _converted(key, settings[dotted], problems)
        elif dotted.rpartition(".")[0] in unused:
            continue
        elif not key.required:
            values[dotted] = key.default
        else:
            problems.append(f"{dotted} is missing: it must be {key.expected}")
    return values


def _queues(settings: Mapping[str, Setting]) -> dict[str, str]:
    """Return the queues of which something is set, each with where that is."""
    queues: dict[str, str] = {}
    for dotted, setting in settings.items():
        section = dotted.rpartition(".")[0]
        if section in QUEUES:
            queues.setdefault(section, f"{section} ({setting.origin})")
    return queues


def _is_by_api_alone(settings: Mapping[str, Setting]) -> bool:
    """Tell whether there is nothing to read the source by but its API."""
    sections = {dotted.rpartition(".")[0] for dotted in settings}
    return URI in settings and not sections.intersection((ETCD, STORAGE, *QUEUES))


def _converted(key: Key, setting: Setting, problems: list[str]) -> Any:
    value = parts(key, setting)
    try:
        return msgspec.convert(value, key.kind, strict=not setting.text)
    except msgspec.ValidationError:
        found = f", not {setting.value!r}" if key.showable else ""
        problems.append(
            f"{key.dotted} ({setting.origin}) must be {key.expected}{found}"
        )
        return None


def _config(values: Mapping[str, Any]) -> Config:
    tree: dict[str, Any] = {}
    for dotted, value in values.items():
        *sections, last = dotted.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[last] = value
    return msgspec.convert(tree, Config)


def _conflicts(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    try:
        host, _ = config.listen
    except ValueError:
        expected = KEYS["address"].expected
        yield f"address ({origins['address']}) must be {expected}"
    else:
        yield from _access_conflicts(config.auth, host, origins)
    if bool(config.tls.cert_path) != bool(config.tls.key_path):
        yield "tls needs both of certPath and keyPath, or neither"
    store = config.meta_store_config
    if store.store_type == "postgres" and not store.postgres.url:
        yield "metaStoreConfig.postgres.url is missing: storeType postgres needs it"
    kafka = config.source_config.kafka
    if kafka is not None and bool(kafka.sasl_username) != bool(kafka.sasl_password):
        yield "sourceConfig.kafka needs both of saslUsername and saslPassword, or neither"
    if kafka is not None and kafka.sasl_username and not _has_mechanism(kafka):
        yield "sourceConfig.kafka.saslMechanisms is missing: saslUsername needs it"
    yield from _url_conflicts(URI, config.source_config.uri, origins)
    yield from _url_conflicts("nodeUrl", config.node_url, origins)
    yield from _storage_conflicts(config.source_config.storage)
    etcd = config.source_config.etcd
    if etcd is None:
        return
    if etcd.enable_auth and not etcd.username:
        yield "sourceConfig.etcd.username is missing: enableAuth needs it"
    if etcd.enable_tls and bool(etcd.tls_cert_path) != bool(etcd.tls_key_path):
        yield "sourceConfig.etcd needs both of tlsCertPath and tlsKeyPath, or neither"


def _url_conflicts(dotted: str, url: str, origins: Mapping[str, str]) -> Iterator[str]:
    # A password may have what splits an address.
    place = url.partition("://")[2].rpartition("@")[2]
    try:
        _ = urlsplit(f"//{place}").port
    except ValueError:
        yield (
            f"{dotted} ({origins[dotted]}) has a host or a port that is none: it must "
            f"be {KEYS[dotted].expected}"
        )


def _storage_conflicts(storage: Storage) -> Iterator[str]:
    if storage.type == "local" and not storage.path:
        yield "sourceConfig.storage.path is missing: type local needs it"
    if storage.type == "s3" and not storage.bucket_name:
        yield "sourceConfig.storage.bucketName is missing: type s3 needs it"
    if bool(storage.access_key_id) != bool(storage.secret_access_key):
        yield "sourceConfig.storage needs both of accessKeyID and secretAccessKey"


def _has_mechanism(kafka: Kafka) -> bool:
    """Without one librdkafka would try Kerberos."""
    return bool(kafka.sasl_mechanisms or _MECHANISMS & kafka.consumer.keys())


def _uses_sasl(kafka: Kafka) -> bool:
    """Tell whether librdkafka logs in; ``consumer`` has its own name of the setting."""
    protocol = kafka.security_protocol or kafka.consumer.get("security.protocol", "")
    return str(protocol).lower().startswith("sasl_")


def _access_conflicts(
    auth: Auth, host: str, origins: Mapping[str, str]
) -> Iterator[str]:
    """Say where others than the operator could get in, or tokens are confused."""
    names = Counter(token.name for token in auth.tokens)
    twice = [name for name, number in names.items() if number > 1]
    if twice:
        yield (
            f"auth.tokens ({origins['auth.tokens']}) has more than one token called "
            f"{' and '.join(twice)}: each needs a name of its own"
        )
    if auth.tokens and auth.allow_anonymous:
        yield (
            f"auth.allowAnonymous ({origins['auth.allowAnonymous']}) is true although "
            f"there are auth.tokens ({origins['auth.tokens']}): remove one of them"
        )
    if not auth.tokens and not auth.allow_anonymous and not _is_loopback(host):
        yield (
            f"address ({origins['address']}) can be reached by others, who could do "
            "everything, as there are no auth.tokens: `cdc-actors token create NAME` "
            "makes one; or listen on 127.0.0.1, or set auth.allowAnonymous to true"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _origin(setting: Setting | None) -> str:
    return "default" if setting is None else setting.origin


def _warnings(config: Config, ignored: list[str]) -> Iterator[str]:
    if ignored:
        yield f"Keys of milvus-cdc without effect here: {', '.join(ignored)}."
    kafka = config.source_config.kafka
    if kafka is not None and kafka.sasl_username and not _uses_sasl(kafka):
        yield (
            "sourceConfig.kafka.saslUsername has no effect without securityProtocol "
            "SASL_PLAINTEXT or SASL_SSL."
        )
    if config.auth.tokens:
        yield from _token_warnings(config)


def _token_warnings(config: Config) -> Iterator[str]:
    host, _ = config.listen
    node = urlsplit(config.node_url)
    if not config.tls.cert_path and not _is_loopback(host):
        yield "Tokens come over the network in clear: set tls, or put a proxy before it."
    elif node.scheme == "http" and not _is_loopback(node.hostname or ""):
        yield "Tokens come to nodeUrl over the network in clear: let it begin with https."


def _raise_if(problems: list[str]) -> None:
    if problems:
        said = "; ".join(problems)
        end = "" if said.endswith("?") else "."
        raise OperatorError(f"The configuration is wrong: {said}{end}")
