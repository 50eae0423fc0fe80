"""A Milvus that asks for a login."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.embedded.server import body_at

if TYPE_CHECKING:
    from pathlib import Path

WANTED = {"common": {"security": {"authorizationEnabled": True}}}


class GuardedMilvus(EmbeddedMilvus):
    """A Milvus that asks for a login."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, wanted=WANTED)

    def _is_ready(self) -> bool:
        return b"OK" in body_at(self.ports["metrics"], "/healthz", 2.0)
