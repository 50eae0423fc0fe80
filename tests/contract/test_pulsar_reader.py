"""What the reader of Pulsar does beyond the contract of all readers."""

from __future__ import annotations

import os
import socket
import ssl
import time
from typing import TYPE_CHECKING

import msgspec
import pytest
from structlog.testing import capture_logs

from cdc_actors.changes import Position
from cdc_actors.config.queues import Pulsar
from cdc_actors.errors import OperatorError, PositionLostError, TransientError
from cdc_actors.source.wal.pulsar import PulsarReader
from cdc_actors.source.wal.pulsar_ids import entry_id, id_of, place_of, position_of
from tests.support.pulsar_front import pulsar_front
from tests.support.tls import certificates
from tests.support.wal import DEADLINE, numbered, payloads, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.pulsar import PulsarWal
    from tests.support.pulsar_front import PulsarFront

NOT_DURABLE = b"\x40\x00"


@pytest.fixture
def front(pulsar: PulsarWal) -> Iterator[PulsarFront]:
    """What shows and changes what goes to and from the broker."""
    with pulsar_front(pulsar.broker) as front:
        yield front


def test_a_position_in_a_removed_ledger_is_lost(
    pulsar: PulsarWal, channel: str
) -> None:
    """Pulsar removes whole ledgers; a position in an older one than it keeps is lost."""
    (other,) = pulsar.append(f"{channel}-older", [b"older"])
    (kept,) = pulsar.append(channel, [b"kept"])
    gone = position_of(channel, entry_id(place_of(id_of(other))[0], 7))
    with pulsar.reader() as reader:
        assert not reader.holds(gone)
        assert not reader.holds(gone, inclusive=False)
        with pytest.raises(PositionLostError, match=f"{channel}.*{kept.text}"):
            reader.subscribe(channel, gone)


def test_a_message_that_is_skipped_is_read_again(
    pulsar: PulsarWal, front: PulsarFront, channel: str
) -> None:
    """A gap in the numbers is noticed, and what is still kept there is read."""
    pulsar.append(channel, [b"one", b"two", b"three"])
    front.lose = b"two"
    with PulsarReader(Pulsar(address=front.address)) as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, 3), channel) == [b"one", b"two", b"three"]
    assert front.lose is None


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


def test_no_subscription_is_durable(
    pulsar: PulsarWal, front: PulsarFront, channel: str
) -> None:
    """Whatever is asked, the broker is told to keep nothing after the connection."""
    (position,) = pulsar.append(channel, [b"record"])
    with PulsarReader(Pulsar(address=front.address)) as reader:
        reader.subscribe(channel, position)
        read(reader, 1)
        assert reader.newest(channel) == position
        assert reader.oldest(channel) == position
        assert reader.holds(position)
    assert len(front.subscribed) >= 4
    assert all(NOT_DURABLE in command for command in front.subscribed)


def test_tls_is_checked(pulsar: PulsarWal, tmp_path: Path) -> None:
    """A broker with TLS is connected to with its authority, and not without."""
    files = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate, files.key)
    with pulsar_front(pulsar.broker, context) as front:
        address = front.address.replace("pulsar://", "pulsar+ssl://")
        config = Pulsar(address=address, tls_trust_certs_file_path=str(files.authority))
        PulsarReader(config).close()
        with pytest.raises(TransientError, match="certificate verify failed"):
            PulsarReader(Pulsar(address=address))


def test_an_unknown_way_to_log_in_is_refused(pulsar: PulsarWal) -> None:
    """A plug-in that is not known is no reason to go on without a login."""
    config = msgspec.structs.replace(pulsar.config, auth_plugin="com.example.Mine")
    with pytest.raises(OperatorError, match=r"authPlugin.*com\.example\.Mine"):
        PulsarReader(config)


def test_the_web_service_gets_the_token(pulsar: PulsarWal, channel: str) -> None:
    """What asks for topics logs in with the same token; a refusal is the operator's."""
    config = msgspec.structs.replace(
        pulsar.config, auth_plugin="token", auth_params="token:secret-token"
    )
    with PulsarReader(config) as reader:
        assert reader.newest(channel) is None
        assert pulsar.admin.authorizations[-1] == "Bearer secret-token"
        pulsar.admin.status = 401
        try:
            with pytest.raises(OperatorError, match="401"):
                eventually_asked(reader, channel)
        finally:
            pulsar.admin.status = 200


def test_another_namespace_is_the_operators(pulsar: PulsarWal, channel: str) -> None:
    """A namespace that is not there is a wrong setting, in the service's words."""
    config = msgspec.structs.replace(pulsar.config, namespace="elsewhere")
    with (
        PulsarReader(config) as reader,
        pytest.raises(OperatorError, match=r"Namespace does not exist.*namespace"),
    ):
        reader.newest(channel)


def test_the_clients_own_log_is_for_debugging(pulsar: PulsarWal) -> None:
    """What the client says of a broker that is away is logged at debug, and raised."""
    away = Pulsar(address=f"pulsar://127.0.0.1:{unused_port()}")
    with capture_logs() as logs, pytest.raises(TransientError, match="refused"):
        PulsarReader(away)
    lines = [each for each in logs if each["event"] == "pulsar_client"]
    assert any("refused" in each["text"] for each in lines)
    assert {each["log_level"] for each in lines} == {"debug"}


def test_a_position_of_pulsar_is_told_from_others(pulsar: PulsarWal) -> None:
    """The eight bytes of another queue are no message id."""
    foreign = Position("channel", (7).to_bytes(8, "little"), "7")
    with pytest.raises(OperatorError, match="7"):
        id_of(foreign)


def eventually_asked(reader: PulsarReader, channel: str) -> None:
    """Ask until the answer is no longer one from before."""
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        reader.newest(channel)


def unused_port() -> int:
    """Return a port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
