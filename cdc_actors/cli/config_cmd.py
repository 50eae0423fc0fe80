"""``cdc-actors config``: what the settings are, where each comes from, what works."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cdc_actors.beside import uninterrupted
from cdc_actors.cli.ending import end
from cdc_actors.cli.output import dump, output_option, table
from cdc_actors.config import load

if TYPE_CHECKING:
    from cdc_actors.config import Config, Resolved
    from cdc_actors.service.config_check import Finding

_NOT_READY = 4
_EXAMPLES = """\b
Examples:
  cdc-actors config show --config cdc.yaml
  cdc-actors config show --config cdc.yaml -o json
"""
_CHECK_EXAMPLES = """\b
Examples:
  cdc-actors config check --config cdc.yaml

Exit status: 0 everything works, 1 the settings are wrong, 4 something does not work.
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
    """Show and check the settings."""


@config.command(epilog=_EXAMPLES)
@config_option
@output_option
def show(path: Path | None, output: str) -> None:
    """Print each setting, its value and its origin; secrets are masked.

    Any setting can come from the environment: sourceConfig.etcd.rootPath is
    CDC_ACTORS_SOURCE_CONFIG__ETCD__ROOT_PATH. A variable whose name ends with _FILE
    names a file that holds the value.
    """
    resolved = _resolved(path)
    click.echo(_as_table(resolved) if output == "table" else _dump(resolved, output))


@config.command(epilog=_CHECK_EXAMPLES)
@config_option
@output_option
@click.pass_context
def check(context: click.Context, path: Path | None, output: str) -> None:
    """Connect to everything that the settings name, and say what works.

    That is the store, the source's API, its etcd, its message queue, the channels that
    its collections use, and its files. The store is created if it does not exist.
    """
    status = 0 if _checked(_resolved(path).config, output) else _NOT_READY
    end(status)
    context.exit(status)


@uninterrupted
def _checked(config: Config, output: str) -> bool:
    """Print what works and what does not; tell whether everything does."""
    # Here, not above: it loads what --help must not wait for.
    from cdc_actors.cli import logs  # noqa: PLC0415
    from cdc_actors.service.config_check import check as findings  # noqa: PLC0415

    logs.configure("error")
    found = []
    for finding in findings(config):
        found.append(finding)
        if output == "table":
            click.echo(_line(finding))
    if output != "table":
        click.echo(dump([asdict(finding) for finding in found], output))
    return all(finding.ok for finding in found)


def _resolved(path: Path | None) -> Resolved:
    """Return the settings, with what to warn of on standard error."""
    resolved = load(path, os.environ, {})
    for warning in resolved.warnings:
        click.echo(f"Warning: {warning}", err=True)
    return resolved


def _line(finding: Finding) -> str:
    return f"{'ok' if finding.ok else 'FAILED':8}{finding.part:15}{finding.words}"


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
        return ",".join(value) or "[]"
    if value == "" or isinstance(value, bool):
        return json.dumps(value)
    return str(value)
