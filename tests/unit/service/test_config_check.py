"""``config check`` of a source of 2.6, on doubles."""

from __future__ import annotations

import os
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from cdc_actors.config import Config, Rocksmq, SourceConfig, Storage
from cdc_actors.service import config_check, source_checks, source_settings
from cdc_actors.source import wal_choice
from cdc_actors.source.storage import files
from tests.fakes.public_source import PublicSource
from tests.fakes.streamed_source import StreamedSource

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REST = {"store", "source api", "etcd"}
"""Parts that are the same for every version."""


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Iterator[StreamedSource]:
    """Yield a source of 2.6 that all settings lead to."""
    source = StreamedSource("2.6.20", "rocksmq")
    source.play()
    for module in (config_check, source_checks, source_settings, wal_choice):
        monkeypatch.setattr(module, "open_catalog", lambda _: source.etcd.catalog())
    with closing(source.nodes):
        yield source


def said(config: SourceConfig, without: set[str] = REST) -> dict[str, str]:
    """Check a configuration; return what is said of each part, with whether it works."""
    found = config_check.check(Config(source_config=config), without)
    return {each.part: f"{each.ok} {each.words}" for each in found}


@pytest.mark.parametrize("is_configured", [False, True])
def test_a_source_of_2_6(source: StreamedSource, *, is_configured: bool) -> None:
    """Whatever queue is configured: its nodes are asked, and why is said."""
    assert source.ticks
    queue = Rocksmq(path="/nowhere") if is_configured else None
    found = said(SourceConfig(rocksmq=queue))
    assert found["source version"] == "True 2.6.20"
    assert found["message queue"] == (
        "True read through the streaming nodes, whatever the queue is: Milvus has them "
        "from 2.6 on; not through the API, as there is an etcd, which tells more"
    )
    assert found["channels"] == (
        "True 16 in use; the log holds every collection's beginning"
    )


def test_files_of_2_6(source: StreamedSource, tmp_path: Path) -> None:
    """They help where the log has lost something, and without them that is said."""
    storage = Storage(type="local", path=str(tmp_path))
    assert "there is no folder" in said(SourceConfig(storage=storage))["storage"]
    (tmp_path / "insert_log").mkdir()
    for channel in source.ticks:
        source.nodes.lose(channel, 40)
    found = said(SourceConfig(storage=storage))
    assert found["storage"].startswith("True local, rows that the log no longer holds")
    assert found["storage"].endswith("there is no file yet")
    assert "a new task brings them from the source's files" in found["channels"]
    found = said(SourceConfig())
    assert "False the log no longer holds the beginning of" in found["channels"]
    assert "sourceConfig.storage has it read" in found["channels"]


def test_a_folder_that_hangs(
    source: StreamedSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file is opened, and no longer waited for than a while."""
    monkeypatch.setattr(files, "CHECK_SECONDS", 0.2)
    folder = tmp_path / "insert_log" / "1"
    folder.mkdir(parents=True)
    config = SourceConfig(storage=Storage(type="local", path=str(tmp_path)))
    # Who opens it to read waits for somebody who opens it to write.
    os.mkfifo(folder / "2")
    assert said(config)["storage"].endswith("insert_log: no answer for 0.2 s")
    # To open it for both waits for nobody, and its reader never finds it broken.
    both = os.open(folder / "2", os.O_RDWR)
    os.write(both, b"rows")
    os.close(both)
    (folder / "2").unlink()
    (folder / "2").write_bytes(b"rows")
    monkeypatch.setattr(files, "CHECK_SECONDS", 60.0)
    assert said(config)["storage"].endswith(f"{folder / '2'} can be read")


def test_nodes_that_are_away(source: StreamedSource) -> None:
    """It is said in their words."""
    source.nodes.stop()
    assert "the node is away" in said(SourceConfig())["message queue"]


def test_a_source_by_its_api_alone() -> None:
    """Each part is asked of the API, and why is said."""
    source = PublicSource("2.6.20", "rocksmq")
    source.play()
    with closing(source.nodes), closing(source.api):
        config = SourceConfig(uri=source.api.uri, etcd=None)
        found = said(config, {"store"})
        assert found["source api"] == f"True Milvus 2.6.20 at {source.api.uri}"
        assert found["source version"] == "True 2.6.20"
        assert found["catalog"].startswith("True 15 collections in 2 databases")
        assert found["message queue"].startswith("True read through the API alone")
        assert found["channels"].endswith("the log holds every collection's beginning")
        source.api.version = "2.6.10"
        found = said(config)
        assert "False the source is Milvus 2.6.10, whose API" in found["source version"]
