"""Asks Pulsar's admin interface which topics there are.

The binary protocol cannot tell without making them: a reader's subscription creates its
topic. Source: Pulsar's "Admin REST API", ``GET /admin/v2/persistent/{tenant}/{ns}``.
"""

from __future__ import annotations

import json
import ssl
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

from cdc_actors.errors import CdcError, OperatorError, TransientError

if TYPE_CHECKING:
    from cdc_actors.config import Pulsar

_ANSWER_TIMEOUT = 3.0
_CACHE_SECONDS = 0.5
"""Seconds for which an answer holds, so that many channels wait by one question."""

_REFUSED_STATUSES = (401, 403)
_NOT_FOUND = 404
_SHOWN = 200
"""Characters of an answer that an error shows."""


class PulsarAdmin:
    """Knows the topics of one namespace. Any thread.

    Args:
        config: With the address of the web service in ``web_address``.
    """

    def __init__(self, config: Pulsar) -> None:
        path = f"/admin/v2/persistent/{config.tenant}/{config.namespace}"
        base = config.web_address.rstrip("/")
        self._url = (base if "://" in base else f"http://{base}") + path
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
                self._topics = self._ask()
                self._asked_at = time.monotonic()
            return topic in self._topics

    def _ask(self) -> frozenset[str]:
        request = urllib.request.Request(self._url, headers=self._headers)  # noqa: S310
        try:
            with urllib.request.urlopen(  # noqa: S310 - the operator's own address
                request, timeout=_ANSWER_TIMEOUT, context=self._tls
            ) as answer:
                return _topics(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                body = error.read().decode(errors="replace").strip()[:_SHOWN]
            raise self._refused(error.code, body or error.reason) from error
        except ValueError as error:
            raise self._not_pulsar(f"its answer {error}") from error
        except OSError as error:
            raise TransientError(
                f"pulsar's web service {self._url}: {error}"
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
