"""What the reader of Pulsar does beyond the contract of all readers."""

from __future__ import annotations

import os
import random
import socket
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import msgspec
import pytest
from pulsar import Timeout
from structlog.testing import capture_logs

from cdc_actors.changes import Position
from cdc_actors.config.queues import Pulsar
from cdc_actors.errors import OperatorError, TransientError
from cdc_actors.source.wal.pulsar.admin import PulsarAdmin
from cdc_actors.source.wal.pulsar.connection import CLIENT_LOG, TOPIC_MOVING
from cdc_actors.source.wal.pulsar.positions import (
    entry_id,
    id_of,
    place_of,
    position_of,
)
from cdc_actors.source.wal.pulsar.reader import PulsarReader
from tests.support.pulsar import token
from tests.support.wal import apart, eventually, numbered, payloads, read

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.pulsar_wal import PulsarWal

JAVA_TOKEN = "org.apache.pulsar.client.impl.auth.AuthenticationToken"


def test_reading_goes_on_from_ledger_to_ledger(pulsar: PulsarWal, channel: str) -> None:
    """The gap in the numbers where a ledger ends, also an empty one, skips nothing."""
    apart(pulsar, channel, numbered(3))
    pulsar.unload(channel)
    pulsar.append(channel, numbered(3, first=4))
    with pulsar.reader() as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, 6), channel) == numbered(6)


def test_reading_goes_on_where_the_topic_is_moved(
    pulsar: PulsarWal, channel: str
) -> None:
    """A topic that is unloaded while it is read ends a connection, not the reading."""
    pulsar.append(channel, numbered(3))
    with pulsar.reader() as reader:
        reader.subscribe(channel, None)
        before = read(reader, 3)
        pulsar.unload(channel)
        pulsar.append(channel, numbered(3, first=4))
        assert payloads(before + read(reader, 3), channel) == numbered(6)


def test_ids_of_milvus_are_those_of_the_reader(pulsar: PulsarWal, channel: str) -> None:
    """The id as Go writes it, with partition -1 and batch index 0, means the same."""
    positions = pulsar.append(channel, numbered(3))
    ledger, entry, _ = place_of(id_of(positions[1]))
    minus_one = b"\xff" * 9 + b"\x01"
    of_go = bytes([8, ledger, 16, entry, 24]) + minus_one + b"\x20\x00"
    with pulsar.reader() as reader:
        position = reader.position(channel, of_go)
        assert position.text == positions[1].text == f"{ledger}:{entry}"
        assert reader.reached(position, positions[1])
        assert reader.reached(positions[1], position)
        assert not reader.reached(position, positions[2])
        reader.subscribe(channel, position, inclusive=False)
        assert payloads(read(reader, 1), channel) == [b"3"]


def test_the_earliest_id_is_the_beginning(pulsar: PulsarWal, channel: str) -> None:
    """The id that Pulsar's clients call earliest begins with the oldest record."""
    pulsar.append(channel, numbered(2))
    earliest = position_of(channel, entry_id(-1, -1))
    with pulsar.reader() as reader:
        assert reader.holds(earliest)
        reader.subscribe(channel, earliest, inclusive=False)
        assert payloads(read(reader, 2), channel) == numbered(2)


@pytest.mark.parametrize("inclusive", [True, False])
def test_reading_resumes_at_a_message_in_chunks(
    pulsar: PulsarWal, channel: str, *, inclusive: bool
) -> None:
    """The position of a message in chunks is its last; reading begins at its first."""
    written = [os.urandom(6 << 20), b"small", os.urandom(11 << 20), b"end"]
    positions = pulsar.append(channel, written)
    with pulsar.reader() as reader:
        reader.subscribe(channel, positions[2], inclusive=inclusive)
        expected = written[2 if inclusive else 3 :]
        assert payloads(read(reader, len(expected)), channel) == expected


def test_no_subscription_is_durable(pulsar: PulsarWal, channel: str) -> None:
    """Whatever is asked, the broker keeps nothing for it after the connection."""
    (position,) = pulsar.append(channel, [b"record"])
    with pulsar.reader() as reader:
        reader.subscribe(channel, position)
        read(reader, 1)
        assert reader.newest(channel) == position
        assert reader.oldest(channel) == position
        assert reader.holds(position)
        assert set(pulsar.subscriptions(channel).values()) == {False}
    eventually(lambda: not pulsar.subscriptions(channel), "they are gone")


def test_a_topic_that_is_being_moved_is_opened_again(
    pulsar: PulsarWal, channel: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker that has unloaded a topic has it again before the client asks again."""
    pulsar.append(channel, [b"record"])
    with pulsar.reader() as reader:
        client = reader._link._client
        create, outcomes = client.create_reader, iter([Timeout(), None])

        def once_moving(*arguments: object, **more: object) -> object:
            if error := next(outcomes, None):
                CLIENT_LOG.logger.warning("Retryable (%s)", TOPIC_MOVING)
                raise error
            return create(*arguments, **more)

        monkeypatch.setattr(client, "create_reader", once_moving)
        reader.subscribe(channel, None)
        assert payloads(read(reader, 1), channel) == [b"record"]
    assert list(outcomes) == []


def test_tls_is_checked(pulsar: PulsarWal) -> None:
    """A broker with TLS is connected to with its authority, and not without."""
    broker = pulsar.broker
    config = Pulsar(
        address=broker.tls_address, tls_trust_certs_file_path=str(broker.authority)
    )

    def connects() -> bool:
        with suppress(TransientError):
            PulsarReader(config).close()
            return True
        return False

    eventually(connects, "a broker that has the time for it is connected to")
    with pytest.raises(TransientError, match="certificate verify failed"):
        PulsarReader(Pulsar(address=broker.tls_address))


@pytest.mark.parametrize("plugin", ["token", JAVA_TOKEN])
def test_a_good_token_is_taken(pulsar: PulsarWal, channel: str, plugin: str) -> None:
    """Who has a token of the broker reads, whichever way the plug-in is named."""
    pulsar.append(channel, [b"record"])
    config = with_token(pulsar, token("reader"), plugin)
    with PulsarReader(config) as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, 1), channel) == [b"record"]


def test_a_refused_token_is_the_operators(pulsar: PulsarWal) -> None:
    """What the broker says of a token it refuses comes with what is to be set."""
    refused = token("reader", secret=b"another key, which the broker does not know")
    with pytest.raises(
        OperatorError, match=r"Failed to authenticate.*authParams"
    ) as raised:
        PulsarReader(with_token(pulsar, refused))
    assert refused not in str(raised.value)


def test_the_web_service_gets_the_token(pulsar: PulsarWal) -> None:
    """What asks for topics logs in with the same token; a refusal is the operator's."""
    with refusing_web_service() as (address, authorizations):
        config = msgspec.structs.replace(
            with_token(pulsar, "a-token"), web_address=address
        )
        with pytest.raises(
            OperatorError, match=r"401 \(Authentication required\).*authParams"
        ):
            PulsarAdmin(config).has("any")
    assert authorizations == ["Bearer a-token"]


def test_an_unknown_way_to_log_in_is_refused(pulsar: PulsarWal) -> None:
    """A plug-in that is not known is no reason to go on without a login."""
    config = msgspec.structs.replace(pulsar.config, auth_plugin="com.example.Mine")
    with pytest.raises(OperatorError, match=r"authPlugin.*com\.example\.Mine"):
        PulsarReader(config)


def test_another_namespace_is_the_operators(pulsar: PulsarWal) -> None:
    """A namespace that is not there is a wrong setting, in the service's words."""
    config = msgspec.structs.replace(pulsar.config, namespace="elsewhere")
    with pytest.raises(OperatorError, match=r"Namespace not found.*namespace"):
        PulsarReader(config)
    with pytest.raises(OperatorError, match=r"Namespace does not exist.*namespace"):
        PulsarAdmin(config).has("any")


def test_the_clients_own_log_is_for_debugging(pulsar: PulsarWal) -> None:
    """What the client says of a broker that is away is logged at debug, and raised."""
    away = Pulsar(address=f"pulsar://127.0.0.1:{unused_port()}")
    with capture_logs() as logs, pytest.raises(TransientError, match="refused"):
        PulsarReader(away)
    lines = [each for each in logs if each["event"] == "pulsar_client_message"]
    assert any("refused" in each["text"] for each in lines)
    assert {each["log_level"] for each in lines} == {"debug"}


def test_a_position_of_pulsar_is_told_from_others(pulsar: PulsarWal) -> None:
    """The eight bytes of another queue are no message id."""
    foreign = Position("channel", (7).to_bytes(8, "little"), "7")
    with pytest.raises(OperatorError, match="7"):
        id_of(foreign)


@contextmanager
def refusing_web_service() -> Iterator[tuple[str, list[str | None]]]:
    """Yield the address of what answers 401, as no broker does that lets some in freely.

    And the list of what was sent to it for a login.
    """
    authorizations: list[str | None] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            authorizations.append(self.headers.get("Authorization"))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b"Authentication required")

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", authorizations
        finally:
            server.shutdown()
            thread.join()


def with_token(pulsar: PulsarWal, params: str, plugin: str = "token") -> Pulsar:
    """Return the settings of a reader that logs in by a token."""
    return msgspec.structs.replace(
        pulsar.config, auth_plugin=plugin, auth_params=f"token:{params}"
    )


def unused_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_bytes_are_a_share_of_the_ledgers(pulsar: PulsarWal, channel: str) -> None:
    """They are told for the messages from one on, up to another, if anybody tells."""
    # Producers compress, Milvus's too.
    positions = pulsar.append(channel, [random.randbytes(10_000) for _ in range(20)])
    with pulsar.reader() as reader:
        whole = reader.bytes_between(positions[0])
        assert 200_000 < whole < 210_000
        assert reader.bytes_between(positions[5], positions[10]) == whole // 4
        assert reader.bytes_between(positions[10], positions[5]) == 0
    silent = msgspec.structs.replace(pulsar.config, web_address="")
    with PulsarReader(silent) as reader:
        assert reader.bytes_between(positions[0]) is None


@pytest.mark.parametrize(
    ("minutes", "megabytes", "seconds"),
    [(60, -1, 3600), (-1, -1, None), (60, 100, None), (0, 0, 0), (None, None, 604800)],
    ids=["time", "for ever", "size", "nothing", "the broker's"],
)
def test_records_are_kept_as_the_namespace_says(
    pulsar: PulsarWal, minutes: int | None, megabytes: int | None, seconds: float | None
) -> None:
    """What Milvus has acknowledged is, by time, if by nothing else."""
    with pulsar.retention(minutes, megabytes), pulsar.reader() as reader:
        assert reader.kept_seconds("any") == seconds
