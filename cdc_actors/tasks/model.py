"""The collections of a task, and the operations that create and end them."""

from __future__ import annotations

import base64
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.errors import KindRefusedError
from cdc_actors.tasks import standing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cdc_actors.changes import Checkpoint
    from cdc_actors.errors import FailureClass

CREATE_DATABASE = "CreateDatabase"
DROP_DATABASE = "DropDatabase"
ALTER_DATABASE = "AlterDatabase"
CREATE_COLLECTION = "CreateCollection"
DROP_COLLECTION = "DropCollection"
RENAME_COLLECTION = "RenameCollection"
ALTER_COLLECTION = "AlterCollection"
ALTER_FIELD = "AlterCollectionField"
CREATE_ALIAS = "CreateAlias"
ALTER_ALIAS = "AlterAlias"
DROP_ALIAS = "DropAlias"
IMPORT = "Import"
CREATE_CREDENTIAL = "CreateCredential"
UPDATE_CREDENTIAL = "UpdateCredential"
CLAIM_COLLECTION = "ClaimCollection"
"""Another task wanted to write the collection at the target: no operation of Milvus."""

EXCHANGE_COLLECTION = "ExchangeCollection"
"""A shadow takes the place of its collection at the target: no operation of Milvus."""

CREATE_INDEX = "CreateIndex"
DROP_INDEX = "DropIndex"
LOAD_COLLECTION = "LoadCollection"
RELEASE_COLLECTION = "ReleaseCollection"
LOAD_PARTITIONS = "LoadPartitions"
RELEASE_PARTITIONS = "ReleasePartitions"


IMPORT_MARGIN = to_hybrid_ts(600)
"""By how much the clock that a bulk import's beginning is told by may be ahead."""

LONGEST_IMPORT = to_hybrid_ts(3600)
"""How long after its beginning a bulk import was complete, where an event does not say.

Milvus 2.3 gives one up after a quarter of an hour (``rootCoord.importTaskExpiration``).
"""


class CollectionState(StrEnum):
    """Where a collection stands at the target.

    ``CREATING`` says that its creation has begun and may have been done, ``DROPPING`` the
    same of its drop: after a crash it must be done again before anything newer.
    ``SNAPSHOT`` says that what its log no longer holds comes from the source's files.
    """

    SNAPSHOT = "snapshot"
    CREATING = "creating"
    LIVE = "live"
    DROPPING = "dropping"
    DROPPED = "dropped"
    SET_ASIDE = "set_aside"


@dataclass(frozen=True, slots=True)
class Loaded:
    """What is loaded of a collection: ``whole``, or some ``partitions``, by their ids.

    Of a whole one ``partitions`` are those that were released since.
    """

    whole: bool
    partitions: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Resync:
    """How a collection is brought anew: ``drop`` drops the target's first.

    With ``shadow`` the target's stays until its shadow takes its place.
    ``target_id`` is the target's own id of what is to be brought anew, 0 if not known.
    ``since`` is a hybrid timestamp where only rows of bulk imports are missing: no row
    written before it is brought, and nothing is deleted; 0 where all is brought.
    """

    drop: bool
    target_id: int = 0
    since: int = 0
    shadow: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as events hold it, which once had no more than the first two."""
        later = {"since", "shadow"}
        return {k: v for k, v in asdict(self).items() if v or k not in later}


class Import(NamedTuple):
    """When a bulk import began, and by when it was complete: hybrid timestamps."""

    began: int
    seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionEntry:
    """One collection of the source, known by its id for as long as the task lives.

    ``schema`` is a serialized ``schema.CollectionSchema`` and ``shards`` are virtual
    channels; both are empty if the collection was set aside before it was created.
    ``created`` and ``dropped`` are hybrid timestamps. ``adopted_until`` is one, too: the
    target had the collection before the task did, and may have rows up to then.
    ``target_id`` is the target's own id of it, 0 where that gives none or it is not known.
    ``skipped`` are the fields that the target has not, by name: it cannot hold them.
    ``marked`` tells that it had the task's mark there once it was created.
    ``snapshot`` is the hybrid timestamp up to which its rows came, or come, from the
    source's files, 0 where the log has brought all of them.
    ``resync`` is set while it is brought anew; until it has begun there is no ``stood``.
    ``shadow`` tells that its rows go into a shadow at the target, which takes its place
    once it has all of them; ``exchange`` is that, once it may have begun.
    ``renaming`` is a rename that may have been done at the target already.
    ``imports`` are the bulk imports into it that are known, by id.
    ``indexes`` are the names, by id, of those that the catalog alone shows;
    ``pending_request`` is an index or load operation that the catalog shows and that may
    have been done at the target already. ``set_aside_at`` is in UTC.
    """

    collection_id: int
    database: str
    name: str
    schema: bytes = field(default=b"", repr=False)
    shards: tuple[str, ...] = ()
    created: int = 0
    dropped: int | None = None
    adopted_until: int = 0
    target_id: int = 0
    marked: bool = False
    skipped: tuple[str, ...] = ()
    snapshot: int = 0
    resync: Resync | None = None
    shadow: bool = False
    exchange: Operation | None = None
    properties: dict[str, str] = field(default_factory=dict)
    renaming: Operation | None = None
    imports: Mapping[int, Import] = field(default_factory=dict)
    indexes: dict[int, str] = field(default_factory=dict)
    loaded: Loaded | None = None
    pending_request: Operation | None = None
    state: CollectionState = CollectionState.LIVE
    reason: str | None = None
    set_aside_at: datetime | None = None
    failure_class: FailureClass | None = None
    state_before: CollectionState | None = None
    stood: Mapping[str, Checkpoint] = field(default_factory=dict)
    replay: bool = False

    @property
    def identity(self) -> dict[str, Any]:
        """What an event that is about several collections says of each."""
        return {
            "collection_id": self.collection_id,
            "database": self.database,
            "name": self.name,
        }

    @property
    def is_apart(self) -> bool:
        """Whether it takes nothing from the log for now, which goes on for others."""
        return self.state in (CollectionState.SET_ASIDE, CollectionState.SNAPSHOT)

    @property
    def shown_state(self) -> CollectionState:
        """Where it stands for people: what is live is what is served."""
        if not self.shadow:
            return self.state
        follows = self.state in (CollectionState.CREATING, CollectionState.LIVE)
        return CollectionState.SNAPSHOT if follows else self.state

    @property
    def missing_imports(self) -> list[int]:
        """The bulk imports whose rows are missing at the target: no file had them yet."""
        if not self.imports:
            return []
        imports = self.imports.items()
        return [number for number, each in imports if each.seen > self.snapshot]

    @property
    def missing_since(self) -> int:
        """A hybrid timestamp: no row of a missing import, there must be one, is older."""
        began = min(self.imports[each].began for each in self.missing_imports)
        return max(began - IMPORT_MARGIN, 1)

    @property
    def lacks_rows_alone(self) -> bool:
        """Whether only rows are to be brought, and no moment of files is known yet.

        All else is at the target as far as its channels have come.
        """
        return bool(self.resync and self.resync.since and not self.stood)

    @property
    def follows_log(self) -> bool:
        """Whether it goes on from where its channels have come to."""
        return not self.is_apart and self.state is not CollectionState.DROPPED

    def renamed(self, rename: Operation) -> CollectionEntry:
        """Return it under the name that a rename gives."""
        database, name = rename.new_name
        return replace(self, database=database, name=name, renaming=None)

    def operation(
        self, kind: str, timestamp: int, detail: dict[str, Any] | None = None
    ) -> Operation:
        """Return an operation on the collection under the name that it has."""
        return Operation(
            kind=kind,
            timestamp=timestamp,
            database=self.database,
            name=self.name,
            collection_id=self.collection_id,
            detail=detail or {},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """Something done at the source that is not a change of rows.

    ``kind`` is the name in Milvus's ``MsgType``, ``timestamp`` a hybrid one; ``detail``
    holds JSON values only, as it goes into the event log as it is.
    """

    kind: str
    timestamp: int
    database: str
    name: str
    collection_id: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @staticmethod
    def create_collection(entry: CollectionEntry) -> Operation:
        """Return the operation that makes ``entry`` a collection of the task."""
        later: dict[str, Any] = {
            "adopted_until": entry.adopted_until,
            "target_id": entry.target_id,
            "marked": entry.marked,
            "skipped_fields": list(entry.skipped),
            "snapshot": entry.snapshot,
            "resync": entry.resync and entry.resync.to_json(),
            "shadow": entry.shadow,
            "imports": {str(i): list(e) for i, e in entry.imports.items()},
            "properties": entry.properties,
            "stood": standing.to_json(entry.stood.values()),
        }
        detail = {
            "schema": base64.b64encode(entry.schema).decode(),
            "shards": list(entry.shards),
            **{name: value for name, value in later.items() if value},
        }
        return entry.operation(CREATE_COLLECTION, entry.created, detail)

    @staticmethod
    def drop_collection(entry: CollectionEntry, timestamp: int) -> Operation:
        """Return the operation that ends ``entry``."""
        return entry.operation(DROP_COLLECTION, timestamp)

    def as_refused(self, refusal: Exception) -> Operation:
        """Return it as one that was not done, be it the first of its kind."""
        said: dict[str, Any] = {"refused": str(refusal)}
        if isinstance(refusal, KindRefusedError):
            said["kind_refused"] = True
        return replace(self, detail=self.detail | said)

    def as_reduced(self, reduced: str) -> Operation:
        """Return it as one that was done without something, or as asked if that is ""."""
        more = {"reduced": reduced} if reduced else {}
        return replace(self, detail=self.detail | more)

    @property
    def refused(self) -> str | None:
        """Why it was not done, None if it was."""
        return self.detail.get("refused")

    @property
    def is_kind_refused(self) -> bool:
        """Whether it was refused as the target does none of its kind."""
        return bool(self.detail.get("kind_refused"))

    @property
    def reduced(self) -> str | None:
        """What it was done without, and why; None if it was done as asked."""
        return self.detail.get("reduced")

    @property
    def loaded(self) -> Loaded | None:
        """What is loaded once it is done, an operation that loads or releases."""
        partitions = frozenset(self.detail.get("loaded", ()))
        whole = self.detail.get("whole", self.kind == LOAD_COLLECTION)
        return Loaded(whole, partitions) if whole or partitions else None

    @property
    def new_name(self) -> tuple[str, str]:
        """The database and name that a ``RenameCollection`` gives."""
        return self.detail["to_database"], self.detail["to_name"]

    @property
    def imported(self) -> Import:
        """The bulk import that this ``Import`` tells of."""
        seen = self.detail.get("seen", self.timestamp + LONGEST_IMPORT)
        return Import(self.timestamp, seen)

    def altered(self, before: Mapping[str, str]) -> dict[str, str]:
        """Return the properties after this operation, which sets some and drops others."""
        altered = {**before, **self.detail["properties"]}
        dropped = self.detail.get("dropped", ())
        return {key: value for key, value in altered.items() if key not in dropped}

    def created_entry(self) -> CollectionEntry:
        """Return the collection that this ``CreateCollection`` brings into being.

        Raises:
            ValueError: The operation says too little; use ``create_collection``.
        """
        if self.collection_id is None or not {"schema", "shards"} <= self.detail.keys():
            raise ValueError(f"{self.kind} of {self.name!r} lacks an id or a schema")
        return CollectionEntry(
            collection_id=self.collection_id,
            database=self.database,
            name=self.name,
            schema=base64.b64decode(self.detail["schema"]),
            shards=tuple(self.detail["shards"]),
            created=self.timestamp,
            adopted_until=self.detail.get("adopted_until", 0),
            target_id=self.detail.get("target_id", 0),
            marked=self.detail.get("marked", False),
            skipped=tuple(self.detail.get("skipped_fields", ())),
            snapshot=self.detail.get("snapshot", 0),
            resync=_resync(self.detail),
            shadow=self.detail.get("shadow", False),
            imports=_imports(self.detail),
            properties=self.detail.get("properties", {}),
            stood=standing.from_json(self.detail.get("stood", {})),
        )


def _resync(detail: Mapping[str, Any]) -> Resync | None:
    return Resync(**detail["resync"]) if "resync" in detail else None


def _imports(detail: Mapping[str, Any]) -> dict[int, Import]:
    return {int(i): Import(*each) for i, each in detail.get("imports", {}).items()}
