"""One side of a comparison: a connection that reads, and what its errors mean."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Self

import grpc
from pymilvus import MilvusClient
from pymilvus.client.types import LoadState
from pymilvus.exceptions import ConnectError, MilvusException

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import CdcError, OperatorError, TransientError
from cdc_actors.grpc_common import ACCESS_REFUSED, NO_KEEPALIVE, REFUSED

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from cdc_actors.compare.schema import Table

CONNECT_TIMEOUT = 10.0
CALL_TIMEOUT = 60.0
LOAD_TIMEOUT = 300.0
_REFUSED = ACCESS_REFUSED.keys() | REFUSED.keys()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a side is; ``side`` names it in messages."""

    side: str
    uri: str
    token: str = field(repr=False)

    def databases(self) -> list[str]:
        """Return the names of its databases."""
        with Server(self, DEFAULT_DATABASE) as server, server.errors():
            return list(server.client.list_databases(timeout=CALL_TIMEOUT))


class Server:
    """A connection to one database of an endpoint, used by one thread.

    Every call reads at strong consistency and within ``CALL_TIMEOUT`` seconds.
    ``is_lite`` tells Milvus Lite, which keeps less of a collection's settings.

    Raises:
        TransientError: The server is away or does not answer in time.
        OperatorError: The server refuses; its words are in the text.
    """

    def __init__(self, endpoint: Endpoint, database: str) -> None:
        self.side = endpoint.side
        self._database = database
        self._uri = endpoint.uri
        with self.errors():
            # Shared handlers know neither the database nor another side's settings.
            self.client = MilvusClient(
                endpoint.uri,
                token=endpoint.token,
                db_name=database,
                timeout=CONNECT_TIMEOUT,
                dedicated=True,
                grpc_options=NO_KEEPALIVE,
            )
        try:
            self.is_lite = self._version().startswith("milvus_lite")
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
        """Return what the server says of each index, by the name of the index."""
        with self.errors():
            names = self.client.list_indexes(name, timeout=CALL_TIMEOUT)
            return {
                index: self.client.describe_index(name, index, timeout=CALL_TIMEOUT)
                for index in names
            }

    def loaded(self, name: str) -> bool:
        """Tell whether a collection can be read."""
        with self.errors():
            state = self.client.get_load_state(name, timeout=CALL_TIMEOUT)
        return bool(state["state"] == LoadState.Loaded)

    @contextmanager
    def readable(self, name: str, *, load: bool) -> Iterator[None]:
        """Hold a collection loaded; release it afterwards if it was not before.

        Raises:
            OperatorError: It is not loaded, and shall or can not be.
        """
        if self.loaded(name):
            yield
            return
        if not load:
            raise OperatorError(f"not loaded at the {self.side}, so it cannot be read")
        with self.errors():
            self.client.load_collection(name, timeout=LOAD_TIMEOUT)
        try:
            yield
        finally:
            with self.errors():
                self.client.release_collection(name, timeout=CALL_TIMEOUT)

    def count(self, table: Table, partition: str, condition: str) -> int:
        """Return how many rows there are, every row of a doubled key counted."""
        rows = self._query(table, partition, condition, output_fields=["count(*)"])
        return int(rows[0]["count(*)"])

    def page(
        self, table: Table, partition: str, condition: str, columns: list[str]
    ) -> list[dict[str, Any]]:
        """Return the rows with the smallest keys that meet ``condition``, in order.

        Of a doubled key there is one row (Milvus 2.3: the oldest). Milvus 2.3 goes by key
        always, Milvus Lite only in a query that says it is an iterator's, for which
        pymilvus 3.0 then drops the consistency level: Milvus would answer with what it
        had some time ago. pymilvus's own iterators never come to the largest INT64 and
        the empty VARCHAR.

        Raises:
            OperatorError: The server answers out of order, so paging would miss rows.
        """
        options: dict[str, Any] = {"iterator": "True"} if self.is_lite else {}
        options |= {"limit": table.page_rows, "output_fields": columns}
        rows = self._query(table, partition, condition, **options)
        keys = [row[table.key] for row in rows]
        if any(left >= right for left, right in pairwise(keys)):
            raise OperatorError(f"the {self.side} does not return rows in key order")
        return rows

    def _query(
        self, table: Table, partition: str, condition: str, **options: Any
    ) -> list[dict[str, Any]]:
        with self.errors():
            return list(
                self.client.query(
                    table.name,
                    condition,
                    partition_names=[partition] if partition else None,
                    consistency_level="Strong",
                    timeout=CALL_TIMEOUT,
                    **options,
                )
            )

    def _version(self) -> str:
        with self.errors():
            return str(self.client.get_server_version(timeout=CALL_TIMEOUT))

    def _translated(self, error: MilvusException | grpc.RpcError) -> CdcError:
        cause = error if isinstance(error, grpc.RpcError) else error.__cause__
        text = getattr(error, "message", "") or str(error)
        refused = isinstance(cause, grpc.Call) and cause.code() in _REFUSED
        away = isinstance(error, ConnectError) or isinstance(cause, grpc.RpcError)
        if away and not refused:
            return TransientError(
                f"the {self.side} {self._uri} does not answer: {text}"
            )
        return OperatorError(f"the {self.side} {self._uri} refuses: {text}")
