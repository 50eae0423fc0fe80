"""A target in memory: its rows are looked at, and it is let refuse, fail or be silent."""

from __future__ import annotations

import re
import threading
from collections import Counter
from dataclasses import dataclass, field
from itertools import count, repeat
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import common_pb2, milvus_pb2, schema_pb2

from cdc_actors.errors import (
    AccessRefusedError,
    CdcError,
    OperationRefusedError,
    TransientError,
    UnclearAnswerError,
)
from cdc_actors.target.answers import RateLimitError, TooLargeError
from cdc_actors.target.request_size import RequestSize
from cdc_actors.target.splitting import MAX_DELETE_BYTES, MAX_INSERT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.changes import FullName

ROW_TRIES = 3
"""How often one row is sent before its collection is set aside for a clear refusal."""

_NOT_FOUND = 100
_ALIAS_NOT_FOUND = 1600
_CANCEL_SECONDS = 0.01
_WORD_START = re.compile("(?=[A-Z])")


@dataclass
class StoredCollection:
    """What the target has of one collection: keys by partition, each as often as sent."""

    schema: Any
    properties: dict[str, str] = field(default_factory=dict)
    collection_id: int = 0
    shards: int = 0
    partitions: dict[str, Counter[int]] = field(
        default_factory=lambda: {"_default": Counter()}
    )

    @property
    def rows(self) -> Counter[int]:
        """The keys of all partitions."""
        return sum(self.partitions.values(), Counter())


class FakeTarget:
    """An ordinary Milvus, as far as a run asks. Any thread may use it.

    ``asked`` has every request that changes something, in the order it was begun.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.collections: dict[FullName, StoredCollection] = {}
        self.aliases: dict[FullName, str] = {}
        self.databases = {"default"}
        self.asked: list[str] = []
        self.waiting = 0
        self.is_too_large: Callable[[Any], bool] = lambda _request: False
        """Tells of an insert or a delete whether it is refused for its size."""
        self.most_shards = 16
        self.is_loaded = False
        self.loaded: set[str] = set()
        self._errors: dict[str, list[tuple[Exception, bool]]] = {}
        self._silent: set[str] = set()
        self._unclear: dict[tuple[str, str], int] = {}
        self._refused_key: int | None = None
        self._row_refusal: CdcError
        self._ids: Iterator[int] = repeat(0)

    def connect(self, cancelled: Callable[[], bool]) -> FakeConnection:
        """Return what one run uses."""
        return FakeConnection(self, cancelled)

    # What a test does.

    def give_ids(self) -> None:
        """Be a Milvus, not Lite: give each collection from now on an id."""
        self._ids = count(9000)

    def make_anew(self, name: str) -> None:
        """Drop a collection and make an equal one, as an operator does."""
        with self.changed:
            schema = self.collections["default", name].schema
            made = StoredCollection(schema, collection_id=next(self._ids))
            self.collections["default", name] = made

    def drop(self, name: str) -> None:
        """Drop a collection, as an operator does."""
        with self.changed:
            del self.collections["default", name]

    def copy(self, name: str, new: str) -> None:
        """Make another collection with the same rows, as an operator does."""
        with self.changed:
            known = self.collections["default", name]
            rows = {each: Counter(of) for each, of in known.partitions.items()}
            schema = schema_pb2.CollectionSchema()
            schema.CopyFrom(known.schema)
            schema.name = new
            self.collections["default", new] = StoredCollection(schema, partitions=rows)

    def refuse(
        self, method: str, times: int = 1, refusal: CdcError | None = None
    ) -> None:
        """Say no to the next requests of a method."""
        refusal = refusal or OperationRefusedError(f"the target refuses {method}")
        for _ in range(times):
            self._plan(method, refusal, is_done=False)

    def refuse_login(self, method: str) -> None:
        """Refuse the login to the next request of a method."""
        refusal = AccessRefusedError(f"the target refuses the login ({method})")
        self._plan(method, refusal, is_done=False)

    def limit(self, method: str) -> None:
        """Refuse the next request of a method as one too many."""
        self._plan(method, RateLimitError("rate limit exceeded"), is_done=False)

    def fail(self, method: str, *, is_done: bool) -> None:
        """Give no answer to the next request of a method, be it done or not."""
        failure = TransientError(f"{method} got no answer")
        self._plan(method, failure, is_done=is_done)

    def answer_once_unclearly(self, method: str, *, is_done: bool) -> None:
        """Say of the next request of a method that it was not done, be it done or not."""
        failure = UnclearAnswerError(f"{method} is answered with code 65535")
        self._plan(method, failure, is_done=is_done)

    def answer_unclearly(self, method: str, name: str) -> None:
        """Do no request of a method about a collection until ``speak``."""
        with self.changed:
            self._unclear[method, name] = 0

    def refuse_row(self, key: int, *, clearly: bool = False) -> None:
        """Take no insert that has a row of this key until ``speak``."""
        with self.changed:
            self._refused_key = key
            words = "Insert is answered with code"
            self._row_refusal = (
                OperationRefusedError(f"{words} 1100", 1100)
                if clearly
                else UnclearAnswerError(f"{words} 6", 6)
            )

    def unclear_answers(self, method: str, name: str) -> int:
        """Return how often a request was answered so."""
        return self._unclear[method, name]

    def silence(self, *methods: str) -> None:
        """Let requests of some methods wait until ``speak``."""
        with self.changed:
            self._silent.update(methods)

    def speak(self) -> None:
        """Answer everything again, and do what is asked."""
        with self.changed:
            self._errors.clear()
            self._unclear.clear()
            self._refused_key = None
            self._silent.clear()
            self.changed.notify_all()

    def rows(self, name: str, database: str = "default") -> dict[int, int] | None:
        """Return how often each key is in a collection, None if there is none."""
        with self.changed:
            found = self.collections.get((database, name))
            return None if found is None else dict(found.rows)

    def properties(self, name: str, database: str = "default") -> dict[str, str]:
        """Return the properties that a collection was created with."""
        with self.changed:
            return dict(self.collections[database, name].properties)

    def _plan(self, method: str, error: Exception, *, is_done: bool) -> None:
        with self.changed:
            self._errors.setdefault(method, []).append((error, is_done))

    # What its connections do.

    def answer(self, method: str, request: Any, cancelled: Callable[[], bool]) -> Any:
        """Do what is asked, once it may be, and return the answer."""
        with self.changed:
            self.waiting += 1
            self.changed.notify_all()
            while method in self._silent:
                self.changed.wait(_CANCEL_SECONDS)
                if cancelled():
                    break
            self.waiting -= 1
            if cancelled():
                raise TransientError(f"{method} was cancelled")
            about = method, getattr(request, "collection_name", "")
            if about in self._unclear:
                self._unclear[about] += 1
                self.changed.notify_all()
                raise UnclearAnswerError(f"{method} is answered with code 65535")
            if method in {"Insert", "Delete"} and self.is_too_large(request):
                raise TooLargeError(f"{method}: message larger than max")
            planned = self._errors.get(method)
            error, is_done = planned.pop(0) if planned else (None, True)
            act = getattr(self, _WORD_START.sub("_", method).lower(), None)
            result = act(request) if act and is_done else SimpleNamespace()
            self.changed.notify_all()
            if error is not None:
                raise error
            return result

    def _find(self, request: Any) -> StoredCollection:
        found = self.collections.get((request.db_name, request.collection_name))
        if found is None:
            raise OperationRefusedError("collection not found", _NOT_FOUND)
        return found

    def _list_databases(self, _request: Any) -> Any:
        return milvus_pb2.ListDatabasesResponse(db_names=sorted(self.databases))

    def _show_collections(self, request: Any) -> Any:
        names = [
            name for database, name in self.collections if database == request.db_name
        ]
        return milvus_pb2.ShowCollectionsResponse(collection_names=names)

    def _create_database(self, request: Any) -> None:
        self.databases.add(request.db_name)

    def _drop_database(self, request: Any) -> None:
        self.databases.discard(request.db_name)

    def _describe_collection(self, request: Any) -> Any:
        alias = request.db_name, request.collection_name
        request.collection_name = self.aliases.get(alias, request.collection_name)
        schema = self._find(request).schema
        named = (request.db_name, request.collection_name)
        aliases = [
            alias
            for (database, alias), name in self.aliases.items()
            if (database, name) == named
        ]
        properties = self.collections[named].properties.items()
        return milvus_pb2.DescribeCollectionResponse(
            schema=schema,
            aliases=aliases,
            collectionID=self.collections[named].collection_id,
            shards_num=self.collections[named].shards,
            properties=[common_pb2.KeyValuePair(key=k, value=v) for k, v in properties],
        )

    def _create_collection(self, request: Any) -> None:
        name = request.db_name, request.collection_name
        if name in self.collections or name in self.aliases:
            raise OperationRefusedError(f"{name} exists")
        schema = schema_pb2.CollectionSchema.FromString(request.schema)
        properties = {pair.key: pair.value for pair in request.properties}
        if request.shards_num > self.most_shards:
            raise OperationRefusedError(
                f"maximum shards's number should be limited to {self.most_shards}"
            )
        shards = request.shards_num
        made = StoredCollection(schema, properties, next(self._ids), shards)
        self.collections[name] = made
        self.asked.append(f"create {request.collection_name}")

    def _alter_collection(self, request: Any) -> None:
        given = {pair.key: pair.value for pair in request.properties}
        self._find(request).properties.update(given)
        self.asked.append(f"alter {request.collection_name}")

    def _drop_collection(self, request: Any) -> None:
        self._find(request)
        del self.collections[request.db_name, request.collection_name]
        self.asked.append(f"drop {request.collection_name}")

    def _flush(self, request: Any) -> None:
        self.asked += [f"flush {name}" for name in request.collection_names]

    def _get_load_state(self, request: Any) -> Any:
        """All are loaded, or those that were asked to be."""
        loaded, not_loaded = common_pb2.LoadStateLoaded, common_pb2.LoadStateNotLoad
        is_loaded = self.is_loaded or request.collection_name in self.loaded
        state = loaded if is_loaded else not_loaded
        return milvus_pb2.GetLoadStateResponse(state=state)

    def _load_collection(self, request: Any) -> None:
        self._find(request)
        self.loaded.add(request.collection_name)
        self.asked.append(f"load {request.collection_name}")

    def _rename_collection(self, request: Any) -> None:
        old = request.db_name, request.oldName
        new = request.newDBName, request.newName
        if new in self.collections or new in self.aliases:
            raise OperationRefusedError(f"{new} exists")
        if old not in self.collections:
            raise OperationRefusedError("collection not found", _NOT_FOUND)
        self.collections[new] = self.collections.pop(old)
        for alias, name in self.aliases.items():
            if (alias[0], name) == old:
                self.aliases[alias] = new[1]
        self.collections[new].schema.name = request.newName
        self.asked.append(f"rename {request.oldName} {request.newName}")

    def _show_partitions(self, request: Any) -> Any:
        names = list(self._find(request).partitions)
        return milvus_pb2.ShowPartitionsResponse(partition_names=names)

    def _create_partition(self, request: Any) -> None:
        self._find(request).partitions.setdefault(request.partition_name, Counter())
        self.asked.append(f"create partition {request.partition_name}")

    def _drop_partition(self, request: Any) -> None:
        self._find(request).partitions.pop(request.partition_name)
        self.asked.append(f"drop partition {request.partition_name}")

    def _create_alias(self, request: Any) -> None:
        key = request.db_name, request.alias
        if key in self.aliases or key in self.collections:
            raise OperationRefusedError(f"{key} exists")
        self._alter_alias(request, new=True)

    def _alter_alias(self, request: Any, *, new: bool = False) -> None:
        self._find(request)
        key = request.db_name, request.alias
        if not new and key not in self.aliases:
            raise OperationRefusedError("alias not found", _ALIAS_NOT_FOUND)
        self.aliases[key] = request.collection_name
        self.asked.append(f"alias {request.alias} {request.collection_name}")

    def _drop_alias(self, request: Any) -> None:
        if self.aliases.pop((request.db_name, request.alias), None) is None:
            raise OperationRefusedError("alias not found", _ALIAS_NOT_FOUND)
        self.asked.append(f"drop alias {request.alias}")

    def _query(self, request: Any) -> Any:
        """Return the smallest keys of a partition above one, as readers page.

        A count has no answer: who asks wants to have asked.
        """
        if list(request.output_fields) == ["count(*)"]:
            self._find(request)
            return milvus_pb2.QueryResults()
        [partition] = request.partition_names
        rows = self._find(request).partitions[partition]
        above = re.fullmatch(r"id > (-?\d+)", request.expr)
        least = int(above[1]) if above else -(1 << 63) - 1
        limit = next(int(p.value) for p in request.query_params if p.key == "limit")
        found = milvus_pb2.QueryResults()
        column = found.fields_data.add(field_name="id")
        keys = sorted(key for key in rows if key > least)[:limit]
        column.scalars.long_data.data.extend(keys)
        return found

    def _insert(self, request: Any) -> None:
        stored = self._find(request)
        rows = stored.partitions.get(request.partition_name or "_default")
        if rows is None:
            raise OperationRefusedError(f"no partition {request.partition_name}", 200)
        keys = list(_keys(request))
        if self._refused_key in keys:
            raise self._row_refusal
        rows.update(keys)
        self.asked.append(f"insert {request.collection_name}")

    def _delete(self, request: Any) -> Any:
        keys = [int(key) for key in re.findall(r"-?\d+", request.expr)]
        stored = self._find(request)
        name = request.partition_name
        chosen = [stored.partitions[name]] if name else stored.partitions.values()
        for key in keys:
            for rows in chosen:
                rows.pop(key, None)
        self.asked.append(f"delete {request.collection_name}")
        return milvus_pb2.MutationResult(delete_cnt=len(keys))


class FakeConnection:
    """One run's connection. Stands for ``Connection``; any thread may use it."""

    is_lite = False
    version = "2.3.5"
    uri = "http://target:19530"

    def __init__(self, target: FakeTarget, cancelled: Callable[[], bool]) -> None:
        self.alias_lock = threading.Lock()
        self.insert_size = RequestSize(MAX_INSERT_BYTES)
        self.delete_size = RequestSize(MAX_DELETE_BYTES)
        self.closed = False
        self._target = target
        self._cancelled = cancelled

    def call(
        self, method: str, request: Any, _database: str, _timeout: float = 0
    ) -> Any:
        """Send a request and return its answer."""
        return self._target.answer(method, request, self._cancelled)

    def begin_insert(self, request: bytes, _database: str) -> Any:
        """Send rows; ``finish`` waits for the answer."""
        message = milvus_pb2.InsertRequest.FromString(request)
        return _Sent(lambda: self._target.answer("Insert", message, self._cancelled))

    def finish(self, sent: _Sent, _method: str) -> Any:
        """Wait for an answer and return it, the same however often it is asked for."""
        return sent.result()

    def wait(self, _seconds: float) -> None:
        """Let no time pass."""

    def close(self) -> None:
        """Take down that it was closed."""
        self.closed = True


class _Sent:
    """A request that is done when its answer is first waited for."""

    def __init__(self, act: Callable[[], Any]) -> None:
        self._act = act
        self._answered: Any = None
        self._error: CdcError | None = None
        self._is_done = False

    def result(self) -> Any:
        """Return the answer, or raise it."""
        if not self._is_done:
            self._is_done = True
            try:
                self._answered = self._act()
            except CdcError as error:
                self._error = error
        if self._error:
            raise self._error
        return self._answered


def _keys(request: Any) -> Iterator[int]:
    for column in request.fields_data:
        if column.field_name == "id":
            yield from column.scalars.long_data.data
