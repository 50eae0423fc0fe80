"""The Pulsar of the tests: also with tokens and TLS."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, ClassVar

from cdc_actors.embedded.ports import HOST
from cdc_actors.embedded.pulsar import EmbeddedPulsar
from tests.support.skips import or_skip
from tests.support.tls import certificates

if TYPE_CHECKING:
    from pathlib import Path

_SECURED = """
brokerServicePortTls={tls}
tlsCertificateFilePath={folder}/cert.pem
tlsKeyFilePath={folder}/key.pem
authenticationEnabled=true
authenticationProviders=\
org.apache.pulsar.broker.authentication.AuthenticationProviderToken
tokenSecretKey=data:;base64,{secret}
anonymousUserRole=anonymous
"""
_SECRET = b"the key that signs the tokens of the tests"
_ANSWER_TIMEOUT = 20.0


class PulsarBroker(EmbeddedPulsar):
    """One broker, with and without TLS, for who has a good token or none.

    Skips the test, with the reason, where there is no Java or no Maven.
    """

    _port_names: ClassVar = ("binary", "tls", "web", "bookkeeper")

    def __init__(self, folder: Path) -> None:
        with or_skip():
            super().__init__(folder)

    @property
    def tls_address(self) -> str:
        """What a client connects to by TLS."""
        return f"pulsar+ssl://{HOST}:{self.ports['tls']}"

    @property
    def authority(self) -> Path:
        """The certificate of the authority that signed the broker's."""
        return self.folder / "ca.pem"

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the admin interface, by a path below ``/admin/v2``.

        For moments after a start there may be nothing that keeps records yet.
        """
        deadline = time.monotonic() + _ANSWER_TIMEOUT
        while True:
            try:
                return self._asked(method, path, body)
            except urllib.error.HTTPError as error:
                failed = error.code == HTTPStatus.INTERNAL_SERVER_ERROR
                if not failed or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _asked(self, method: str, path: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.web_address}/admin/v2/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_ANSWER_TIMEOUT) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"[", b"{")) else text

    def _settings(self) -> str:
        certificates(self.folder)
        return super()._settings() + _SECURED.format(
            folder=self.folder,
            secret=base64.b64encode(_SECRET).decode(),
            tls=self.ports["tls"],
        )


def token(subject: str, secret: bytes = _SECRET) -> str:
    """Return a token that the broker takes, or refuses if ``secret`` is another."""
    parts = [{"alg": "HS256"}, {"sub": subject}]
    signed = b".".join(_base64(json.dumps(each).encode()) for each in parts)
    signature = hmac.digest(secret, signed, hashlib.sha256)
    return (signed + b"." + _base64(signature)).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
