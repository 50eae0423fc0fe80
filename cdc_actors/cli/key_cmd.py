"""``cdc-actors key``: the key with which secrets are encrypted in the event log."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from cdc_actors.cli.config_cmd import config_option
from cdc_actors.config import load
from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from pathlib import Path

_EXAMPLES = """\b
Examples:
  cdc-actors key rotate --config cdc.yaml
"""


@click.group()
def key() -> None:
    """Manage the key that encrypts secrets."""


@key.command(epilog=_EXAMPLES)
@config_option
def rotate(path: Path | None) -> None:
    """Add a new key to the key file.

    No service may run on the store. At its next start the secrets of all tasks are
    encrypted with the new key, one event for each task. After that only older copies of
    the store need the older keys, which are the lines above the last.
    """
    # Here, not above: it loads what --help must not wait for.
    from cdc_actors.service.stores import key_path  # noqa: PLC0415
    from cdc_actors.store.leases import held, lease_of  # noqa: PLC0415
    from cdc_actors.store.secrets import KEY_VARIABLE, add_key  # noqa: PLC0415

    if os.environ.get(KEY_VARIABLE, "").strip():
        raise OperatorError(
            f"the key is in {KEY_VARIABLE}, which no command can change: put a new one "
            "behind it, with a comma between (`openssl rand -base64 32` makes one), and "
            "start the service again"
        )
    config = load(path, os.environ, {}).config
    file = key_path(config)
    if not file.exists():
        raise OperatorError(
            f"there is no key {file} yet: the service makes it at its first start"
        )
    with held(lease_of(config.meta_store_config)):
        add_key(file)
    click.echo(f"A new key is in {file}. Start the service to use it.")
