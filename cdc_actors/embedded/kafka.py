"""A real Kafka: one broker from Maven's artifact, in KRaft mode.

Needs the extra ``kafka``, whose client tells when the broker is there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from cdc_actors.embedded.maven import Artifact, JavaServer
from cdc_actors.embedded.ports import HOST
from cdc_actors.embedded.process import run

if TYPE_CHECKING:
    from collections.abc import Sequence

_VERSION = "3.9.1"
_DEPENDENCIES = f"""
<dependencies><dependency>
  <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
  <version>{_VERSION}</version>
</dependency></dependencies>
"""
_PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://{host}:{plain},CONTROLLER://{host}:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
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
_FORMAT = 120.0


class EmbeddedKafka(JavaServer):
    """One broker without a login.

    Topics are made by writing, as at a broker that nobody has set up otherwise.
    """

    name = "Kafka"
    artifact: ClassVar = Artifact(
        name="Kafka", version=_VERSION, dependencies=_DEPENDENCIES, java=11
    )
    _port_names: ClassVar = ("plain", "controller")
    _format_options: ClassVar[tuple[str, ...]] = ()

    @property
    def address(self) -> str:
        """What a client connects to, ``host:port``."""
        return f"{HOST}:{self.ports['plain']}"

    def _prepare(self) -> Sequence[str]:
        properties = self.folder / "server.properties"
        java = [*_JAVA, f"{self.artifact.jars()}/*"]
        if not properties.exists():
            properties.write_text(self._properties())
            options = ["-c", str(properties), *self._format_options]
            command = [*java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER]
            run([*command, *options], log=self.folder / "format.log", timeout=_FORMAT)
        return [*java, "kafka.Kafka", str(properties)]

    def _properties(self) -> str:
        ports = {name: self.ports[name] for name in self._port_names}
        return _PROPERTIES.format(host=HOST, folder=self.folder, **ports)

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
