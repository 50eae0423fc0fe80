"""What single records of the log say."""

from __future__ import annotations

import pytest
from pymilvus.grpc_gen import common_pb2, msg_pb2

from cdc_actors.changes import Delete, Insert, Request, Unknown
from cdc_actors.errors import OperatorError
from cdc_actors.source.decode import decode
from tests.support.recorded_life import records


@pytest.mark.shows("2.4", "any", by="from source only")
def test_a_delete_of_one_partition_of_a_key_is_one_of_all() -> None:
    """Milvus (2.4) names the hidden partition by its id alone, which no target takes."""
    message = msg_pb2.DeleteRequest(
        collectionID=1, shardName="dml_0_1v0", partitionID=7, timestamps=[9]
    )
    message.base.msg_type = common_pb2.MsgType.Value("Delete")
    message.primary_keys.int_id.data.append(5)
    assert decode(message.SerializeToString()) == Delete(1, "dml_0_1v0", "", 9, (5,))


def test_every_record_of_a_real_log_is_read() -> None:
    """Rows have a collection, a shard and a time; nothing else is unknown than is told."""
    found = [decode(record.payload) for record in records("2.5.27")]
    kinds = {each.kind for each in found if isinstance(each, Unknown)}
    assert {"OperatePrivilegeV2", "RenameCollection", "AlterDatabase"} <= kinds
    assert "Flush" not in kinds
    requests = {each.kind for each in found if isinstance(each, Request)}
    assert {"CreateIndex", "AlterIndex", "LoadPartitions"} <= requests
    rows = [each for each in found if isinstance(each, Insert | Delete)]
    assert len(rows) > 60
    assert all(each.collection and each.shard and each.timestamp for each in rows)


def test_what_is_no_message_of_a_log() -> None:
    """The record of another queue, or of another version, says so."""
    with pytest.raises(OperatorError, match="no Milvus message"):
        decode(b"\xff\xfe\xfd\xfcSTREAM")
