"""A real Pulsar for the tests: a standalone broker from Maven's artifact."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import signal
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any, ClassVar

from cdc_actors.embedded.ports import HOST
from cdc_actors.embedded.server import EmbeddedServer
from tests.support.maven import jars
from tests.support.tls import certificates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = "3.0.7"
# The versions of what it needs stand in its parent.
_DEPENDENCIES = f"""
<dependencyManagement><dependencies><dependency>
  <groupId>org.apache.pulsar</groupId><artifactId>pulsar</artifactId>
  <version>{VERSION}</version><type>pom</type><scope>import</scope>
</dependency></dependencies></dependencyManagement>
<dependencies><dependency>
  <groupId>org.apache.pulsar</groupId><artifactId>pulsar-broker</artifactId>
  <version>{VERSION}</version>
</dependency></dependencies>
"""
# Retention, size of messages and how topics are made are those of Milvus's Helm chart.
_SETTINGS = """
clusterName=standalone
bindAddress={host}
advertisedAddress={host}
brokerServicePort={binary}
brokerServicePortTls={tls}
webServicePort={web}
tlsCertificateFilePath={folder}/cert.pem
tlsKeyFilePath={folder}/key.pem
authenticationEnabled=true
authenticationProviders=\
org.apache.pulsar.broker.authentication.AuthenticationProviderToken
tokenSecretKey=data:;base64,{secret}
anonymousUserRole=anonymous
maxMessageSize=5242880
nettyMaxFrameSizeBytes=5253120
defaultRetentionTimeInMinutes=10080
defaultRetentionSizeInMB=-1
allowAutoTopicCreation=true
brokerDeleteInactiveTopicsEnabled=false
managedLedgerDefaultEnsembleSize=1
managedLedgerDefaultWriteQuorum=1
managedLedgerDefaultAckQuorum=1
loadBalancerEnabled=false
systemTopicEnabled=false
topicLevelPoliciesEnabled=false
"""
_LOGGING = """
rootLogger.level=error
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
"""
_CONF, _LOG4J = "broker.conf", "log4j2.properties"
_OPENED = (
    "java.base/java.nio",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.platform",
    "java.base/sun.net",
    "java.management/sun.management",
    "jdk.management/com.sun.management.internal",
)
_SECRET = b"the key that signs the tokens of the tests"
_ANSWER = 20.0


class PulsarBroker(EmbeddedServer):
    """One broker, with and without TLS, for who has a good token or none.

    Topics are made by use, as Milvus needs them to be.
    """

    name = "Pulsar"
    _port_names: ClassVar = ("binary", "tls", "web", "bookkeeper")
    # In good order it takes longer than anybody waits.
    _stop_signal: ClassVar = signal.SIGKILL

    def __init__(self, folder: Path) -> None:
        self._jars = jars("Pulsar", VERSION, _DEPENDENCIES, java=17)
        super().__init__(folder)

    @property
    def address(self) -> str:
        """What a client connects to."""
        return f"pulsar://{HOST}:{self.ports['binary']}"

    @property
    def tls_address(self) -> str:
        """What a client connects to by TLS."""
        return f"pulsar+ssl://{HOST}:{self.ports['tls']}"

    @property
    def web_address(self) -> str:
        """Where the admin interface is."""
        return f"http://{HOST}:{self.ports['web']}"

    @property
    def authority(self) -> Path:
        """The certificate of the authority that signed the broker's."""
        return self.folder / "ca.pem"

    def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the admin interface, by a path below ``/admin/v2``."""
        request = urllib.request.Request(
            f"{self.web_address}/admin/v2/{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=_ANSWER) as answer:
            text = answer.read()
        return json.loads(text) if text.startswith((b"[", b"{")) else text

    def _prepare(self) -> Sequence[str]:
        settings, logging = (self.folder / each for each in (_CONF, _LOG4J))
        if not settings.exists():
            self._write(settings)
        logging.write_text(_LOGGING)
        opened = [f"--add-opens={each}=ALL-UNNAMED" for each in _OPENED]
        return [
            *("java", "-Xms64m", "-Xmx384m", "-XX:MaxDirectMemorySize=384m"),
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *opened),
            *("-Dio.netty.tryReflectionSetAccessible=true",),
            f"-Dlog4j2.configurationFile={logging.as_uri()}",
            *("-cp", f"{self._jars}/*", "org.apache.pulsar.PulsarStandaloneStarter"),
            *("--config", str(settings), "--advertised-address", HOST),
            *("--no-functions-worker", "--no-stream-storage"),
            *("--metadata-dir", str(self.folder / "metadata")),
            *("--bookkeeper-dir", str(self.folder / "bookkeeper")),
            *("--bookkeeper-port", str(self.ports["bookkeeper"])),
        ]

    def _write(self, settings: Path) -> None:
        certificates(self.folder)
        secret = base64.b64encode(_SECRET).decode()
        ports = {name: self.ports[name] for name in self._port_names}
        text = _SETTINGS.format(host=HOST, folder=self.folder, secret=secret, **ports)
        settings.write_text(text)

    def _is_ready(self) -> bool:
        try:
            return bool(self.admin("GET", "brokers/health") == b"ok")
        except (OSError, urllib.error.HTTPError):
            return False


def token(subject: str, secret: bytes = _SECRET) -> str:
    """Return a token that the broker takes, or refuses if ``secret`` is another."""
    parts = [{"alg": "HS256"}, {"sub": subject}]
    signed = b".".join(_base64(json.dumps(each).encode()) for each in parts)
    signature = hmac.digest(secret, signed, hashlib.sha256)
    return (signed + b"." + _base64(signature)).decode()


def _base64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
