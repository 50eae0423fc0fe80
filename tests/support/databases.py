"""Which databases a Milvus has, as a comparison asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.changes import DEFAULT_DATABASE
from cdc_actors.compare.server import Endpoint, Server

if TYPE_CHECKING:
    from collections.abc import Mapping


def databases_of(uri: str, tls: Mapping[str, str] | None = None) -> list[str]:
    """Return their names; errors call the server the target."""
    with Server(Endpoint("target", uri, "", tls or {}), DEFAULT_DATABASE) as server:
        return server.databases()
