"""Older Milvus servers for the tests, from the wheels of the PyPI package ``milvus``."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from functools import partial
from typing import TYPE_CHECKING

import pytest

from cdc_actors.embedded.binaries import MilvusBinaries, unpacked
from cdc_actors.embedded.cache import cached

if TYPE_CHECKING:
    from pathlib import Path

_INSTALL_TIMEOUT = 900


def milvus_of(version: str) -> MilvusBinaries:
    """Return a Milvus of some version, fetched by pip if it is not there yet.

    Skips the test, with pip's reason, where it cannot be had.
    """
    target = cached(f"milvus-{version}-wheel", partial(_fetch, version))
    return unpacked(target / "milvus" / "data", version)


def _fetch(version: str, folder: Path) -> None:
    fetched = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--no-deps"),
            *("--only-binary=:all:", "-d", str(folder), f"milvus=={version}"),
        ],
        capture_output=True,
        text=True,
        timeout=_INSTALL_TIMEOUT,
        check=False,
    )
    if fetched.returncode:
        pytest.skip(f"no Milvus {version}: {fetched.stderr.strip()[-500:]}")
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    wheel.unlink()
