"""Services on one PostgreSQL have one key; a real server."""

from __future__ import annotations

import pytest

from cdc_actors.config import Config
from cdc_actors.config.model import MetaStoreConfig, Postgres, SourceConfig
from cdc_actors.errors import OperatorError
from cdc_actors.service.stores import Stores
from cdc_actors.store.leases import lease_of
from cdc_actors.store.secrets import KEY_VARIABLE

FIRST, SECOND = (f"{'A' * 42}{each}=" for each in "AE")


@pytest.fixture
def config(postgres_url: str) -> Config:
    """Return the settings of services on an empty store."""
    store = MetaStoreConfig(store_type="postgres", postgres=Postgres(url=postgres_url))
    return Config(meta_store_config=store, source_config=SourceConfig())


def opens(config: Config) -> None:
    """Open the stores as a service does that joins, and leave."""
    lease = lease_of(config.meta_store_config)
    lease.acquire()
    try:
        Stores.open(config, lease).log.close()
    finally:
        lease.release()


def test_one_with_another_key_opens_nothing(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told to get that of the others; a newer key behind that one counts then."""
    monkeypatch.setenv(KEY_VARIABLE, FIRST)
    opens(config)
    monkeypatch.setenv(KEY_VARIABLE, SECOND)
    with pytest.raises(OperatorError, match="give all of them the same"):
        opens(config)
    monkeypatch.setenv(KEY_VARIABLE, f"{FIRST},{SECOND}")
    opens(config)
    monkeypatch.setenv(KEY_VARIABLE, SECOND)
    opens(config)
    monkeypatch.setenv(KEY_VARIABLE, FIRST)
    with pytest.raises(OperatorError, match="another than that of the services"):
        opens(config)
