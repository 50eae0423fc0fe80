"""A stretch of an open file that is read as a file of its own."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa


class Stretch(io.RawIOBase):
    """So many bytes of a file from one on. One thread uses it, and closes the file."""

    def __init__(self, file: pa.NativeFile, begin: int, size: int) -> None:
        self._file = file
        self._begin, self._size = begin, size
        self._at = 0

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell that it can be read from anywhere."""
        return True

    def tell(self) -> int:
        """Return where it is read next."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read on from somewhere else."""
        origins = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}
        self._at = origins[whence] + offset
        return self._at

    def read(self, size: int = -1) -> pa.Buffer:
        """Return so many bytes, or as many as there are left. Arrow takes its own."""
        left = max(self._size - self._at, 0)
        self._file.seek(self._begin + self._at)
        data = self._file.read_buffer(left if size < 0 else min(size, left))
        self._at += data.size
        return data
