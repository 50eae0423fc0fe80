"""A librdkafka consumer that reads by offset, its errors translated.

librdkafka fetches in threads of its own and calls back (errors, log lines) only inside
a call from here. It goes on by itself after a broken connection or a change of leader;
when no broker is left, the client has failed for good.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import structlog
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
    Uuid,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined] # it is documented
    AdminClient,
    ConfigResource,
)

from cdc_actors.errors import CdcError, OperatorError, TransientError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from cdc_actors.config.queues import Kafka

PREFETCH_BYTES: Final = 24 << 20
"""Bytes that librdkafka may hold at most: a full queue, and the answer that came last."""

_LEAST_PREFETCH_BYTES: Final = 384 << 10
"""Below that each fetch brings so little that reading is slow."""

_PREFETCH_SHARE: Final = 1 / 32
"""How much of the memory that is free a new client may take for good. Its queue cannot be
made smaller later; a hundred clients leave a part of the memory to the rows."""

BATCH: Final = 500
"""Messages taken at once: fewer objects than set the garbage collector to work."""

_PARTITION: Final = 0
_NO_ID: Final = str(Uuid(0, 0))
_ASK_TIMEOUT: Final = 20.0
"""Seconds for one question: a broker that makes many topics answers late."""

_FIRST_TIMEOUT: Final = 0.3
"""Short at first: why there is no answer is often known long before a time-out."""

_CALLBACK_TIMEOUT: Final = 0.1

_TUNING: Final[dict[str, str | int | float | bool]] = {
    "client.id": "cdc-actors",
    # librdkafka insists on a name; nobody joins the group, nothing is committed to it.
    "group.id": "cdc-actors",
    "fetch.wait.max.ms": 500,
    # The default waits a second with the next fetch once the queue has been full.
    "fetch.queue.backoff.ms": 5,
    "socket.timeout.ms": 10_000,
    # The default waits up to ten seconds with a broker that is back.
    "reconnect.backoff.max.ms": 1000,
    "topic.metadata.propagation.max.ms": 0,
}
_SAFETY: Final[dict[str, str | int | float | bool]] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": False,
    "allow.auto.create.topics": False,
    "auto.offset.reset": "error",
    "isolation.level": "read_committed",
    # A task that cannot write to its target may not poll for hours.
    "max.poll.interval.ms": 86_400_000,
}
_UNKNOWN: Final = {
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError._UNKNOWN_TOPIC,  # noqa: SLF001
    KafkaError._UNKNOWN_PARTITION,  # noqa: SLF001
}
_REFUSED: Final = {
    KafkaError._AUTHENTICATION,  # noqa: SLF001
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
}
_RETRIABLE: Final = {
    KafkaError._TIMED_OUT,  # noqa: SLF001
    KafkaError._TRANSPORT,  # noqa: SLF001
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
}

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class Bounds(NamedTuple):
    """The first offset kept, the next one to be written, and the id of the topic.

    A topic that is deleted and made again has another id. A broker older than Kafka 2.8
    gives none: then it is empty.
    """

    low: int
    high: int
    topic_id: str


class _UnknownTopicError(Exception):
    """Kafka knows no such topic."""


def held_bytes(given: Mapping[str, str | int | float | bool]) -> int:
    """Return how many bytes librdkafka may hold with these settings."""
    queue = int(given["queued.max.messages.kbytes"]) << 10
    return queue + int(given["fetch.max.bytes"])


def prefetch_for(free: int) -> int:
    """Return how many bytes a new client may hold, where so many are free."""
    share = int(free * _PREFETCH_SHARE)
    return max(_LEAST_PREFETCH_BYTES, min(PREFETCH_BYTES, share))


def settings(
    kafka: Kafka, prefetch: int = PREFETCH_BYTES
) -> dict[str, str | int | float | bool]:
    """Return librdkafka's settings; what keeps reading safe cannot be overridden.

    ``prefetch`` are the bytes that it may hold: a queue, which it fills beyond its bound
    by one answer of a broker. That is larger only by a producer's batch that does not fit.
    """
    answer = prefetch // 3
    bounds: dict[str, str | int | float | bool] = {
        "fetch.max.bytes": answer,
        # Of what a producer sends; librdkafka refuses more than one answer may bring.
        "message.max.bytes": answer,
        "max.partition.fetch.bytes": max(answer // 2, 1),
        "queued.max.messages.kbytes": (prefetch - answer) >> 10,
    }
    login = {
        "bootstrap.servers": kafka.address,
        "security.protocol": kafka.security_protocol.lower(),
        "sasl.mechanisms": kafka.sasl_mechanisms,
        "sasl.username": kafka.sasl_username,
        "sasl.password": kafka.sasl_password,
    }
    given = {name: value for name, value in login.items() if value}
    return _TUNING | bounds | kafka.consumer | given | _SAFETY


class KafkaClient:
    """A consumer of partition 0 of any number of topics. One thread at a time.

    Every method raises ``TransientError`` or ``OperatorError`` in Kafka's words; once
    ``failed`` is set, the records that came before have still to be taken.

    Raises:
        OperatorError: A setting is wrong.
    """

    def __init__(self, kafka: Kafka, prefetch: int = PREFETCH_BYTES) -> None:
        self._settings = settings(kafka, prefetch)
        self.held_bytes = held_bytes(self._settings)
        """How many bytes it may hold that have been fetched and not been taken."""
        self._address = kafka.address
        self._last_failure = ""
        self._attached: set[str] = set()
        self._waiting: list[TopicPartition] = []
        self._paused: set[str] = set()
        self.failed: CdcError | None = None
        self.topic_doubted = False
        """Whether Kafka has said of a topic being read that there is none."""
        try:
            self._consumer = self._connect()
            # Its own connection: a question would wait there behind a running fetch.
            self._control = self._connect()
            self._admin = AdminClient(dict(self._settings), logger=_Log(self))
        except KafkaException as error:
            text = f"sourceConfig.kafka: {_text_of(error)}"
            raise OperatorError(text) from error

    def topics(self) -> set[str]:
        """Return the topics that exist."""
        listed = self._ask(lambda timeout: self._control.list_topics(timeout=timeout))
        return {
            name
            for name, topic in listed.topics.items()
            if topic.error is None or topic.error.code() not in _UNKNOWN
        }

    def bounds(self, topic: str) -> Bounds | None:
        """Return where a topic's records begin and end, None if there is no topic."""
        try:
            return self._ask(lambda timeout: self._look(topic, timeout))
        except _UnknownTopicError:
            return None

    def offset_since(self, topic: str, seconds: float) -> int | None:
        """Return that of the first record of a time or later, None without one."""
        wanted = TopicPartition(topic, _PARTITION, int(seconds * 1000))
        try:
            [found] = self._ask(
                lambda timeout: self._control.offsets_for_times(
                    [wanted], timeout=timeout
                )
            )
        except _UnknownTopicError:
            return None
        return found.offset if found.offset >= 0 else None

    def configuration(self, topic: str) -> dict[str, str | None]:
        """Return a topic's settings, those that it has from the broker included."""
        wanted = ConfigResource(ConfigResource.Type.TOPIC, topic)
        try:
            found = self._ask(
                lambda timeout: self._admin.describe_configs(
                    [wanted], request_timeout=timeout
                )[wanted].result()
            )
        except _UnknownTopicError:
            return {}
        return {name: entry.value for name, entry in found.items()}

    def attach(self, topic: str, offset: int) -> None:
        """Have a topic fetched from the next ``deliver_only`` on, with all others.

        Of one that came alone a broker would wait for news, and hear of no other until it
        has some.
        """
        self._waiting.append(TopicPartition(topic, _PARTITION, offset))
        self._attached.add(topic)

    def deliver_only(self, topics: Collection[str] | None) -> None:
        """Let ``take`` return messages of some topics only, or (None) of all again.

        librdkafka forgets what it has fetched of a topic that is paused, and fetches it
        again afterwards: nothing is lost.
        """
        if self._waiting:
            self._fetch_waiting()
        paused = set() if topics is None else self._attached.difference(topics)
        for change, names in (
            (self._consumer.pause, paused - self._paused),
            (self._consumer.resume, self._paused - paused),
        ):
            if names:
                change([TopicPartition(name, _PARTITION) for name in names])
        self._paused = paused

    def take(self, timeout: float) -> list[Message]:
        """Return what has arrived, errors of topics among it; wakes at the first."""
        first = self._consumer.poll(timeout)
        return [] if first is None else [first, *self._consumer.consume(BATCH, 0)]

    def reached(self, topic: str, attached: int) -> int:
        """Return the offset behind what was taken, ``attached`` if nothing was."""
        (here,) = self._consumer.position([TopicPartition(topic, _PARTITION)])
        return max(here.offset, attached)

    def close(self) -> None:
        """Leave the brokers. Nothing may be called afterwards."""
        self._consumer.close()
        self._control.close()
        del self._admin

    def translate(self, error: KafkaError) -> CdcError:
        """Return what an error asks for, in Kafka's words."""
        text = f"Kafka at {self._address}: {error.str()}"
        if error.code() in _REFUSED:
            return OperatorError(
                f"{text}: check saslUsername, saslPassword, saslMechanisms and "
                "securityProtocol in sourceConfig.kafka, and what the user may read"
            )
        if _is_wrong_tls(error):
            return OperatorError(
                f"{text}: check securityProtocol and the ssl.* settings of consumer in "
                "sourceConfig.kafka"
            )
        return TransientError(text)

    def _fetch_waiting(self) -> None:
        """Have librdkafka ask where to fetch: by itself it does so after a second."""
        waiting, self._waiting = self._waiting, []
        try:
            self._consumer.incremental_assign(waiting)
        except KafkaException as error:
            raise self.translate(error.args[0]) from error
        with suppress(KafkaException):  # Then it asks by itself.
            self._consumer.list_topics(timeout=_CALLBACK_TIMEOUT)

    def _connect(self) -> Consumer:
        configuration = {**self._settings, "error_cb": self._on_error}
        return Consumer(configuration, logger=_Log(self))

    def _look(self, topic: str, timeout: float) -> Bounds:
        """Ask for both while neither is known: there are many topics, maybe far away."""
        wanted, partition = TopicCollection([topic]), TopicPartition(topic, _PARTITION)
        described = self._admin.describe_topics(wanted, request_timeout=timeout)[topic]
        low, high = self._control.get_watermark_offsets(partition, timeout=timeout)
        found = str(described.result().topic_id)
        return Bounds(low, high, "" if found == _NO_ID else found)

    def _ask(self, question: Callable[[float], T]) -> T:
        """Ask a broker, again and again for a while."""
        deadline, timeout = time.monotonic() + _ASK_TIMEOUT, _FIRST_TIMEOUT
        while True:
            try:
                return question(min(timeout, deadline - time.monotonic()))
            except KafkaException as error:
                self._raise_unless_retriable(error, deadline)
            timeout *= 3

    def _raise_unless_retriable(self, error: KafkaException, deadline: float) -> None:
        """Raise what asking again would not change."""
        code = error.args[0].code()
        if code in _UNKNOWN:
            raise _UnknownTopicError from error
        if code not in _RETRIABLE:
            raise self.translate(error.args[0]) from error
        self._control.consume(BATCH, _CALLBACK_TIMEOUT)  # Nothing but what calls back.
        if self.failed is not None:
            raise self.failed from error
        if time.monotonic() > deadline:
            raise TransientError(self._no_answer_text(_text_of(error))) from error

    def _on_error(self, error: KafkaError) -> None:
        code = error.code()
        _log.debug("kafka_error", error=error.str(), kind=error.name())
        if code == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001
            self._fail(TransientError(self._no_answer_text(error.str())))
        elif code in _UNKNOWN:
            self.topic_doubted = True
        elif code in _REFUSED or _is_wrong_tls(error):
            self._fail(self.translate(error))

    def on_log(self, facility: str, line: str) -> None:
        """Keep why a connection failed: the errors that follow say only that it did."""
        if facility == "FAIL":
            self._last_failure = line.partition("]: ")[2] or line

    def _fail(self, error: CdcError) -> None:
        # What is wrong with the login may come after the news that no broker is left.
        if self.failed is None or isinstance(error, OperatorError):
            self.failed = error

    def _no_answer_text(self, text: str) -> str:
        return f"Kafka at {self._address}: {self._last_failure or text}"


class _Log:
    """Turns librdkafka's log, which would go to stderr, into debug lines."""

    def __init__(self, client: KafkaClient) -> None:
        self._client = client

    def log(self, level: int, _text: str, *parts: object) -> None:
        facility, line = str(parts[0]), str(parts[-1])
        self._client.on_log(facility, line)
        _log.debug(
            "kafka_client_message", severity=logging.getLevelName(level), line=line
        )


def _is_wrong_tls(error: KafkaError) -> bool:
    """Tell a refused certificate or no TLS at all from a connection that broke."""
    text = error.str().lower()
    return "ssl routines" in text and "eof" not in text


def _text_of(error: KafkaException) -> str:
    return str(error.args[0].str())
