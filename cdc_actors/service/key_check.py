"""That all services on a store have its key, before one of them has a task.

Each makes a key of its own where it has none. With that it could read no secret of a task
that it claims, and pause the task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from cdc_actors.store.database import Database
    from cdc_actors.store.secrets import SecretBox

_READ = "SELECT sealed FROM {key_check}"
_SEAL = (
    "INSERT INTO {key_check} VALUES (1, %s) "
    "ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed"
)


def refuse_other_key(database: Database, secrets: SecretBox) -> None:
    """Seal something with our newest key, once we could read what another has sealed.

    Raises:
        OperatorError: We cannot.
        UnavailableError: The store does not answer.
    """
    rows = database.read(_READ)
    try:
        if rows and not secrets.is_outdated(rows[0]["sealed"]):
            return
    except OperatorError as error:
        raise OperatorError(
            "the key is another than that of the services which had this store before: "
            "give all of them the same, in CDC_ACTORS_KEY or in a copy of the file "
            "cdc-actors.key"
        ) from error
    database.change(_SEAL, secrets.encrypt("the key of all services"))
