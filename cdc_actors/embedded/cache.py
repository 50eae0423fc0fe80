"""What is fetched or unpacked once for a user, in a folder of the user's cache."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable


def cached(name: str, fill: Callable[[Path], None]) -> Path:
    """Return the folder ``name`` of the cache, filled by ``fill`` if it is not there yet.

    It is complete or does not exist: a process that is killed while it fills the folder
    leaves another one, which the next process replaces. Several processes may call this
    at once: one fills the folder, the others wait.

    Raises:
        OperatorError: The cache cannot be written to; and whatever ``fill`` raises.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base) / "cdc-actors"
    target = cache / name
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not target.exists():
                _fill(target, fill)
    except OSError as error:
        raise OperatorError(f"Cannot make {target}: {error}") from error
    return target


def _fill(target: Path, fill: Callable[[Path], None]) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    fill(partial)
    partial.rename(target)
