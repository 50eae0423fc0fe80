"""A new key for secrets: what the next start makes of it, on both stores."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from tests.support.cdc import Cdc, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite

SECRET = "pl4nted-s3cret"


def rotate(cdc: Cdc, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command that adds a key."""
    command = [sys.executable, "-m", "cdc_actors", "key", "rotate"]
    return subprocess.run(
        [*command, "--config", str(cdc.config)],
        cwd=cdc.folder,
        env=os.environ | env,
        capture_output=True,
        text=True,
        check=False,
    )


def key_file(cdc: Cdc) -> Path:
    """Return where the keys are."""
    (path,) = cdc.folder.glob("*.key")
    return path


def create(cdc: Cdc, target: EmbeddedLite, name: str) -> str:
    """Create a task whose target's token is a secret."""
    param = {"uri": target.uri, "token": f"root:{SECRET}"}
    infos = [{"name": name}]
    data = cdc.ask("create", milvus_connect_param=param, collection_infos=infos)
    return data["task_id"]


def restart(cdc: Cdc) -> None:
    """Stop and start the service."""
    assert cdc.stop() == 0
    cdc.start()


def rekeyed(cdc: Cdc, task: str) -> list[dict[str, Any]]:
    """Return what tells that the secret of a task was encrypted anew."""
    events = cdc.ask("history", task_id=task, limit=1000)["events"]
    return [each for each in events if each["event"] == "rekeyed"]


def test_a_new_key_takes_over_at_a_restart(
    alone: Cdc, target_lite: EmbeddedLite
) -> None:
    """Every task then works without the old key, paused ones, too, and says so once."""
    tasks = [create(alone, target_lite, name) for name in "ab"]
    alone.ask("pause", task_id=tasks[1])
    old = key_file(alone).read_text()
    assert "stop that service first" in rotate(alone).stderr
    assert key_file(alone).read_text() == old
    assert alone.stop() == 0
    done = rotate(alone)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Start the service to use it" in done.stdout
    keys = key_file(alone).read_text().split()
    assert [old.strip()] == keys[:-1]
    assert keys[-1] not in done.stdout
    alone.start()
    restart(alone)
    for task in tasks:
        (event,) = rekeyed(alone, task)
        assert event["who"]["kind"] == "supervisor"
        assert (event["why"], event["content"]) == ("there is a newer key", {})
    key_file(alone).write_text(keys[-1])
    restart(alone)
    alone.ask("resume", task_id=tasks[1])
    for task in tasks:
        wait_until(lambda task=task: asks_the_source(alone, task), "the token was read")
    status, _ = alone.request("get", task_id=tasks[0], as_of=1)
    assert status == 200


def asks_the_source(cdc: Cdc, task: str) -> bool:
    """Say whether a task has come so far that it misses its source, which is away."""
    shown = cdc.get(task)
    assert "stored secret" not in str(shown)
    return shown["health"]["status"] == "retrying"


def test_without_the_right_key_a_task_stands_still_and_says_why(
    alone: Cdc, target_lite: EmbeddedLite
) -> None:
    """A key that was taken away too early is asked for, and put back all is well."""
    task = create(alone, target_lite, "*")
    path = key_file(alone)
    old = path.read_text()
    assert alone.stop() == 0
    assert rotate(alone).returncode == 0
    both = path.read_text()
    path.write_text(both.removeprefix(old))
    alone.start()
    wait_until(
        lambda: "put back the key" in str(alone.get(task)),
        "the task says what it lacks",
    )
    path.write_text(both)
    restart(alone)
    assert len(rekeyed(alone, task)) == 1
    alone.ask("resume", task_id=task)
    wait_until(lambda: asks_the_source(alone, task), "the token was read")


def test_a_key_in_the_environment_is_not_the_commands(alone: Cdc) -> None:
    """What to do by hand is said instead."""
    done = rotate(alone, CDC_ACTORS_KEY="MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    assert done.returncode == 1
    assert "put a new one behind it" in done.stderr
    assert "MDEy" not in done.stderr
