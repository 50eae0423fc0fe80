"""Where the source's files are: a folder, or a bucket of an object store."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from cdc_actors.beside import beside
from cdc_actors.errors import TransientError
from cdc_actors.source.extras import check_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    import pyarrow as pa

    from cdc_actors.config import Storage


_Answer = TypeVar("_Answer")

CHECK_SECONDS = 10.0
"""How long a store may take to answer whether it is there."""


class StorageError(TransientError):
    """The storage does not give a file, or not what Milvus writes: that may pass."""


class FileGoneError(StorageError):
    """A file that the catalog named is there no longer: Milvus has removed it since."""


class Calls:
    """How many calls of stores have not returned yet. Any thread may use it."""

    def __init__(self) -> None:
        self.under_way = 0
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        with self._lock:
            self.under_way += 1
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self.under_way -= 1


CALLS = Calls()
"""Those of this process. Arrow waits for them before the process ends, 90 seconds for a
store that is away, and keeps all of Python waiting: no signal would end it either."""


class FileReader(Protocol):
    """Gives files by their paths; what its methods do is said in ``Files``."""

    def read(self, path: str) -> pa.Buffer:
        """Return all of a file."""
        ...

    def open(self, path: str) -> pa.NativeFile:
        """Return a file to be read in parts."""
        ...

    def translated(self, path: str) -> AbstractContextManager[None]:
        """Raise for what goes wrong while a file is read."""
        ...


class Files:
    """Reads the files of one source by their paths below its root. Any thread may use it.

    ``is_far`` tells that each request takes a while, whatever it asks for.

    Methods raise ``StorageError`` where the store is away, or refuses.
    """

    def __init__(self, storage: Storage) -> None:
        check_library("storage")
        self._store, self._root = _open(storage)
        self.is_far = storage.type != "local"

    def read(self, path: str) -> pa.Buffer:
        """Return all of a file.

        Raises:
            FileGoneError: There is none.
        """
        with self.translated(path), self.open(path) as file:
            return file.read_buffer()

    def read_small(self, path: str, most: int) -> pa.Buffer | None:
        """Return all of a file, None if it has more than so many bytes.

        Raises:
            FileGoneError: There is none.
        """
        with self.translated(path), self.open(path) as file:
            return file.read_buffer() if file.size() <= most else None

    def open(self, path: str) -> pa.NativeFile:
        """Return a file to be read in parts, each within ``translated``; close it.

        Raises:
            FileGoneError: There is none.
        """
        with self.translated(path):
            return self._store.open_input_file(f"{self._root}/{path}")

    @contextmanager
    def translated(self, path: str) -> Iterator[None]:
        """Raise ``StorageError`` for what goes wrong while a file is read.

        Raises:
            FileGoneError: It is there no longer.
        """
        try:
            with CALLS:
                yield
        except OSError as error:
            if isinstance(error, FileNotFoundError) or self._is_gone(path):
                self.check()
                raise FileGoneError(f"{path} is not there any more") from error
            raise _translated(error, f"{self._root}/{path}") from error

    def _is_gone(self, path: str) -> bool:
        from pyarrow.fs import FileType  # noqa: PLC0415 - an extra

        whole = f"{self._root}/{path}"
        try:
            with CALLS:
                return bool(self._store.get_file_info(whole).type is FileType.NotFound)
        except OSError as error:
            raise _translated(error, whole) from error

    def check(self) -> None:
        """See that the store answers soon, and has a folder of Milvus's rows.

        Raises:
            StorageError: It does not, or there is none: it is another store, or nothing
                was written yet.
        """
        self._soon(self._check)

    def sample(self) -> str:
        """Read the beginning of some file soon; return its path, empty if there is none.

        Raises:
            StorageError: The store does not list files, or does not give one.
        """
        return self._soon(self._sample)

    def _soon(self, ask: Callable[[str], _Answer]) -> _Answer:
        """Ask for the folder of rows; raise StorageError for what goes wrong."""
        folder = f"{self._root}/insert_log"
        try:
            # Arrow asks one that is silent for minutes, and cannot be stopped.
            return beside(partial(ask, folder), "storage").result(CHECK_SECONDS)
        except TimeoutError as error:
            silent = TimeoutError(f"no answer for {CHECK_SECONDS:g} s")
            raise _translated(silent, folder) from error
        except OSError as error:
            raise _translated(error, folder) from error

    def _check(self, folder: str) -> None:
        from pyarrow.fs import FileType  # noqa: PLC0415 - an extra

        with CALLS:
            [found] = self._store.get_file_info([folder])
        if found.type is not FileType.Directory:
            raise StorageError(
                f"there is no folder {folder}: check path, bucket and rootPath in "
                "sourceConfig.storage, or nothing was flushed at the source yet"
            )

    def _sample(self, folder: str) -> str:
        with CALLS:
            if path := next(self._paths_below(folder), ""):
                with self._store.open_input_file(path) as file:
                    file.read(1)
        return path

    def _paths_below(self, folder: str) -> Iterator[str]:
        from pyarrow.fs import FileSelector, FileType  # noqa: PLC0415 - an extra

        for each in self._store.get_file_info(FileSelector(folder)):
            if each.type is FileType.Directory:
                yield from self._paths_below(each.path)
            else:
                yield each.path


def _open(storage: Storage) -> tuple[Any, str]:
    from pyarrow import fs  # noqa: PLC0415 - an extra

    if storage.type == "local":
        return fs.LocalFileSystem(), storage.path.rstrip("/")
    given = {
        "access_key": storage.access_key_id,
        "secret_key": storage.secret_access_key,
        "region": storage.region,
        "endpoint_override": storage.address,
        "tls_ca_file_path": storage.ca_cert,
    }
    try:
        store = fs.S3FileSystem(
            **{name: value for name, value in given.items() if value},
            scheme="https" if storage.use_ssl else "http",
            connect_timeout=5.0,
            request_timeout=30.0,
        )
    except (OSError, ValueError) as error:
        raise _translated(error, storage.bucket_name) from error
    return store, "/".join(filter(None, (storage.bucket_name, storage.root_path)))


def _translated(error: Exception, what: str) -> StorageError:
    return StorageError(
        f"the source's storage (sourceConfig.storage) does not give {what}: {error}"
    )
