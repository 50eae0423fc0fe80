"""What the threads of one run share."""

from __future__ import annotations

from types import SimpleNamespace

from cdc_actors.changes import Unknown
from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.context import RunContext


def test_an_unknown_kind_is_written_down_once() -> None:
    """However many messages of it come; what the catalog tells of is none."""
    asked: list[str] = []

    def ask(message: object, *, block: bool) -> SimpleNamespace:
        assert not block
        asked.append(message.operation.kind)
        return SimpleNamespace(get=lambda timeout: None)

    task = SimpleNamespace(ask=ask)
    context = RunContext(1, task, MemoryBudget(1 << 20))
    for kind in ("Future", "CreateAlias", "Future", "Other", "Future"):
        context.record_unknown(Unknown(kind, 5))
    assert asked == ["Future", "Other"]
