"""One side of a comparison: a connection that reads, and what its errors mean."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import grpc
from pymilvus import MilvusClient
from pymilvus.client.types import LoadState
from pymilvus.client.utils import check_status
from pymilvus.exceptions import ConnectError, MilvusException
from pymilvus.grpc_gen import common_pb2, milvus_pb2

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.compare.page import Page
from cdc_actors.errors import CdcError, OperatorError, TransientError
from cdc_actors.grpc_common import (
    ACCESS_REFUSED,
    NO_KEEPALIVE,
    REFUSED,
    is_offered_to_nobody,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import TracebackType

    from cdc_actors.compare.schema import Table

CONNECT_TIMEOUT = 10.0
CALL_TIMEOUT = 60.0
LOAD_TIMEOUT = 300.0

MAX_ANSWER_BYTES = 64 << 20
"""What one answer may hold; where more is asked for, fewer rows are asked for again."""

_EMPTY = 26
"""The code of some older Milvus for a collection without rows."""

_WITHOUT_INDEX = {700, common_pb2.IndexNotExist}
"""The codes, now and of an older Milvus, for a collection without any index."""

_REFUSED = ACCESS_REFUSED.keys() | REFUSED.keys()


class AnswerTooLargeError(OperatorError):
    """An answer has more than ``MAX_ANSWER_BYTES``."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a side is; ``side`` names it in messages, ``tls`` are pymilvus's arguments."""

    side: str
    uri: str
    token: str = field(repr=False)
    tls: Mapping[str, str] = field(default_factory=dict)


class Columns(NamedTuple):
    """Rows as serialized ``schema.FieldData`` messages, with the server's field ids."""

    columns: tuple[bytes, ...]
    rows: int


class Server:
    """A connection to one database of an endpoint, used by one thread.

    Calls answer within ``CALL_TIMEOUT`` seconds. ``is_lite`` tells Milvus Lite, which
    keeps less of a collection's settings, and no copies of a key. ``connected_at`` is the
    server's time when the connection was made: queries that ask for no more than what there
    was then wait for one time tick, all together.

    Raises:
        TransientError: The server is away or does not answer in time.
        OperatorError: The server refuses; its words are in the text.
    """

    def __init__(self, endpoint: Endpoint, database: str) -> None:
        self.side = endpoint.side
        self._database = database
        self._metadata = (("dbname", database),)
        self._uri = endpoint.uri
        with self.errors():
            # Shared handlers know neither the database nor another side's settings.
            self.client = MilvusClient(
                endpoint.uri,
                token=endpoint.token,
                db_name=database,
                timeout=CONNECT_TIMEOUT,
                dedicated=True,
                grpc_options=NO_KEEPALIVE
                | {"grpc.max_receive_message_length": MAX_ANSWER_BYTES},
                **endpoint.tls,
            )
        self._stub = self.client._handler._stub  # noqa: SLF001 - rows come as columns
        try:
            self.is_lite = self._version().startswith("milvus_lite")
            self.connected_at = self.now()
        except BaseException:
            self.client.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.client.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Translate the errors of pymilvus and gRPC."""
        try:
            yield
        except (MilvusException, grpc.RpcError) as error:
            raise self._translated(error) from error

    def databases(self) -> list[str]:
        """Return the names of its databases; the default one alone if it has no others."""
        request = milvus_pb2.ListDatabasesRequest()
        with self.errors():
            try:
                answer = self._stub.ListDatabases(request, timeout=CALL_TIMEOUT)
            except grpc.RpcError as error:
                if is_offered_to_nobody(error):
                    return [DEFAULT_DATABASE]
                raise
            check_status(answer.status)
        return list(answer.db_names)

    def collections(self) -> list[str]:
        """Return the names of the database's collections."""
        with self.errors():
            return list(self.client.list_collections(timeout=CALL_TIMEOUT))

    def describe(self, name: str) -> dict[str, Any]:
        """Return what the server says of a collection."""
        with self.errors():
            return dict(self.client.describe_collection(name, timeout=CALL_TIMEOUT))

    def partitions(self, name: str) -> list[str]:
        """Return the names of a collection's partitions."""
        with self.errors():
            return list(self.client.list_partitions(name, timeout=CALL_TIMEOUT))

    def aliases(self, name: str) -> list[str]:
        """Return the aliases of a collection."""
        with self.errors():
            # pymilvus (3.0.2) would ask for those of the database "default".
            found = self.client.list_aliases(
                name, db_name=self._database, timeout=CALL_TIMEOUT
            )
        return list(found["aliases"])

    def indexes(self, name: str) -> dict[str, dict[str, Any]]:
        """Return each index's field and parameters, by the name of the index.

        One request: Milvus Lite (3.2) counts all rows to answer it.
        """
        request = milvus_pb2.DescribeIndexRequest(
            db_name=self._database, collection_name=name
        )
        with self.errors():
            answer = self._stub.DescribeIndex(
                request, timeout=CALL_TIMEOUT, metadata=self._metadata
            )
            if not _WITHOUT_INDEX & {answer.status.code, answer.status.error_code}:
                check_status(answer.status)
        return {
            each.index_name: _parameters(each) for each in answer.index_descriptions
        }

    def loaded(self, name: str) -> bool:
        """Tell whether a collection can be read."""
        with self.errors():
            state = self.client.get_load_state(name, timeout=CALL_TIMEOUT)
        return bool(state["state"] == LoadState.Loaded)

    @contextmanager
    def readable(self, name: str, *, load: bool, keep: bool = False) -> Iterator[bool]:
        """Hold a collection loaded; unless it is to be kept so, release it afterwards.

        What was loaded before stays loaded: the value tells whether it was.

        Raises:
            OperatorError: It is not loaded, and shall or can not be.
        """
        if self.loaded(name):
            yield True
            return
        if not load:
            raise OperatorError(f"not loaded at the {self.side}, so it cannot be read")
        with self.errors():
            self.client.load_collection(name, timeout=LOAD_TIMEOUT)
        try:
            yield False
        finally:
            if not keep:
                with self.errors():
                    self.client.release_collection(name, timeout=CALL_TIMEOUT)

    def now(self) -> int:
        """Return the server's time, a hybrid timestamp; 0 at Milvus Lite without one."""
        if self.is_lite:
            return 0
        request = milvus_pb2.AllocTimestampRequest()
        with self.errors():
            answer = self._stub.AllocTimestamp(request, timeout=CALL_TIMEOUT)
            check_status(answer.status)
        return int(answer.timestamp)

    def begin_count(
        self, table: Table, partition: str, condition: str, at: int
    ) -> Callable[[], int]:
        """Ask how many rows there are, every copy of a key counted.

        The function that is returned waits for the answer. ``at`` is a time of the server
        (``now``): it answers with what it had then, or has since. Each query at strong
        consistency would wait for a time tick of its own.
        """
        answer = self._begin(table, partition, condition, ["count(*)"], at)

        def count() -> int:
            fields = answer().fields_data
            return int(fields[0].scalars.long_data.data[0]) if fields else 0

        return count

    def begin_page(
        self, table: Table, partition: str, condition: str, limit: int, at: int
    ) -> Callable[[], Page]:
        """Ask for the rows with the smallest keys that meet ``condition``, in order.

        Of several copies of a key there is one row (Milvus 2.3: the oldest). Milvus 2.3
        goes by key always, Milvus Lite only in a query that says it is an iterator's.
        pymilvus's own iterators never come to the largest INT64 and the empty VARCHAR. For
        ``at`` and what is returned see ``begin_count``.

        Raises:
            AnswerTooLargeError: As many rows are too much; ask for fewer.
            OperatorError: The server answers out of order, so paging would miss rows.
        """
        order = {"iterator": "True"} if self.is_lite else {}
        params = {"limit": str(limit), **order}
        answer = self._begin(table, partition, condition, ["*"], at, **params)

        def page() -> Page:
            found = self._page(table, answer())
            if any(left >= right for left, right in pairwise(found.keys)):
                raise OperatorError(
                    f"the {self.side} does not return rows in key order"
                )
            return found

        return page

    def rows_of(self, table: Table, partition: str, condition: str, at: int) -> Page:
        """Return the rows that meet ``condition``, in any order."""
        return self._page(table, self._begin(table, partition, condition, ["*"], at)())

    def columns_of(
        self, table: Table, partition: str, condition: str, at: int
    ) -> Columns:
        """Return the rows that meet ``condition`` as they would be inserted."""
        answer = self._begin(table, partition, condition, ["*"], at)()
        columns = tuple(each.SerializeToString() for each in answer.fields_data)
        keys = Page(table.key, answer.fields_data, 0).keys
        return Columns(columns, len(keys))

    def _page(self, table: Table, answer: Any) -> Page:
        return Page(table.key, answer.fields_data, answer.ByteSize())

    def _begin(
        self,
        table: Table,
        partition: str,
        condition: str,
        output: list[str],
        at: int,
        **params: str,
    ) -> Callable[[], Any]:
        request = milvus_pb2.QueryRequest(
            db_name=self._database,
            collection_name=table.name,
            partition_names=[partition] if partition else [],
            expr=condition,
            output_fields=output,
            consistency_level=common_pb2.Customized,
            guarantee_timestamp=at,
        )
        for key, value in params.items():
            request.query_params.add(key=key, value=value)
        future = self._stub.Query.future(
            request, timeout=CALL_TIMEOUT, metadata=self._metadata
        )

        def answer() -> Any:
            with self.errors():
                result = future.result()
                if _EMPTY not in {result.status.code, result.status.error_code}:
                    check_status(result.status)
            return result

        return answer

    def _version(self) -> str:
        with self.errors():
            return str(self.client.get_server_version(timeout=CALL_TIMEOUT))

    def _translated(self, error: MilvusException | grpc.RpcError) -> CdcError:
        cause = error if isinstance(error, grpc.RpcError) else error.__cause__
        code = cause.code() if isinstance(cause, grpc.Call) else None
        text = getattr(error, "message", "") or str(error)
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in text:
            return AnswerTooLargeError(f"the {self.side} answers with too much: {text}")
        away = isinstance(error, ConnectError) or isinstance(cause, grpc.RpcError)
        if away and code not in _REFUSED:
            return TransientError(
                f"the {self.side} {self._uri} does not answer: {text}"
            )
        return OperatorError(f"the {self.side} {self._uri} refuses: {text}")


def _parameters(index: Any) -> dict[str, Any]:
    found: dict[str, Any] = {pair.key: pair.value for pair in index.params}
    if found.get("params"):
        found["params"] = json.loads(found["params"])
    return found | {"field_name": index.field_name, "index_name": index.index_name}
