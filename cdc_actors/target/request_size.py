"""How large a request may be that the target takes, and every proxy on the way to it."""

from __future__ import annotations


class RequestSize:
    """The size of one kind of request, in bytes: found out by asking, not configured.

    It falls to half of what was too large and does not rise: what limits it is a setting
    of somebody's. The next run begins with the most again. Any thread may use it.
    """

    def __init__(self, most: int) -> None:
        self.limit = most
        """How large a request is made at most, as far as it can be made smaller."""
        self._taken = 0

    def on_success(self, size: int) -> None:
        """Note that the target took a request."""
        self._taken = max(self._taken, size)

    def on_rejected(self, size: int) -> None:
        """Note that a request was called too large."""
        self.limit = max(1, min(self.limit, size // 2))

    def was_taken(self, size: int) -> bool:
        """Tell whether a request as large as this one was taken before."""
        return size <= self._taken
