"""The source's storage: a folder here, where files vanish."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import msgspec
import pytest

from cdc_actors.config import Storage
from cdc_actors.source.storage.files import FileGoneError, Files, StorageError
from tests.fakes.pipeline import WAIT_SECONDS
from tests.support.object_store import ObjectStore

if TYPE_CHECKING:
    from pathlib import Path


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


READS_AND_ENDS = """
import sys, threading
import msgspec
from cdc_actors.cli.serve import end
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
