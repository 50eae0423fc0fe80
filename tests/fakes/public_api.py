"""A real gRPC server that is the public API of a recorded Milvus, DumpMessages included.

What it did was seen at 2.6.20 and 3.0.0. A collection that is described by an alias has the
alias as its name; fields inside of structs have short names, and the dynamic one is not
shown. DumpMessages sends what streaming nodes do but ticks and what is about segments; an
id that is not in the log begins at the oldest message, without an error; a start inside of
a transaction leaves the transaction out; a call ends once a tick is behind its end.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

import grpc
from pymilvus.grpc_gen import common_pb2, milvus_pb2, milvus_pb2_grpc, schema_pb2

from cdc_actors.changes import LOGICAL_BITS
from cdc_actors.rbac_rules import (
    GROUP_OBJECT,
    Grant,
    GroupMember,
    PrivilegeGroup,
    Role,
    RoleBinding,
    User,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from cdc_actors.source.catalog.client import (
        CatalogSnapshot,
        CollectionMeta,
        EtcdCatalog,
    )
    from tests.support.recorded_life import NodeMessage

_QUEUES = {"rocksmq": 1, "woodpecker": 4}
_OLDEST = {"rocksmq": "0", "woodpecker": "CAAQAA=="}
_NOT_DUMPED = {"1", "10", "902"}
_COLLECTION, _INDEX, _ALIAS = 100, 700, 1600
_COMMIT = "901"
_WAKE_SECONDS = 0.02
_LONG = 60.0


class PublicApiServer(milvus_pb2_grpc.MilvusServiceServicer):
    """The API of a source; ``uri`` is where. The test's thread calls what is below.

    ``catalog`` opens what it has in etcd. While the life goes on the clock stands at its
    newest tick, and a channel has come to its own; then the clock runs, and all tick.
    ``promised`` is the end of the latest call of a channel: nothing older is to come.
    """

    def __init__(
        self,
        version: str,
        catalog: Callable[[], EtcdCatalog],
        revision: Callable[[], int],
        channels: set[str],
        queue: str = "rocksmq",
    ) -> None:
        self.version = version
        self.calls = 0
        self.promised: defaultdict[str, int] = defaultdict(int)
        self.ahead = 0
        self._catalog = catalog
        self._revision = revision
        self._view: tuple[int, CatalogSnapshot] | None = None
        self._queue = queue
        self._changed = threading.Condition()
        self._messages: dict[str, list[Any]] = {each: [] for each in channels}
        self._first: defaultdict[str, int] = defaultdict(int)
        self._ticks = dict.fromkeys(channels, 1)
        self._over: float | None = None
        self._refusal: tuple[grpc.StatusCode, str] | None = None
        self._ends_early = False
        self._server = grpc.server(ThreadPoolExecutor(64))
        milvus_pb2_grpc.add_MilvusServiceServicer_to_server(self, self._server)
        self.uri = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    # What a test does.

    def held(self) -> AbstractContextManager[object]:
        """Have nobody see what is appended, until the end of a ``with``."""
        return self._changed

    def append(self, message: NodeMessage) -> None:
        """Have a message in the log; one whose time was promised may not come."""
        time_there = int(message.properties["_tt"], 36)
        assert time_there > self.promised[message.channel]
        made = common_pb2.ImmutableMessage(
            payload=message.payload, properties=message.properties
        )
        made.id.id, made.id.WAL_name = message.id, _QUEUES[self._queue]
        with self._changed:
            if message.properties["_t"] not in _NOT_DUMPED:
                self._messages[message.channel].append(made)
            self._ticks[message.channel] = time_there
            self._changed.notify_all()

    def be_over(self) -> None:
        """Have the clock run from now on, as nothing more is recorded."""
        with self._changed:
            self._over = time.monotonic()
            self._changed.notify_all()

    def lose(self, channel: str) -> None:
        """Remove all messages of a channel; those who read are not told."""
        with self._changed:
            self._first[channel] = len(self._messages[channel])

    def fail(self, status: grpc.StatusCode | None, words: str = "") -> None:
        """End every call of DumpMessages like this, and refuse all; None ends that."""
        with self._changed:
            self._refusal = None if status is None else (status, words)
            self._changed.notify_all()

    def end_early(self) -> None:
        """End every call of DumpMessages before its time, as if all had come."""
        with self._changed:
            self._ends_early = True
            self._changed.notify_all()

    def close(self) -> None:
        """End everything."""
        self.fail(grpc.StatusCode.UNAVAILABLE, "the server stops")
        self._server.stop(None).wait(_LONG)

    @property
    def now(self) -> int:
        """The time, a hybrid timestamp."""
        newest = max(self._ticks.values()) + self.ahead
        if self._over is None:
            return newest
        gone = int((time.monotonic() - self._over) * 1000) + 1
        return newest + (gone << LOGICAL_BITS)

    # The log.

    def DumpMessages(self, request: Any, context: Any) -> Iterator[Any]:  # noqa: N802
        """Send what a channel has between two times."""
        self._refuse(context)
        if not request.pchannel:
            context.abort(grpc.StatusCode.UNKNOWN, "missing parameter[pchannel]")
        if not request.start_message_id.id:
            context.abort(
                grpc.StatusCode.UNKNOWN, "missing parameter[start_message_id]"
            )
        self.calls += 1
        channel, until = request.pchannel, request.end_timetick
        place = self._begin(request, context)
        context.add_callback(self._wake)
        while True:
            with self._changed:
                self._changed.wait_for(
                    partial(self._may_go_on, channel, place, until, context),
                    _WAKE_SECONDS,
                )
                is_over = self._is_past(channel, until)
                ready = self._messages[channel][place:]
                if is_over:
                    self.promised[channel] = max(self.promised[channel], until)
            self._refuse(context)
            place += len(ready)
            for each in ready:
                time_there = int(each.properties["_tt"], 36)
                if until and time_there > until:
                    return
                if time_there >= request.start_timetick:
                    yield milvus_pb2.DumpMessagesResponse(message=each)
            if is_over or self._ends_early or not context.is_active():
                return

    def _may_go_on(self, channel: str, place: int, until: int, context: Any) -> bool:
        return bool(
            len(self._messages[channel]) > place
            or self._is_past(channel, until)
            or self._refusal
            or self._ends_early
            or not context.is_active()
        )

    def _is_past(self, channel: str, until: int) -> bool:
        """Tell whether a channel has ticked beyond the end of a call."""
        come = self._ticks[channel] if self._over is None else self.now
        return 0 < until < come

    def _begin(self, request: Any, context: Any) -> int:
        """Return the number of the first message."""
        wanted, channel = request.start_message_id.id, request.pchannel
        first = self._first[channel]
        if not self._is_id(wanted):
            words = "invalid start_message_id: decode fail: invalid message id"
            context.abort(grpc.StatusCode.UNKNOWN, words)
        messages = self._messages[channel]
        found = [
            number
            for number in range(first, len(messages))
            if messages[number].id.id == wanted
        ]
        begin = found[0] if found else self._behind_unsent(channel, wanted, first)
        if found and not request.include_start_message:
            begin += 1
        return self._behind_transaction(messages, begin)

    def _behind_unsent(self, channel: str, wanted: str, first: int) -> int:
        """Messages that are not sent have ids, too: of RocksMQ they are in order."""
        messages = self._messages[channel][first:]
        if self._queue != "rocksmq" or wanted == _OLDEST["rocksmq"]:
            return first
        number = int(wanted, 36)
        before = sum(int(each.id.id, 36) < number for each in messages)
        return first + before

    def _is_id(self, wanted: str) -> bool:
        if self._queue != "rocksmq":
            return len(wanted) % 4 == 0
        return wanted.isalnum()

    def _behind_transaction(self, messages: list[Any], begin: int) -> int:
        if begin >= len(messages):
            return begin
        properties = messages[begin].properties
        if "_tx" not in properties or properties["_t"] == "900":
            return begin
        while messages[begin].properties["_t"] != _COMMIT:
            begin += 1
        return begin + 1

    def _refuse(self, context: Any) -> None:
        if self._refusal is not None:
            context.abort(*self._refusal)

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # The catalog.

    def Connect(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Take a client."""
        return milvus_pb2.ConnectResponse(identifier=1)

    def GetVersion(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Tell the version."""
        return milvus_pb2.GetVersionResponse(version=self.version)

    def AllocTimestamp(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """Tell the time."""
        with self._changed:
            return milvus_pb2.AllocTimestampResponse(timestamp=self.now)

    def ListDatabases(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """List databases, all made when the source was."""
        found = self._found()
        with closing(self._catalog()) as catalog:
            created = catalog.created()
        return milvus_pb2.ListDatabasesResponse(
            db_names=found.databases.values(),
            db_ids=found.databases,
            created_timestamp=[created] * len(found.databases),
        )

    def DescribeDatabase(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Describe a database."""
        with closing(self._catalog()) as catalog:
            properties = catalog.databases().get(request.db_name, {})
        return milvus_pb2.DescribeDatabaseResponse(properties=_pairs(properties))

    def ShowCollections(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """List the collections of a database."""
        found = [
            each
            for each in self._found().collections.values()
            if each.available and each.database == request.db_name
        ]
        return milvus_pb2.ShowCollectionsResponse(
            collection_ids=[each.id for each in found],
            collection_names=[each.name for each in found],
        )

    def DescribeCollection(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Describe a collection, by its name or an alias."""
        found = self._named(request)
        if found is None:
            # So do 2.5.18 to 2.6.20.
            status = common_pb2.Status(error_code=common_pb2.CollectionNotExists)
            return milvus_pb2.DescribeCollectionResponse(status=status)
        return milvus_pb2.DescribeCollectionResponse(
            collectionID=found.id,
            db_name=found.database,
            collection_name=request.collection_name,
            schema=_shown(found),
            virtual_channel_names=found.shards,
            physical_channel_names=found.channels,
            created_timestamp=found.created,
            update_timestamp=found.altered,
            shards_num=found.shards_num,
            consistency_level=found.consistency_level,
            properties=_pairs(found.properties),
        )

    def ShowPartitions(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """List partitions."""
        found = self._named(request)
        if found is None:
            return milvus_pb2.ShowPartitionsResponse(status=_refused(_COLLECTION))
        return milvus_pb2.ShowPartitionsResponse(
            partitionIDs=found.partitions,
            partition_names=[each.name for each in found.partitions.values()],
            created_timestamps=[each.created for each in found.partitions.values()],
        )

    def DescribeIndex(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Describe indexes."""
        found = self._named(request)
        if found is None:
            return milvus_pb2.DescribeIndexResponse(status=_refused(_COLLECTION))
        with closing(self._catalog()) as catalog:
            indexes = catalog.indexes_and_loads({found.id: found})[found.id].indexes
        if not indexes:
            return milvus_pb2.DescribeIndexResponse(status=_refused(_INDEX))
        return milvus_pb2.DescribeIndexResponse(
            index_descriptions=[
                milvus_pb2.IndexDescription(
                    indexID=each.id,
                    index_name=each.name,
                    field_name=each.field_name,
                    params=_pairs(each.params),
                )
                for each in indexes
            ]
        )

    def GetLoadState(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Tell whether a collection, or some partitions, are loaded."""
        found = self._named(request)
        if found is None:
            return milvus_pb2.GetLoadStateResponse(status=_refused(_COLLECTION))
        with closing(self._catalog()) as catalog:
            load = catalog.indexes_and_loads({found.id: found})[found.id].load
        asked = {
            number
            for number, each in found.partitions.items()
            if each.name in request.partition_names
        }
        is_loaded = load is not None and (asked <= load.partitions)
        state = common_pb2.LoadStateLoaded if is_loaded else common_pb2.LoadStateNotLoad
        return milvus_pb2.GetLoadStateResponse(state=state)

    def ListAliases(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """List the aliases in a database."""
        found = [
            name for base, name in self._found().aliases if base == request.db_name
        ]
        return milvus_pb2.ListAliasesResponse(aliases=found)

    def DescribeAlias(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """Tell which collection has an alias."""
        found = self._found()
        alias = found.aliases.get((request.db_name, request.alias))
        owner = alias and found.collections.get(alias.collection_id)
        if not owner:
            return milvus_pb2.DescribeAliasResponse(status=_refused(_ALIAS))
        return milvus_pb2.DescribeAliasResponse(
            alias=request.alias, collection=owner.name
        )

    # Users and roles.

    def SelectUser(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """List users with their roles."""
        answer = milvus_pb2.SelectUserResponse()
        rules = self._rules()
        for user in sorted(each.name for each in rules if isinstance(each, User)):
            result = answer.results.add()
            result.user.name = user
            for each in rules:
                if isinstance(each, RoleBinding) and each.user == user:
                    result.roles.add(name=each.role)
        return answer

    def SelectRole(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """List roles."""
        answer = milvus_pb2.SelectRoleResponse()
        for role in sorted(
            each.name for each in self._rules() if isinstance(each, Role)
        ):
            answer.results.add().role.name = role
        return answer

    def SelectGrant(self, request: Any, _context: Any) -> Any:  # noqa: N802
        """List what a role may do; a group's name stands where a privilege's does."""
        answer = milvus_pb2.SelectGrantResponse()
        for each in self._rules():
            if isinstance(each, Grant) and each.role == request.entity.role.name:
                kind = (
                    "Global" if each.object_type == GROUP_OBJECT else each.object_type
                )
                entity = answer.entities.add(
                    object_name=each.object_name, db_name=each.database
                )
                entity.role.name, entity.object.name = each.role, kind
                entity.grantor.privilege.name = each.privilege
        return answer

    def ListPrivilegeGroups(self, _request: Any, _context: Any) -> Any:  # noqa: N802
        """List groups, those that every Milvus has included."""
        answer = milvus_pb2.ListPrivilegeGroupsResponse()
        answer.privilege_groups.add(group_name="ClusterReadOnly")
        rules = self._rules()
        for group in (each for each in rules if isinstance(each, PrivilegeGroup)):
            made = answer.privilege_groups.add(group_name=group.name)
            for each in rules:
                if isinstance(each, GroupMember) and each.group == group.name:
                    made.privileges.add(name=each.privilege)
        return answer

    def _rules(self) -> Any:
        with closing(self._catalog()) as catalog:
            return catalog.rbac().rules

    def _found(self) -> CatalogSnapshot:
        """Return the catalog; it is looked up again once it was written to."""
        revision = self._revision()
        if self._view is None or self._view[0] != revision:
            with closing(self._catalog()) as catalog:
                self._view = revision, catalog.snapshot()
        return self._view[1]

    def _named(self, request: Any) -> CollectionMeta | None:
        found = self._found()
        name = request.db_name, request.collection_name
        alias = found.aliases.get(name)
        for each in found.collections.values():
            is_named = (each.database, each.name) == name
            if each.available and (
                is_named or (alias and alias.collection_id == each.id)
            ):
                return each
        return None


def _shown(found: CollectionMeta) -> schema_pb2.CollectionSchema:
    schema = schema_pb2.CollectionSchema.FromString(found.schema)
    for struct in schema.struct_array_fields:
        for each in struct.fields:
            each.name = each.name.removeprefix(f"{struct.name}[").removesuffix("]")
    schema.properties.extend(_pairs(found.properties))
    schema.dbName = found.database
    return schema


def _pairs(properties: dict[str, str]) -> list[common_pb2.KeyValuePair]:
    return [common_pb2.KeyValuePair(key=k, value=v) for k, v in properties.items()]


def _refused(code: int) -> common_pb2.Status:
    return common_pb2.Status(code=code, error_code=1, reason="not found")
