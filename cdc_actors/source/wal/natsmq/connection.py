"""One connection to a NATS server with JetStream, its errors translated."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog
from nats.errors import Error
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    StreamInfo,
)
from nats.js.errors import NotFoundError

from cdc_actors.errors import CdcError, OperatorError, TransientError
from cdc_actors.source.wal.natsmq.arrivals import FollowingClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nats.aio.subscription import Subscription

    from cdc_actors.source.wal.natsmq.arrivals import Arrival

_CONNECT_TIMEOUT = 3.0
_ANSWER_TIMEOUT = 2.0
_PARTING_TIMEOUT = 0.25
_INACTIVE_THRESHOLD = 10.0
"""Seconds after which the server removes a consumer that nobody pulls from."""

_PING_INTERVAL = 10
_log = structlog.get_logger(__name__)


class JetStream:
    """A connection that is given up when it breaks. Lives in one event loop.

    Every method raises ``TransientError`` in the server's words, ``OperatorError`` for
    a refused login.

    Args:
        address: A URL ``nats://host:port``, perhaps with ``user:password@``.
        broken: Called in the event loop when the connection ends without ``close``.
    """

    def __init__(self, address: str, broken: Callable[[CdcError], None]) -> None:
        self._address = address
        self._broken = broken
        self._client = FollowingClient()
        self._jetstream = self._client.jetstream(timeout=_ANSWER_TIMEOUT)
        self._trouble: Exception | None = None
        self._closing = False

    async def connect(self) -> None:
        """Connect and log in, or raise within a few seconds."""
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await self._client.connect(
                    self._address,
                    name="cdc-actors",
                    allow_reconnect=False,
                    # nats-py tries an address again even when it may not reconnect.
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    ping_interval=_PING_INTERVAL,
                    error_cb=self._on_error,
                    closed_cb=self._on_closed,
                )
        except (Error, OSError) as error:
            await self.close()
            # It ends with "no servers available"; why is what it called back with first.
            raise self._translate(self._trouble or error) from error

    def another(self, broken: Callable[[CdcError], None]) -> JetStream:
        """Return one to the same server, not yet connected."""
        return JetStream(self._address, broken)

    @property
    def max_payload(self) -> int:
        """The bytes of the largest message that the server accepts."""
        return self._client.max_payload

    async def stream(self, name: str) -> StreamInfo | None:
        """Return what the server says about a stream, None if it does not exist."""
        with self._translated(), suppress(NotFoundError):
            return await self._jetstream.stream_info(name)
        return None

    async def stream_state(self, name: str) -> dict[str, Any] | None:
        """Return what the server says about a stream, word for word; None without one.

        The client leaves out when its first and its last record were written.
        """
        with self._translated():
            subject = f"$JS.API.STREAM.INFO.{name}"
            answer = await self._client.request(subject, timeout=_ANSWER_TIMEOUT)
        said: dict[str, Any] = json.loads(answer.data)
        return None if "error" in said else said

    async def create_consumer(self, stream: str, start: int) -> tuple[str, int] | None:
        """Create a consumer from record ``start`` on, from the oldest one if 0.

        It acknowledges nothing, and the server removes it when nobody pulls any more.

        Returns:
            Its name and its first record, for the server moves a start that is out of
            range to what it has; None if there is no such stream.
        """
        by = DeliverPolicy.BY_START_SEQUENCE if start else DeliverPolicy.ALL
        return await self._add_consumer(
            stream, ConsumerConfig(deliver_policy=by, opt_start_seq=start or None)
        )

    async def consumer_since(
        self, stream: str, seconds: float
    ) -> tuple[str, int] | None:
        """Create one from the first record of a time, in seconds since 1970, or later.

        Returns what ``create_consumer`` does.
        """
        by, at = DeliverPolicy.BY_START_TIME, datetime.fromtimestamp(seconds, UTC)
        return await self._add_consumer(
            stream,
            ConsumerConfig(deliver_policy=by, opt_start_time=at),
        )

    async def _add_consumer(
        self, stream: str, config: ConsumerConfig
    ) -> tuple[str, int] | None:
        config = config.evolve(
            ack_policy=AckPolicy.NONE,
            inactive_threshold=_INACTIVE_THRESHOLD,
            mem_storage=True,
        )
        with self._translated(), suppress(NotFoundError):
            made = await self._jetstream.add_consumer(stream, config)
            delivered = made.delivered.stream_seq if made.delivered else 0
            return made.name, delivered + 1
        return None

    async def has_consumer(self, stream: str, name: str) -> bool:
        """Tell whether the server has a consumer."""
        with self._translated(), suppress(NotFoundError):
            await self._jetstream.consumer_info(stream, name)
            return True
        return False

    async def delete_consumer(self, stream: str, name: str) -> None:
        """Delete a consumer if the server can be reached; else it deletes it itself."""
        with suppress(Error, OSError):
            async with asyncio.timeout(_PARTING_TIMEOUT):
                await self._jetstream.delete_consumer(stream, name)

    async def listen(self, arrived: Callable[[list[Arrival]], None]) -> Subscription:
        """Call ``arrived`` for messages to a subject that is made up for it.

        One subject at a time: it must not raise.
        """
        with self._translated():
            subscription = await self._client.subscribe(self._client.new_inbox())
        self._client.follow(subscription, arrived)
        return subscription

    async def forget(self, subscription: Subscription) -> None:
        """Call nobody any more with its messages."""
        self._client.forget()
        with suppress(Error):
            await subscription.unsubscribe()

    async def publish(self, subject: str, payload: bytes, reply: str) -> None:
        """Send a message to the server."""
        with self._translated():
            await self._client.publish(subject, payload, reply=reply)

    async def close(self) -> None:
        """Close the connection. Idempotent; never raises, takes a moment at most."""
        self._closing = True
        # nats-py asserts that a client which is closed has been connected.
        with suppress(Error, OSError, AssertionError):
            async with asyncio.timeout(_PARTING_TIMEOUT):
                await self._client.close()
        # What is cut off while the server takes nothing leaves its socket open.
        writer = getattr(self._client._transport, "_io_writer", None)  # noqa: SLF001
        if writer is not None:
            writer.transport.abort()
            await asyncio.sleep(0)

    async def _on_error(self, error: Exception) -> None:
        self._trouble = self._trouble or error
        _log.debug("natsmq_error", error=str(error))
        if not isinstance(error, (Error, OSError)):
            # A mistake in a callback must not look like a log in which nothing happens.
            self._broken(self._translate(error))

    async def _on_closed(self) -> None:
        if not self._closing:
            self._broken(self._translate(self._client.last_error or self._trouble))

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except NotFoundError:
            raise
        except (Error, OSError) as error:
            raise self._translate(error) from error

    def _translate(self, error: Exception | None) -> CdcError:
        text = str(error or "") or "no answer in time"
        server = urlsplit(self._address).netloc.rpartition("@")[2]
        if "authorization" in text.lower():
            return OperatorError(
                f"natsmq at {server} refuses the login ({text}): "
                "set user and password in sourceConfig.natsmq.address"
            )
        if "connect url" in text:
            return OperatorError(f"sourceConfig.natsmq.address: {text}")
        return TransientError(f"natsmq at {server}: {text}")
