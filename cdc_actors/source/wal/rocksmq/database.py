"""A look at the RocksDB of a running Milvus, which is not disturbed by it.

RocksDB's secondary instance reads the files of the primary and follows its log; it holds
no lock. The binding writes a file of its own into the folder that it opens. So it is
given another one, with links to the two files that RocksDB looks for there; where the
rest is, it is told. Nothing is ever written into Milvus's folder, which may be read-only.
"""

from __future__ import annotations

import os
import shutil
import struct
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from fcntl import F_GETLK, LOCK_EX, LOCK_NB, fcntl, flock
from fcntl import F_UNLCK as UNLOCKED
from fcntl import F_WRLCK as LOCK_TO_WRITE
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rocksdict import AccessType, DBPath, Options, Rdict

from cdc_actors.errors import OperatorError, TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rocksdict import RdictIter

_SCRATCH = "cdc-actors-rocksmq-"
_LOCK_GRACE = 60.0
"""Seconds in which a folder may be one that is just being made, and not locked yet."""

_OPEN_FILES = 256
_LOG_BYTES = 1 << 20
_UNLIMITED = 1 << 62
_TICK_NS = 50_000_000
# ``struct flock``: type, whence, start, length, process; in another order on macOS.
_FLOCK, _FLOCK_TYPE = ("qqihh", 3) if sys.platform == "darwin" else ("hhqqi4x", 0)


class RocksView:
    """A secondary instance of the RocksDB in ``path``; one thread at a time uses it.

    Raises:
        OperatorError: There is no RocksDB, or it may not be read.
        TransientError: No Milvus has it open, or RocksDB fails, in its words.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = _open_lock(path)
        _remove_left_over()
        self._scratch = Path(tempfile.mkdtemp(prefix=_SCRATCH))
        self._scratch_lock = _lock_folder(self._scratch)
        self._folder = self._scratch / "view"
        try:
            self.check_served()
            self._folder.mkdir()
            self._list(0)
            self._db = self._open()
        except BaseException:
            self._clear()
            raise

    def check_served(self) -> None:
        """See that Milvus has the RocksDB open.

        Raises:
            TransientError: It has not: nobody holds the lock on its file ``LOCK``.
        """
        asked = [0] * 5
        asked[_FLOCK_TYPE] = LOCK_TO_WRITE
        found = struct.unpack(
            _FLOCK, fcntl(self._lock, F_GETLK, struct.pack(_FLOCK, *asked))
        )
        if found[_FLOCK_TYPE] == UNLOCKED:
            raise TransientError(f"rocksmq at {self._path}: no Milvus has it open")

    def mark(self) -> tuple[int, ...]:
        """Return what differs after each write: it shows in RocksDB's newest log file."""
        changed = os.stat(self._path).st_mtime_ns  # noqa: PTH116 - twice as quick.
        if changed != self._listed:
            self._list(changed)
        try:
            log = os.stat(self._newest_log)  # noqa: PTH116
        except FileNotFoundError:
            return (0,)
        return changed, log.st_size, log.st_mtime_ns

    def catch_up(self) -> int:
        """Take in what Milvus has written; return RocksDB's number of the last write."""
        self.mark()
        self._db.try_catch_up_with_primary()
        return self._db.latest_sequence_number()

    def entries(self) -> RdictIter:
        """Return an iterator over the state last caught up with."""
        return self._db.iter()

    def items(self, start: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield keys and values from ``start`` on, of this channel and of the next ones.

        The binding ends it at an error as it does at the end: only ``entries`` tells.
        It is not given an upper bound, since the binding frees that before its use.
        """
        items: Any = self._db.items(from_key=start)
        return iter(items)

    def holds(self, key: bytes) -> bool:
        """Tell whether there is a value for the key."""
        return key in self._db

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Raise what RocksDB and the disk report within as ``TransientError``."""
        try:
            yield
        except Exception as error:
            # The binding raises the bare class.
            if type(error) is not Exception and not isinstance(error, OSError):
                raise
            raise TransientError(f"rocksmq at {self._path}: {error}") from error

    def close(self) -> None:
        """Release everything and remove what is ours on the disk."""
        self._db.close()
        self._clear()

    def _clear(self) -> None:
        os.close(self._lock)
        shutil.rmtree(self._scratch, ignore_errors=True)
        os.close(self._scratch_lock)

    def _open(self) -> Rdict:
        secondary = AccessType.secondary(str(self._scratch / "secondary"))
        with self.failures():
            names = Rdict.list_cf(str(self._folder), self._options())
            families = {name: self._options() for name in names}
            return Rdict(str(self._folder), self._options(), families, secondary)

    def _options(self) -> Options:
        options = Options(raw_mode=True)
        options.create_if_missing(False)
        options.set_wal_dir(str(self._path))
        options.set_db_paths([DBPath(str(self._path), _UNLIMITED)])
        options.set_max_open_files(_OPEN_FILES)
        # RocksDB starts the others anew each time that it catches up: 2 ms of two cores.
        options.set_max_file_opening_threads(1)
        options.set_skip_stats_update_on_db_open(True)
        options.set_stats_dump_period_sec(0)
        options.set_stats_persist_period_sec(0)
        options.set_max_log_file_size(_LOG_BYTES)
        options.set_keep_log_file_num(1)
        return options

    def _list(self, changed: int) -> None:
        """Link what RocksDB looks for in its own folder, and find the newest log."""
        names = [each.name for each in self._path.iterdir()]
        for name in names:
            link = self._folder / name
            wanted = name == "CURRENT" or name.startswith("MANIFEST-")
            if wanted and not link.is_symlink():
                link.symlink_to(self._path / name)
        logs = [name for name in names if name.endswith(".log")]
        self._newest_log = str(self._path / max(logs, default="none", key=_file_number))
        # More may change within one tick of the file system's clock.
        self._listed = changed if time.time_ns() - changed > _TICK_NS else 0


def _lock_folder(folder: Path) -> int:
    """Lock a scratch folder for as long as its descriptor, returned, or we live.

    Raises:
        OSError: It is in use.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        flock(descriptor, LOCK_EX | LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _remove_left_over() -> None:
    """Remove what killed ones have left: small, but one for each kill."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_SCRATCH}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LOCK_GRACE:
                descriptor = _lock_folder(folder)
                shutil.rmtree(folder, ignore_errors=True)
                os.close(descriptor)


def _file_number(name: str) -> int:
    return int(name.removesuffix(".log"))


def _open_lock(path: Path) -> int:
    try:
        (path / "CURRENT").read_bytes()
        return os.open(path / "LOCK", os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise OperatorError(
            f"sourceConfig.rocksmq.path: in {path} no RocksMQ can be read "
            f"({error.strerror}): give the rocksmq.path of the source's Milvus as it is "
            "seen on this machine, readable for this process"
        ) from error
