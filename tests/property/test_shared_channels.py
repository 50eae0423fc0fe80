"""Whatever collections of one channel have in files and in the log, each comes whole.

By the real reader and appliers, on doubles in memory; what files have follows the times.
"""

from __future__ import annotations

from unittest import mock

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from cdc_actors.pipeline import sources
from cdc_actors.tasks import CollectionState
from tests.fakes.fake_source import A
from tests.fakes.pipeline import Pipeline
from tests.fakes.shared_files import SharedChannel
from tests.support.tasks import SPEC

NAMES = ("first", "second", "third")
KEYS = st.integers(0, 5)


class SharedChannels(RuleBasedStateMachine):
    """A source of three collections, each in files up to a moment of its own.

    Messages come to the log out of order, as far as ticks allow. The log loses nothing
    that comes after the files of any collection that has some.
    """

    @initialize(snapshot=st.sampled_from(["auto", "always"]))
    def begin(self, snapshot: str) -> None:
        """Have a source without rows, and a task that has not begun."""
        self.pipeline = Pipeline(replace(SPEC, snapshot=snapshot))
        self.shared = SharedChannel(self.pipeline)
        self.source = self.pipeline.source
        self.patch = mock.patch.object(
            sources, "_files", return_value=self.shared.files
        )
        self.patch.start()
        self.histories = [self.shared.create(name) for name in NAMES]
        self.source.tick()
        self.source.slow = True
        self.oldest = self.source.log_end(A).id
        self.has_begun = False

    def teardown(self) -> None:
        """Bring the target to what the source has."""
        with self.pipeline:
            try:
                self.end()
            finally:
                self.patch.stop()

    @rule(number=st.integers(0, 2), key=KEYS)
    def insert(self, number: int, key: int) -> None:
        """Insert a row, if there is none of its key."""
        history = self.histories[number]
        if key not in history.keys_until(self.source.now):
            history.insert(key)

    @rule(number=st.integers(0, 2), key=KEYS)
    def delete(self, number: int, key: int) -> None:
        """Delete a key, be it there or not."""
        self.histories[number].delete(key)

    @precondition(lambda self: self.source.unwritten[A])
    @rule(data=st.data())
    def write_out(self, data: st.DataObject) -> None:
        """Have one of the messages in the log that are still on their way."""
        last = len(self.source.unwritten[A]) - 1
        self.source.write_out(A, data.draw(st.integers(0, last)))

    @rule()
    def tick(self) -> None:
        """Have all of them there, and a tick say so."""
        self.source.tick()

    @rule(number=st.integers(0, 2), is_ahead=st.booleans())
    def flush(self, number: int, *, is_ahead: bool) -> None:
        """Have a collection in files up to now; the log goes on from here, or earlier."""
        tick = self.source.tick()
        end = self.source.log_end(A).id
        place = self.oldest if is_ahead else end
        self.histories[number].flush_until(place, tick)

    @precondition(lambda self: not self.has_begun)
    @rule()
    def forget(self) -> None:
        """Have the log lose what no files need."""
        ends = [each._ends[A] for each in self.histories if each._ends]
        if ends:
            self.oldest = max(self.oldest, min(ends).to_bytes(8, "little"), key=_number)
            position = self.source.log_end(A)
            self.source.log.truncate(A, replace(position, id=self.oldest))

    @precondition(lambda self: self.pipeline.run is None)
    @rule()
    def run(self) -> None:
        """Begin a run; from now on the log is kept."""
        self.has_begun = True
        self.pipeline.start()

    @precondition(lambda self: self.pipeline.run is not None)
    @rule()
    def kill(self) -> None:
        """End the run, whatever it is at."""
        self.pipeline.kill()

    @precondition(lambda self: self.pipeline.run is not None)
    @rule()
    def complete(self) -> None:
        """Have files bring one collection, if any; a tick may have to come for it."""
        self.source.tick()
        self.shared.complete()

    def end(self) -> None:
        """See that the target has the rows of all that was not said to be lost."""
        if self.pipeline.run is not None:
            self.pipeline.kill()
        self.source.tick()
        self.shared.complete_all()
        for history in self.histories:
            entry = self.pipeline.task.entries[history.meta.name]
            if entry.state is CollectionState.SET_ASIDE:
                assert "log no longer" in entry.reason or not history._ends, entry
                continue
            rows = self.pipeline.target.rows(history.meta.name)
            assert rows == dict.fromkeys(history.keys_until(self.source.now), 1)


def _number(position: bytes) -> int:
    return int.from_bytes(position, "little")


SharedChannels.TestCase.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
test_shared_channels = SharedChannels.TestCase
