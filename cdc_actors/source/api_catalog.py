"""The catalog of a source of which nothing but the API can be reached.

It is what the API shows now. What only etcd has is not known: when an alias or an index
came or went (it counts as done when it is seen), names of the past, up to when shards were
truncated, how many replicas are loaded and which fields, whether all of a collection was
loaded or each of its partitions, and bulk imports, which the log tells of.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pymilvus.grpc_gen import milvus_pb2

from cdc_actors.changes import physical_seconds
from cdc_actors.errors import OperatorError, SourceChangedError, TransientError
from cdc_actors.source import api_answers
from cdc_actors.source.api_watch import ApiWatch, Seen
from cdc_actors.source.catalog.base import (
    Catalog,
    CatalogSnapshot,
    IndexAndLoadState,
)
from cdc_actors.source.catalog.bulk_imports import ImportMeta
from cdc_actors.source.catalog.model import AliasMeta, LoadMeta
from cdc_actors.source.public_api import NotThereError
from cdc_actors.source.versions import refuse_undumped, refuse_unsupported

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.source.catalog import model as meta
    from cdc_actors.source.catalog.base import Aliases, Watch
    from cdc_actors.source.catalog.model import CollectionMeta, IndexMeta
    from cdc_actors.source.catalog.rbac import RbacMeta
    from cdc_actors.source.public_api import PublicApi
    from cdc_actors.source.versions import Version

_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_DEFAULT_ID = 1
_RESTORED = "preserve_field_ids"
_LOOKS = 3
"""How often a collection is looked for: under its last name, then in two listings, for one
that is moved from database to database may be in neither of them at the time."""

_NEEDS_ETCD = (
    "that is in the source's etcd alone, and there is no sourceConfig.etcd.address"
)


class ApiCatalog(Catalog):
    """A ``Catalog`` of what the source's API shows. It closes ``api``."""

    def __init__(self, api: PublicApi) -> None:
        self._api = api
        self._created: int | None = None
        self._names: dict[int, FullName] = {}
        self._fields: dict[tuple[int, str], str] = {}

    def snapshot(self) -> CatalogSnapshot:
        """Return everything, as one answer after the other shows it."""
        self.version()
        found = self._everything()
        return CatalogSnapshot(
            revision=0,
            databases=self._databases(),
            collections={each: found[each] for each in sorted(found)},
            aliases=self.aliases(),
            imports=_restored(found.values()),
        )

    def collection(self, collection_id: int) -> CollectionMeta | None:
        """Return one collection as it is now, None if there is none."""
        return self.collections([collection_id]).get(collection_id)

    def collections(self, wanted: Sequence[int]) -> dict[int, CollectionMeta]:
        """Return those of some collections that there are, as they are now, by id."""
        found: dict[int, CollectionMeta] = {}
        for look in range(_LOOKS):
            missing = [each for each in wanted if each not in found]
            if not missing:
                break
            if look:
                self._names = dict(self._listed(self._databases().values()))
            for each in missing:
                shown = (
                    self._described(*self._names[each]) if each in self._names else None
                )
                if shown is not None and shown.id == each:
                    found[each] = shown
        return found

    def forget(self, gone: Iterable[int]) -> None:
        """Keep nothing in memory of collections that are not asked for any more."""
        for each in gone:
            self._names.pop(each, None)

    def find(self, database: str, name: str) -> CollectionMeta | None:
        """Return the collection of that name, None without one; aliases are no names."""
        found = self._described(database, name)
        return found if found is not None and found.name == name else None

    def version(self) -> Version:
        """Return the version of the source.

        Raises:
            UnsupportedVersionError: It is one that cannot be read, or not like this.
        """
        answer = self._api.call("GetVersion", milvus_pb2.GetVersionRequest())
        match = _VERSION.search(answer.version)
        if match is None:
            raise OperatorError(
                f"the source says that its version is {answer.version!r}"
            )
        version = tuple(map(int, match.groups()))
        refuse_unsupported(version)
        refuse_undumped(version)
        return version

    def root_coordinator(self) -> str:
        """Return nothing: it is not shown."""
        return ""

    def indexes_and_loads(
        self, found: Mapping[int, CollectionMeta]
    ) -> dict[int, IndexAndLoadState]:
        """Return what makes these collections searchable now, by their ids."""
        return {each: self._state(known) for each, known in found.items()}

    def field_of_index(self, collection_id: int, name: str, until: int) -> str:  # noqa: ARG002
        """Return the field of an index that has been seen, or "" if unknown."""
        return self._fields.get((collection_id, name), "")

    def created(self) -> int:
        """Return when the source was set up, in nanoseconds since 1970."""
        self._databases()
        return self._created or 0

    def databases(self) -> dict[str, dict[str, str]]:
        """Return the properties of the databases that there are now, by name."""
        found = {}
        for name in self._databases().values():
            request = milvus_pb2.DescribeDatabaseRequest(db_name=name)
            try:
                answer = self._api.call("DescribeDatabase", request, name)
            except NotThereError:
                continue
            found[name] = {each.key: each.value for each in answer.properties}
        return found

    def aliases(self) -> Aliases:
        """Return what every alias stands for now; since when is not known."""
        now = self.time()
        return {
            each: AliasMeta(owner.id, now)
            for each, name in self._alias_names()
            if (owner := self.find(each[0], name)) is not None
        }

    def alias_ended(self, database: str, alias: str) -> int:  # noqa: ARG002
        """Return now: it has been seen to be gone."""
        return self.time()

    def imports(self) -> list[ImportMeta]:
        """Return the snapshots that were restored; the log tells of bulk imports."""
        return _restored(self._everything().values())

    def read_below(self, prefixes: Iterable[str], revision: int = 0) -> meta.Pairs:
        """Refuse: those are keys of etcd."""
        raise OperatorError(
            f"{', '.join(prefixes)}: {_NEEDS_ETCD} (revision {revision})"
        )

    def rbac(self) -> RbacMeta:
        """Return which users and roles there are now, and what they may do."""
        users = milvus_pb2.SelectUserRequest(include_role_info=True)
        roles = self._api.call("SelectRole", milvus_pb2.SelectRoleRequest()).results
        groups = self._api.call(
            "ListPrivilegeGroups", milvus_pb2.ListPrivilegeGroupsRequest()
        )
        return api_answers.rbac(
            self._api.call("SelectUser", users).results,
            roles,
            [grant for each in roles for grant in self._grants(each.role.name)],
            groups.privilege_groups,
        )

    def time(self) -> int:
        """Return a hybrid timestamp by the source's clock that nothing has there yet."""
        return self._api.time()

    def watch(self, revision: int) -> Watch:  # noqa: ARG002 - everything is new at first
        """Look again and again, in a thread of its own."""
        return ApiWatch(ApiCatalog(self._api).look)

    def close(self) -> None:
        """Release the connection. Idempotent."""
        self._api.close()

    def look(self) -> Seen:
        """Return everything that may change."""
        found = self._everything()
        states = self.indexes_and_loads(found)
        return Seen(
            databases=self.databases(),
            collections={each: (found[each], states[each]) for each in found},
            aliases=dict(self._alias_names()),
            imports=_restored(found.values()),
            rbac=self._rbac_if_shown(),
        )

    def _everything(self) -> dict[int, CollectionMeta]:
        """Return all collections, also one that is moved to another database meanwhile."""
        databases = self._databases().values()
        self._names = {**dict(self._listed(databases)), **dict(self._listed(databases))}
        return self.collections(sorted(self._names))

    def _state(self, owner: CollectionMeta) -> IndexAndLoadState:
        """Return what is so of a collection, which may have another name meanwhile."""
        for _ in range(_LOOKS):
            state = IndexAndLoadState(self._indexes(owner), self._load(owner))
            shown = self._described(owner.database, owner.name)
            if shown is not None and shown.id == owner.id:
                return state
            found = self.collection(owner.id)
            if found is None:
                return IndexAndLoadState()
            owner = found
        raise TransientError(f"{owner.name} is renamed again and again")

    def _rbac_if_shown(self) -> RbacMeta | None:
        """Whoever asks for it hears why it is not shown."""
        try:
            return self.rbac()
        except (OperatorError, NotThereError):
            return None

    def _databases(self) -> dict[int, str]:
        request = milvus_pb2.ListDatabasesRequest()
        answer = self._api.call("ListDatabases", request)
        numbers = answer.db_ids or range(_DEFAULT_ID, len(answer.db_names) + 1)
        found = dict(zip(numbers, answer.db_names, strict=True))
        times = dict(zip(numbers, answer.created_timestamp, strict=True))
        created = times.get(_DEFAULT_ID)
        if created is None:
            raise OperatorError(
                "the source's API does not show the database default, by which a source "
                "is told from another: the user needs the privilege DescribeDatabase"
            )
        if self._created not in (None, created):
            raise SourceChangedError(
                "the source was set up anew: what is at sourceConfig.uri is another "
                "Milvus than a moment ago"
            )
        self._created = created
        return found

    def _listed(self, databases: Iterable[str]) -> Iterator[tuple[int, FullName]]:
        for database in databases:
            request = milvus_pb2.ShowCollectionsRequest(db_name=database)
            try:
                answer = self._api.call("ShowCollections", request, database)
            except NotThereError:
                continue
            for number, name in zip(
                answer.collection_ids, answer.collection_names, strict=True
            ):
                yield number, (database, name)

    def _described(self, database: str, name: str) -> CollectionMeta | None:
        where = {"db_name": database, "collection_name": name}
        try:
            answer = self._api.call(
                "DescribeCollection",
                milvus_pb2.DescribeCollectionRequest(**where),
                database,
            )
            partitions = self._api.call(
                "ShowPartitions", milvus_pb2.ShowPartitionsRequest(**where), database
            )
        except NotThereError:
            return None
        return api_answers.collection(answer, partitions)

    def _indexes(self, owner: CollectionMeta) -> tuple[IndexMeta, ...]:
        request = milvus_pb2.DescribeIndexRequest(
            db_name=owner.database, collection_name=owner.name
        )
        try:
            answer = self._api.call("DescribeIndex", request, owner.database)
        except NotThereError:
            return ()
        found = [api_answers.index(each, owner) for each in answer.index_descriptions]
        self._fields |= {(owner.id, each.name): each.field_name for each in found}
        return tuple(sorted(found, key=lambda each: each.id))

    def _load(self, owner: CollectionMeta) -> LoadMeta | None:
        if not self._is_loaded(owner):
            return None
        loaded = [
            number
            for number, each in owner.partitions.items()
            if len(owner.partitions) == 1 or self._is_loaded(owner, each.name)
        ]
        return LoadMeta(
            collection_id=owner.id,
            replicas=1,
            whole=len(loaded) == len(owner.partitions),
            partitions=frozenset(loaded),
        )

    def _is_loaded(self, owner: CollectionMeta, *partitions: str) -> bool:
        request = milvus_pb2.GetLoadStateRequest(
            db_name=owner.database,
            collection_name=owner.name,
            partition_names=partitions,
        )
        try:
            state = self._api.call("GetLoadState", request, owner.database).state
        except NotThereError:
            return False
        return state in api_answers.LOADED

    def _alias_names(self) -> Iterator[tuple[FullName, str]]:
        """Yield every alias, and the name of its collection."""
        for database in self._databases().values():
            request: Any = milvus_pb2.ListAliasesRequest(db_name=database)
            try:
                aliases = self._api.call("ListAliases", request, database).aliases
            except NotThereError:
                continue
            for alias in aliases:
                request = milvus_pb2.DescribeAliasRequest(db_name=database, alias=alias)
                try:
                    answer = self._api.call("DescribeAlias", request, database)
                except NotThereError:
                    continue
                yield (database, alias), answer.collection

    def _grants(self, role: str) -> Any:
        request = milvus_pb2.SelectGrantRequest()
        request.entity.role.name = role
        try:
            return self._api.call("SelectGrant", request).entities
        except NotThereError:
            return ()


def _restored(found: Iterable[CollectionMeta]) -> list[ImportMeta]:
    """Return what was restored from snapshots (3.0): with the fields' ids of its origin."""
    return [
        ImportMeta(each.id, each.id, int(physical_seconds(each.created)), 0)
        for each in found
        if each.properties.get(_RESTORED) == "true"
    ]
