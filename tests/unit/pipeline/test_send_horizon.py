"""What may have been sent is written down before it is, for all channels at once."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from cdc_actors.memory_budget import MemoryBudget
from cdc_actors.pipeline.context import RunContext
from cdc_actors.pipeline.messages import AdvanceSendHorizons
from cdc_actors.pipeline.send_horizon import HORIZON_STEP, SendHorizon
from tests.fakes.fake_task import FakeTask
from tests.support.tasks import CLAIMANT


class Channels(dict[str, int]):
    """The ticks of some channels."""

    def tick(self, channel: str) -> int:
        """Return up to where a channel is released."""
        return self[channel]


@pytest.fixture
def run() -> SimpleNamespace:
    """Return a send horizon and what it works on; earlier runs may have sent up to 5."""
    task = FakeTask()
    context = RunContext(3, task, MemoryBudget(1000), CLAIMANT, int)
    channels = Channels(a=10, b=8, idle=0)
    horizon = SendHorizon(context, channels, {"a": 5})
    return SimpleNamespace(
        task=task, context=context, channels=channels, horizon=horizon
    )


def test_one_write_moves_the_horizons_of_all_channels(run: SimpleNamespace) -> None:
    """A channel that follows within the step asks for no write of its own."""
    run.horizon.reach("a", 10)
    run.horizon.reach("b", 8 + HORIZON_STEP)
    ahead = {"a": 10 + HORIZON_STEP, "b": 8 + HORIZON_STEP}
    assert run.task.asked == [AdvanceSendHorizons(3, ahead)]
    assert run.context.sent == {"a": 10, "b": 8 + HORIZON_STEP}


def test_what_was_sent_never_goes_back(run: SimpleNamespace) -> None:
    """A drop is sent ahead of its tick, so that what follows it is older."""
    run.horizon.reach("a", 20)
    run.horizon.reach("a", 10)
    run.channels["a"] = 10
    run.horizon.reach("b", 9 + HORIZON_STEP)
    assert [each.horizons["a"] for each in run.task.asked if "a" in each.horizons] == [
        20 + HORIZON_STEP
    ]
    assert run.context.sent["a"] == 20


def test_an_idle_channel_leaves_what_earlier_runs_may_have_sent(
    run: SimpleNamespace,
) -> None:
    """Only what an earlier run may have sent may be at the target already."""
    run.horizon.reach("b", 9)
    assert run.context.sent == {"a": 5, "b": 9}
    assert run.horizon.may_exist("a", 5)
    assert not run.horizon.may_exist("a", 6)
    assert not run.horizon.may_exist("b", 1)
