"""The Kafka of the tests: also with logins and TLS."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from cdc_actors.embedded.kafka import EmbeddedKafka
from cdc_actors.embedded.ports import HOST
from tests.support.skips import or_skip
from tests.support.tls import Certificates, certificates

if TYPE_CHECKING:
    from pathlib import Path

USER = "cdc"
PASSWORD = "p@ss word"
# What comes later in the file counts.
_SECURED = """
listeners=PLAINTEXT://{host}:{plain},SASL_PLAINTEXT://{host}:{sasl},\
SASL_SSL://{host}:{tls},CONTROLLER://{host}:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,\
SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
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
# What is to be removed is looked for at once.
log.initial.task.delay.ms=100
log.retention.check.interval.ms=500
# One that died is not waited for as long as by default, one that is slow is.
broker.session.timeout.ms=6000
broker.heartbeat.interval.ms=500
"""
_SECOND = """
process.roles=broker
node.id=2
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{plain}
"""


class KafkaBroker(EmbeddedKafka):
    """One broker, without and with a login (``USER``, ``PASSWORD``), and with TLS.

    Skips the test, with the reason, where there is no Java or no Maven.
    """

    _port_names: ClassVar = ("plain", "sasl", "tls", "controller")
    _format_options: ClassVar = (
        "--add-scram",
        f"SCRAM-SHA-256=[name={USER},password={PASSWORD}]",
    )

    def __init__(self, folder: Path) -> None:
        with or_skip():
            super().__init__(folder)

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

    def _properties(self) -> str:
        files = certificates(self.folder)
        keystore = files.key.read_bytes() + files.certificate.read_bytes()
        (self.folder / "keystore.pem").write_bytes(keystore)
        ports = {name: self.ports[name] for name in self._port_names}
        return super()._properties() + _SECURED.format(
            host=HOST, folder=self.folder, user=USER, password=PASSWORD, **ports
        )


class SecondBroker(EmbeddedKafka):
    """Another broker, number 2, of the cluster of ``first``, without a login."""

    def __init__(self, folder: Path, first: KafkaBroker) -> None:
        super().__init__(folder)
        self._first = first

    def _properties(self) -> str:
        return super()._properties() + _SECOND.format(
            host=HOST,
            plain=self.ports["plain"],
            controller=self._first.ports["controller"],
        )
