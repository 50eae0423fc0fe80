"""``cdc-actors demo``: the service at work on real servers, killed on the way."""

from __future__ import annotations

from cdc_actors.cli.demo.command import demo

__all__ = ["demo"]
