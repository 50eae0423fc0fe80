"""The source's storage: a folder here, where files vanish."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cdc_actors.config import Storage
from cdc_actors.source.storage.files import FileGoneError, Files, StorageError

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
