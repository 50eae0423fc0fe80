"""What an operation that the catalog shows says beside its kind, collection and time.

``Operation.detail`` holds what ``to_json`` returns: a file format, as the events are.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdc_actors.tasks.model import DROP_INDEX, RENAME_COLLECTION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cdc_actors.changes import FullName
    from cdc_actors.tasks.model import Loaded, Operation


@dataclass(frozen=True, slots=True)
class RenameDetail:
    """The source's new name; ``loaded`` tells whether the target had it loaded before."""

    new_name: FullName
    loaded: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as events hold it."""
        names = {"to_database": self.new_name[0], "to_name": self.new_name[1]}
        return names if self.loaded is None else names | {"loaded": self.loaded}


@dataclass(frozen=True, slots=True)
class AliasDetail:
    """The alias that is created, moved or dropped."""

    alias: str

    def to_json(self) -> dict[str, Any]:
        """Return it as events hold it."""
        return {"alias": self.alias}


@dataclass(frozen=True, slots=True)
class PropertiesDetail:
    """The properties that are set, and those that are ``dropped`` (Milvus 2.5)."""

    properties: Mapping[str, str]
    dropped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as events hold it."""
        dropped = {"dropped": list(self.dropped)} if self.dropped else {}
        return {"properties": dict(self.properties)} | dropped


@dataclass(frozen=True, slots=True)
class FieldDetail:
    """The parameters of a field that are set, and those that are ``dropped`` (Milvus 2.5).

    ``schema`` is the collection's after it is done, serialized; empty before.
    """

    field_name: str
    altered: Mapping[str, str]
    dropped: tuple[str, ...] = ()
    schema: bytes = b""

    def to_json(self) -> dict[str, Any]:
        """Return it as events hold it."""
        detail: dict[str, Any] = {
            "field_name": self.field_name,
            "properties": dict(self.altered),
        }
        if self.dropped:
            detail["dropped"] = list(self.dropped)
        if self.schema:
            detail["schema"] = base64.b64encode(self.schema).decode()
        return detail


@dataclass(frozen=True, slots=True)
class IndexDetail:
    """An index by the source's id of it; ``index_name`` is None where it is dropped.

    ``request`` are the members of the request that the target gets, beside the names.
    """

    index: int
    request: Mapping[str, Any]
    index_name: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return it as events hold it."""
        named = {} if self.index_name is None else {"index_name": self.index_name}
        return {"index": self.index, **named, "request": dict(self.request)}


@dataclass(frozen=True, slots=True)
class LoadDetail:
    """A load or a release, and what is loaded once it is done.

    ``request`` is as in ``IndexDetail``.
    """

    request: Mapping[str, Any]
    loaded: Loaded | None

    def to_json(self) -> dict[str, Any]:
        """Return it as events hold it."""
        whole = self.loaded is not None and self.loaded.whole
        detail: dict[str, Any] = {"request": dict(self.request), "whole": whole}
        if self.loaded and self.loaded.partitions:
            detail["loaded"] = sorted(self.loaded.partitions)
        return detail


Detail = (
    RenameDetail
    | AliasDetail
    | PropertiesDetail
    | FieldDetail
    | IndexDetail
    | LoadDetail
)


def begun_detail(begun: Operation) -> RenameDetail | IndexDetail | LoadDetail:
    """Return the detail of an operation that an event says has begun."""
    detail = begun.detail
    if begun.kind == RENAME_COLLECTION:
        return RenameDetail(begun.new_name, detail["loaded"])
    if "index" in detail:
        name = None if begun.kind == DROP_INDEX else detail["index_name"]
        return IndexDetail(detail["index"], detail["request"], name)
    return LoadDetail(detail["request"], begun.loaded)
