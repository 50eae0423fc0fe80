"""Where channels end, asked of several together."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.wal import Wal


def test_several_channels_are_asked_for_their_newest_records_together(
    wal: Wal, channel: str
) -> None:
    """Each has the one that it has when it is asked alone."""
    *_, last = wal.append(channel, [b"first", b"last"])
    missing = f"{channel}-missing"
    with wal.reader() as reader:
        assert reader.newest_of([channel, missing]) == {channel: last, missing: None}
