"""Who may do what with the running service, and who is told to have done it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.away import AWAY
from tests.support.cdc import Cdc, wait_until
from tests.support.tls import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite


def cli(*arguments: str) -> str:
    """Run a command that must succeed; return what it prints."""
    command = [sys.executable, "-m", "cdc_actors", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def tokens() -> dict[str, tuple[str, dict[str, str]]]:
    """Make a token of each role; return them with their entries of the settings."""
    made = {}
    for role in ("viewer", "operator"):
        command = ("token", "create", f"my-{role}", "--role", role, "-o", "json")
        told = json.loads(cli(*command))
        made[role] = told["token"], told["settings"]
    return made


@pytest.fixture
def guarded(tokens, tmp_path: Path) -> Iterator[Cdc]:
    """Yield a service that asks for tokens; requests are the operator's."""
    auth = json.dumps({"tokens": [settings for _, settings in tokens.values()]})
    cdc = Cdc(tmp_path, AWAY, settings=f"auth: {auth}\n")
    cdc.token = tokens["operator"][0]
    with cdc:
        yield cdc


def test_the_name_of_the_token_is_in_every_event(
    guarded: Cdc, tokens, target_lite: EmbeddedLite
) -> None:
    """What each client did is told with its token's name; strangers did nothing."""
    task = guarded.create(target_lite.uri)
    for token, status in ((None, 401), (tokens["viewer"][0], 403)):
        guarded.token = token
        assert guarded.request("pause", task_id=task)[0] == status
    guarded.token = tokens["operator"][0]
    guarded.ask("pause", task_id=task)
    guarded.token = tokens["viewer"][0]
    events = guarded.ask("history", task_id=task)["events"]
    clients = [
        (each["event"], each["who"]["token_name"])
        for each in events
        if each["who"]["kind"] == "client"
    ]
    assert clients == [("created", "my-operator"), ("paused", "my-operator")]


def test_no_token_is_kept_anywhere(
    guarded: Cdc, tokens, target_lite: EmbeddedLite
) -> None:
    """The service knows hashes only: no file, no log line and no answer has a token."""
    task = guarded.create(target_lite.uri)
    answers = [guarded.request("history", task_id=task), guarded.request("list")]
    guarded.token = tokens["operator"][0] + "x"
    answers.append(guarded.request("list"))
    assert [status for status, _ in answers] == [200, 200, 401]
    assert guarded.stop() == 0
    files = [path.read_bytes() for path in guarded.folder.iterdir()]
    for token, _ in tokens.values():
        secret = token.partition(".")[2]
        assert secret not in str(answers)
        assert not any(secret.encode() in content for content in files)


def test_commands_log_in_by_the_variable(
    guarded: Cdc, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command finds its token where no other process sees it."""
    assert guarded.token is not None
    monkeypatch.setenv("CDC_ACTORS_TOKEN", guarded.token)
    url = f"http://127.0.0.1:{guarded.port}"
    assert json.loads(cli("task", "list", "--url", url, "-o", "json")) == []


def test_the_service_over_tls(tmp_path: Path) -> None:
    """With certificate and key in the settings the service speaks TLS, and says so."""
    files = certificates(tmp_path)
    cdc = Cdc(tmp_path / "tls", AWAY)
    settings = {
        "CDC_ACTORS_TLS__CERT_PATH": str(files.certificate),
        "CDC_ACTORS_TLS__KEY_PATH": str(files.key),
    }
    serve = [sys.executable, "-m", "cdc_actors", "serve", "--config", str(cdc.config)]
    url = f"https://127.0.0.1:{cdc.port}"
    reach = ("--url", url, "--ca", str(files.authority))
    with cdc.log.open("wb") as log:
        process = subprocess.Popen(
            serve, env=os.environ | settings, cwd=cdc.folder, stdout=log, stderr=log
        )
    try:
        wait_until(lambda: url in cdc.log.read_text(), "the log says where it listens")
        wait_until(lambda: lists(*reach), "the service answers")
    finally:
        process.terminate()
        process.wait(60)
        cdc.__exit__()
    assert process.returncode == 0


def lists(*options: str) -> bool:
    """Say whether a service lists its tasks."""
    command = [sys.executable, "-m", "cdc_actors", "task", "list", *options]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
