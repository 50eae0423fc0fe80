"""``cdc-actors assets``: what other programs need to run the service, and to watch it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from cdc_actors.errors import OperatorError

_EXAMPLES = """\b
Examples:
  cdc-actors assets --write /etc/prometheus/cdc-actors

\b
Files:
  alerts.yaml         alert rules for Prometheus: name it in rule_files
  dashboard.json      dashboard for Grafana: Dashboards, New, Import
  cdc-actors.service  unit for systemd
  Containerfile       image for podman or docker: build -f Containerfile
  kubernetes.yaml     manifest for Kubernetes, to be filled in

Exit status: 0 all of them are there, 1 they are not.
"""


@click.command(epilog=_EXAMPLES)
@click.option(
    "--write",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    required=True,
    help="Folder to write them to; made if there is none.",
)
@click.option("--force", is_flag=True, help="Replace files that differ.")
def assets(folder: Path, force: bool) -> None:  # noqa: FBT001 - click's
    """Write what runs the service, and what watches it, into a folder.

    Files there that differ are not replaced without --force: then nothing is written.
    """
    try:
        _write(folder, force=force)
    except OSError as error:
        raise OperatorError(f"{error.filename}: {error.strerror}") from error


def _write(folder: Path, *, force: bool) -> None:
    wanted = {folder / name: text for name, text in texts().items()}
    found = [path for path in wanted if path.exists()]
    same = {path for path in found if path.read_bytes() == wanted[path].encode()}
    differ = [str(path) for path in found if path not in same]
    if differ and not force:
        raise OperatorError(
            f"{', '.join(differ)}: there already, and not what this version has; nothing "
            "was written. Take another folder, or replace with --force"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for path, text in wanted.items():
        if path not in same:
            path.write_text(text, encoding="utf-8")
        click.echo(f"{'unchanged' if path in same else 'written':11}{path}")


def texts() -> dict[str, str]:
    """Return what each file holds, by name."""
    folder = files("cdc_actors") / "assets"
    return {
        each.name: each.read_text(encoding="utf-8")
        for each in sorted(folder.iterdir(), key=lambda each: each.name)
    }
