"""Whether the store takes writes is known without asking it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.config import Config, Natsmq, SourceConfig
from cdc_actors.errors import UnavailableError
from cdc_actors.service import store_check
from cdc_actors.service.service import Service
from cdc_actors.service.source_probe_actor import SourceProbe
from cdc_actors.service.store_check import StoreCheck
from cdc_actors.store.database import Database
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from pathlib import Path

ANSWER = 60.0


class ScriptedLog:
    """A log that takes writes, or says why not."""

    error: UnavailableError | None = None
    asked = 0

    def check(self) -> None:
        """Take a write."""
        self.asked += 1
        if self.error:
            raise self.error


def test_a_store_that_fails_is_noticed_and_one_that_is_back(monkeypatch) -> None:
    """Its own words are kept meanwhile; after the end it is not asked any more."""
    monkeypatch.setattr(store_check, "CHECK_SECONDS", 0.01)
    log = ScriptedLog()
    check = StoreCheck(log)
    assert check.is_well
    log.error = UnavailableError("the disk is full")
    wait_until(lambda: not check.is_well, "it is noticed")
    with pytest.raises(UnavailableError, match="the disk is full"):
        check.refuse_failing()
    log.error = None
    wait_until(lambda: check.is_well, "it is noticed")
    check.refuse_failing()
    check.end("stopping")
    asked = log.asked
    with pytest.raises(UnavailableError, match="stopping"):
        check.refuse_failing()
    assert log.asked <= asked + 1


def test_a_scrape_writes_nothing(tmp_path: Path, monkeypatch) -> None:
    """Whoever writes to the store, a scrape neither waits for it nor makes others wait."""
    monkeypatch.setattr(SourceProbe, "on_start", lambda _self: None)
    monkeypatch.setattr(store_check, "CHECK_SECONDS", 600)
    monkeypatch.chdir(tmp_path)
    away = Natsmq(address="nats://127.0.0.1:1")
    service = Service(Config(source_config=SourceConfig(natsmq=away)))
    service.start()
    try:
        wait_until(lambda: service.readiness().tasks is not None, "it has begun")
        for name in ("read", "write", "write_rows"):
            monkeypatch.setattr(Database, name, _asked)
        names = {each.name for each in service.metrics()}
        assert {"cdc_ready", "cdc_store_up", "cdc_memory_held_bytes"} <= names
        with pytest.raises(AssertionError, match="the store is asked"):
            service.readiness()
    finally:
        monkeypatch.undo()
        service.stop(ANSWER)


def _asked(*_: object) -> None:
    raise AssertionError("the store is asked")
