"""A target behind TLS: which files of a request are used, against a real server."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cdc_actors.errors import OperatorError, TransientError
from cdc_actors.target.connection import connect
from cdc_actors.tasks import ConnectParam
from tests.support.tls import certificates, tls_front

if TYPE_CHECKING:
    from pathlib import Path

    from cdc_actors.embedded.lite import EmbeddedLite


def test_tls_files_of_a_target(target_lite: EmbeddedLite, tmp_path: Path) -> None:
    """One authority is enough for one-way TLS, under either name; mutual TLS takes three.

    Without them the server is not trusted, and a file that is not there is named.
    """
    files = certificates(tmp_path)
    authority = str(files.authority)
    client = {
        "ca_pem_path": authority,
        "client_pem_path": str(files.certificate),
        "client_key_path": str(files.key),
    }
    one_way = {"server_pem_path": authority}, {"ca_pem_path": authority}

    def version(uri: str, paths: dict[str, str]) -> str:
        with closing(
            connect(ConnectParam(uri=uri, connect_timeout=5, **paths), "")
        ) as it:
            return it.version

    with tls_front(target_lite.uri, files, mutual=False) as uri:
        for paths in one_way:
            assert version(uri, paths).startswith("milvus_lite")
        with pytest.raises(TransientError, match="cannot connect"):
            version(uri, {})
        with pytest.raises(OperatorError, match=r"nowhere\.pem"):
            version(uri, {"ca_pem_path": "nowhere.pem"})
    with tls_front(target_lite.uri, files) as uri:
        assert version(uri, client).startswith("milvus_lite")
