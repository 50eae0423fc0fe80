"""Alert rules and dashboard: what no Prometheus need be asked about, and promtool."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdc_actors.cli.assets_cmd import texts
from tests.support.prometheus import program

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HEADINGS = {
    line.lstrip("# ").replace("`", "")
    for line in README.splitlines()
    if line.startswith("#")
}
ALERTS: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load(texts()["alerts.yaml"])["groups"]
    for rule in group["rules"]
]
PANELS = json.loads(texts()["dashboard.json"])["panels"]


def promtool(*arguments: object) -> None:
    """Run promtool, which must find nothing wrong."""
    done = subprocess.run(
        [program("promtool"), *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_the_runbook_of_each_alert_is_a_chapter_of_the_readme(alert) -> None:
    """Whoever is woken finds what to do, and the alert by its name or its chapter."""
    assert alert["annotations"]["runbook"] in HEADINGS
    assert {"summary", "description"} <= alert["annotations"].keys()
    assert alert["labels"]["severity"] in {"critical", "warning"}


def test_alerts_that_the_readme_names_exist() -> None:
    """No name there is misspelt, or of an alert that is gone."""
    named = set(re.findall(r"`(Cdc[A-Z]\w+)`", README))
    assert named
    assert named <= {alert["alert"] for alert in ALERTS}


def test_prometheus_takes_the_rules() -> None:
    """Its own tool finds nothing wrong with them."""
    promtool("check", "rules", ROOT / "cdc_actors" / "assets" / "alerts.yaml")


def test_each_alert_fires_when_it_should() -> None:
    """And not before, nor for what is no trouble: see the cases in the file."""
    cases = Path(__file__).with_name("alerts_test.yaml")
    promtool("test", "rules", cases)
    text = cases.read_text(encoding="utf-8")
    assert [each["alert"] for each in ALERTS if each["alert"] not in text] == []


def test_panels_do_not_overlap() -> None:
    """Each has a place of its own on the dashboard, an id, and says what it shows."""
    taken = [
        (x, y)
        for place in (panel["gridPos"] for panel in PANELS)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(set(taken)) == len(taken)
    assert max(x for x, _ in taken) < 24
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
    assert all(panel["title"] and panel["description"] for panel in PANELS)
