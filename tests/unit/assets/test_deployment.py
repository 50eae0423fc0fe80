"""Unit, image and manifest to run the service with, as the tools that read them see."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

from cdc_actors.cli.assets_cmd import texts
from cdc_actors.cli.main import main
from cdc_actors.cli.serve import DRAIN_SECONDS, STOP_SECONDS
from cdc_actors.config import load

if TYPE_CHECKING:
    from collections.abc import Iterator

TOOLS = Path(sys.executable).parent
ASSETS = Path(__file__).parents[3] / "cdc_actors" / "assets"
PROGRAM = "/opt/cdc-actors/bin/cdc-actors"
STOP = DRAIN_SECONDS + STOP_SECONDS
EXPOSURE = 15
"""In tenths; systemd calls less than 50 fit for a service that the network can reach."""

OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all(texts()["kubernetes.yaml"]))
BY_KIND = {each["kind"]: each for each in OBJECTS}
POD = BY_KIND["StatefulSet"]["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def told(*command: object) -> str:
    """Run a tool that must find nothing wrong; return what it says."""
    words = [str(each) for each in command]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Return the unit for the program that is installed here."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("there is no systemd-analyze: Debian's package systemd has it")
    path = tmp_path / "cdc-actors.service"
    assert PROGRAM in texts()[path.name]
    text = texts()[path.name].replace(PROGRAM, str(TOOLS / "cdc-actors"))
    path.write_text(text)
    return path


def settings_of_unit() -> Iterator[tuple[str, str]]:
    """Yield each setting of the unit."""
    for line in texts()["cdc-actors.service"].splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            yield name, value


def test_systemd_takes_the_unit(unit: Path) -> None:
    """It knows every setting, and finds the program."""
    assert told("systemd-analyze", "verify", "--man=no", unit) == ""


def test_systemd_calls_the_unit_well_confined(unit: Path) -> None:
    """Its own score is far below what a service needs that the network can reach."""
    bound = f"--threshold={EXPOSURE}"
    said = told("systemd-analyze", "security", "--offline=true", bound, unit)
    assert "Overall exposure level" in said


def test_the_unit_is_of_what_the_service_does() -> None:
    """It tells when it is ready, feeds the watchdog, and is given the time to stop."""
    given = dict(settings_of_unit())
    assert given["Type"] == "notify"
    assert int(given["WatchdogSec"]) > 0
    assert int(given["TimeoutStopSec"]) > STOP
    wanted = {"NoNewPrivileges": "yes", "ProtectSystem": "strict", "DynamicUser": "yes"}
    assert wanted.items() <= given.items()
    usage = CliRunner().invoke(main, [*shlex.split(given["ExecStart"])[1:2], "--help"])
    assert "--config" in usage.output


def test_hadolint_takes_the_containerfile() -> None:
    """It finds nothing."""
    assert told(TOOLS / "hadolint", ASSETS / "Containerfile") == ""


def test_the_image_is_of_what_the_service_does() -> None:
    """No root, a probe that exists, and a command that is one."""
    lines = texts()["Containerfile"].replace("\\\n", " ").splitlines()
    given = dict(line.split(None, 1) for line in lines if re.match("[A-Z]+ ", line))
    assert given["USER"].partition(":")[0].isdecimal()
    assert given["USER"] == f"{POD['securityContext']['runAsUser']}:10001"
    probe = json.loads(given["HEALTHCHECK"].partition("CMD")[2])
    command = [*json.loads(given["ENTRYPOINT"]), *json.loads(given["CMD"])]
    for program, *words in (probe, command):
        assert program == "cdc-actors"
        assert CliRunner().invoke(main, [words[0], "--help"]).exit_code == 0
    assert command[1:] == CONTAINER["args"]


@pytest.mark.parametrize("shown", OBJECTS, ids=lambda each: each["kind"])
def test_kubernetes_takes_the_manifest(shown: dict[str, Any]) -> None:
    """Each object fits the schemas of the newest version, and of an older one."""
    for version in ("1.29", "1.37"):
        kubernetes_validate.validate(shown, version, strict=True)


def test_one_pod_owns_the_store_and_has_the_time_to_stop() -> None:
    """The old one ends before the new one begins, after the service has."""
    assert BY_KIND["StatefulSet"]["spec"]["replicas"] == 1
    assert POD["terminationGracePeriodSeconds"] > STOP
    assert POD["enableServiceLinks"] is False
    assert BY_KIND["Service"]["spec"]["publishNotReadyAddresses"] is True
    for kind in ("startup", "liveness", "readiness"):
        path = "/readyz" if kind == "readiness" else "/livez"
        assert CONTAINER[f"{kind}Probe"]["httpGet"] == {"path": path, "port": "http"}


def test_the_pod_may_do_little() -> None:
    """What the restricted profile of Kubernetes asks for, and a read-only root."""
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert CONTAINER["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert POD["automountServiceAccountToken"] is False


def test_the_objects_belong_together() -> None:
    """Selectors, volumes and what is read from elsewhere are all there."""
    labels = BY_KIND["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    assert BY_KIND["Service"]["spec"]["selector"] == labels
    for kind in ("StatefulSet", "PodDisruptionBudget"):
        assert BY_KIND[kind]["spec"]["selector"]["matchLabels"] == labels
    claims = BY_KIND["StatefulSet"]["spec"]["volumeClaimTemplates"]
    volumes = {each["name"] for each in POD["volumes"]}
    volumes |= {each["metadata"]["name"] for each in claims}
    assert {each["name"] for each in CONTAINER["volumeMounts"]} == volumes


def test_the_settings_of_the_manifest_are_settings(tmp_path: Path) -> None:
    """With a token in the place of none the service would start."""
    made = CliRunner().invoke(main, ["token", "create", "ops", "-o", "json"]).stdout
    path = tmp_path / "cdc.yaml"
    path.write_text(BY_KIND["ConfigMap"]["data"]["cdc.yaml"])
    secrets = BY_KIND["Secret"]["stringData"]
    tokens = json.dumps([json.loads(made)["settings"]])
    assert secrets["CDC_ACTORS_AUTH__TOKENS"] == "[]"
    config = load(path, secrets | {"CDC_ACTORS_AUTH__TOKENS": tokens}, {}).config
    assert config.listen == ("0.0.0.0", CONTAINER["ports"][0]["containerPort"])  # noqa: S104
    mounted = [each["mountPath"] for each in CONTAINER["volumeMounts"]]
    assert str(Path(config.meta_store_config.sqlite.path).parent) in mounted
