"""Which versions of Milvus can be a source."""

from __future__ import annotations

from cdc_actors.errors import OperatorError

Version = tuple[int, ...]
"""The numbers of a version; empty while it is not known."""

_REQUESTS_SINCE: Version = (2, 3, 2)
STREAMS_SINCE: Version = (2, 6)
"""From which version on streaming nodes have the log, whatever the message queue."""

_DUMPS_SINCE: Version = (2, 6, 20)
"""From which version on the public DumpMessages delivers transactions whole."""

_FIRST: Version = (2, 2, 16)
_TOO_NEW: Version = (3, 1)


def has_requests(version: Version) -> bool:
    """Tell whether the log of a version has the requests of clients."""
    return _REQUESTS_SINCE <= version < STREAMS_SINCE


class UnsupportedVersionError(OperatorError):
    """The source is a Milvus that cannot be read."""


def refuse_unsupported(version: Version, *, streams: bool = False) -> None:
    """Raise UnsupportedVersionError if a source of this version cannot be read.

    One of 2.5 that ``streams`` has the log of 2.6, which is an experiment there.
    """
    if not version:
        return
    shown = ".".join(map(str, version))
    if not _FIRST <= version < _TOO_NEW:
        raise UnsupportedVersionError(
            f"the source is Milvus {shown}; what can be replicated from are the versions "
            "2.2.16 to 3.0"
        )
    if streams and version < STREAMS_SINCE:
        raise UnsupportedVersionError(
            f"the source is Milvus {shown} with the streaming service of 2.6 "
            "(MILVUS_STREAMING_SERVICE_ENABLED), whose log cannot be read"
        )


def refuse_undumped(version: Version) -> None:
    """Raise UnsupportedVersionError if the API of this version does not tell the log."""
    if version and version < _DUMPS_SINCE:
        shown = ".".join(map(str, version))
        raise UnsupportedVersionError(
            f"the source is Milvus {shown}, whose API does not tell all of its log "
            "(DumpMessages does from 2.6.20 on): name its etcd in "
            "sourceConfig.etcd.address, and before 2.6 its message queue"
        )
