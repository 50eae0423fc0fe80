"""What time it is at the source, whatever this machine's clock says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from cdc_actors.service import source_clock
from cdc_actors.service.source_clock import DIFFERS_SECONDS, SourceClock

if TYPE_CHECKING:
    from collections.abc import Iterator

HOUR = 3600.0
RESERVED_AHEAD = 1.5


class World:
    """A source, and this machine whose clock is ahead of the source's."""

    def __init__(self, ahead: float = 0.0) -> None:
        self.source = 1_700_000_000.0
        self.ahead = ahead
        self.passed = 77.0
        self.clock: SourceClock

    def time(self) -> float:
        """Return what this machine's clock says."""
        return self.source + self.ahead

    def monotonic(self) -> float:
        """Return what nobody can set."""
        return self.passed

    def wait(self, seconds: float) -> None:
        """Let time pass, everywhere."""
        self.source += seconds
        self.passed += seconds

    def probe(self) -> None:
        """Look how far the source, which is up, has reserved timestamps."""
        self.wait(5)
        self.clock.note_reserved(self.source + RESERVED_AHEAD)

    def tick(self, late: float = 0.0) -> None:
        """Read a tick that was written a while ago."""
        self.clock.note_tick(self.source - late - self.passed)

    @property
    def error(self) -> float:
        """By how much the clock is wrong about the source's time."""
        return self.clock.moment().source - self.source


@pytest.fixture(params=[0.0, HOUR, -HOUR, 2.0, -2.0], ids=str)
def world(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Yield a world in which a service has just begun."""
    made = World(request.param)
    monkeypatch.setattr(source_clock, "time", made)
    made.clock = SourceClock()
    return made


def test_ticks_tell_the_time_exactly(world: World) -> None:
    """Read as soon as they are written; late ones in between change nothing."""
    world.probe()
    world.probe()
    world.tick(late=0.1)
    world.tick(late=40)
    assert world.error == pytest.approx(-0.1, abs=0.01)
    world.wait(60)
    world.tick(late=60)
    assert world.error == pytest.approx(-0.1, abs=0.05)


def test_old_ticks_are_no_time(world: World) -> None:
    """While a backlog is read, the rough measure counts: lag is not made small."""
    world.probe()
    world.probe()
    for late in (5 * HOUR, 4 * HOUR, 3 * HOUR):
        world.tick(late=late)
        assert abs(world.error) <= DIFFERS_SECONDS


def test_time_goes_on_while_the_source_is_away(world: World) -> None:
    """There are no ticks, and what it has reserved stays the same."""
    world.probe()
    world.probe()
    world.tick(late=0.1)
    for _ in range(720):
        world.wait(5)
        world.clock.note_reserved(1_700_000_010.0 + RESERVED_AHEAD)
    assert abs(world.error) <= DIFFERS_SECONDS


def test_a_clock_that_is_set_makes_no_lag(world: World) -> None:
    """Neither forwards nor backwards, and it is said within two looks."""
    world.probe()
    world.probe()
    world.tick()
    for ahead in (HOUR, -HOUR, 0.0):
        world.ahead = ahead
        assert abs(world.error) <= DIFFERS_SECONDS
        world.probe()
        world.tick(late=0.1)
        assert world.error == pytest.approx(0, abs=0.11)
        warning = world.clock.moment().warning
        assert ("3600 s" in warning) == bool(ahead)


def test_a_difference_is_said_once(world: World) -> None:
    """One line when it is found, one when it is over; a second or two are no difference."""
    with capture_logs() as logs:
        for _ in range(3):
            world.probe()
        differs = abs(world.ahead) > DIFFERS_SECONDS
        assert bool(world.clock.moment().ahead) == differs
        world.ahead = 0.0
        world.probe()
        world.probe()
    assert [each["log_level"] for each in logs] == ["warning", "info"] * differs


def test_a_source_that_is_down_has_no_clock(world: World) -> None:
    """What it reserved long ago is no sign of a difference."""
    long_ago = world.source - 30 * HOUR
    for _ in range(5):
        world.wait(5)
        world.clock.note_reserved(long_ago)
    assert world.clock.moment().ahead == 0
