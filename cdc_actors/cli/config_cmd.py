"""``cdc-actors config``: what the settings are and where each comes from."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print.",
)
def show(path: Path | None, output: str) -> None:
    """Print each setting, its value and its origin; secrets are masked.

    Any setting can come from the environment: sourceConfig.etcd.rootPath is
    CDC_ACTORS_SOURCE_CONFIG__ETCD__ROOT_PATH, and with _FILE behind it the value is
    read from a file.
    """
    resolved = load(path, os.environ, {})
    for warning in resolved.warnings:
        click.echo(f"Warning: {warning}", err=True)
    click.echo(_as_json(resolved) if output == "json" else _as_table(resolved))


def _as_json(resolved: Resolved) -> str:
    settings = {
        dotted: {"value": value, "origin": resolved.origins[dotted]}
        for dotted, value in resolved.shown().items()
    }
    return json.dumps(settings, indent=2, ensure_ascii=False)


def _as_table(resolved: Resolved) -> str:
    rows = [("KEY", "VALUE", "ORIGIN")]
    rows += [
        (dotted, _text(value), resolved.origins[dotted])
        for dotted, value in resolved.shown().items()
    ]
    keys, values = (max(len(row[column]) for row in rows) for column in (0, 1))
    return "\n".join(f"{key:{keys}}  {value:{values}}  {at}" for key, value, at in rows)


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(value)
    if value == "" or isinstance(value, bool):
        return json.dumps(value)
    return str(value)
