"""``cdc-actors config``: what the settings are and where each comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cdc_actors.cli.output import dump, output_option, table
from cdc_actors.config import load

if TYPE_CHECKING:
    from cdc_actors.config import Resolved

_EXAMPLES = """\b
Examples:
  cdc-actors config show --config cdc.yaml
  cdc-actors config show --config cdc.yaml -o json
"""
config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="YAML file with the settings.",
)


@click.group()
def config() -> None:
    """Look into the settings."""


@config.command(epilog=_EXAMPLES)
@config_option
@output_option
def show(path: Path | None, output: str) -> None:
    """Print each setting, its value and its origin; secrets are masked.

    Any setting can come from the environment: sourceConfig.etcd.rootPath is
    CDC_ACTORS_SOURCE_CONFIG__ETCD__ROOT_PATH, and with _FILE behind it the value is
    read from a file.
    """
    resolved = load(path, os.environ, {})
    for warning in resolved.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(_as_table(resolved) if output == "table" else _dump(resolved, output))


def _dump(resolved: Resolved, output: str) -> str:
    settings = {
        dotted: {
            "value": list(value) if isinstance(value, tuple) else value,
            "origin": resolved.origins[dotted],
        }
        for dotted, value in resolved.shown().items()
    }
    return dump(settings, output)


def _as_table(resolved: Resolved) -> str:
    rows = [
        (dotted, _text(value), resolved.origins[dotted])
        for dotted, value in resolved.shown().items()
    ]
    return table(("KEY", "VALUE", "ORIGIN"), rows)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(value)
    if value == "" or isinstance(value, bool):
        return json.dumps(value)
    return str(value)
