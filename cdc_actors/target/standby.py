"""Whether a target shows what is written to it.

With ``common.ttMsgEnabled: false`` a Milvus (from 2.3.2 on) makes no time ticks: it is
meant as the standby of a milvus-cdc, which brings it those of the source, and shows nothing
of what other clients write. No request returns the setting, but an empty ReplicateMessage
is refused for one of two reasons (seen with 2.3.5): that it has no channel, or that a
Milvus with ticks of its own takes none at all. Nothing is done either way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import CdcError, OperationRefusedError, OperatorError

if TYPE_CHECKING:
    from cdc_actors.target.connection import Connection


class StandbyError(OperatorError):
    """The target is set up to be written by a milvus-cdc alone."""


def refuse_standby(target: Connection) -> None:
    """Raise StandbyError if a target does not show what is written to it.

    Where nothing tells it is taken for an ordinary one. So is every Milvus from 2.4 on:
    ``common.collectionReplicateEnable`` changes there what the answer means.
    """
    if not target.version.removeprefix("v").startswith("2.3."):
        return
    request = milvus_pb2.ReplicateMessageRequest()
    try:
        target.call("ReplicateMessage", request, DEFAULT_DATABASE)
    except OperationRefusedError as refusal:
        if "invalid channel name" in str(refusal):
            raise StandbyError(
                f"the target {target.uri} has common.ttMsgEnabled: false, so that it "
                "would not show the rows that are written to it: set it to true in its "
                "milvus.yaml and start it again; only milvus-cdc needs it to be false"
            ) from refusal
    except CdcError:
        return
