"""``cdc-actors assets`` writes the files, and takes care of what is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from click.testing import CliRunner

from cdc_actors.cli.assets_cmd import texts
from cdc_actors.cli.main import main

if TYPE_CHECKING:
    from click.testing import Result


def write(folder: Path, *options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["assets", "--write", str(folder), *options])


def content(folder: Path) -> dict[str, str]:
    """Return what a folder has, by name."""
    return {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir()}


def test_the_files_are_written_and_then_left_alone(tmp_path: Path) -> None:
    """The folder is made; a second time all of it is there already."""
    folder = tmp_path / "new" / "folder"
    assert write(folder).output.count("written  ") == len(texts())
    assert content(folder) == texts()
    assert set(texts()) == {
        "alerts.yaml",
        "dashboard.json",
        "cdc-actors.service",
        "Containerfile",
        "kubernetes.yaml",
    }
    assert write(folder).output.count("unchanged  ") == len(texts())


def test_what_somebody_has_changed_is_kept(tmp_path: Path) -> None:
    """It is named, nothing else is written either, and --force replaces it."""
    (tmp_path / "alerts.yaml").write_text("groups: []  # ours")
    done = write(tmp_path)
    assert done.exit_code == 1
    assert f"{tmp_path / 'alerts.yaml'}: there already" in done.output
    assert content(tmp_path) == {"alerts.yaml": "groups: []  # ours"}
    assert write(tmp_path, "--force").exit_code == 0
    assert content(tmp_path) == texts()


def test_a_folder_that_cannot_be_made_is_a_line(tmp_path: Path) -> None:
    """The system's reason, and no traceback."""
    done = write(Path("/proc/nowhere"))
    assert done.exit_code == 1
    assert done.output.startswith("Error: /proc/nowhere: ")
