"""Names that a Milvus can give to databases and collections."""

from __future__ import annotations

import re

from cdc_actors.errors import InvalidRequestError
from cdc_actors.tasks.names import ANY

# Which characters beside letters, digits and _ is a setting of Milvus: by default $ alone.
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$-]*")


def check_name(field: str, name: str) -> None:
    """Refuse a name that no database or collection of a Milvus can have.

    Raises:
        InvalidRequestError: It does; the message names the ``field``.
    """
    if name != ANY and not _NAME.fullmatch(name):
        raise InvalidRequestError(
            f"{field} has the name `{name}`, which Milvus cannot have: it begins with a "
            "letter or _, followed by letters, digits, _, $ and -; `*` is used alone, and "
            "collections of a database are named in db_collections"
        )
