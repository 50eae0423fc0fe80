"""The one small interface behind which every message queue stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from types import TracebackType

    from cdc_actors.changes import Position, Record


class WalReader(Protocol):
    """Reads physical channels of one source's write-ahead log.

    One thread uses a reader; ``close`` may come from any. A reader leaves nothing
    behind at the queue: no consumer group, no durable, no topic made by reading.

    Every method raises ``TransientError`` when the queue is away, in the queue's own
    words, ``OperatorError`` for a refused login or a wrong setting, and
    ``PositionLostError`` as soon as it is known that the log no longer holds what would
    come next. After an error the reader is closed and another one opened.

    A log that is streamed, by nodes of 2.6 and later, has no channel of clients' requests.
    """

    is_streamed: ClassVar[bool] = False

    def subscribe(
        self, channel: str, start: Position | None, *, inclusive: bool = True
    ) -> None:
        """Deliver ``channel`` from ``start`` on, or from the oldest record if None.

        With ``inclusive`` the record at ``start`` itself comes first. A channel that
        does not exist yet is waited for, unless there is a ``start``: then it is lost.
        """

    def poll(
        self, timeout: float, channels: Collection[str] | None = None
    ) -> list[Record]:
        """Return what has arrived, in order within each channel.

        Returns at once if there is something, else after ``timeout`` seconds with an
        empty list. With ``channels``, records of others stay where they are. What is
        fetched ahead, and what is returned, is bounded in bytes. An error is raised once
        the records that came before it have been returned.
        """

    def rest(
        self,
        wake: Callable[[], None],  # noqa: ARG002 - of readers that can rest
        ignores: Callable[[int], bool],  # noqa: ARG002
    ) -> bool:
        """Have ``wake`` called, at once, when there is something that matters to poll.

        Ticks do not, nor rows of collections that ``ignores`` tells by their ids. Of the
        ticks that come meanwhile ``poll`` returns each channel's newest alone, and of
        those rows none. It is called once at most, by any thread, until the next ``poll``.
        False if there is something already, or the reader cannot: poll then.
        """
        return False

    def passed(self) -> dict[str, int]:
        """Return by channel the newest tick that ever came at rest. Any thread.

        All that mattered before it had been polled by then, and so had nothing after.
        """
        return {}

    def oldest(self, channel: str) -> Position | None:
        """Return the position of the oldest record kept, None if there is none."""

    def newest(self, channel: str) -> Position | None:
        """Return the position of the newest record, None if there is none."""

    def newest_of(self, channels: Sequence[str]) -> dict[str, Position | None]:
        """Return what ``newest`` does of several channels, which may take less time."""
        return {channel: self.newest(channel) for channel in channels}

    def written_since(self, channel: str, seconds: float) -> Position | None:
        """Return the position of the first record that was written at a time or later.

        ``seconds`` are since 1970, by the queue's clock, or its writer's. None without one.
        """

    def holds(self, start: Position, *, inclusive: bool = True) -> bool:
        """Tell whether reading can begin at ``start`` without missing a record."""

    def bytes_between(
        self,
        start: Position,  # noqa: ARG002 - of the queues that can tell
        end: Position | None = None,  # noqa: ARG002
    ) -> int | None:
        """Return how many bytes there are from a record on, up to another or the newest.

        Roughly, and only of what is still there. None where the queue cannot tell without
        being read. Both are positions of one channel.
        """
        return None

    def position(self, channel: str, message_id: bytes) -> Position:
        """Return the position that Milvus's ``MsgPosition`` or catalog means by an id."""

    def reached(self, position: Position, mark: Position) -> bool:
        """Tell whether ``position`` is ``mark`` or comes after it in their channel."""

    def kept_seconds(self, channel: str) -> float | None:
        """Return for how long the queue keeps a record, at least, by its settings.

        Where they limit the size, it is as long as that lasts for what has been written so
        far. None where the queue cannot tell, or keeps records for ever.
        """

    def close(self) -> None:
        """Stop within a second and release everything. Idempotent."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
