"""A real Kafka for the tests: one broker from Maven's artifact, in KRaft mode."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cdc_actors.embedded.ports import HOST
from cdc_actors.embedded.server import EmbeddedServer
from tests.support.maven import jars
from tests.support.tls import Certificates, certificates

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VERSION = "3.9.1"
USER = "cdc"
PASSWORD = "p@ss word"
_DEPENDENCIES = f"""
<dependencies><dependency>
  <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
  <version>{VERSION}</version>
</dependency></dependencies>
"""
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{plain},SASL_PLAINTEXT://{host}:{sasl},\
SASL_SSL://{host}:{tls},CONTROLLER://{host}:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,\
SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
listener.name.sasl_plaintext.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl_ssl.plain.sasl.jaas.config=\
org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.sasl_ssl.scram-sha-256.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.type=PEM
ssl.keystore.location={folder}/keystore.pem
log.dirs={folder}/logs
message.max.bytes=16777216
num.partitions=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
# A deleted topic is gone at once.
log.segment.delete.delay.ms=1000
"""
_JAVA = (
    "java",
    "-Xms64m",
    "-Xmx256m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-cp",
)
_CLUSTER = "Y2RjLWFjdG9ycy10ZXN0cw"


class KafkaBroker(EmbeddedServer):
    """One broker, without and with a login (``USER``, ``PASSWORD``), and with TLS.

    Topics are made by writing, as at a broker that nobody has set up otherwise.
    """

    name = "Kafka"
    _port_names: ClassVar = ("plain", "sasl", "tls", "controller")

    def __init__(self, folder: Path) -> None:
        self._jars = jars("Kafka", VERSION, _DEPENDENCIES, java=11)
        super().__init__(folder)

    @property
    def address(self) -> str:
        """Where it asks for no login."""
        return f"{HOST}:{self.ports['plain']}"

    @property
    def sasl_address(self) -> str:
        """Where it asks for a login, by PLAIN or SCRAM-SHA-256."""
        return f"{HOST}:{self.ports['sasl']}"

    @property
    def tls_address(self) -> str:
        """Where it asks for a login over TLS."""
        return f"{HOST}:{self.ports['tls']}"

    @property
    def certificates(self) -> Certificates:
        """The authority that signed its certificate."""
        return Certificates(
            authority=self.folder / "ca.pem",
            certificate=self.folder / "cert.pem",
            key=self.folder / "key.pem",
        )

    def _prepare(self) -> Sequence[str]:
        properties = self.folder / "server.properties"
        java = [*_JAVA, f"{self._jars}/*"]
        if not properties.exists():
            self._write(properties)
            scram = f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]"
            subprocess.run(
                [
                    *(*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER),
                    *("-c", str(properties), "--add-scram", scram),
                ],
                check=True,
                capture_output=True,
                timeout=60,
            )
        return [*java, "kafka.Kafka", str(properties)]

    def _write(self, properties: Path) -> None:
        files = certificates(self.folder)
        keystore = files.key.read_bytes() + files.certificate.read_bytes()
        (self.folder / "keystore.pem").write_bytes(keystore)
        ports = {name: self.ports[name] for name in self._port_names}
        text = _PROPERTIES.format(
            host=HOST, folder=self.folder, user=USER, password=PASSWORD, **ports
        )
        properties.write_text(text)

    def _is_ready(self) -> bool:
        admin = AdminClient(
            {"bootstrap.servers": self.address, "log_level": 0}, logger=Silent()
        )
        try:
            return bool(admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False


class Silent:
    """Where librdkafka's log goes: a server that starts refuses connections."""

    def log(self, *_: object) -> None:
        """Say nothing."""
