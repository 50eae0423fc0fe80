"""The embedded servers: real ones, side by side, that come back and leave nothing."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import lzma
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import nats
import pytest
from pymilvus import MilvusClient

from cdc_actors.embedded.binaries import milvus_binaries
from cdc_actors.embedded.lite import EmbeddedLite
from cdc_actors.embedded.milvus import EmbeddedMilvus
from cdc_actors.embedded.ports import HOST, PortBlock
from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cdc_actors.embedded.server import EmbeddedServer

START_AND_WAIT = """
import json, sys, time
from pathlib import Path
from cdc_actors.embedded.lite import EmbeddedLite
from cdc_actors.embedded.milvus import EmbeddedMilvus
folders = [Path(name) for name in sys.argv[1:]]
with EmbeddedMilvus(folders[0]) as milvus, EmbeddedLite(folders[1]) as lite:
    print(json.dumps([milvus.pid, lite.pid]), flush=True)
    time.sleep(600)
"""


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.02)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _write(server: EmbeddedServer, name: str) -> None:
    client = MilvusClient(server.uri, timeout=30)
    client.create_collection(name, dimension=4)
    client.insert(name, [{"id": 1, "vector": [1.0, 2.0, 3.0, 4.0]}])


def _rows(server: EmbeddedServer, name: str) -> list[dict[str, object]]:
    client = MilvusClient(server.uri, timeout=30)
    client.load_collection(name)  # Milvus Lite forgets it with the process.
    return list(client.query(name, filter="id > 0", consistency_level="Strong"))


def test_servers_stand_side_by_side(
    source: EmbeddedMilvus,
    target_milvus: EmbeddedMilvus,
    target_lite: EmbeddedLite,
    emptied: Callable[[EmbeddedServer], MilvusClient],
) -> None:
    """Two Milvus and a Milvus Lite run at once, and each has its own data."""
    servers = (source, target_milvus, target_lite)
    clients = [emptied(server) for server in servers]
    clients[0].create_collection("only_here", dimension=4)
    assert [client.list_collections() for client in clients] == [["only_here"], [], []]
    ports = [port for server in servers for port in server.ports]
    assert len(set(ports)) == len(ports)


@pytest.mark.parametrize(
    "kind",
    [EmbeddedLite, pytest.param(EmbeddedMilvus, marks=pytest.mark.thorough)],
)
def test_killed_server_comes_back(
    kind: type[EmbeddedMilvus | EmbeddedLite], tmp_path: Path
) -> None:
    """A server that was killed has its rows and its address when it starts again."""
    with kind(tmp_path) as server:
        address = server.uri
        _write(server, "kept")
        before = _rows(server, "kept")
        server.kill()
        assert server.pid is None
        server.start()
        assert server.uri == address
        assert _rows(server, "kept") == before
        assert len(before) == 1


def test_nothing_outlives_a_killed_parent(tmp_path: Path) -> None:
    """When the process that started the servers is killed, the servers end as well."""
    folders = [str(tmp_path / name) for name in ("milvus", "lite")]
    command = [sys.executable, "-c", START_AND_WAIT, *folders]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        pids = json.loads(parent.stdout.readline())
        assert all(map(_lives, pids))
        parent.send_signal(signal.SIGKILL)
    for pid in pids:
        _until(lambda pid=pid: not _lives(pid), f"process {pid} ended")


@pytest.mark.thorough
def test_server_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    """A server started in a thread goes on when that thread has ended."""
    with EmbeddedLite(tmp_path) as server:
        server.stop()
        thread = threading.Thread(target=server.start)
        thread.start()
        thread.join()
        _write(server, "after")
        assert len(_rows(server, "after")) == 1


def test_stop_leaves_no_process(tmp_path: Path) -> None:
    """After a stop the whole process group is gone, and a second stop does nothing."""
    with EmbeddedLite(tmp_path) as server:
        pid = server.pid
        assert pid
        server.stop()
        with pytest.raises(ProcessLookupError):
            os.killpg(pid, 0)
        server.stop()


def test_failed_start_says_why(tmp_path: Path) -> None:
    """A server that ends while it starts leaves the end of its log in the error."""
    with EmbeddedLite(tmp_path) as first:
        second = EmbeddedLite(tmp_path / "second")
        (tmp_path / "second").mkdir()
        (tmp_path / "second" / "data").symlink_to(first.folder / "data")
        with pytest.raises(OperatorError, match=r"(?s)ended while it started.*Locked"):
            second.start()
        assert second.pid is None
        second.close()


def test_settings_reach_the_server(tmp_path: Path) -> None:
    """The limits wanted of natsmq are those of the channels that it makes."""

    async def limits(address: str) -> tuple[int | None, int | None]:
        async with await nats.connect(address) as client:
            info = await client.jetstream().stream_info("by-dev-rootcoord-dml_0")
        return info.config.max_msgs, info.config.max_bytes

    retention = {"maxMsgs": 40, "maxBytes": 1 << 20}
    wanted = {"natsmq": {"server": {"retention": retention}}}
    with EmbeddedMilvus(tmp_path, wanted=wanted) as server:
        assert asyncio.run(limits(server.nats_address)) == (40, 1 << 20)


def test_missing_package_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the package ``milvus`` the error says what is missing and why."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(OperatorError, match=r"milvus 2\.3\.5.* is not installed: "):
        milvus_binaries()


def test_binaries_are_unpacked_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several that unpack at once get one complete folder, also after a killed one."""
    packed = tmp_path / "site" / "milvus" / "data" / "bin"
    packed.mkdir(parents=True)
    (packed.parent.parent / "__init__.py").touch()
    for name in ("milvus", "library.so"):
        (packed / f"{name}.lzma").write_bytes(lzma.compress(name.encode()))
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    left_over = tmp_path / "cdc-actors" / "milvus-2.3.5.partial"
    left_over.mkdir(parents=True)
    (left_over / "milvus").write_bytes(b"half")

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda _: milvus_binaries(), range(8)))

    assert len(set(found)) == 1
    contents = {file.name: file.read_bytes() for file in found[0].bin.iterdir()}
    assert contents == {"milvus": b"milvus", "library.so": b"library.so"}
    assert os.access(found[0].executable, os.X_OK)
    assert not left_over.exists()


def test_ports_are_given_once() -> None:
    """Ports of one block are never in another one, and are there for a server."""
    blocks = [PortBlock(["one", "two"]) for _ in range(100)]
    ports = [port for block in blocks for port in block]
    assert len(set(ports)) == 200
    for block in blocks:
        with socket.create_server((HOST, block["one"])):
            pass
        block.close()
