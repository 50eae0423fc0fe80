"""The client of etcd: what ends a watch, and what its errors show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from cdc_actors.errors import TransientError
from cdc_actors.source.catalog.etcd import EtcdClient, EtcdConfig, EtcdWatch

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Stream:
    """A stream of answers that fails with something of its own."""

    def __init__(self, failure: Exception | None) -> None:
        self._failure = failure

    def __iter__(self) -> Iterator[Any]:
        if self._failure is not None:
            raise self._failure
        return iter(())

    def cancel(self) -> None:
        """Do nothing."""


class _Channel:
    """A channel whose only stream is given."""

    def __init__(self, stream: _Stream) -> None:
        self._stream = stream

    def stream_stream(self, *_: object, **__: object) -> Any:
        """Return what makes the stream."""
        return lambda *_, **__: self._stream

    def close(self) -> None:
        """Do nothing."""


def _ended(failure: Exception | None) -> EtcdWatch:
    channel: Any = _Channel(_Stream(failure))
    watch = EtcdWatch(channel, (), [b"prefix"], 1)
    watch._reader.join(60)
    assert not watch._reader.is_alive()
    return watch


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (ValueError("not a message"), r"etcd: the watch failed .*not a message"),
        (None, "etcd ended the watch"),
    ],
)
def test_a_watch_that_ended_says_so(failure: Exception | None, words: str) -> None:
    """Whatever ended it: a watch that is no more must not look like a quiet catalog."""
    watch = _ended(failure)
    with pytest.raises(TransientError, match=words):
        watch.take()
    watch.close()


def test_a_login_in_the_address_is_never_shown() -> None:
    """Neither when nobody answers nor when the host is not known."""
    config = EtcdConfig(
        endpoints=["http://user:s3cret@127.0.0.1:1", "user:s3cret@no.such.host:2379"]
    )
    client = EtcdClient(config)
    with pytest.raises(TransientError, match="etcd does not answer") as caught:
        client.read(b"key")
    client.close()
    assert isinstance(caught.value.__context__, grpc.RpcError | None)
    assert "127.0.0.1:1" in str(caught.value)
    assert "s3cret" not in repr(caught.value)
    assert "s3cret" not in repr(caught.value.__context__)
