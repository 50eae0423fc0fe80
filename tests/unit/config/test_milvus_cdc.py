"""Files made for milvus-cdc."""

from __future__ import annotations

import pytest

from cdc_actors.config import load
from cdc_actors.errors import OperatorError

KNOWN = """
address: 0.0.0.0:8444
maxTaskNum: 100
metaStoreConfig:
  storeType: sqlite
  mysqlSourceUrl: root:root@tcp(127.0.0.1:3306)/milvuscdc?charset=utf8
  rootPath: cdc
  etcdEndpoints: [localhost:2379]
  etcd: {address: [http://127.0.0.1:2379], rootPath: x, enableAuth: true}
sourceConfig:
  etcd:
    address:
      - http://127.0.0.1:2379
    rootPath: by-dev
    metaSubPath: meta
    enableAuth: false
    username: root
    password: root123456
    enableTLS: false
    tlsCertPath: deployment/cert/client.pem
    tlsKeyPath: deployment/cert/client.key
    tlsCACertPath: deployment/cert/ca.pem
    tlsMinVersion: 1.3
  readChanLen: 10
  channelNum: 16
  timeTickInterval: 500
  defaultPartitionName: _default
  replicateChan: by-dev-replicate-msg
  natsmq: {address: nats://127.0.0.1:4222}
  kafka:
maxNameLength: 256
logLevel: info
detectDeadLock: false
batchMode: true
replicateID: one
dryRun: false
retry: {retryTimes: 3, initBackOff: 1, maxBackOff: 10}
packer: {timerInterval: 5000, maxCount: 10}
enableReverse: false
reverseMilvus: {}
currentMilvus: {}
"""
WITHOUT_EFFECT = {
    "metaStoreConfig.mysqlSourceUrl",
    "metaStoreConfig.rootPath",
    "metaStoreConfig.etcdEndpoints",
    "metaStoreConfig.etcd",
    "sourceConfig.etcd.tlsMinVersion",
    "sourceConfig.readChanLen",
    "sourceConfig.channelNum",
    "sourceConfig.timeTickInterval",
    "sourceConfig.defaultPartitionName",
    "detectDeadLock",
    "batchMode",
    "replicateID",
    "dryRun",
    "retry",
    "packer",
    "enableReverse",
    "reverseMilvus",
    "currentMilvus",
}
SOURCE = "sourceConfig:\n  natsmq: {address: nats://127.0.0.1:4222}\n"


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a configuration and returns its path."""

    def write(text: str):
        path = tmp_path / "cdc.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_a_known_file_works_and_one_line_names_what_has_no_effect(file):
    """Harmless keys are accepted with a single warning that has each name, no value."""
    resolved = load(file(KNOWN + "auth: {allowAnonymous: true}\n"), {}, {})

    (warning,) = resolved.warnings
    _, _, names = warning.rstrip(".").partition(": ")
    assert set(names.split(", ")) == WITHOUT_EFFECT
    assert "\n" not in warning
    assert "root:root" not in warning
    assert resolved.config.address == "0.0.0.0:8444"


def test_its_address_for_everybody_is_refused_without_tokens(file):
    """The one thing its file must be told anew: here nobody gets in unasked."""
    with pytest.raises(OperatorError, match="can be reached by others") as caught:
        load(file(KNOWN), {}, {})
    assert "set auth.allowAnonymous to true" in str(caught.value)
    assert "`cdc-actors token create NAME`" in str(caught.value)


PULSAR = """
    pulsar: {address: pulsar://localhost:6650, webAddress: localhost:80, webPort: 80,
      maxMessageSize: 5242880, tenant: public, namespace: default}
"""
KAFKA = """
    kafka: {address: '127.0.0.1:9092', producer: {client.id: dc}, consumer: {a: b}}
"""


@pytest.mark.parametrize(
    ("queue", "without_effect"),
    [
        (PULSAR, ["sourceConfig.pulsar.webPort", "sourceConfig.pulsar.maxMessageSize"]),
        (KAFKA, ["sourceConfig.kafka.producer"]),
    ],
    ids=["pulsar", "kafka"],
)
def test_its_queues_are_read(file, queue, without_effect):
    """The sections of Pulsar and Kafka are taken, but for what only a writer needs."""
    resolved = load(file(f"sourceConfig:{queue}"), {}, {})

    (warning,) = resolved.warnings
    assert warning.rstrip(".").partition(": ")[2].split(", ") == without_effect


@pytest.mark.parametrize("store", ["etcd", "mysql"])
def test_stores_of_milvus_cdc_are_refused_with_what_to_set(file, store):
    """A storeType that only milvus-cdc has tells the two that are here."""
    text = f"{SOURCE}metaStoreConfig: {{storeType: {store}}}\n"

    with pytest.raises(
        OperatorError, match=f"is {store}.*set it to sqlite or postgres"
    ):
        load(file(text), {}, {})


def test_a_dry_run_is_refused(file):
    """It would be harmful to pass over that."""
    with pytest.raises(OperatorError, match="dryRun"):
        load(file(SOURCE + "dryRun: true\n"), {}, {})


OLD = """
  etcdAddress: [upstream-etcd:2379]
  etcdRootPath: upstream
  etcdMetaSubPath: metadata
"""


def test_its_old_names_are_taken(file):
    """As its charts and its manual still have them; the origin is where they stand."""
    resolved = load(file(SOURCE + OLD.lstrip("\n")), {}, {})

    etcd = resolved.config.source_config.etcd
    assert etcd.address == ("upstream-etcd:2379",)
    assert (etcd.root_path, etcd.meta_sub_path) == ("upstream", "metadata")
    assert resolved.origins["sourceConfig.etcd.rootPath"].endswith("cdc.yaml:4")


def test_a_new_name_counts_more_than_the_old_one(file):
    """Its manual has both in one file."""
    text = f"{SOURCE}{OLD.lstrip(chr(10))}  etcd: {{rootPath: new}}\n"

    etcd = load(file(text), {}, {}).config.source_config.etcd

    assert (etcd.root_path, etcd.meta_sub_path) == ("new", "metadata")


SHIPPED = """
address: 0.0.0.0:8444
maxTaskNum: 200
metaStoreConfig:
  storeType: etcd
  etcd: {address: [http://127.0.0.1:2379], enableAuth: false, username: root}
  mysqlSourceUrl: root:root@tcp(127.0.0.1:3306)/milvuscdc?charset=utf8
  rootPath: cdc
sourceConfig:
  etcd: {address: [http://127.0.0.1:2379], rootPath: upstream, metaSubPath: meta}
  readChanLen: 4
  channelNum: 16
  defaultPartitionName: _default
  replicateChan: upstream-replicate-msg
"""


def test_one_run_names_everything_that_must_be_changed_in_a_shipped_file(file):
    """The store, and the address that everybody reaches."""
    with pytest.raises(OperatorError) as caught:
        load(file(SHIPPED), {}, {})

    message = str(caught.value)
    assert "metaStoreConfig.storeType (file" in message
    assert "set it to sqlite or postgres" in message
    assert "can be reached by others" in message


def test_a_shipped_file_loads_once_that_is_changed(file):
    """Nothing else is in its way."""
    changes = {
        "CDC_ACTORS_ADDRESS": "127.0.0.1:8444",
        "CDC_ACTORS_SOURCE_CONFIG__PULSAR__ADDRESS": "pulsar://localhost:6650",
    }
    text = SHIPPED.replace("storeType: etcd", "storeType: sqlite")

    config = load(file(text), changes, {}).config

    assert config.source_config.replicate_chan == "upstream-replicate-msg"
