"""An alias is set whatever becomes of it meanwhile."""

from __future__ import annotations

import pytest

from cdc_actors.target.aliases import set_alias
from cdc_actors.target.connection import TargetRefusal


class Aliases:
    """A target whose alias goes away after the first request, or is a collection."""

    def __init__(self, *, goes: bool) -> None:
        self.there = True
        self._goes = goes
        self.owner = ""

    def call(self, method: str, request, _database: str) -> None:
        """Create what is not there, alter what is."""
        creating = method == "CreateAlias"
        if creating == self.there or not self._goes:
            self.there = self.there and not self._goes
            raise TargetRefusal(f"{method}: no", 1)
        self.owner = request.collection_name


def test_an_alias_that_goes_away_between_two_requests() -> None:
    """It is there when it is created and gone when it is altered: it is created again."""
    target = Aliases(goes=True)
    set_alias(target, "default", "books", "read")  # type: ignore[arg-type]
    assert target.owner == "books"


def test_a_name_that_is_a_collection() -> None:
    """What is in the way is what the error says."""
    with pytest.raises(TargetRefusal, match="CreateAlias"):
        set_alias(Aliases(goes=False), "default", "books", "read")  # type: ignore[arg-type]
