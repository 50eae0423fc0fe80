"""Older Milvus servers for the tests, from the wheels of the PyPI package ``milvus``."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from cdc_actors.embedded.binaries import MilvusBinaries, unpacked

_PATIENCE = 900


def milvus_of(version: str) -> MilvusBinaries:
    """Return a Milvus of some version, fetched by pip if it is not there yet.

    Skips the test, with pip's reason, where it cannot be had.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    cache = Path(base) / "cdc-actors"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"milvus-{version}-wheel"
    with (cache / f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.exists():
            _fetch(version, target)
    return unpacked(target / "milvus" / "data", version)


def _fetch(version: str, target: Path) -> None:
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    fetched = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--no-deps"),
            *("--only-binary=:all:", "-d", str(partial), f"milvus=={version}"),
        ],
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )
    if fetched.returncode:
        pytest.skip(f"no Milvus {version}: {fetched.stderr.strip()[-500:]}")
    (wheel,) = partial.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(partial)
    wheel.unlink()
    partial.rename(target)
