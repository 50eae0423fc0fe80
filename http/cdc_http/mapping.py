"""``name_mapping`` of a ``create`` request, checked and made the task's."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import TYPE_CHECKING

from cdc_actors.errors import InvalidRequestError
from cdc_actors.tasks.names import ANY, NameMapping, intersect, listed
from cdc_http.names import check_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc_actors.changes import FullName
    from cdc_actors.tasks.spec import TaskSpec
    from cdc_http import requests


def mapping_of(
    given: Sequence[requests.NameMapping], limit: int
) -> tuple[NameMapping, ...]:
    """Return the entries as the task has them; names have at most ``limit`` characters.

    Raises:
        InvalidRequestError: A name is empty or too long, or every collection would get
            the same one; the message names the field.
    """
    for index, entry in enumerate(given):
        where = f"name_mapping[{index}]"
        _check_name(f"{where}.source_db", entry.source_db, limit)
        _check_name(f"{where}.target_db", entry.target_db, limit)
        for here, there in entry.collection_mapping.items():
            _check_name(f"{where}.collection_mapping", here, limit)
            _check_name(f"{where}.collection_mapping.{here}", there, limit)
        if entry.collection_mapping.get(ANY, ANY) != ANY:
            raise InvalidRequestError(
                f"{where}.collection_mapping would give every collection the same "
                "name, map `*` to `*`"
            )
    return tuple(
        NameMapping(
            source_db=entry.source_db,
            target_db=entry.target_db,
            collection_mapping=entry.collection_mapping,
        )
        for entry in given
    )


def check_mapping(spec: TaskSpec) -> None:
    """Refuse a mapping that says too much, or gives one name to two collections.

    Raises:
        InvalidRequestError: A name is mapped twice or not selected, or two collections
            that the request names would be one at the target.
    """
    rules = list(chain.from_iterable(each.rules for each in spec.name_mapping))
    patterns = [pattern for pattern, _ in rules]
    if twice := _repeated(patterns):
        raise InvalidRequestError(f"name_mapping maps [{listed(twice)}] more than once")
    outside = [each for each in patterns if not _selected(spec, each)]
    if outside:
        # The words are milvus-cdc's: its clients may match on them.
        raise InvalidRequestError(
            "the collection name in the name mapping is not in the collection info, "
            f"checkout it, [{listed(outside)}]"
        )
    if shared := _repeated(list(spec.named.values())):
        sources = [here for here, there in spec.named.items() if there in shared]
        raise InvalidRequestError(
            f"name_mapping makes [{listed(sources)}] one at the target, "
            f"[{listed(shared)}], give each a name of its own"
        )


def _check_name(where: str, name: str, limit: int) -> None:
    if not name:
        raise InvalidRequestError(f"{where} has a name that is empty")
    if len(name) > limit:
        raise InvalidRequestError(
            f"{where} has a name whose length exceeds {limit} characters, {name}"
        )
    check_name(where, name)


def _repeated(names: Sequence[FullName]) -> list[FullName]:
    return [name for name, times in Counter(names).items() if times > 1]


def _selected(spec: TaskSpec, pattern: FullName) -> bool:
    return any(intersect(each, pattern) for each in spec.selectors)
