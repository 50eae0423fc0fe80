"""Milvus's own binaries, unpacked once for a user from the PyPI package ``milvus``."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import itertools
import lzma
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cdc_actors.embedded.cache import cached
from cdc_actors.errors import OperatorError

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class MilvusBinaries:
    """What it takes to run Milvus: its program and libraries, and its settings."""

    bin: Path
    template: Path

    @property
    def executable(self) -> Path:
        """The server's program."""
        return self.bin / "milvus"


def milvus_binaries() -> MilvusBinaries:
    """Return the installed Milvus, unpacked if it is not yet.

    Raises:
        OperatorError: The package is not installed, as there is none for this platform.
    """
    package = importlib.util.find_spec("milvus")
    if package is None or package.origin is None:
        raise OperatorError(
            "The package milvus 2.3.5, which holds a real Milvus server, is not "
            "installed: `pip install 'cdc-actors[demo]'`; it exists for Linux on x86-64 "
            "and macOS on Apple silicon only."
        )
    version = importlib.metadata.version("milvus")
    return unpacked(Path(package.origin).parent / "data", version)


def unpacked(data: Path, version: str) -> MilvusBinaries:
    """Return a Milvus from the folder ``data`` of such a package, unpacked if need be.

    That takes 300 MB, and some seconds.
    """
    target = cached(f"milvus-{version}", partial(_unpack, data / "bin"))
    return MilvusBinaries(bin=target, template=data / "config.yaml.template")


def _unpack(packed: Path, folder: Path) -> None:
    with ThreadPoolExecutor() as pool:
        files = packed.glob("*.lzma")
        list(pool.map(_unpack_file, files, itertools.repeat(folder)))


def _unpack_file(packed: Path, folder: Path) -> None:
    file = folder / packed.stem
    with lzma.open(packed) as source, file.open("wb") as sink:
        shutil.copyfileobj(source, sink, _CHUNK)
    file.chmod(0o755)
