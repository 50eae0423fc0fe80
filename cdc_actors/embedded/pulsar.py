"""A real Pulsar: a standalone broker from Maven's artifact."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, ClassVar

from cdc_actors.embedded.maven import Artifact, JavaServer
from cdc_actors.embedded.ports import HOST
from cdc_actors.embedded.server import body_at

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERSION = "3.0.7"
# The versions of what it needs are in its parent.
_DEPENDENCIES = f"""
<dependencyManagement><dependencies><dependency>
  <groupId>org.apache.pulsar</groupId><artifactId>pulsar</artifactId>
  <version>{_VERSION}</version><type>pom</type><scope>import</scope>
</dependency></dependencies></dependencyManagement>
<dependencies><dependency>
  <groupId>org.apache.pulsar</groupId><artifactId>pulsar-broker</artifactId>
  <version>{_VERSION}</version>
</dependency></dependencies>
"""
# Retention, size of messages and how topics are made are those of Milvus's Helm chart.
_SETTINGS = """
clusterName=standalone
bindAddress={host}
advertisedAddress={host}
brokerServicePort={binary}
webServicePort={web}
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
_ANSWER_TIMEOUT = 20.0


class EmbeddedPulsar(JavaServer):
    """One broker without a login. Topics are made by use, as Milvus needs them to be."""

    name = "Pulsar"
    artifact: ClassVar = Artifact(
        name="Pulsar", version=_VERSION, dependencies=_DEPENDENCIES, java=17
    )
    _port_names: ClassVar = ("binary", "web", "bookkeeper")
    # In good order it takes longer than anybody waits.
    _stop_signal: ClassVar = signal.SIGKILL

    @property
    def address(self) -> str:
        """What a client connects to, a URL."""
        return f"pulsar://{HOST}:{self.ports['binary']}"

    @property
    def web_address(self) -> str:
        """Where the admin interface is, a URL."""
        return f"http://{HOST}:{self.ports['web']}"

    def _prepare(self) -> Sequence[str]:
        settings, logging = (self.folder / each for each in (_CONF, _LOG4J))
        if not settings.exists():
            settings.write_text(self._settings())
        logging.write_text(_LOGGING)
        opened = [f"--add-opens={each}=ALL-UNNAMED" for each in _OPENED]
        return [
            *("java", "-Xms64m", "-Xmx384m", "-XX:MaxDirectMemorySize=384m"),
            *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", *opened),
            *("-Dio.netty.tryReflectionSetAccessible=true",),
            f"-Dlog4j2.configurationFile={logging.as_uri()}",
            *("-cp", f"{self.artifact.jars()}/*"),
            *("org.apache.pulsar.PulsarStandaloneStarter", "--config", str(settings)),
            *("--advertised-address", HOST),
            *("--no-functions-worker", "--no-stream-storage"),
            *("--metadata-dir", str(self.folder / "metadata")),
            *("--bookkeeper-dir", str(self.folder / "bookkeeper")),
            *("--bookkeeper-port", str(self.ports["bookkeeper"])),
        ]

    def _settings(self) -> str:
        ports = {name: self.ports[name] for name in self._port_names}
        return _SETTINGS.format(host=HOST, folder=self.folder, **ports)

    def _is_ready(self) -> bool:
        return (
            body_at(self.ports["web"], "/admin/v2/brokers/health", _ANSWER_TIMEOUT)
            == b"ok"
        )
