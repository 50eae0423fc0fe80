"""Where collections stand in the log: checkpoints by channel, and their form in events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc_actors.changes import Checkpoint, Position

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def to_json(checkpoints: Iterable[Checkpoint]) -> dict[str, dict[str, Any]]:
    """Return checkpoints by channel, as an event keeps them to be read from again."""
    return {
        each.position.channel: {
            "position": each.position.text,
            "id": each.position.id.hex(),
            "inclusive": each.inclusive,
            "tick": each.tick,
        }
        for each in checkpoints
    }


def from_json(by_channel: Mapping[str, Mapping[str, Any]]) -> dict[str, Checkpoint]:
    """Return the checkpoints, by channel, that ``to_json`` was given."""
    return {
        channel: Checkpoint(
            Position(channel, bytes.fromhex(each["id"]), each["position"]),
            each["inclusive"],
            each["tick"],
        )
        for channel, each in by_channel.items()
    }


def latest(
    earlier: Mapping[str, Checkpoint], now: Mapping[str, Checkpoint]
) -> dict[str, Checkpoint]:
    """Return of each channel the further checkpoint, ``now`` where the ticks are equal.

    Each of the two says what is applied, so that the further one does.
    """
    found = dict(earlier)
    for channel, checkpoint in now.items():
        known = found.get(channel)
        if known is None or checkpoint.tick >= known.tick:
            found[channel] = checkpoint
    return found
