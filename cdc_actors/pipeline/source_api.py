"""What neither the log nor the catalog of the source holds, asked of its API."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from cdc_actors.target.collections import describe
from cdc_actors.target.properties import DESCRIPTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.source.catalog.client import CollectionMeta
    from cdc_actors.target.connection import Connection

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 2.0

_DROPS_SINCE = (2, 5)


class SourceApi:
    """The source's API, connected to when it is first asked. The reader's thread.

    The log is read without it. Methods raise ``TransientError`` and ``OperatorError``.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._connection: Connection | None = None

    def properties(self, meta: CollectionMeta) -> dict[str, str] | None:
        """Return a collection's properties; None if another one has its name by now.

        Its description is among them, as Milvus calls it where it is altered.
        """
        shown = describe(self._opened(), meta.database, meta.name)
        if shown is None or shown.collectionID != meta.id:
            return None
        properties = {pair.key: pair.value for pair in shown.properties}
        return {DESCRIPTION: shown.schema.description} | properties

    def can_drop_properties(self) -> bool:
        """Tell whether a property that is not shown was dropped.

        An older source cannot drop any, but a restart may have it show those from before.
        """
        numbers = re.findall(r"\d+", self._opened().version)
        return tuple(map(int, numbers[:2])) >= _DROPS_SINCE

    def now(self) -> int:
        """Return the source's time, a hybrid timestamp."""
        return self._opened().server_time(ANSWER_SECONDS)

    def close(self) -> None:
        """Close the connection, if there is one. Idempotent."""
        if self._connection is not None:
            self._connection.close()

    def _opened(self) -> Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection
