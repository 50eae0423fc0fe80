"""The catalog of a source: from its etcd, or from its API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.source.api_catalog import ApiCatalog
from cdc_actors.source.catalog.client import EtcdCatalog
from cdc_actors.source.public_api import PublicApi

if TYPE_CHECKING:
    from cdc_actors.config import SourceConfig
    from cdc_actors.source.catalog.client import Catalog


def open_catalog(source: SourceConfig) -> Catalog:
    """Open the catalog, the way that is configured."""
    if source.etcd is None:
        return ApiCatalog(PublicApi(source.uri, source.token))
    return EtcdCatalog(source.etcd)
