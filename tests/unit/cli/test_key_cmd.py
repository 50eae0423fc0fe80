"""``cdc-actors key`` where no service has been yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from click.testing import CliRunner

from cdc_actors.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


def test_there_is_nothing_to_rotate(tmp_path: Path) -> None:
    """A wrong path to the settings is told of, and nothing is made there."""
    config = tmp_path / "cdc.yaml"
    path = tmp_path / "none" / "cdc.db"
    config.write_text(f"metaStoreConfig: {{sqlite: {{path: {path}}}}}")
    done = CliRunner().invoke(main, ["key", "rotate", "--config", str(config)])
    assert done.exit_code == 1
    assert f"there is no key {path.with_suffix('.key')} yet" in done.stderr
    assert not path.parent.exists()
