"""What the reader of Kafka must do beyond the contract of every reader."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from cdc_actors.config.queues import Kafka
from cdc_actors.errors import CdcError, OperatorError, PositionLostError, TransientError
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.source.wal.kafka.client import PREFETCH_BYTES, settings
from cdc_actors.source.wal.kafka.reader import KafkaReader
from tests.support.kafka import PASSWORD, USER, KafkaBroker, SecondBroker
from tests.support.wal import eventually, numbered, payloads, read, read_to_the_end

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.kafka_wal import KafkaWal


def test_positions_are_offsets_as_milvus_writes_them(
    kafka: KafkaWal, channel: str
) -> None:
    """A position is eight little-endian bytes of the offset; its text names the topic."""
    positions = kafka.append(channel, numbered(2))
    assert [position.id for position in positions] == [bytes(8), b"\x01" + bytes(7)]
    assert positions[1].text == f"1@{kafka.topic_id(channel)}"
    with kafka.reader() as reader:
        assert reader.oldest(channel) == positions[0]
        assert reader.position(channel, b"\x01" + bytes(7)).text == "1"


@pytest.mark.parametrize("compression", ["zstd", "gzip", "lz4", "snappy"])
def test_compressed_records_are_read(
    kafka: KafkaWal, channel: str, compression: str
) -> None:
    """Milvus writes zstd; the broker may make anything else of it."""
    written = [bytes(100_000), os.urandom(100_000)]
    kafka.append(channel, written, compression=compression)
    with kafka.reader() as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, 2), channel) == written


def test_reading_leaves_no_group_behind(kafka: KafkaWal, channel: str) -> None:
    """The broker knows of no consumer group, while we read and afterwards."""
    kafka.append(channel, numbered(3))
    with kafka.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 3)
        assert "cdc-actors" not in kafka.groups()
    assert "cdc-actors" not in kafka.groups()


def test_settings_that_keep_reading_safe_cannot_be_overridden() -> None:
    """The free map tunes librdkafka but cannot make it commit, skip or make topics."""
    careless = {
        "auto.offset.reset": "latest",
        "enable.auto.commit": "true",
        "allow.auto.create.topics": "true",
        "fetch.wait.max.ms": "100",
    }
    given = settings(Kafka(address="127.0.0.1:9092", consumer=careless))
    assert given["auto.offset.reset"] == "error"
    assert given["enable.auto.commit"] is False
    assert given["allow.auto.create.topics"] is False
    assert given["fetch.wait.max.ms"] == "100"


def test_retention_while_reading_is_named(kafka: KafkaWal, channel: str) -> None:
    """What Kafka removed before it was read is told with the numbers."""
    kafka.append(channel, [bytes(2_000_000)] * 30, batch=1)
    # However long it takes, it holds a few records, not all.
    at_once = ("fetch.max.bytes", "message.max.bytes", "max.partition.fetch.bytes")
    bounds = dict.fromkeys(at_once, "3000000") | {"queued.max.messages.kbytes": "3000"}
    with kafka.reader(**bounds) as reader:
        reader.subscribe(channel, None)
        records = read(reader, 1)
        assert len(records) < 30
        kafka.truncate(channel, None)
        with pytest.raises(
            PositionLostError, match=r"oldest one kept is 30.*retention"
        ):
            read_to_the_end(reader, records)


def test_what_kafka_itself_removed_is_a_lost_position(
    kafka: KafkaWal, channel: str
) -> None:
    """The topic's retention removes old segments; who was to begin there is told."""
    kafka.make(channel, segment_bytes="1000", retention_bytes="1000")
    # One by one: those that come together must fit into one segment.
    first, *_ = [kafka.append(channel, [bytes(500)])[0] for _ in range(5)]
    with kafka.reader() as reader:
        eventually(lambda: reader.oldest(channel) != first, "a segment is removed")
        assert not reader.holds(first)
        with pytest.raises(PositionLostError, match="retention"):
            reader.subscribe(channel, first)


def test_a_topic_that_is_deleted_is_lost(kafka: KafkaWal, channel: str) -> None:
    """Once its topic is gone, waiting for more records would be for ever."""
    kafka.append(channel, numbered(3))
    with kafka.reader() as reader:
        reader.subscribe(channel, None)
        records = read(reader, 3)
        kafka.remove(channel)
        with pytest.raises(PositionLostError, match=channel):
            read_to_the_end(reader, records)


def test_a_topic_made_anew_is_lost(kafka: KafkaWal, channel: str) -> None:
    """A position in the topic of before is lost, however long the new one has grown."""
    *_, last = kafka.append(channel, numbered(3))
    kafka.remove(channel)
    kafka.append(channel, numbered(5))
    with kafka.reader() as reader:
        assert not reader.holds(last)
        with pytest.raises(PositionLostError, match="recreated"):
            reader.subscribe(channel, last, inclusive=False)


def test_a_position_of_milvus_beyond_the_end_is_lost(
    kafka: KafkaWal, channel: str
) -> None:
    """A position that names no topic is known to be of another one by its offset."""
    kafka.append(channel, numbered(1))
    with kafka.reader() as reader, pytest.raises(PositionLostError, match="recreated"):
        reader.subscribe(channel, reader.position(channel, b"\x03" + bytes(7)))


def test_a_topic_made_anew_while_it_is_read_is_lost(
    kafka: KafkaWal, channel: str
) -> None:
    """Nothing of a new topic is taken for the old one's: reading fails, and for good."""
    kafka.append(channel, numbered(3))
    with kafka.reader() as reader:
        reader.subscribe(channel, None)
        records = read(reader, 3)
        kafka.remove(channel)
        kafka.append(channel, numbered(5))
        with pytest.raises(CdcError):
            read_to_the_end(reader, records)
    assert payloads(records, channel) == numbered(3)
    with kafka.reader() as reader, pytest.raises(PositionLostError, match="recreated"):
        reader.subscribe(channel, records[-1].position, inclusive=False)


def test_a_full_channel_does_not_starve_another(kafka: KafkaWal, channel: str) -> None:
    """A channel with one record is heard while another has more than the prefetch."""
    other = f"{channel}-other"
    count = 3 * PREFETCH_BYTES // 1_000_000
    kafka.append(channel, [bytes(1_000_000)] * count)
    kafka.append(other, [b"other"])
    with kafka.reader() as reader:
        reader.subscribe(channel, None)
        reader.subscribe(other, None)
        assert payloads(reader.poll(20, {other}), other) == [b"other"]


def test_what_is_fetched_ahead_is_what_the_memory_counts(
    kafka: KafkaWal, channel: str
) -> None:
    """Librdkafka's own statistics of its queue never say more than the quota holds.

    A broker answers with a producer's first batch, be it larger than what is asked for.
    """
    seen: list[int] = []

    def note(statistics: str) -> None:
        brokers = json.loads(statistics)["topics"]
        parts = [
            each for topic in brokers.values() for each in topic["partitions"].items()
        ]
        seen.append(sum(part["fetchq_size"] for _, part in parts))

    consumer: Any = {"statistics.interval.ms": "10", "stats_cb": note}
    quota = MemoryBudget(32 << 20).quota(1.0)
    config = Kafka(address=kafka.broker.address, consumer=consumer)
    with KafkaReader(config, quota) as reader:
        reader.subscribe(channel, None)

        def fetches_ahead() -> bool:
            kafka.append(channel, [bytes(10_000)] * 1000, batch=50_000)
            read(reader, 1000)
            return any(seen)

        eventually(fetches_ahead, "a look at the queue finds something in it")
    assert max(seen) <= quota.held <= 1 << 20


def test_topics_that_were_made_just_now_are_read(kafka: KafkaWal, channel: str) -> None:
    """A broker busy with as many topics as a Milvus may have is waited for."""
    channels = [f"{channel}-{number}" for number in range(256)]
    kafka.make(*channels)
    with kafka.reader() as reader:
        for each in channels:
            reader.subscribe(each, None)
        kafka.append(channels[-1], [b"last"])
        assert payloads(read(reader, 1), channels[-1]) == [b"last"]


def test_a_broker_that_falls_silent_is_noticed(kafka: KafkaWal, channel: str) -> None:
    """A broker that hangs without closing its connections is given up."""
    kafka.append(channel, numbered(1))
    with kafka.reader(**{"socket.timeout.ms": "1000"}) as reader:
        reader.subscribe(channel, None)
        records = read(reader, 1)
        pid = kafka.broker.pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(TransientError, match="Kafka at"):
                read_to_the_end(reader, records)
        finally:
            os.kill(pid, signal.SIGCONT)


def test_a_change_of_leader_is_survived(
    kafka: KafkaWal, channel: str, tmp_path: Path
) -> None:
    """When the broker dies that leads a channel, reading goes on at the next leader."""
    with SecondBroker(tmp_path, kafka.broker) as second, kafka.reader() as reader:
        kafka.make_led_by(2, channel)
        kafka.append(channel, numbered(3))
        reader.subscribe(channel, None)
        found = read(reader, 3)
        second.kill()
        eventually(lambda: kafka.leader(channel) == 1, "the other one leads")
        kafka.append(channel, numbered(3, first=4))
        assert payloads([*found, *read(reader, 3)], channel) == numbered(6)


def test_closing_leaves_no_thread(kafka: KafkaWal, channel: str) -> None:
    """Close ends what reading started in this process."""
    kafka.append(channel, numbered(1))
    before = set(threading.enumerate())
    with kafka.reader() as reader:
        reader.subscribe(channel, None)
        read(reader, 1)
    assert not set(threading.enumerate()) - before


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "tls"])
def test_a_login_reads(
    kafka: KafkaWal, channel: str, mechanism: str, *, tls: bool
) -> None:
    """With user and password, over TLS or not, everything is as without."""
    kafka.append(channel, numbered(3))
    with KafkaReader(login(kafka.broker, mechanism, PASSWORD, tls=tls)) as reader:
        reader.subscribe(channel, None)
        assert payloads(read(reader, 3), channel) == numbered(3)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-256"])
@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "tls"])
def test_a_refused_login_asks_for_the_operator(
    broker: KafkaBroker, mechanism: str, *, tls: bool
) -> None:
    """A wrong password says so in Kafka's words, and which settings to look at."""
    with pytest.raises(OperatorError, match=r"Authentication failed.*saslPassword"):
        KafkaReader(login(broker, mechanism, "wrong", tls=tls))


def test_an_authority_that_is_not_trusted_asks_for_the_operator(
    broker: KafkaBroker,
) -> None:
    """A certificate that nobody vouches for is refused, and the setting is named."""
    kafka = Kafka(
        address=broker.tls_address,
        sasl_username=USER,
        sasl_password=PASSWORD,
        sasl_mechanisms="PLAIN",
        security_protocol="SASL_SSL",
    )
    with pytest.raises(OperatorError, match=r"certificate verify failed.*ssl\.\*"):
        KafkaReader(kafka)


def test_a_setting_that_librdkafka_does_not_know_asks_for_the_operator() -> None:
    """A misspelt setting is named, before anything is connected to."""
    kafka = Kafka(address="127.0.0.1:1", consumer={"fetch.wait.max": "1"})
    with pytest.raises(OperatorError, match=r"fetch\.wait\.max"):
        KafkaReader(kafka)


def test_a_broker_that_is_not_there_is_named() -> None:
    """The address and the reason are in the error, and it is worth trying again."""
    with pytest.raises(TransientError, match=r"127\.0\.0\.1:1.*Connection refused"):
        KafkaReader(Kafka(address="127.0.0.1:1"))


def test_a_machine_without_java(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """There the tests of Kafka are skipped, and say what they need."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.skip.Exception, match="there is no java on the PATH"):
        KafkaBroker(tmp_path)


def login(broker: KafkaBroker, mechanism: str, password: str, *, tls: bool) -> Kafka:
    """Return settings for the listener that asks for a login."""
    authority = {"ssl.ca.location": str(broker.certificates.authority)} if tls else {}
    return Kafka(
        address=broker.tls_address if tls else broker.sasl_address,
        sasl_username=USER,
        sasl_password=password,
        sasl_mechanisms=mechanism,
        security_protocol="SASL_SSL" if tls else "SASL_PLAINTEXT",
        consumer=authority,
    )


@pytest.mark.parametrize(
    ("settings", "seconds"),
    [
        ({"retention_ms": "7200000"}, 7200),
        ({"retention_ms": "-1"}, None),
        ({"retention_ms": "7200000", "retention_bytes": "1000000"}, None),
        ({}, 7 * 24 * 3600),
    ],
    ids=["time", "for ever", "size", "the broker's"],
)
def test_records_are_kept_as_the_topic_says(
    kafka: KafkaWal, channel: str, settings: dict[str, str], seconds: float | None
) -> None:
    """By time, if by nothing else; of no topic nothing is known."""
    with kafka.reader() as reader:
        assert reader.kept_seconds(channel) is None
        kafka.make(channel, **settings)
        # A broker that has just started may be late to know its topics' settings.
        known = reader._client.configuration
        eventually(lambda: bool(known(channel)), "the broker knows the topic")
        assert reader.kept_seconds(channel) == seconds
