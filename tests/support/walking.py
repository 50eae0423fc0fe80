"""A walk at random from empty servers to a comparison, the service killed meanwhile.

What is done at the source is up to those who go on from here; this is how a walk begins,
what happens to the service, and how it ends.
"""

from __future__ import annotations

import random
import sys
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import hypothesis
from hypothesis import HealthCheck, Phase, assume, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisException
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from pymilvus.exceptions import MilvusException

from cdc_actors.compare import Kind, compare
from cdc_actors.embedded.lite import EmbeddedLite
from cdc_actors.errors import CdcError
from tests.support.access_faults import Access
from tests.support.accounts import ROOT, Accounts, access_of, as_root, forget
from tests.support.cdc import Cdc, wait_until
from tests.support.databases import databases_of
from tests.support.proxy import TcpProxy
from tests.support.walk import World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from cdc_actors.embedded.milvus import EmbeddedMilvus
    from tests.support.walk import Collection

TIMEOUT = 180.0
"""Seconds until both sides are equal: after the longest walk, on a busy machine."""

SEEDS = st.integers(0, 2**32 - 1)


@dataclass(slots=True, kw_only=True)
class Stage:
    """The servers of all walks of a test, and what the walks came to."""

    source: EmbeddedMilvus
    target: EmbeddedMilvus | EmbeddedLite
    emptied: Callable[[EmbeddedMilvus | EmbeddedLite], Any]
    folder: Path
    walks: int = 0
    done: Counter[str] = field(default_factory=Counter)
    failure: BaseException | None = None

    def begin(self, kind: type[Walking]) -> Walking:
        """Return the next walk; when one has failed, Hypothesis gets no other."""
        if self.failure is not None:
            raise self.failure
        return kind(self)

    def run(self, kind: type[Walking], seed: int, walks: int, steps: int) -> None:
        """Make walks of a kind; the first failure ends them."""
        try:
            run_state_machine_as_test(
                hypothesis.seed(seed)(lambda: self.begin(kind)),
                settings=settings(
                    max_examples=walks,
                    stateful_step_count=steps,
                    phases=[Phase.generate],
                    deadline=None,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        except Exception:
            if self.failure is not None:
                raise self.failure from None
            raise


def about(find: Callable[[Any], Sequence[Any]]) -> Callable[..., Any]:
    """Make a rule about one of the things that ``find`` returns, if there are any."""

    def decorate(operation: Callable[[Any, Any, Any], None]) -> Any:
        def run(walk: Any, data: st.DataObject) -> None:
            thing = data.draw(st.sampled_from(find(walk)))
            walk.go_on()
            walk.note(operation.__name__)
            operation(walk, thing, data)

        run.__name__ = operation.__name__
        chosen = rule(data=st.data())(run)
        return precondition(lambda walk: bool(find(walk)))(chosen)

    return decorate


class Walking(RuleBasedStateMachine):
    """One walk: from empty servers to a comparison."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self._stage = stage
        self._steps: list[str] = []
        self._task = ""
        self._dies: threading.Timer | None = None
        self._step = 0
        self._due: dict[str, int] = {}
        servers = [stage.source] if self.to_lite else [stage.source, stage.target]
        self._roots = [as_root(server) for server in servers]
        self.cdc: Any = None
        self._way = TcpProxy(stage.target.ports["api"])
        self._access = Access(self._way, None, random.Random(0))
        self.world = World(stage.source.uri, self._steps)
        self.accounts = Accounts(self._roots[0], self._steps)

    @property
    def to_lite(self) -> bool:
        """Whether the target is Milvus Lite, which has no users."""
        return isinstance(self._stage.target, EmbeddedLite)

    def note(self, operation: str) -> None:
        """Count an operation."""
        self._stage.done[operation] += 1

    def go_on(self) -> None:
        """Take the next step; what was to happen to the service by then happens first."""
        self._step += 1
        for name, at in list(self._due.items()):
            if at <= self._step and (self._up or name == "start"):
                del self._due[name]
                getattr(self, name)()

    # How it begins, and what happens to the service.

    @initialize(seeds=st.tuples(SEEDS, SEEDS), step=st.integers(1, 10))
    def begin(self, seeds: tuple[int, int], step: int) -> None:
        """Have two collections, and somewhat later a task.

        Of all walks Hypothesis takes the simplest first: one operation for ever.
        """
        assume(any(seeds))
        self._stage.walks += 1
        for server in (self._stage.source, self._stage.target):
            self._stage.emptied(server).close()
        self._forget_users()
        folder = self._stage.folder / f"walk_{self._stage.walks}"
        self._way.heal()
        self._access = Access(self._way, None, random.Random(repr(seeds)))
        self.cdc = Cdc(folder, self._stage.source)
        self.cdc.start()
        for name, seed in zip("ab", seeds, strict=True):
            self.world.begin("default", name, random.Random(seed))
        self._due["create_task"] = step

    def _forget_users(self) -> None:
        for root in self._roots:
            forget(root)

    def create_task(self) -> None:
        """Replicate everything, what is there already too."""
        self._event("create_task")
        uri = f"http://127.0.0.1:{self._way.port}"
        target = {"uri": uri, "token": "" if self.to_lite else ROOT}
        self._task = self.cdc.ask(
            "create",
            milvus_connect_param=target,
            db_collections={"*": [{"name": "*"}]},
            extra_info={"enable_user_role": not self.to_lite},
        )["task_id"]

    def _event(self, what: str) -> None:
        self.note(what)
        self._steps.append(what)

    @property
    def _up(self) -> bool:
        return self.cdc.process is not None and self._dies is None

    @precondition(lambda self: self._up)
    @rule(after=st.floats(0, 2), steps=st.integers(1, 5))
    def kill(self, after: float, steps: int) -> None:
        """Let the service die in a moment, whatever is done then, and come back."""
        self._event("kill")
        self._dies = threading.Timer(after, self.cdc.kill)
        self._dies.start()
        self._due["start"] = self._step + steps

    kill_again = kill_once_more = kill

    def start(self) -> None:
        """Start the service that was killed."""
        self._event("start")
        if self._dies is not None:
            self._dies.join()
            self._dies = None
        self.cdc.start()

    @precondition(lambda self: self._up and self._task and "resume" not in self._due)
    @rule(steps=st.integers(1, 5))
    def pause(self, steps: int) -> None:
        """Pause the task for a while."""
        self._event("pause")
        self.cdc.ask("pause", task_id=self._task)
        self._due["resume"] = self._step + steps

    def resume(self) -> None:
        """Resume the task."""
        self._event("resume")
        self.cdc.ask("resume", task_id=self._task)

    @precondition(lambda self: self._task and "give_back" not in self._due)
    @rule(steps=st.integers(1, 3))
    def take_away(self, steps: int) -> None:
        """Have a proxy on the way to the target refuse everything for a while."""
        self._access.take_away()
        self._event(f"take_away: {self._access.told[-1]}")
        self._due["give_back"] = self._step + steps

    def give_back(self) -> None:
        """Let the proxy pass everything on again."""
        self._event("give_back")
        self._access.give_back(self.cdc, self._task)

    # How it ends.

    def teardown(self) -> None:
        """Compare both sides, unless the walk has failed before.

        One that Hypothesis abandons, for there is no rule left, has come to its end.
        """
        try:
            if self.cdc is not None:
                self._finish()
        finally:
            self._way.__exit__()
            for root in self._roots:
                root.close()

    def _finish(self) -> None:
        failure = sys.exc_info()[1]
        if not isinstance(failure, Exception) or isinstance(
            failure, HypothesisException
        ):
            failure = None
        try:
            if failure is None:
                self._end()
        except Exception as error:
            failure = error
            raise
        finally:
            self._close(failure)

    def _close(self, failure: BaseException | None) -> None:
        if failure is not None:
            steps = "\n  ".join(self._steps)
            failure.add_note(f"walk in {self.cdc.folder}:\n  {steps}")
            self._stage.failure = failure
        if self._dies is not None:
            self._dies.join()
        self.cdc.__exit__()
        self.world.close()
        self._forget_users()

    def _end(self) -> None:
        """Compare as it is; then have all rows readable, and compare again."""
        while self._due:
            self.go_on()
        self._wait_equal("as it is", rows=False)
        for collection in self.world.collections:
            if not collection.index:
                self.world.create_index(collection, "FLAT")
            self.world.release(collection)
            self.world.load(collection)
        self._wait_equal("with everything loaded", rows=True)
        aside = [c for c in self.cdc.get(self._task)["collections"] if c["reason"]]
        assert aside == []

    def _wait_equal(self, when: str, *, rows: bool) -> None:
        found = ["never compared"]

        def equal() -> bool:
            try:
                found[:] = self._differences(rows=rows)
            except CdcError as error:
                found[:] = [str(error)]
            return not found

        try:
            wait_until(equal, f"both sides are equal, {when}", TIMEOUT)
        except AssertionError as error:
            with suppress(AssertionError):
                error.add_note(str(self.cdc.get(self._task)))
            error.add_note("\n".join(found))
            raise

    def _differences(self, *, rows: bool) -> list[str]:
        """Compare both sides; for rows not yet, unless they can be read."""
        uris = self._stage.source.uri, self._stage.target.uri
        left, right = (sorted(databases_of(uri)) for uri in uris)
        found = [] if left == right else [f"databases {left} -> {right}"]
        found += self._differences_of_access()
        report = compare(uris[0], "", uris[1], "")
        unknown = {str(c) for c in self.world.collections if self._is_load_unknown(c)}
        for each in report.collections:
            name = f"{each.database}.{each.name}"
            kinds = {Kind.UNREAD, Kind.LOAD} if name in unknown else {Kind.UNREAD}
            wrong = [one for one in each.findings if one.kind not in kinds]
            found += [f"{name}: {one.kind} {one.text}" for one in wrong]
        return [*found, str(report)] if rows and not report.equal else found

    def _differences_of_access(self) -> list[str]:
        try:
            left, *others = map(access_of, self._roots)
        except MilvusException as error:
            # A role was dropped between being listed and being described.
            return [str(error)]
        return [f"access {left} -> {right}" for right in others if left != right]

    def _is_load_unknown(self, collection: Collection) -> bool:
        """Tell whether the target cannot be loaded as the source is.

        2.3.5 does not log that single partitions are loaded or released. What has no
        index is loaded at Milvus Lite, and can be neither loaded nor released there.
        """
        at_lite = self.to_lite and not collection.index
        return collection.loaded == "partly" or at_lite
