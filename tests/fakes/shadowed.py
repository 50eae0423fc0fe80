"""A task on doubles whose collection comes into a shadow, while readers look at it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc_actors.changes import to_hybrid_ts
from cdc_actors.errors import TransientError
from cdc_actors.tasks import CollectionState
from tests.fakes.distrusted import RIGHT, Distrusted

if TYPE_CHECKING:
    from collections.abc import Callable

    from cdc_actors.tasks import CollectionEntry
    from tests.fakes.fake_files import FakeFiles
    from tests.fakes.pipeline import Pipeline

CHANGING = (
    *("CreateCollection", "DropCollection", "RenameCollection", "AlterCollection"),
    *("CreateAlias", "AlterAlias", "LoadCollection", "Insert", "Delete"),
)
"""The requests that change something at the target."""


class Shadowed(Distrusted):
    """Two readers look after every request: one by the name, one by an alias.

    ``seen`` is what the name had, each state once, None where nothing had it; ``by_alias``
    likewise. ``changes`` counts the requests that change something.
    """

    def __init__(self, pipeline: Pipeline, files: FakeFiles | None = None) -> None:
        super().__init__(pipeline, files)
        self.seen: list[dict[int, int] | None] = []
        self.by_alias: list[dict[int, int] | None] = []
        self.changes = 0
        self.is_armed = self._end_after_rename = False
        self.end_at: tuple[int, bool] | None = None
        self._answer = pipeline.target.answer

    def watch(self) -> None:
        """Begin to look, at a target where an alias stands for the collection."""
        self.pipeline.target.aliases["default", "reader"] = "c"
        self.pipeline.target.answer = self._answer_and_look
        self._look()

    def begin(self) -> None:
        """Have it brought anew into a shadow."""
        self.pipeline.resync("c", shadow=True)

    def kill_at_change(self, number: int, *, is_done: bool) -> None:
        """Kill the run at one of the requests that change something, be it done or not."""
        self.changes, self.end_at = 0, (number, is_done)

    def kill_at_record(self, kind: type, *, written: bool, what: str = "") -> None:
        """Kill the run as it writes something down, which is done or not.

        Of operations it is one that is called ``what``.
        """
        task, record = self.pipeline.task, self.pipeline.task._record
        self.is_armed = True

        def die(message: object) -> None:
            is_end = self.is_armed and isinstance(message, kind)
            if what:
                is_end = is_end and message.operation.kind == what
            if written or not is_end:
                record(message)
            if is_end:
                self.is_armed = False
                raise TransientError("killed")

        task._record = die

    def finish(self) -> None:
        """Have the shadow take the place; begin anew whenever the run is killed."""
        while not self._is_over():
            self.pipeline.wait_until_failed_or(self._goes_on)
            if self.pipeline.task.failures:
                self._begin_anew()
            elif self.taken():
                self.complete_taken()
                self.pipeline.begin()
        self.tick()
        try:
            self.pipeline.settle()
        except TransientError:
            # What the run has written down can be seen before its end.
            self._begin_anew()
            self.pipeline.settle()

    def _begin_anew(self) -> None:
        assert "killed" in str(self.pipeline.task.failures[0])
        self.pipeline.kill()
        self.pipeline.begin()

    def fill_up_to(self, last: int) -> None:
        """Have it brought, and be killed as the rows of a segment are read."""
        self.files.before = lambda segment: self.stop_at(segment, last)
        self.begin()
        self.pipeline.wait_for_crash()
        self.files.before = lambda _segment: None

    def fill(self) -> None:
        """Have all of the files in the shadow, which the log follows from now on.

        It is to do no more: the source stands still.
        """
        self.begin()
        self.complete()
        assert self.entry.shadow
        assert self.entry.state is CollectionState.LIVE

    def take_place(self) -> None:
        """Have the shadow in its place; what it has replaced is there for a while."""
        self.fill()
        self.pipeline.wait_until(lambda: self.tick() or self.there == RIGHT)
        assert len(self.names) == len({"c", "what was replaced"})

    def end_between_renames(self) -> None:
        """Be killed where nothing has the name at the target."""
        self.fill()
        self._end_after_rename = True
        self.pipeline.wait_until_failed_or(self._goes_on)
        self.pipeline.kill()
        assert self.there is None

    @property
    def shadow_name(self) -> str:
        """What the shadow is called."""
        return f"cdc_actors_shadow_{self.files.meta.id}"

    @property
    def entry(self) -> CollectionEntry:
        """What the task knows of the collection."""
        number = self.files.meta.id
        return self.pipeline.task.task.collections[number]

    def tick(self) -> None:
        """Let a second pass at the source."""
        self.pipeline.source.now += to_hybrid_ts(1)
        self.pipeline.source.tick()

    @property
    def names(self) -> set[str]:
        """The names of the target's collections."""
        return {name for _, name in self.pipeline.target.collections}

    def _is_over(self) -> bool:
        return self.entry.shown_state is not CollectionState.SNAPSHOT

    def _goes_on(self) -> bool:
        self.tick()
        return self.taken() is not None or self._is_over()

    def _answer_and_look(
        self, method: str, request: Any, cancelled: Callable[[], bool]
    ) -> Any:
        with self.pipeline.target.changed:
            if method in CHANGING:
                self.changes += 1
                self._end_if((self.changes, False))
            try:
                return self._answer(method, request, cancelled)
            finally:
                self._look()
                if self._end_after_rename and self.there is None:
                    self._end_after_rename = False
                    raise TransientError("killed")
                if method in CHANGING:
                    self._end_if((self.changes, True))

    def _end_if(self, now: tuple[int, bool]) -> None:
        if self.end_at == now:
            self.end_at = None
            raise TransientError("killed")

    def _look(self) -> None:
        target = self.pipeline.target
        meant = target.aliases.get(("default", "reader"), "nothing")
        for seen, name in ((self.seen, "c"), (self.by_alias, meant)):
            if not seen or seen[-1] != target.rows(name):
                seen.append(target.rows(name))
