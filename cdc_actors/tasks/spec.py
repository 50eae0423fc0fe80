"""What a client asks a task to do: the target, and the collections to replicate."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from cdc_actors.changes import DEFAULT_DATABASE, FullName
from cdc_actors.tasks import names
from cdc_actors.tasks.names import ANY, NameMapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cdc_actors.tasks.model import CollectionEntry

SELECTION = "collection_infos, db_collections"
"""The members of requests that say what is selected, where they are named together."""

OWN_NAMES = "cdc_actors"
"""What names of our own at the target begin with."""

TOKEN = "milvus_connect_param.token"  # noqa: S105 - the name of a member
"""What answers call the login, however it was given."""


SnapshotMode = Literal["auto", "always", "never"]
"""Which collections come from the source's files: those whose beginning the log no longer
holds, all that are there already, or none."""


Consistency = Literal["tick", "early"]
"""What the target has between two ticks of the source: what the last one covers, a
consistent cut; or newer rows as soon as they are read, too."""


class ConnectParam(msgspec.Struct, frozen=True, kw_only=True):
    """Where the target is. Never holds a credential, so it may be shown to anyone.

    ``connect_timeout`` is in seconds. The paths are files on this host, named as in
    milvus-cdc: ``server_pem_path`` or ``ca_pem_path`` alone means one-way TLS, all three
    without ``server_pem_path`` mutual TLS.

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


class StartPosition(msgspec.Struct, frozen=True, kw_only=True):
    """Where reading a shard begins: the queue's own id of a message, as Milvus keeps it.

    The target has all up to ``timestamp``, a hybrid one.
    """

    message_id: bytes
    timestamp: int


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one task replicates, and to where.

    ``collection_infos`` names collections of the database ``default``;
    ``db_collections`` names them by database. ``*`` stands for every collection, and
    as a database for every database. ``excludes`` are patterns that are left to other
    tasks of the same target. ``enable_user_role`` asks for users, roles and grants, too,
    ``skip_unsupported_fields`` for collections without the fields that the target cannot
    hold, which are set aside otherwise.
    ``token`` is the target's credential: it is there on the way
    in only, the event log holds it encrypted and beside the specification.
    ``task_name`` is the client's own id for the task, empty where that is a UUID.
    ``disable_auto_start`` asks for the task to be paused whenever the service starts.
    ``snapshot`` says which collections come from the source's files, ``consistency``
    whether rows wait for the tick that covers them.
    ``positions`` are by shard: the target has what these shards' collections had up to
    there, restored from a backup, and the log goes on from there.
    """

    target: ConnectParam
    token: str = ""
    collection_infos: tuple[str, ...] = ()
    db_collections: dict[str, tuple[str, ...]] = {}
    name_mapping: tuple[NameMapping, ...] = ()
    excludes: tuple[FullName, ...] = ()
    enable_user_role: bool = False
    skip_unsupported_fields: bool = False
    task_name: str = ""
    disable_auto_start: bool = False
    snapshot: SnapshotMode = "auto"
    consistency: Consistency = "tick"
    positions: dict[str, StartPosition] = {}

    @property
    def selectors(self) -> tuple[FullName, ...]:
        """The patterns that are selected, each once."""
        found = [(DEFAULT_DATABASE, name) for name in self.collection_infos]
        for database, selected in self.db_collections.items():
            found += [(database, name) for name in selected]
        return tuple(dict.fromkeys(found))

    @property
    def selection(self) -> tuple[frozenset[FullName], frozenset[FullName]]:
        """What is selected, and what of it is left to other tasks; to be compared."""
        return frozenset(self.selectors), frozenset(self.excludes)

    @property
    def named(self) -> dict[FullName, FullName]:
        """The collections that are selected by name or mapped by name, with the targets'.

        Only these are known before the source is looked at.
        """
        rules = chain.from_iterable(mapping.rules for mapping in self.name_mapping)
        found = dict.fromkeys([*self.selectors, *(pattern for pattern, _ in rules)])
        return {
            name: self.target_name(*name)
            for name in found
            if ANY not in name and self.selects(*name)
        }

    def selects(self, database: str, collection: str) -> bool:
        """Say whether the collection is to be replicated.

        An empty ``database`` means ``default``, as in Milvus's own requests.
        """
        return self._takes((database or DEFAULT_DATABASE, collection))

    def selects_database(self, database: str) -> bool:
        """Say whether all of a database is, so that it is created and dropped, too."""
        return self._takes((database or DEFAULT_DATABASE, ANY))

    def target_name(self, database: str, collection: str) -> FullName:
        """Return database and name that a collection of the source has at the target.

        The most specific rule of ``name_mapping`` counts; without one the names stay.
        """
        return names.target_name(
            self.name_mapping, database or DEFAULT_DATABASE, collection
        )

    def shadow_names(self, entry: CollectionEntry) -> tuple[FullName, FullName]:
        """Return what a collection's shadow is called at the target, and what it replaces.

        The latter is called so between two renames.
        """
        database, _ = self.target_name(entry.database, entry.name)
        shadow = f"{OWN_NAMES}_shadow_{entry.collection_id}"
        parting = f"{OWN_NAMES}_parting_{entry.collection_id}"
        return (database, shadow), (database, parting)

    def written_name(self, entry: CollectionEntry) -> FullName:
        """Return what that is called at the target into which a collection's rows go.

        That is its shadow, if it has one.
        """
        if entry.shadow:
            return self.shadow_names(entry)[0]
        return self.target_name(entry.database, entry.name)

    def differing_members(self, other: TaskSpec) -> list[str]:
        """Return the members of a request that make the difference to ``other``.

        Which of equal selections were asked for in which order makes none, nor do the
        token and what is left to other tasks.
        """
        differ = {
            "milvus_connect_param": self.target != other.target,
            SELECTION: (set(self.selectors), self.positions)
            != (set(other.selectors), other.positions),
            "name_mapping": self.name_mapping != other.name_mapping,
            "extra_info": self._extra != other._extra,
            "disable_auto_start": self.disable_auto_start != other.disable_auto_start,
            "snapshot": self.snapshot != other.snapshot,
            "consistency": self.consistency != other.consistency,
        }
        return [name for name, differs in differ.items() if differs]

    @property
    def _extra(self) -> tuple[bool, bool]:
        return self.enable_user_role, self.skip_unsupported_fields

    def positions_of(self, shards: Iterable[str]) -> dict[str, StartPosition]:
        """Return from where on a collection is read, by shard; empty if it is brought."""
        return {each: self.positions[each] for each in shards if each in self.positions}

    def target_database(self, database: str) -> str:
        """Return what a database as such is called at the target."""
        return self.target_name(database, ANY)[0]

    def goes_into(self, database: str, there: str) -> bool:
        """Tell whether collections of a source's database may go into one of the target."""
        return self.target_database(database) == there or any(
            mapping.source_db in (database, ANY)
            and there == (database if mapping.target_db == ANY else mapping.target_db)
            for mapping in self.name_mapping
        )

    def _takes(self, name: FullName) -> bool:
        return any(names.contains(each, name) for each in self.selectors) and not any(
            names.contains(each, name) for each in self.excludes
        )

    def to_json(self) -> dict[str, Any]:
        """Return the specification without the token, as an event holds it.

        Databases are a list, not keys: what a client may choose must never be taken
        for the event log's own mark of a typed value. What came later than the first
        version is left out where there is none of it.
        """
        stored = {
            "target": msgspec.to_builtins(self.target),
            "collection_infos": list(self.collection_infos),
            "db_collections": [
                {"database": database, "collections": list(selected)}
                for database, selected in self.db_collections.items()
            ],
        }
        if self.name_mapping:
            stored["name_mapping"] = [_mapping_json(each) for each in self.name_mapping]
        if self.excludes:
            stored["excludes"] = [list(each) for each in self.excludes]
        if self.enable_user_role:
            stored["enable_user_role"] = True
        if self.skip_unsupported_fields:
            stored["skip_unsupported_fields"] = True
        if self.task_name:
            stored["task_name"] = self.task_name
        if self.disable_auto_start:
            stored["disable_auto_start"] = True
        if self.snapshot != "auto":
            stored["snapshot"] = self.snapshot
        if self.consistency != "tick":
            stored["consistency"] = self.consistency
        if self.positions:
            stored["positions"] = [
                {"shard": s, "id": p.message_id.hex(), "timestamp": p.timestamp}
                for s, p in self.positions.items()
            ]
        return stored

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
            name_mapping=tuple(map(_mapping, stored.get("name_mapping", ()))),
            excludes=tuple(tuple(each) for each in stored.get("excludes", ())),
            enable_user_role=stored.get("enable_user_role", False),
            skip_unsupported_fields=stored.get("skip_unsupported_fields", False),
            task_name=stored.get("task_name", ""),
            disable_auto_start=stored.get("disable_auto_start", False),
            snapshot=stored.get("snapshot", "auto"),
            consistency=stored.get("consistency", "tick"),
            positions=dict(map(_start_position, stored.get("positions", ()))),
        )

    def __repr__(self) -> str:
        """Leave the token out: a repr ends up in logs and tracebacks."""
        return (
            f"TaskSpec(target={self.target!r}, "
            f"collection_infos={self.collection_infos!r}, "
            f"db_collections={self.db_collections!r}, "
            f"name_mapping={self.name_mapping!r}, excludes={self.excludes!r}, "
            f"enable_user_role={self.enable_user_role!r}, "
            f"skip_unsupported_fields={self.skip_unsupported_fields!r}, "
            f"task_name={self.task_name!r}, "
            f"disable_auto_start={self.disable_auto_start!r}, "
            f"snapshot={self.snapshot!r}, consistency={self.consistency!r}, "
            f"positions={self.positions!r})"
        )


@dataclass(frozen=True, slots=True)
class PastSelection:
    """What a task selected until an update, and up to where it had read each channel.

    ``ticks`` are hybrid timestamps by channel: what is older was read with the selection
    of ``spec``, or an older one.
    """

    spec: TaskSpec
    ticks: Mapping[str, int]

    def passed_over(
        self, name: FullName, created: int, channels: Iterable[str]
    ) -> bool:
        """Tell whether rows of a collection were read when it was not selected.

        ``created`` is its first moment, a hybrid timestamp.
        """
        read = any(self.ticks.get(channel, 0) > created for channel in channels)
        return read and not self.spec.selects(*name)


def _mapping_json(mapping: NameMapping) -> dict[str, Any]:
    return {
        "source_db": mapping.source_db,
        "target_db": mapping.target_db,
        "collections": [list(pair) for pair in mapping.collection_mapping.items()],
    }


def _start_position(stored: dict[str, Any]) -> tuple[str, StartPosition]:
    message_id = bytes.fromhex(stored["id"])
    position = StartPosition(message_id=message_id, timestamp=stored["timestamp"])
    return stored["shard"], position


def _mapping(stored: dict[str, Any]) -> NameMapping:
    return NameMapping(
        source_db=stored["source_db"],
        target_db=stored["target_db"],
        collection_mapping=dict(stored["collections"]),
    )
