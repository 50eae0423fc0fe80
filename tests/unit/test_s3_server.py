"""The object store of tests."""

from __future__ import annotations

from pyarrow.fs import FileType

from tests.support.s3_server import s3_server, writing


def test_it_begins_empty() -> None:
    """What another test of this process left in a bucket is not there."""
    for _ in range(2):
        with s3_server() as (host, port):
            client = writing(f"{host}:{port}")
            assert client.get_file_info("rows").type == FileType.NotFound
            client.create_dir("rows/files/insert_log")
