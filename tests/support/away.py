"""A source that nobody reaches, for services whose tasks do not run."""

from __future__ import annotations

from types import SimpleNamespace

NOWHERE = "http://127.0.0.1:1"
AWAY = SimpleNamespace(
    uri=NOWHERE,
    etcd_address=NOWHERE,
    queue={"natsmq": {"address": "nats://127.0.0.1:1"}},
)
"""For a ``Cdc`` it stands for the source."""
