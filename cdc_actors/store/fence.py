"""The number that each owner of a store in PostgreSQL writes under.

It grows with each owner. Every transaction that writes locks it first, so that none is
committed after somebody else became the owner: to make it grow, PostgreSQL needs a lock
that waits for those of the writers (``FOR KEY SHARE``). To renew the lease beside it does
not: that changes no column of a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cdc_actors.errors import UnavailableError

_LOCK = (
    "SELECT 1 FROM {schema}.store_owner WHERE fence = %s AND token = %s FOR KEY SHARE"
)


@dataclass(frozen=True, slots=True)
class Fence:
    """What one owner writes under, while nobody came after it.

    ``token`` tells owners with one number apart: where a server failed over to a standby
    that lacked the last transactions, a number comes twice.
    """

    schema: str
    number: int
    token: str

    def refuse_former(self, cursor: Any) -> None:
        """Keep others from becoming the owner until the cursor's transaction ends.

        Raises:
            UnavailableError: Somebody else is the owner by now.
        """
        cursor.execute(_LOCK.format(schema=self.schema), (self.number, self.token))
        if not cursor.fetchall():
            raise UnavailableError("the store belongs to another process by now")


def session_name(token: str) -> str:
    """Return what the sessions of an owner are called, by which the next one ends them."""
    return f"cdc-actors-{token}"
