"""Prometheus as its users run it, where it is installed."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import yaml

from cdc_actors.embedded.ports import PortBlock
from tests.support.cdc import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PACKAGE = "Debian's package prometheus has it"


def program(name: str) -> str:
    """Return the path of ``prometheus`` or ``promtool``; skips the test without it."""
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"there is no {name}: {PACKAGE}")
    return path


class Prometheus:
    """A server that scrapes four times a second. One thread uses it."""

    def __init__(self, address: str) -> None:
        self._address = address

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Return the series that an expression has now.

        Raises:
            AssertionError: It is refused; the text says why.
        """
        found: list[dict[str, Any]] = self._get(f"query?query={quote(expression)}")[
            "result"
        ]
        return found

    def rules(self) -> list[dict[str, Any]]:
        """Return all rules, each with how its last evaluation went."""
        groups = self._get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def metadata(self) -> dict[str, Any]:
        """Return what is known of each metric that was scraped, also without samples."""
        found: dict[str, Any] = self._get("metadata")
        return found

    def is_up(self) -> bool:
        """Tell whether it answers, and is done with starting."""
        try:
            with urlopen(f"http://{self._address}/-/ready", timeout=30):
                return True
        except OSError:
            return False

    def _get(self, path: str) -> Any:
        try:
            with urlopen(f"http://{self._address}/api/v1/{path}", timeout=30) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            with error:
                raise AssertionError(f"{path}: {error.read().decode()}") from error


@contextmanager
def scraping(folder: Path, target: str, rules: Path) -> Iterator[Prometheus]:
    """Yield a server that scrapes ``target``, a host and port, and evaluates rules."""
    server = program("prometheus")
    config = folder / "prometheus.yml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "250ms", "evaluation_interval": "1s"},
                "rule_files": [str(rules)],
                "scrape_configs": [
                    {"job_name": "cdc", "static_configs": [{"targets": [target]}]}
                ],
            }
        )
    )
    ports = PortBlock(["prometheus"])
    address = f"127.0.0.1:{ports['prometheus']}"
    command = [
        server,
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'prometheus'}",
        f"--web.listen-address={address}",
    ]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        prometheus = Prometheus(address)
        wait_until(prometheus.is_up, f"Prometheus answers, {log.name}", 60)
        yield prometheus
    finally:
        process.kill()
        process.wait()
        ports.close()
