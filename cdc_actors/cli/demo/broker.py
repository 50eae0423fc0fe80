"""The demo's own Kafka or Pulsar, for who has none that runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError
from cdc_actors.source.extras import check_library

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.maven import JavaServer

_ADDRESSES = {"kafka": "HOST:PORT", "pulsar": "pulsar://HOST:PORT"}


def own_broker(mq: str, given: str, folder: Path) -> JavaServer | None:
    """Return the broker of ``mq`` to start, None if it has none or one is ``given``.

    Raises:
        OperatorError: What it, or a client of it, needs is not installed.
    """
    check_library(mq)
    if given or mq not in _ADDRESSES:
        return None
    try:
        return _broker(mq, folder)
    except OperatorError as error:
        raise OperatorError(
            f"demo --mq {mq} {error}; or --broker {_ADDRESSES[mq]} of one that runs."
        ) from error


# Imported where used: Kafka's brings its client library, an extra.
def _broker(mq: str, folder: Path) -> JavaServer:
    if mq == "kafka":
        from cdc_actors.embedded.kafka import EmbeddedKafka  # noqa: PLC0415

        return EmbeddedKafka(folder)
    from cdc_actors.embedded.pulsar import EmbeddedPulsar  # noqa: PLC0415

    return EmbeddedPulsar(folder)
