"""Asks Pulsar's admin interface which topics there are, and how long it keeps records.

The binary protocol cannot tell the topics without making them: a reader's subscription
creates its topic. Source: Pulsar's "Admin REST API", below ``/admin/v2``.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from cdc_actors.errors import CdcError, OperatorError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.config import Pulsar

_ANSWER_TIMEOUT = 3.0
_CACHE_SECONDS = 0.5
"""Seconds for which an answer holds, so that many channels wait by one question."""

_REFUSED_STATUSES = (401, 403)
_NOT_FOUND = 404
_RETENTION = ("retentionTimeInMinutes", "retentionSizeInMB")
_BROKERS_RETENTION = ("defaultRetentionTimeInMinutes", "defaultRetentionSizeInMB")
T = TypeVar("T")
_SHOWN = 200
"""Characters of an answer that an error shows."""


class Ledger(NamedTuple):
    """Some entries of a topic, and how many bytes they have."""

    id: int
    entries: int
    size: int


class PulsarAdmin:
    """Knows the topics of one namespace. Any thread.

    Args:
        config: With the address of the web service in ``web_address``.
    """

    def __init__(self, config: Pulsar) -> None:
        base = config.web_address.rstrip("/")
        self._url = (base if "://" in base else f"http://{base}") + "/admin/v2"
        self._namespace = f"{config.tenant}/{config.namespace}"
        token = token_of(config)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._tls = tls_of(config) if self._url.startswith("https") else None
        self._lock = threading.Lock()
        self._topics: frozenset[str] = frozenset()
        self._asked_at = float("-inf")

    def has(self, topic: str) -> bool:
        """Tell whether a topic exists.

        Raises:
            TransientError: The web service cannot be reached, or something else answers.
            OperatorError: It refuses the login, or knows no such namespace.
        """
        with self._lock:
            if time.monotonic() - self._asked_at > _CACHE_SECONDS:
                self._topics = self._ask(f"persistent/{self._namespace}", _topics)
                self._asked_at = time.monotonic()
            return topic in self._topics

    def kept_seconds(self) -> float | None:
        """Return for how long the namespace keeps what was acknowledged.

        None where that is for ever, or where the size is limited as well. Errors are those
        of ``has``; the broker's own setting only its administrators may ask for.
        """
        found = self._ask(f"namespaces/{self._namespace}/retention", _object)
        minutes, size = (found.get(name) for name in _RETENTION)
        if minutes is None or size is None:
            found = self._ask("brokers/configuration/runtime", _object)
            minutes, size = (int(found[name]) for name in _BROKERS_RETENTION)
        if minutes == 0 or size == 0:
            return 0.0
        return None if minutes < 0 or size > 0 else minutes * 60.0

    def ledgers(self, topic: str) -> list[Ledger] | None:
        """Return what a topic's messages are kept in, oldest first; None if refused.

        Raises:
            TransientError: As of ``has``.
        """
        path = f"{topic.replace('://', '/', 1)}/internalStats"
        try:
            return self._ask(path, _ledgers)
        except OperatorError:
            return None

    def _ask(self, path: str, parse: Callable[[bytes], T]) -> T:
        url = f"{self._url}/{path}"
        request = urllib.request.Request(url, headers=self._headers)  # noqa: S310
        try:
            with urllib.request.urlopen(  # noqa: S310 - the operator's own address
                request, timeout=_ANSWER_TIMEOUT, context=self._tls
            ) as answer:
                return parse(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                body = error.read().decode(errors="replace").strip()[:_SHOWN]
            raise self._refused(error.code, body or error.reason) from error
        except ValueError as error:
            raise self._not_pulsar(f"its answer {error}") from error
        except OSError as error:
            raise TransientError(
                f"pulsar's web service (sourceConfig.pulsar.webAddress) {url}: {error}"
            ) from error

    def _refused(self, status: int, body: str) -> CdcError:
        text = f"pulsar's web service {self._url} answers {status} ({body})"
        if status in _REFUSED_STATUSES:
            return OperatorError(f"{text}: set sourceConfig.pulsar.authParams")
        if status == _NOT_FOUND and '"reason"' not in body:
            return self._not_pulsar(text)
        if status == _NOT_FOUND:
            return OperatorError(
                f"{text}: set sourceConfig.pulsar.tenant and namespace to Milvus's"
            )
        return TransientError(text)

    def _not_pulsar(self, how: str) -> TransientError:
        """A proxy on the way may answer for a while, so that it is tried again."""
        return TransientError(
            "sourceConfig.pulsar.webAddress is not, or not now, the web service of a "
            f"Pulsar ({self._url}): {how}"
        )


def _topics(answer: bytes) -> frozenset[str]:
    """Return the names in an answer; ValueError for one that Pulsar does not give."""
    try:
        found = json.loads(answer)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        shown = answer.decode(errors="replace").strip()[:_SHOWN]
        raise ValueError(f"is no list of topics: {shown!r}")
    return frozenset(found)


def _object(answer: bytes) -> dict[str, Any]:
    """Return the members of an answer, none of one that says nothing."""
    found = json.loads(answer or b"null") or {}
    if not isinstance(found, dict):
        raise ValueError(f"is no object: {found!r}")  # noqa: TRY004 - of the answer
    return found


def _ledgers(answer: bytes) -> list[Ledger]:
    """Return the ledgers in an answer; ValueError for one that Pulsar does not give."""
    found = _object(answer)
    try:
        ledgers = [
            Ledger(each["ledgerId"], each["entries"], each["size"])
            for each in found["ledgers"]
        ]
        # Of the one that is written to, the list has no figures yet.
        if ledgers and not ledgers[-1].entries:
            current = found["currentLedgerEntries"], found["currentLedgerSize"]
            ledgers[-1] = Ledger(ledgers[-1].id, *current)
    except (KeyError, TypeError) as error:
        raise ValueError(f"says nothing of ledgers: {found!r}"[:_SHOWN]) from error
    return ledgers


def token_of(config: Pulsar) -> str | None:
    """Return the token to log in with, None if that is not how."""
    kind, _, value = config.auth_params.partition(":")
    if kind == "file":
        return Path(value.removeprefix("//")).read_text("utf-8").strip()
    return value if kind == "token" else None


def tls_of(config: Pulsar) -> ssl.SSLContext:
    """Return what checks the certificate of the other side."""
    context = ssl.create_default_context(
        cafile=config.tls_trust_certs_file_path or None
    )
    context.check_hostname = config.tls_validate_hostname
    if config.tls_allow_insecure_connection:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
