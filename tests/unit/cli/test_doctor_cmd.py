"""``cdc-actors doctor``: what a bug report has, and what it never has."""

from __future__ import annotations

import json
import stat
from contextlib import closing
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from cdc_actors.cli.main import main
from cdc_actors.errors import FailureClass, KindRefusedError
from cdc_actors.store.checkpoints import Checkpoints
from cdc_actors.store.event_log import TaskLog
from cdc_actors.store.secrets import SecretBox
from cdc_actors.store.send_horizons import SendHorizons
from cdc_actors.target.inspection import inspect
from cdc_http import Server, create_app
from tests.support.http_service import FakeService
from tests.support.tasks import SUPERVISOR, checkpoint, new_task

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

SECRET = "pl4nted"
HASH = f"scrypt:{32 * 'a'}:{64 * 'b'}"
CONFIG = {
    "metaStoreConfig": {"sqlite": {"path": "cdc.db"}},
    "sourceConfig": {
        "uri": "http://127.0.0.1:1",
        "token": f"root:{SECRET}-1",
        "etcd": {
            "address": ["http://127.0.0.1:1"],
            "enableAuth": True,
            "username": "reader",
            "password": f"{SECRET}-2",
        },
        "kafka": {
            "address": "127.0.0.1:1",
            "saslUsername": "reader",
            "saslPassword": f"{SECRET}-3",
            "saslMechanisms": "PLAIN",
            "securityProtocol": "SASL_PLAINTEXT",
            "consumer": {"ssl.key.password": f"{SECRET}-4"},
        },
    },
    "auth": {"tokens": [{"name": "ops", "role": "operator", "hash": HASH}]},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder that commands run in, with settings full of secrets."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cdc.yaml").write_text(json.dumps(CONFIG))
    monkeypatch.setenv("CDC_ACTORS_TOKEN", f"ops.{SECRET}-5")
    return tmp_path


@pytest.fixture
def task_id(folder: Path) -> str:
    """Return a task in the store whose target has secrets, and that failed."""
    secrets = SecretBox.open(folder / "cdc.key", {})
    uri = f"http://root:{SECRET}-6@target:19530"
    task = new_task(secret=secrets.encrypt(f"root:{SECRET}-7"))
    error = f"{uri} does not answer, nor to {SECRET}-2 and {SECRET}-1"
    task.fail(
        error, FailureClass.TRANSIENT, next_try=None, who=SUPERVISOR, why="a run failed"
    )
    with closing(TaskLog.sqlite("cdc.db")) as log:
        log.save(task)
        Checkpoints(log).save(task.task_id, [checkpoint()])
        SendHorizons(log).save(task.task_id, {"dml_0": 7})
    return task.task_id


def doctor(*arguments: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(main, ["doctor", "--config", "cdc.yaml", *arguments])


def report(*arguments: str) -> dict[str, Any]:
    """Run the command, with nobody at the URL; return what it wrote."""
    done = doctor("--url", "http://127.0.0.1:1", "report.json", *arguments)
    assert done.exit_code == 0, done.output
    with open("report.json", encoding="utf-8") as file:  # noqa: PTH123
        found: dict[str, Any] = json.load(file)
    return found


def test_all_is_there_while_the_service_is_down(task_id: str) -> None:
    """Versions, settings with origins, checks, and what the store has of each task."""
    found = report()
    assert {"cdc-actors", "python", "pymilvus"} <= found["versions"].keys()
    settings = {each["key"]: each for each in found["configuration"]["settings"]}
    assert settings["sourceConfig.token"]["value"] == "******"
    assert settings["sourceConfig.token"]["origin"].startswith("file cdc.yaml")
    assert found["configuration"]["variables"] == ["CDC_ACTORS_TOKEN"]
    checks = {each["part"]: each for each in found["checks"]}
    assert checks["store"] == {"part": "store", "ok": True, "words": "sqlite, 1 task"}
    assert not checks["etcd"]["ok"]
    assert not checks["source version"]["ok"]
    assert "127.0.0.1:1" in checks["source version"]["words"]
    assert "does not answer" in found["service"]["livez"]["error"]
    task = found["store"]["tasks"][task_id]
    assert [each["event"] for each in task["events"]] == ["created", "failed"]
    assert task["events"][-1]["content"]["failure_class"] == "transient"
    assert task["send_horizons"] == {"dml_0": 7}
    assert len(task["checkpoints"]) == 1


def test_what_a_target_is_and_refuses() -> None:
    """Its version, and which requests were done, or why not; not what it answered."""

    def call(method: str, _request: Any, _database: str, _timeout: float) -> str:
        if method == "ListDatabases":
            raise KindRefusedError("it has none")
        return SECRET

    target: Any = SimpleNamespace(version="2.6.20", call=call)
    found = inspect(target)
    assert found.pop("version") == "2.6.20"
    assert found.pop("ListDatabases") == "KindRefusedError: it has none"
    assert set(found.values()) == {"done"}


def test_a_target_that_does_not_answer(task_id: str) -> None:
    """Its task says so, and the rest of the report is there."""
    assert "target:19530" in report()["targets"][task_id]["error"]


@pytest.mark.parametrize(
    ("settings", "url"),
    [
        ({"address": "127.0.0.1:1"}, "http://127.0.0.1:1"),
        ({"address": "0.0.0.0:1"}, "http://127.0.0.1:1"),
        (
            {"address": "[::1]:1", "tls": {"certPath": "c.pem", "keyPath": "k.pem"}},
            "https://[::1]:1",
        ),
    ],
)
def test_a_service_that_is_not_there_is_said(
    folder: Path, settings: dict[str, Any], url: str
) -> None:
    """It is asked at the address of the settings, and the file is written without it."""
    (folder / "cdc.yaml").write_text(json.dumps(CONFIG | settings))
    done = doctor("report.json")
    assert done.exit_code == 0, done.output
    said = (
        f"Warning: without what the service says: the service at {url} does not answer"
    )
    assert done.stderr.count(said) == 1
    assert (folder / "report.json").exists()


def test_the_service_of_the_settings_is_asked(folder: Path) -> None:
    """Where it listens stands in the file; a URL comes before it."""
    server = Server(create_app(FakeService()), "127.0.0.1", 0)
    server.start()
    address = f"127.0.0.1:{server.address[1]}"
    (folder / "cdc.yaml").write_text(json.dumps(CONFIG | {"address": address}))
    asked = doctor("asked.json")
    elsewhere = doctor("elsewhere.json", "--url", "http://127.0.0.1:1")
    server.stop()
    assert (asked.exit_code, asked.stderr) == (0, "")
    assert "tasks" in json.loads((folder / "asked.json").read_text())["service"]
    assert "http://127.0.0.1:1 does not answer" in elsewhere.stderr


def test_no_secret_is_in_it(task_id: str, folder: Path) -> None:
    """Of settings, environment, targets, keys: neither as they are nor encrypted."""
    assert task_id in report()["store"]["tasks"]
    text = (folder / "report.json").read_text()
    assert SECRET not in text
    assert (folder / "cdc.key").read_text().split()[-1] not in text
    assert HASH not in text
    with closing(TaskLog.sqlite("cdc.db")) as log:
        secret = log.load(task_id).secret
    assert secret
    assert secret not in text
    assert stat.S_IMODE((folder / "report.json").stat().st_mode) == 0o600


def test_a_file_that_exists_is_not_replaced(task_id: str, folder: Path) -> None:
    """It is named, and stays what it is; without a name there is a new one each time."""
    assert task_id
    (folder / "report.json").write_text("mine")
    done = doctor("report.json")
    assert (done.exit_code, "report.json exists" in done.output) == (1, True)
    assert (folder / "report.json").read_text() == "mine"
    assert doctor("--url", "http://127.0.0.1:1").exit_code == 0
    assert len(list(folder.glob("cdc-actors-doctor-*Z.json"))) == 1


def test_what_the_service_says_is_there(task_id: str) -> None:
    """Its health, what is missing, and its tasks as the API shows them."""
    assert task_id
    server = Server(create_app(FakeService()), "127.0.0.1", 0)
    server.start()
    found = report("--url", f"http://127.0.0.1:{server.address[1]}")["service"]
    server.stop()
    assert found == {"livez": {"alive": True}, "readyz": {"ready": True}, "tasks": []}


@pytest.mark.parametrize("broken", ["settings", "store", "no store"])
def test_what_cannot_be_had_is_said(task_id: str, folder: Path, broken: str) -> None:
    """The rest is there, and nothing is made where there was nothing."""
    assert task_id
    store, settings = folder / "cdc.db", folder / "cdc.yaml"
    for file in folder.glob("cdc.db*"):
        file.unlink()
    if broken == "store":
        store.write_text("this is no database, and long enough to be told from one")
    if broken == "settings":
        settings.write_text(f"sourceConfg: {{token: {SECRET}-8}}")
    found = report()
    part = found["configuration" if broken == "settings" else "store"]
    assert part.keys() == {"error"}
    assert found["versions"]
    assert store.exists() == (broken == "store")
    assert SECRET not in (folder / "report.json").read_text()
    said = doctor("--url", "http://127.0.0.1:1", "again.json").output
    assert ("without settings, checks and store" in said) is (broken == "settings")
