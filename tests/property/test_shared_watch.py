"""Many watches of one stream: each hears what a stream of its own would have told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.errors import TransientError
from cdc_actors.source.catalog.shared_watch import Event, SharedWatches

KEPT = 3


class Catalog:
    """What is written, at revisions from 1 on; its streams tell of it when they like to."""

    def __init__(self) -> None:
        self.written: list[Event] = []
        self.streams: list[Stream] = []

    def write(self) -> None:
        """Put another key."""
        revision = len(self.written) + 1
        self.written.append(Event(revision, b"%d" % revision))

    def since(self, revision: int) -> list[bytes]:
        """Return the keys written at a revision or later."""
        return [event.key for event in self.written if event.revision >= revision]

    def begin(self, revision: int) -> Stream:
        """Begin a stream."""
        self.streams.append(Stream(self, revision))
        return self.streams[-1]

    @property
    def open(self) -> list[Stream]:
        """The streams that nobody has closed."""
        return [each for each in self.streams if not each.closed]


class Stream:
    """Tells of what it has heard, which is some of what is written."""

    def __init__(self, catalog: Catalog, revision: int) -> None:
        self._catalog = catalog
        self._place = revision - 1
        self.heard = len(catalog.written)
        self.closed = self.is_broken = False

    def take(self) -> list[Event]:
        """Return what was heard since the last call."""
        if self.is_broken:
            raise TransientError("broken")
        events = self._catalog.written[self._place : self.heard]
        self._place = max(self._place, self.heard)
        return events

    def listen(self, _heard: object) -> None:
        """Tell nobody: who follows has to ask."""

    def close(self) -> None:
        """End it."""
        self.closed = True


@given(st.data())
def test_each_hears_what_was_written_since_its_revision(data: st.DataObject) -> None:
    """Whoever begins and ends when, however late a stream hears, and if it breaks.

    There is one stream for all, but for those that begin after another broke, or before
    what is kept; and none without anybody who watches.
    """
    catalog, watches = Catalog(), SharedWatches(KEPT)
    heard: dict[object, list[bytes]] = {}
    for step in data.draw(st.lists(st.sampled_from("wwwbhtcx"), max_size=40)):
        match step:
            case "w":
                catalog.write()
            case "b":
                now = len(catalog.written) + 1
                revision = data.draw(st.integers(1, now))
                watch = watches.open(
                    "what", revision, lambda r=revision: catalog.begin(r)
                )
                heard[watch] = []
            case "h":
                for stream in catalog.open:
                    now = len(catalog.written)
                    stream.heard = data.draw(st.integers(stream.heard, now))
            case "t" if heard:
                watch = data.draw(st.sampled_from(list(heard)))
                if not watch.shared.stream.is_broken:
                    heard[watch] += watch.take()
                    told = watch.shared.stream.heard
                    expected = catalog.since(watch.revision)
                    assert heard[watch] == [k for k in expected if int(k) <= told]
            case "c" if heard:
                watch = data.draw(st.sampled_from(list(heard)))
                del heard[watch]
                watch.close()
                watch.close()
            case "x" if catalog.open:
                data.draw(st.sampled_from(catalog.open)).is_broken = True
        assert bool(catalog.open) == bool(heard)


def test_a_broken_stream_is_broken_for_all_who_watch_it_and_for_nobody_later() -> None:
    """Each is told why; who begins then has another stream."""
    catalog, watches = Catalog(), SharedWatches()
    first, second = (watches.open("what", 1, lambda: catalog.begin(1)) for _ in "ab")
    assert len(catalog.streams) == 1
    catalog.streams[0].is_broken = True
    for watch in (first, second):
        with pytest.raises(TransientError, match="broken"):
            watch.take()
    third = watches.open("what", 1, lambda: catalog.begin(1))
    assert third.take() == []
    assert len(catalog.streams) == 2


def test_streams_of_different_catalogs_are_apart() -> None:
    """What is watched must be equal."""
    catalog, watches = Catalog(), SharedWatches()
    for what in ("one", "other", "one"):
        watches.open(what, 1, lambda: catalog.begin(1))
    assert len(catalog.streams) == 2
