"""What a service writes to a store in PostgreSQL under, while its lease lasts.

Every transaction that writes locks the row of the service's lease, and that of the task
that it writes for (``FOR KEY SHARE``). To end a lease, and to give a task to another,
PostgreSQL needs a lock that waits for those. So nothing is committed for a task after
somebody else has it. To renew the lease does not wait: that changes no column of a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cdc_actors.errors import UnavailableError

_NODE = "SELECT 1 FROM {schema}.node_leases WHERE token = %s FOR KEY SHARE"
_TASK = (
    "SELECT 1 FROM {schema}.task_owners WHERE token = %s AND task_id = %s FOR KEY SHARE"
)
_NEW_TASK = "INSERT INTO {schema}.task_owners VALUES (%s, 1, %s, FALSE, 1)"


@dataclass(frozen=True, slots=True)
class Fence:
    """One lease of one service; ``token`` tells it from all others.

    Whoever ``is_alone`` on the store writes for any task.
    """

    schema: str
    token: str
    is_alone: bool = False

    def refuse_former(self, cursor: Any) -> None:
        """Keep others from ending the lease until the cursor's transaction ends.

        Raises:
            UnavailableError: Somebody has.
        """
        cursor.execute(_NODE.format(schema=self.schema), [self.token])
        if not cursor.fetchall():
            raise UnavailableError(
                "this service has lost its lease of the store, others may have its tasks"
            )

    def refuse_others(self, cursor: Any, task_id: str) -> None:
        """Keep others from having a task until the cursor's transaction ends.

        Raises:
            UnavailableError: It is not this service's.
        """
        if self.is_alone:
            return
        cursor.execute(_TASK.format(schema=self.schema), [self.token, task_id])
        if not cursor.fetchall():
            raise UnavailableError("another service has the task by now")

    def own(self, cursor: Any, task_id: str) -> None:
        """Have a new task, if the cursor's transaction is committed."""
        if not self.is_alone:
            statement = _NEW_TASK.format(schema=self.schema)
            cursor.execute(statement, [task_id, self.token])


def session_name(token: str) -> str:
    """Return what the sessions of a service are called, by which another ends them."""
    return f"cdc-actors-{token}"
