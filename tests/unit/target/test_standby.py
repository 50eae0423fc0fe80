"""A target that is a milvus-cdc's standby is told by how it refuses an empty message."""

from __future__ import annotations

from typing import Any

import pytest

from cdc_actors.errors import (
    AccessRefusedError,
    CdcError,
    OperationRefusedError,
    TransientError,
)
from cdc_actors.target.standby import StandbyError, refuse_standby

NO_CHANNEL = OperationRefusedError(
    "the target answers ReplicateMessage with code 1100: invalid channel name for the "
    "replicate message request: invalid parameter",
    1100,
)
DENIED = OperationRefusedError(
    "the target answers ReplicateMessage with code 1900: deny to use the replicate "
    "message in the normal instance",
    1900,
)


class Target:
    """A Milvus that answers as a real one did; ``asked`` has what it was asked."""

    uri = "http://target:19530"

    def __init__(self, version: str, refusal: CdcError) -> None:
        self.version = version
        self.asked: list[str] = []
        self._refusal = refusal

    def call(self, method: str, request: Any, _database: str) -> None:
        """Refuse an empty message."""
        assert not request.ListFields()
        self.asked.append(method)
        raise self._refusal


def check(version: str, refusal: CdcError) -> list[str]:
    """Look at a target; return what it was asked."""
    target = Target(version, refusal)
    refuse_standby(target)  # type: ignore[arg-type]
    return target.asked


@pytest.mark.parametrize("version", ["2.3.5", "v2.3.22"])
def test_one_without_time_ticks_is_refused(version: str) -> None:
    """The message has the setting's name, and what to do."""
    with pytest.raises(StandbyError, match=r"common\.ttMsgEnabled: false.*set it to"):
        check(version, NO_CHANNEL)


@pytest.mark.parametrize(
    "refusal",
    [
        DENIED,
        OperationRefusedError("unknown method ReplicateMessage"),
        AccessRefusedError("privilege missing"),
        TransientError("a mesh lets nobody call it"),
    ],
)
def test_any_other_answer_tells_nothing(refusal: CdcError) -> None:
    """Such a target is taken for an ordinary one, as are a 2.3.0 and a slow one."""
    assert check("2.3.5", refusal) == ["ReplicateMessage"]


@pytest.mark.parametrize("version", ["2.2.16", "v2.4.1", "2.5.27", "milvus_lite-3.2"])
def test_of_other_versions_the_answer_says_something_else(version: str) -> None:
    """They are not asked."""
    assert check(version, NO_CHANNEL) == []
