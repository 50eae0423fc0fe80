"""The source's storage: a folder here, where files vanish."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import pytest

from cdc_actors.config import Storage
from cdc_actors.source.storage.files import FileGoneError, Files, StorageError
from tests.fakes.pipeline import WAIT_SECONDS
from tests.support.object_store import ObjectStore
from tests.support.s3_server import s3_server, writing
from tests.support.tls import certificates

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Return a storage with one file."""
    (tmp_path / "insert_log").mkdir()
    (tmp_path / "insert_log" / "1").write_bytes(b"rows")
    return Files(Storage(type="local", path=str(tmp_path)))


def test_a_file_that_is_there(files: Files) -> None:
    """It is read as a whole, or in parts."""
    assert files.read("insert_log/1").to_pybytes() == b"rows"
    with files.open("insert_log/1") as file:
        assert file.read_at(2, 2) == b"ws"


def test_a_file_that_is_gone(files: Files, tmp_path: Path) -> None:
    """It is told, also where it was open and something else is said of it."""
    assert issubclass(FileGoneError, StorageError)
    for read in (files.read, files.open):
        with pytest.raises(FileGoneError, match="insert_log/2 is not there any more"):
            read("insert_log/2")
    (tmp_path / "insert_log" / "1").unlink()
    with pytest.raises(FileGoneError), files.translated("insert_log/1"):
        raise OSError("404")


def test_a_storage_that_has_trouble(files: Files, tmp_path: Path) -> None:
    """A file that is there, or whose folder is not, is not called gone."""
    with (
        pytest.raises(
            StorageError, match=r"does not give .*/insert_log/1: a fault"
        ) as told,
        files.translated("insert_log/1"),
    ):
        raise OSError("a fault")
    assert not isinstance(told.value, FileGoneError)
    (tmp_path / "insert_log" / "1").unlink()
    (tmp_path / "insert_log").rmdir()
    with pytest.raises(StorageError, match="there is no folder") as told:
        files.read("insert_log/1")
    assert not isinstance(told.value, FileGoneError)


@pytest.fixture
def s3() -> Iterator[str]:
    """Yield the address of an empty object store."""
    with s3_server() as (host, port):
        yield f"{host}:{port}"


def test_a_bucket(s3: str) -> None:
    """A file is read, or told gone; a bucket or folder that is not there is named."""
    login = {"access_key_id": "minioadmin", "secret_access_key": "minioadmin"}
    storage = Storage(
        type="s3", address=s3, bucket_name="rows", root_path="files", **login
    )
    files = Files(storage)
    client = writing(s3)
    client.create_dir("rows")
    with pytest.raises(StorageError, match="there is no folder rows/files/insert_log"):
        files.check()
    for name in ("1/2/3", "1/2/4"):
        with client.open_output_stream(f"rows/files/insert_log/{name}") as file:
            file.write(b"content")
    files.check()
    assert files.sample() == "rows/files/insert_log/1/2/3"
    assert files.read("insert_log/1/2/3").to_pybytes() == b"content"
    client.delete_file("rows/files/insert_log/1/2/3")
    with pytest.raises(FileGoneError):
        files.read("insert_log/1/2/3")
    other = Files(msgspec.structs.replace(storage, bucket_name="other"))
    with pytest.raises(StorageError, match="there is no folder other/files/insert_log"):
        other.read("insert_log/1/2/4")


def test_a_bucket_behind_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its authority is that of the settings, and the login the environment's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "from-outside")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    made = certificates(tmp_path)
    with ObjectStore(made) as store:
        store.found = {"insert_log/1": b"rows"}
        given = store.settings | {"use_ssl": True, "ca_cert": str(made.authority)}
        storage = Storage(**given | {"access_key_id": "", "secret_access_key": ""})
        read = Files(storage).read("insert_log/1")
        assert read.to_pybytes() == b"rows"
        assert "Credential=from-outside/" in store.login
        with pytest.raises(StorageError, match="certificate"):
            Files(msgspec.structs.replace(storage, ca_cert="")).read("insert_log/1")


@pytest.mark.parametrize("status", [403, 503])
def test_a_bucket_that_refuses(status: int) -> None:
    """That is said; no file is called gone."""
    with ObjectStore() as store:
        store.refusal = status
        with pytest.raises(StorageError, match="does not give") as told:
            Files(Storage(**store.settings)).read("insert_log/1")
    assert not isinstance(told.value, FileGoneError)


READS_AND_ENDS = """
import sys, threading
import msgspec
from cdc_actors.cli.ending import end
from cdc_actors.config import Storage
from cdc_actors.source.storage.files import Files

files = Files(Storage(**msgspec.json.decode(sys.argv[1])))
threading.Thread(target=files.read, args=["insert_log/1"], daemon=True).start()
sys.stdin.readline()
end()
"""


def test_the_service_ends_while_an_object_store_does_not_answer() -> None:
    """Arrow by itself would wait for 90 seconds."""
    is_asked, go_on = threading.Event(), threading.Event()

    def wait() -> None:
        is_asked.set()
        go_on.wait(2 * WAIT_SECONDS)

    with ObjectStore() as store:
        store.before = wait
        given = msgspec.json.encode(store.settings).decode()
        command = [sys.executable, "-c", READS_AND_ENDS, given]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
            assert is_asked.wait(WAIT_SECONDS)
            process.communicate(b"\n", timeout=WAIT_SECONDS)
        go_on.set()
    assert process.returncode == 0


CHECKS = """
from cdc_actors.cli.main import main
from cdc_actors.source.storage import files

files.CHECK_SECONDS = 0.2
main()
"""


@pytest.mark.parametrize("command", ["config check", "doctor"])
def test_a_check_of_an_object_store_that_says_nothing(
    command: str, tmp_path: Path
) -> None:
    """It is said, and the command ends; Arrow by itself would ask for minutes."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        storage = {"type": "s3", "address": address, "bucketName": "rows"}
        source = {"uri": NOBODY, "etcd": {"address": [NOBODY]}, "storage": storage}
        (tmp_path / "cdc.yaml").write_text(json.dumps({"sourceConfig": source}))
        ended = subprocess.run(
            [sys.executable, "-c", CHECKS, *command.split(), "--config", "cdc.yaml"],
            cwd=tmp_path,
            env={**os.environ, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"},
            capture_output=True,
            text=True,
            timeout=WAIT_SECONDS,
            check=False,
        )
    [written, *_] = [*map(Path.read_text, tmp_path.glob("*doctor*.json")), ended.stdout]
    assert "does not give rows/insert_log: no answer for 0.2 s" in written
    assert ended.returncode == (4 if command == "config check" else 0), ended.stderr
