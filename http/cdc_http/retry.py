"""Which collections a ``retry``, ``compare`` or ``resync`` request names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.errors import InvalidRequestError
from cdc_http.names import check_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from cdc_actors.changes import FullName
    from cdc_actors.tasks.resyncs import ResyncMethod
    from cdc_http.requests import (
        CollectionName,
        CompareRequest,
        ResyncRequest,
        RetryRequest,
    )


def collections_of(request: RetryRequest | CompareRequest) -> tuple[FullName, ...]:
    """Return the collections that the request names, by database and name.

    Raises:
        InvalidRequestError: A name is missing, or is none; the message says where.
    """
    named = [("collection_infos", DEFAULT_DATABASE, request.collection_infos)]
    for database, infos in request.db_collections.items():
        check_name("db_collections", database)
        named.append((f"db_collections.{database}", database, infos))
    return tuple(
        (database, name)
        for field, database, infos in named
        for name in _names(field, infos)
    )


def full_names(names: Iterable[str]) -> tuple[FullName, ...]:
    """Return the databases and collections that a ``resync`` request names.

    Raises:
        InvalidRequestError: There is no name, or one that is none.
    """
    found = []
    for each in names:
        database, dot, name = each.rpartition(".")
        for part in (database, name) if dot else (name,):
            check_name("collections", part)
        found.append((database if dot else DEFAULT_DATABASE, name))
    if not found:
        raise InvalidRequestError(
            "collections names none: give them as `database.name`, or `*.*` for all"
        )
    return tuple(found)


def method_of(request: ResyncRequest) -> ResyncMethod:
    """Return how a request has collections brought anew.

    Raises:
        InvalidRequestError: It says two things.
    """
    method = request.method or ("drop_target" if request.drop_target else "in_place")
    if request.drop_target and method != "drop_target":
        raise InvalidRequestError(
            f"method is {method}, which is not what drop_target says: leave one out"
        )
    return method


def _names(field: str, infos: Iterable[CollectionName]) -> Iterator[str]:
    for info in infos:
        if not info.name:
            raise InvalidRequestError(f"{field}: there is a collection without a name")
        check_name(field, info.name)
        yield info.name
