"""What a client asks a task to do: the target, and the collections to replicate."""

from __future__ import annotations

from typing import Any, Self

import msgspec

ANY = "*"
DEFAULT_DATABASE = "default"


class ConnectParam(msgspec.Struct, frozen=True, kw_only=True):
    """Where the target is. Never holds a credential, so it may be shown to anyone.

    ``connect_timeout`` is in seconds. The paths are files on this host, named as in
    milvus-cdc: ``server_pem_path`` alone means one-way TLS, the other three mutual TLS.

    Raises:
        ValueError: ``uri`` holds a user name or password; they belong in the token.
    """

    uri: str
    connect_timeout: int = 10
    server_name: str = ""
    server_pem_path: str = ""
    ca_pem_path: str = ""
    client_pem_path: str = ""
    client_key_path: str = ""

    def __post_init__(self) -> None:
        if "@" in self.uri:
            raise ValueError(
                "the uri must not hold credentials, give them as the token"
            )


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one task replicates, and to where.

    ``collection_infos`` names collections of the database ``default``;
    ``db_collections`` names them by database. ``*`` stands for every collection, and
    as a database for every database. ``token`` is the target's credential: it is there
    on the way in only, the event log holds it encrypted and beside the specification.
    """

    target: ConnectParam
    token: str = ""
    collection_infos: tuple[str, ...] = ()
    db_collections: dict[str, tuple[str, ...]] = {}

    def selects(self, database: str, collection: str) -> bool:
        """Say whether the collection is to be replicated.

        An empty ``database`` means ``default``, as in Milvus's own requests.
        """
        database = database or DEFAULT_DATABASE
        names = {
            *(self.collection_infos if database == DEFAULT_DATABASE else ()),
            *self.db_collections.get(database, ()),
            *self.db_collections.get(ANY, ()),
        }
        return collection in names or ANY in names

    def to_json(self) -> dict[str, Any]:
        """Return the specification without the token, as an event holds it.

        Databases are a list, not keys: what a client may choose must never be taken
        for the event log's own mark of a typed value.
        """
        return {
            "target": msgspec.to_builtins(self.target),
            "collection_infos": list(self.collection_infos),
            "db_collections": [
                {"database": database, "collections": list(names)}
                for database, names in self.db_collections.items()
            ],
        }

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Self:
        """Return the specification that ``to_json`` wrote."""
        return cls(
            target=msgspec.convert(stored["target"], ConnectParam),
            collection_infos=tuple(stored["collection_infos"]),
            db_collections={
                entry["database"]: tuple(entry["collections"])
                for entry in stored["db_collections"]
            },
        )

    def __repr__(self) -> str:
        """Leave the token out: a repr ends up in logs and tracebacks."""
        return (
            f"TaskSpec(target={self.target!r}, "
            f"collection_infos={self.collection_infos!r}, "
            f"db_collections={self.db_collections!r})"
        )
