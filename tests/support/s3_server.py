"""An object store that can be written to, of one process with the tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

if TYPE_CHECKING:
    from collections.abc import Iterator

LOGIN = {"access_key": "minioadmin", "secret_key": "minioadmin"}


@contextmanager
def s3_server() -> Iterator[tuple[str, int]]:
    """Yield host and port of an object store without any bucket.

    All servers of a process have one content, which outlives them.
    """
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        urlopen(Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
        yield host, port
    finally:
        server.stop()


def writing(address: str) -> S3FileSystem:
    """Return a client that may make buckets."""
    return S3FileSystem(
        endpoint_override=address, scheme="http", allow_bucket_creation=True, **LOGIN
    )
