"""One connection to a Pulsar through its own client, its errors translated."""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pulsar
import structlog

from cdc_actors.errors import CdcError, OperatorError, TransientError
from cdc_actors.source.wal.pulsar.admin import PulsarAdmin
from cdc_actors.source.wal.pulsar.login import refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulsar import MessageId

    from cdc_actors.config import Pulsar
    from cdc_actors.source.wal.pulsar.admin import Ledger

_OPERATION_TIMEOUT = 4
_CONNECT_TIMEOUT_MS = 3500

_PLUGINS = {
    f"org.apache.pulsar.client.impl.auth.{java}": name
    for java, name in (
        ("AuthenticationToken", "token"),
        ("AuthenticationTls", "tls"),
        ("AuthenticationBasic", "basic"),
        ("AuthenticationAthenz", "athenz"),
        ("oauth2.AuthenticationOAuth2", "oauth2"),
    )
}
_REFUSALS = (
    pulsar.AuthenticationError,
    pulsar.AuthorizationError,
    pulsar.ErrorGettingAuthenticationData,
)
_CONFIGURATION_ERRORS = (
    pulsar.InvalidConfiguration,
    pulsar.InvalidTopicName,
    pulsar.InvalidUrl,
    pulsar.UnsupportedVersionError,
)
_KEPT_LOG_LINES = 16
_MAX_LOG_LINES = 3
_TOPIC_EMPTY = "Topic has no messages"
"""What some brokers answer instead of an id when asked for the last message."""

TOPIC_MOVING = "Topic is temporarily unavailable"
"""What a broker answers for a topic that it, or another, has not loaded yet."""

_log = structlog.get_logger(__name__)


class ClientLog(logging.Handler):
    """Takes what the client logs, and keeps the end of it for the errors it raises.

    Its exceptions carry a name only; what the broker said is in its log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[tuple[float, str]] = deque(maxlen=_KEPT_LOG_LINES)
        # Not in logging's tree: nothing there is to see the client's lines again.
        self.logger = logging.Logger("pulsar", logging.WARNING)  # noqa: LOG001
        self.logger.addHandler(self)

    def since(self, moment: float) -> list[str]:
        """Return the last lines logged since a moment of the monotonic clock."""
        return [text for when, text in tuple(self._lines) if when >= moment]

    def emit(self, record: logging.LogRecord) -> None:
        """Log a line of the client; called by its threads."""
        text = record.getMessage()
        self._lines.append((time.monotonic(), text.partition("| ")[2] or text))
        _log.debug("pulsar_client_message", text=text)


CLIENT_LOG = ClientLog()
"""The one of this process: the client keeps to the first logger it is given."""


class PulsarLink:
    """A connection that reconnects by itself. Any thread.

    Raises ``TransientError`` in Pulsar's words, ``OperatorError`` for a refused login.
    """

    def __init__(self, config: Pulsar) -> None:
        self._config = config
        self._admin = PulsarAdmin(config) if config.web_address else None
        with self._translated():
            self._client = pulsar.Client(
                config.address,
                authentication=_authentication(config),
                operation_timeout_seconds=_OPERATION_TIMEOUT,
                connection_timeout_ms=_CONNECT_TIMEOUT_MS,
                stats_interval_in_seconds=0,
                logger=CLIENT_LOG.logger,
                tls_trust_certs_file_path=config.tls_trust_certs_file_path or None,
                tls_allow_insecure_connection=config.tls_allow_insecure_connection,
                tls_validate_hostname=config.tls_validate_hostname,
            )

    def connect(self) -> None:
        """Connect and log in, or raise within a few seconds."""
        try:
            # Any name does: the question makes no topic.
            self._client.get_topic_partitions(self._topic("cdc-actors"))
        except pulsar.TopicNotFound as error:
            raise OperatorError(
                f"{self._text_of(error)}: set sourceConfig.pulsar.tenant and namespace "
                "to Milvus's"
            ) from error
        except pulsar.PulsarException as error:
            reason = refusal(self._config)
            raise self._refused(reason) if reason else self.translate(error) from error

    def exists(self, channel: str) -> bool:
        """Tell whether a channel exists; without an admin address it is taken to."""
        return self._admin is None or self._admin.has(self._topic(channel))

    def kept_seconds(self) -> float | None:
        """Return for how long acknowledged messages are kept; None for unknown."""
        return self._admin.kept_seconds() if self._admin else None

    def ledgers(self, channel: str) -> list[Ledger] | None:
        """Return what a channel's messages are kept in, oldest first; None for unknown."""
        return self._admin.ledgers(self._topic(channel)) if self._admin else None

    def open(self, channel: str, start: MessageId, queue: int) -> pulsar.Reader | None:
        """Return a reader from ``start`` on, itself included; None if no such topic.

        It is not durable: the broker forgets it with the connection.
        """
        with self._translated(), suppress(pulsar.TopicNotFound):
            try:
                return self._create(channel, start, queue)
            except pulsar.Timeout as error:
                # The broker moves the topic. Told so, the client waits for nothing.
                if TOPIC_MOVING not in self._text_of(error):
                    raise
                return self._create(channel, start, queue)
        return None

    def _create(self, channel: str, start: MessageId, queue: int) -> pulsar.Reader:
        return self._client.create_reader(
            self._topic(channel),
            start,
            receiver_queue_size=queue,
            start_message_id_inclusive=True,
        )

    def has_message(self, reader: pulsar.Reader) -> bool:
        """Tell whether there is a message for a reader that has read none."""
        asked = time.monotonic()
        with self._translated():
            try:
                return bool(reader.has_message_available())
            except pulsar.UnknownError:
                if any(_TOPIC_EMPTY in line for line in CLIENT_LOG.since(asked)):
                    return False
                raise

    def seek(self, reader: pulsar.Reader, seconds: float) -> None:
        """Go to the first message that was published at a time, since 1970, or later."""
        with self._translated():
            reader.seek(int(seconds * 1000))

    def read(self, reader: pulsar.Reader) -> pulsar.Message:
        """Return the message that there is for a reader."""
        with self._translated():
            return reader.read_next(timeout_millis=_OPERATION_TIMEOUT * 1000)

    def translate(self, error: Exception) -> CdcError:
        """Return what an error of the client means, with what it logged about it."""
        text = self._text_of(error)
        # A login that is refused ends the connection; then the client tries again.
        refused = any(kind.__name__ in text for kind in _REFUSALS)
        if refused or isinstance(error, _REFUSALS):
            return self._refused(text)
        if isinstance(error, _CONFIGURATION_ERRORS):
            return OperatorError(f"sourceConfig.pulsar: {text}")
        return TransientError(text)

    def _text_of(self, error: Exception) -> str:
        """Return what an error and the client's log say, and of which broker."""
        lines = CLIENT_LOG.since(time.monotonic() - _OPERATION_TIMEOUT - 1)
        logged = list(dict.fromkeys(lines))[-_MAX_LOG_LINES:]
        text = ": ".join((str(error).removeprefix("Pulsar error: "), *logged))
        return f"pulsar at {self._broker}: {text}"

    def _refused(self, text: str) -> OperatorError:
        return OperatorError(
            f"pulsar at {self._broker} refuses the login ({text}): set "
            "sourceConfig.pulsar.authPlugin and authParams"
        )

    @property
    def _broker(self) -> str:
        return urlsplit(self._config.address).netloc.rpartition("@")[2]

    def close(self) -> None:
        """Drop the connections, and with them what the broker keeps for readers."""
        # Its shutdown would hold up every thread of Python for as long as it takes.
        with suppress(pulsar.PulsarException):
            self._client.close()

    def _topic(self, channel: str) -> str:
        return f"persistent://{self._config.tenant}/{self._config.namespace}/{channel}"

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except pulsar.TopicNotFound:
            raise
        except (pulsar.PulsarException, ValueError, RuntimeError) as error:
            raise self.translate(error) from error


def _authentication(config: Pulsar) -> pulsar.Authentication | None:
    if not config.auth_plugin:
        return None
    name = _PLUGINS.get(config.auth_plugin, config.auth_plugin)
    # The client would go on without a login for a name that it does not know.
    if name not in _PLUGINS.values():
        raise OperatorError(
            f"sourceConfig.pulsar.authPlugin: {config.auth_plugin} is not known; set "
            f"one of {', '.join(_PLUGINS)}"
        )
    return pulsar.Authentication(name, config.auth_params)
