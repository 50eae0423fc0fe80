"""Keys of milvus-cdc that this service does not have, and what becomes of each.

A file made for milvus-cdc must work wherever that does no harm (names: its
``server/configs/cdc.yaml`` and the structs it is read into). What would be harmful to
pass over in silence is refused.
"""

from __future__ import annotations

IGNORED = frozenset(
    {
        "batchMode",
        "currentMilvus",
        "detectDeadLock",
        "enableReverse",
        "packer",
        "replicateID",
        "retry",
        "reverseMilvus",
        "metaStoreConfig.etcd",
        "metaStoreConfig.etcdEndpoints",
        "metaStoreConfig.mysqlSourceUrl",
        "metaStoreConfig.rootPath",
        "sourceConfig.channelNum",
        "sourceConfig.defaultPartitionName",
        "sourceConfig.etcd.tlsMinVersion",
        "sourceConfig.kafka.producer",
        "sourceConfig.pulsar.maxMessageSize",
        "sourceConfig.pulsar.webPort",
        "sourceConfig.readChanLen",
        "sourceConfig.timeTickInterval",
    }
)

RENAMED = {
    "sourceConfig.etcdAddress": "sourceConfig.etcd.address",
    "sourceConfig.etcdRootPath": "sourceConfig.etcd.rootPath",
    "sourceConfig.etcdMetaSubPath": "sourceConfig.etcd.metaSubPath",
}
_STORES_OF_MILVUS_CDC = ("etcd", "mysql")


def ignored(dotted: str, value: object) -> bool:
    """Tell whether milvus-cdc's key has no effect here and does no harm."""
    return dotted in IGNORED or (dotted == "dryRun" and value is False)


def refusal(dotted: str, value: object) -> str | None:
    """Return why milvus-cdc's key or value is not taken, None if it is not one."""
    if dotted == "dryRun":
        return "is not supported: a task always writes to its target; remove it"
    if dotted == "metaStoreConfig.storeType" and value in _STORES_OF_MILVUS_CDC:
        return (
            f"is {value}, which milvus-cdc has and this service has not: "
            "set it to sqlite or postgres"
        )
    return None
