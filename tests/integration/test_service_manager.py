"""The service under a service manager: what it says on NOTIFY_SOCKET."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from tests.support.cdc import Cdc


def test_systemd_hears_of_the_service(
    alone: Cdc, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is ready once it answers, says how it is, feeds the watchdog, and stops."""
    assert alone.stop() == 0
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    # It is fed three times in this time.
    monkeypatch.setenv("WATCHDOG_USEC", "600000")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as manager:
        manager.settimeout(60)
        manager.bind(address)
        alone.launch()
        assert manager.recv(4096) == b"READY=1\nSTATUS=started"
        assert alone.probe("/livez") == (200, {"alive": True})
        heard = b""
        while b"source" not in heard:
            heard = manager.recv(4096)
        assert heard.startswith(b"STATUS=")
        while heard != b"WATCHDOG=1":
            heard = manager.recv(4096)
        assert alone.stop() == 0
        # All that was sent is here by now; what was sent last comes last.
        manager.setblocking(False)
        try:
            while True:
                heard = manager.recv(4096)
        except BlockingIOError:
            assert heard == b"STOPPING=1\nSTATUS=stopping"
