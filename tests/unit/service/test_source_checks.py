"""What ``config check`` tells of the source's clock."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.service import source_checks
from cdc_actors.source.catalog.model import END_OF_TIME

NOW = 1_700_000_000.0


class FakeCatalog:
    """A source that reserves timestamps in steps of three seconds, if it is up."""

    def __init__(self, begin: float | None, *, up: bool = True) -> None:
        self.passed = 0.0
        self._begin = begin
        self._up = up

    def time(self) -> int:
        """Return up to when timestamps are reserved."""
        if self._begin is None:
            return END_OF_TIME
        steps = self.passed // 3 if self._up else 0
        return to_hybrid_ts(self._begin + 3 * steps)

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += seconds


@pytest.mark.parametrize(
    ("catalog", "said"),
    [
        (FakeCatalog(NOW + 1), ""),
        (FakeCatalog(NOW + 5), ""),
        (FakeCatalog(NOW - 2), ""),
        (FakeCatalog(NOW - 600), "602 s ahead of"),
        (FakeCatalog(NOW + 3600), "3598 s behind"),
        (FakeCatalog(NOW + 3600, up=False), "3598 s behind"),
        (FakeCatalog(NOW - 600, up=False), ""),
        (FakeCatalog(None), ""),
    ],
)
def test_clock_that_differs_is_told(
    catalog: FakeCatalog, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is behind may be of a Milvus that is down, unless its time goes on."""
    clock = SimpleNamespace(
        time=lambda: NOW + catalog.passed,
        monotonic=lambda: catalog.passed,
        sleep=catalog.sleep,
    )
    monkeypatch.setattr(source_checks, "time", clock)
    warning = source_checks.clock_warning(catalog)
    assert (f"clock is {said} the source's" in warning) if said else warning == ""
