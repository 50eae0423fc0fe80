"""``cdc-actors doctor``: everything that a bug report needs, in one file."""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
from contextlib import closing, contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click
import msgspec

from cdc_actors.beside import uninterrupted
from cdc_actors.cli.api import DEFAULT_URL, api_of, service_options
from cdc_actors.cli.config_cmd import config_option
from cdc_actors.cli.ending import end
from cdc_actors.config import load
from cdc_actors.config.auth import Role
from cdc_actors.errors import CdcError, OperatorError
from cdc_actors.masking import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from cdc_actors.cli.api import Api
    from cdc_actors.config import Config, Resolved
    from cdc_actors.store.database import Database
    from cdc_actors.store.event_log import TaskLog
    from cdc_actors.store.secrets import SecretBox

LAST_EVENTS = 50
"""How many events of each task are taken."""

TARGET_SECONDS = 3
"""How long connecting to each target may take."""

_TESTS = 'extra == "test"'
_NAME = re.compile(r"[\w.-]+")
_SHORTEST_SECRET = 7
"""Shorter ones are masked in their places, and are not looked for elsewhere: the password
that Milvus begins with is a word."""

_EXAMPLES = """\b
Examples:
  cdc-actors doctor --config cdc.yaml
  cdc-actors doctor --config cdc.yaml --url https://cdc.example:8444 report.json

\b
Content, a JSON object:
  versions       of this program, of Python and of the libraries; the system
  configuration  each setting, its value and its origin; secrets are masked
  checks         what `config check` says
  service        what the running service says of itself and of its tasks
  store          the tasks, their last events, checkpoints and send horizons
  targets        of each task: the target's version, and which requests it refuses
  catalog        the source's collections, with their schemas
  log            of each task: what the source's log says next, record by record: kinds,
                 times, columns and their sizes, no values

Exit status: 0 the file was written, 1 it was not, 2 wrong usage.
"""


@click.command(epilog=_EXAMPLES)
@config_option
@service_options
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.pass_context
def doctor(context: click.Context, path: Path | None, file: Path | None) -> None:
    """Write a file for a bug report.

    The service may be down or ill. It is asked at the address in the settings unless a URL
    is given. Names of collections, addresses and errors are in the file. Rows, tokens,
    passwords and keys are not. Without FILE its name has the time; one that exists is not
    replaced.
    """
    file = file or Path(f"cdc-actors-doctor-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.json")
    api = api_of(context, default_url=_url(path))
    with _new(file) as write:
        report = uninterrupted(_report)(path, api)
        write(_without(_secrets(path), _text(report)))
    failed = [each["error"] for each in report["service"].values() if "error" in each]
    if error := report["configuration"].get("error"):
        click.echo(f"Warning: without settings, checks and store: {error}", err=True)
    for error in dict.fromkeys(failed):
        click.echo(f"Warning: without what the service says: {error}", err=True)
    click.echo(f"Written: {file}. Look through it before you hand it on.")
    end()


def _url(path: Path | None) -> str:
    """Return where a service of these settings is asked on its own machine."""
    try:
        config = load(path, os.environ, {}).config
    except CdcError:
        return DEFAULT_URL
    host, port = config.listen
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    scheme = "https" if config.tls.cert_path else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@contextmanager
def _new(file: Path) -> Iterator[Callable[[str], object]]:
    """Yield what writes a new file, which only its owner may read."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise OperatorError(f"{file} exists: name another file") from error
    except OSError as error:
        raise OperatorError(f"{file}: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
            yield opened.write
    except BaseException:
        file.unlink()
        raise


def _report(path: Path | None, api: Api) -> dict[str, Any]:
    report: dict[str, Any] = {
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "service": _service(api),
    }
    try:
        resolved = load(path, os.environ, {})
    except CdcError as error:
        return report | {"configuration": {"error": str(error)}}
    return report | {
        "configuration": _configuration(resolved),
        "checks": _tried(lambda: _checks(resolved.config)),
        "store": _tried(lambda: _store(resolved.config)),
        "targets": _tried(lambda: _targets(resolved.config)),
        "catalog": _tried(lambda: _catalog(resolved.config)),
        "log": _tried(lambda: _log(resolved.config)),
    }


def _text(report: dict[str, Any]) -> str:
    """Return it as JSON, with whatever looks like a secret masked once more."""
    from cdc_actors.cli.logs import mask_secrets  # noqa: PLC0415 - it loads much

    plain = msgspec.to_builtins(report, str_keys=True)
    masked = mask_secrets(None, "", plain)
    return json.dumps(masked, indent=1, default=str) + "\n"


def _secrets(path: Path | None) -> set[str]:
    """Return what the settings and the environment keep secret, wherever it is repeated."""
    found = {
        os.environ.get(name, "") for name in ("CDC_ACTORS_TOKEN", "CDC_ACTORS_KEY")
    }
    try:
        resolved = load(path, os.environ, {})
    except CdcError:
        return found
    shown = {*_texts(resolved.shown()), *get_args(Role)}
    hidden = set(_texts(msgspec.to_builtins(resolved.config))) - shown
    # Those of user:password, and of an address with both.
    passwords = {
        part.rpartition(":")[2]
        for each in hidden
        for part in (each, each.rpartition("@")[0])
    }
    return found | hidden | passwords


def _texts(value: Any) -> Iterator[str]:
    """Yield every text within a value."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value


def _without(secrets: set[str], text: str) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(json.dumps(secret)[1:-1], MASK)
    return text


def _tried(part: Callable[[], Any]) -> Any:
    """One part that fails says why, and the others are there."""
    try:
        return part()
    except CdcError as error:
        return {"error": str(error)}
    except Exception as error:  # noqa: BLE001 - whatever it is belongs into the report
        return {"error": f"unexpected {type(error).__name__}: {error}"}


def _versions() -> dict[str, str]:
    ours = [each for each in requires("cdc-actors") or () if _TESTS not in each]
    found = {
        "cdc-actors": version("cdc-actors"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": str(os.cpu_count()),
        "sqlite": sqlite3.sqlite_version,
    }
    for name in sorted({_package(each) for each in ours}):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _package(requirement: str) -> str:
    """Return the name in what ``requires`` has."""
    found = _NAME.match(requirement)
    return found[0] if found else requirement


def _configuration(resolved: Resolved) -> dict[str, Any]:
    return {
        "settings": [
            {"key": dotted, "value": value, "origin": resolved.origins[dotted]}
            for dotted, value in resolved.shown().items()
        ],
        "warnings": list(resolved.warnings),
        "variables": sorted(
            each for each in os.environ if each.startswith("CDC_ACTORS_")
        ),
    }


def _checks(config: Config) -> list[dict[str, Any]]:
    """A store that is not there is not made."""
    from cdc_actors.cli import logs  # noqa: PLC0415 - these load much
    from cdc_actors.service.config_check import check  # noqa: PLC0415

    logs.configure("error")
    without = () if _has_store(config) else ("store",)
    return [asdict(finding) for finding in check(config, without=without)]


def _has_store(config: Config) -> bool:
    store = config.meta_store_config
    return store.store_type != "sqlite" or Path(store.sqlite.path).exists()


def _service(api: Api) -> dict[str, Any]:
    return {
        "livez": _tried(lambda: api.probe("/livez")),
        "readyz": _tried(lambda: api.probe("/readyz")),
        "tasks": _tried(lambda: api.ask("list")["tasks"]),
    }


def _store(config: Config) -> dict[str, Any]:
    from cdc_actors.service.stores import open_log  # noqa: PLC0415 - it loads much

    if not _has_store(config):
        raise OperatorError(f"there is none at {config.meta_store_config.sqlite.path}")
    with closing(open_log(config)) as log:
        return {
            "type": config.meta_store_config.store_type,
            "head": _tried(lambda: _head(log.database)),
            "tasks": {
                each: _tried(partial(_task, log, each)) for each in log.alive_ids()
            },
        }


def _targets(config: Config) -> dict[str, Any]:
    from cdc_actors.service.stores import key_path, open_log  # noqa: PLC0415
    from cdc_actors.store.secrets import KEY_VARIABLE, SecretBox  # noqa: PLC0415

    path = key_path(config)
    if not _has_store(config) or not (os.environ.get(KEY_VARIABLE) or path.exists()):
        raise OperatorError("there is no store, or no key to its secrets")
    secrets = SecretBox.open(path, os.environ)
    with closing(open_log(config)) as log:
        return {
            each: _tried(partial(_target, log, secrets, each))
            for each in log.alive_ids()
        }


def _target(log: TaskLog, secrets: SecretBox, task_id: str) -> dict[str, str]:
    from cdc_actors.target.connection import connect  # noqa: PLC0415
    from cdc_actors.target.inspection import inspect  # noqa: PLC0415

    task = log.load(task_id)
    param = msgspec.structs.replace(task.spec.target, connect_timeout=TARGET_SECONDS)
    with closing(connect(param, secrets.decrypt(task.secret))) as target:
        return inspect(target)


def _catalog(config: Config) -> dict[str, Any]:
    from cdc_actors.cli import doctor_source  # noqa: PLC0415 - it loads much

    return doctor_source.catalog(config.source_config)


def _log(config: Config) -> dict[str, Any]:
    """What a task has in hand may be behind this: it stands where it has confirmed."""
    from cdc_actors.cli import doctor_source  # noqa: PLC0415
    from cdc_actors.service.stores import open_log  # noqa: PLC0415
    from cdc_actors.store.checkpoints import Checkpoints  # noqa: PLC0415

    if not _has_store(config):
        raise OperatorError("there is no store")
    with closing(open_log(config)) as log:
        stands = {each: Checkpoints(log).load(each) for each in log.alive_ids()}
    return {
        each: _tried(partial(doctor_source.log, config.source_config, at))
        for each, at in stands.items()
    }


def _head(database: Database) -> str:
    from cdc_actors.store.audit.verify import head_of  # noqa: PLC0415

    return str(head_of(database))


def _task(log: TaskLog, task_id: str) -> dict[str, Any]:
    from cdc_actors.store.checkpoints import Checkpoints  # noqa: PLC0415
    from cdc_actors.store.history import History  # noqa: PLC0415
    from cdc_actors.store.send_horizons import SendHorizons  # noqa: PLC0415

    last = log.last_number(task_id)
    after = max(0, last - LAST_EVENTS)
    checkpoints = Checkpoints(log).load(task_id).items()
    return {
        "last_event": last,
        "events": History(log).page(task_id, after=after, limit=LAST_EVENTS).events,
        "checkpoints": {
            channel: {"position": each.position.text, "tick": each.tick}
            for channel, each in checkpoints
        },
        "send_horizons": SendHorizons(log).load(task_id),
    }
