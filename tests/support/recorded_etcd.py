"""The catalog that a real Milvus left, in a real etcd."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

import grpc

from cdc_actors.config import Etcd
from tests.support.recorded_life import CatalogWrite, life

if TYPE_CHECKING:
    from types import TracebackType


class RecordedEtcd:
    """A folder of a real etcd with all that a recorded life left. For a ``with``."""

    def __init__(self, address: str, version: str) -> None:
        root = f"recorded-{version}"
        self.config = Etcd(address=(address,), root_path=f"{root}/by-dev")
        self._root = root
        self._version = version
        self._channel = grpc.insecure_channel(address.removeprefix("http://"))

    def put(self, key: str, value: bytes) -> None:
        """Write a pair of the metadata."""
        self._write(f"{self._root}/by-dev/meta/{key}", value)

    def __enter__(self) -> Self:
        written = [
            each for each in life(self._version) if isinstance(each, CatalogWrite)
        ]
        last = {each.key: each.value for each in written}
        for key, value in last.items():
            if value is not None:
                self._write(f"{self._root}/{key}", value)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._channel.close()

    def _write(self, key: str, value: bytes) -> None:
        request = b"".join(
            bytes([number << 3 | 2]) + _size(each) + each
            for number, each in ((1, key.encode()), (2, value))
        )
        self._channel.unary_unary("/etcdserverpb.KV/Put")(request, timeout=60)


def _size(value: bytes) -> bytes:
    """Return a length as protobuf has it, of less than two million bytes."""
    length = len(value)
    return bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
