"""``collection_infos`` and ``db_collections`` of a request, checked as milvus-cdc does."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.errors import InvalidRequestError
from cdc_http.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from cdc_http.requests import CollectionInfo


def selection_of(
    infos: Sequence[CollectionInfo],
    by_database: Mapping[str, Sequence[CollectionInfo]],
    limit: int,
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """Return the names as a task has them; each has at most ``limit`` characters.

    Raises:
        InvalidRequestError: There is none, or one that Milvus cannot have; the message
            says which.
    """
    if not infos and not by_database:
        raise InvalidRequestError("the collection info is empty")
    for database in by_database:
        _check_database(database, limit)
    for each in ([infos] if infos else []) + list(by_database.values()):
        _check_collections(each, limit)
    _check_names(infos, by_database)
    return _names(infos), {name: _names(some) for name, some in by_database.items()}


def positions_given(
    infos: Iterable[CollectionInfo], by_database: Mapping[str, Iterable[CollectionInfo]]
) -> Iterator[str]:
    """Yield the fields that have positions, which only ``create`` takes."""
    if any(info.positions for info in infos):
        yield "collection_infos.positions"
    if any(info.positions for info in chain.from_iterable(by_database.values())):
        yield "db_collections.positions"


def _check_database(database: str, limit: int) -> None:
    if not database:
        raise InvalidRequestError("db_collections: there is a db name that is empty")
    if len(database) > limit:
        raise InvalidRequestError(
            f"the db name length exceeds {limit} characters, {database}"
        )


def _check_collections(infos: Sequence[CollectionInfo], limit: int) -> None:
    if not infos:
        raise InvalidRequestError("empty collection info")
    if not all(info.name for info in infos):
        raise InvalidRequestError("there is a collection name that is empty. ")
    long = [info.name for info in infos if len(info.name) > limit]
    if long:
        raise InvalidRequestError(
            f"there are some collection names whose length exceeds {limit} "
            f"characters, [{' '.join(long)}]"
        )
    if any(info.name == "*" and info.positions for info in infos):
        raise InvalidRequestError(
            "the collection name is `*`, the positions should be empty"
        )


def _check_names(
    infos: Iterable[CollectionInfo], by_database: Mapping[str, Iterable[CollectionInfo]]
) -> None:
    for info in infos:
        check_name("collection_infos", info.name)
    for database, some in by_database.items():
        check_name("db_collections", database)
        for info in some:
            check_name(f"db_collections.{database}", info.name)


def _names(infos: Iterable[CollectionInfo]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(info.name for info in infos))
