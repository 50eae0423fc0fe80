"""Ports for servers that are started here, never given to two of them."""

from __future__ import annotations

import random
import socket
from typing import TYPE_CHECKING

from cdc_actors.errors import TransientError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

HOST = "127.0.0.1"
# Below what Linux and macOS give to outgoing connections: those would take a port
# between its choice and its use.
_BLOCKS = range(20_000, 32_000, 16)
_BLOCK_SIZE = _BLOCKS.step


class PortBlock:
    """Named ports that stay this object's own until it is closed.

    A block is 16 neighbouring ports. Its first one is bound for as long as the block is
    in use, which keeps the others from every other ``PortBlock`` of the machine, also
    while the servers that they are for are stopped, and ends with this process.
    """

    def __init__(self, names: Sequence[str]) -> None:
        """Reserve one port for each of ``names``.

        Raises:
            TransientError: Every block of the range is in use.
        """
        if len(names) >= _BLOCK_SIZE:
            raise ValueError(f"a block has {_BLOCK_SIZE - 1} ports, not {len(names)}")
        self._guard, base = _claim(len(names))
        self._ports = {name: base + index for index, name in enumerate(names, 1)}

    def __getitem__(self, name: str) -> int:
        return self._ports[name]

    def __iter__(self) -> Iterator[int]:
        return iter(self._ports.values())

    def close(self) -> None:
        """Give the ports back. Idempotent."""
        self._guard.close()


def _claim(count: int) -> tuple[socket.socket, int]:
    for base in random.sample(_BLOCKS, len(_BLOCKS)):
        guard = _bind(HOST, base)
        if guard is None:
            continue
        if all(_is_free(port) for port in range(base + 1, base + 1 + count)):
            return guard, base
        guard.close()
    raise TransientError(
        f"no {count} neighbouring ports are free from {_BLOCKS.start} to "
        f"{_BLOCKS.stop}; stop some servers and try again"
    )


def _is_free(port: int) -> bool:
    # On every address, as Milvus listens.
    probe = _bind("", port)
    if probe is None:
        return False
    probe.close()
    return True


def _bind(host: str, port: int) -> socket.socket | None:
    candidate = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        candidate.bind((host, port))
    except OSError:
        candidate.close()
        return None
    return candidate
