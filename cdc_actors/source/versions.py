"""Which versions of Milvus can be a source."""

from __future__ import annotations

from cdc_actors.errors import OperatorError

Version = tuple[int, ...]
"""The numbers of a version; empty while it is not known."""

REQUESTS_SINCE: Version = (2, 3, 2)
"""From which version on the log has the requests of clients."""

_FIRST: Version = (2, 2, 16)
_TOO_NEW: Version = (2, 6)


class UnsupportedVersionError(OperatorError):
    """The source is a Milvus that cannot be read."""


def refuse_unsupported(version: Version) -> None:
    """Raise UnsupportedVersionError if a source of this version cannot be read."""
    if version and not _FIRST <= version < _TOO_NEW:
        raise UnsupportedVersionError(
            f"the source is Milvus {'.'.join(map(str, version))}; what can be "
            "replicated from are the versions 2.2.16 to 2.5"
        )
