"""Which service has which task, of several on one store in PostgreSQL.

A service claims tasks that nobody has: rows that others are just claiming are skipped
(``SKIP LOCKED``), so that no one waits, and a claim ends with its transaction, whatever
becomes of the service. With each claim the number of the row grows, which waits for who
writes for the task (``fence``). An advisory lock would end with the session that holds it,
which a network may cut at any time, though the service could go on for the time of its
lease.

Each row says how much work the task is, as its owner has measured: 0 if it is paused, else
1, and 1 more for each megabyte a second (``service.load_meter``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdc_actors.store import node_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from cdc_actors.store.database import Database
    from cdc_actors.store.ownership import Owner

# The table has the ids as text without dashes, as the tables of checkpoints.
_ENROL = (
    "INSERT INTO {owners} SELECT id, 0, '', FALSE, 1 FROM "
    "unnest(CAST(%s AS TEXT[])) AS id ON CONFLICT (task_id) DO NOTHING"
)
# Those that nobody has are counted for the token NULL.
_CENSUS = (
    "SELECT nodes.token, bool_or(nodes.drains) AS drains, "
    "coalesce(sum(load), 0) AS load, coalesce(sum(running), 0)::INTEGER AS running, "
    "coalesce(sum(paused), 0)::INTEGER AS paused "
    "FROM (SELECT token, drains FROM {nodes} WHERE NOT alone) AS nodes FULL JOIN "
    "(SELECT token, sum(load) AS load, count(*) FILTER (WHERE load > 0) AS running, "
    "count(*) FILTER (WHERE load = 0) AS paused FROM {owners} GROUP BY token) AS owners "
    "USING (token) GROUP BY nodes.token"
)
# That a row is still as it was seen is looked at again once it is locked. That nobody has
# the task would not be: PostgreSQL takes the absence of another table's row as it was.
# Some more are seen than are wanted, as others may just be claiming the first.
_CLAIM = (
    "WITH seen AS MATERIALIZED (SELECT task_id, number FROM {owners} AS owners "
    "WHERE (load > 0) = %s AND NOT EXISTS "
    "(SELECT 1 FROM {nodes} AS nodes WHERE nodes.token = owners.token) "
    "ORDER BY task_id LIMIT CAST(%s AS BIGINT) + 2000), free AS ("
    "SELECT owners.task_id, owners.token, owners.moved FROM {owners} AS owners "
    "JOIN seen ON owners.task_id = seen.task_id AND owners.number = seen.number "
    "ORDER BY owners.task_id LIMIT %s FOR UPDATE OF owners SKIP LOCKED) "
    "UPDATE {owners} AS owners SET token = %s, number = owners.number + 1, moved = FALSE "
    "FROM free WHERE owners.task_id = free.task_id "
    "RETURNING owners.task_id, free.token, free.moved, owners.load"
)
_GIVE_BACK = (
    "UPDATE {owners} SET token = %s, number = number + 1, moved = TRUE "
    "WHERE token = %s AND task_id = ANY(%s)"
)
# No service has this token: so others wait for what may be under way.
_UNDER_WAY = "under way"
_NOTE_LOADS = (
    "UPDATE {owners} AS owners SET load = said.load FROM unnest(CAST(%s AS TEXT[]), "
    "CAST(%s AS DOUBLE PRECISION[])) AS said (task_id, load) "
    "WHERE owners.token = %s AND owners.task_id = said.task_id"
)
_FORGET = "DELETE FROM {owners} WHERE token = %s AND task_id = %s"
_OWNER = (
    "SELECT owners.token, nodes.said FROM {owners} AS owners "
    "LEFT JOIN {nodes} AS nodes USING (token) WHERE owners.task_id = %s"
)
_OURS = "SELECT task_id FROM {owners} WHERE token = %s"
_NOTHING: Mapping[str, Any] = {"load": 0.0, "running": 0, "paused": 0, "drains": False}
_OTHERS = "SELECT said FROM {nodes} WHERE token <> %s AND NOT alone"


@dataclass(frozen=True, slots=True)
class Claimed:
    """A task that is ours from now on.

    It ``was_left`` by one that did not give it back: what that sent may be under way. One
    that ``was_moved`` runs on; any other begins as after a start of the service.
    """

    task_id: str
    was_left: bool = False
    was_moved: bool = False
    load: float = 1.0


@dataclass(frozen=True, slots=True)
class Share:
    """How much of one kind of task we have, and each other service, and nobody."""

    ours: float
    others: Sequence[float]
    free: float
    free_tasks: int


@dataclass(frozen=True, slots=True)
class Census:
    """Who has what: of the running tasks the work they are, of the paused ones how many.

    Those that drain are not in ``others``, and ``we_drain`` only if others do not.
    """

    running: Share
    paused: Share
    we_drain: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a task is: with the ``other`` service, free for all, or else with us."""

    other: Owner | None
    is_free: bool


class TaskOwners:
    """The rows that say it. Any thread may use it.

    Every method raises ``UnavailableError`` if the database is away, or our lease lost.
    """

    def __init__(self, database: Database, token: str) -> None:
        """Use a database in which the lease with this token has made the tables."""
        self._database = database
        self._token = token

    def enrol(self, task_ids: Iterable[str]) -> None:
        """Have it that these are tasks, which an earlier version or an import made."""
        self._database.change(_ENROL, list(task_ids))

    def census(self) -> Census:
        """Count the tasks of each service."""
        rows = {row["token"]: row for row in self._database.read(_CENSUS)}
        free, ours = rows.pop(None, _NOTHING), rows.pop(self._token, _NOTHING)
        others = [row for row in rows.values() if not row["drains"]]
        running, paused = (
            Share(
                ours[amount],
                [row[amount] for row in others],
                free[amount],
                free[tasks],
            )
            for amount, tasks in (("load", "running"), ("paused", "paused"))
        )
        return Census(running, paused, bool(ours["drains"] and others))

    def claim(self, limit: int, *, paused: bool = False) -> list[Claimed]:
        """Have up to so many tasks of one kind that nobody has."""
        if not limit:
            return []
        values = not paused, limit, limit, self._token
        return [
            Claimed(row["task_id"], bool(row["token"]), row["moved"], row["load"])
            for row in self._database.change(_CLAIM, *values)
        ]

    def note_loads(self, loads: Mapping[str, float]) -> None:
        """Have others know how much work tasks of ours are."""
        if loads:
            values = list(loads), list(loads.values()), self._token
            self._database.change(_NOTE_LOADS, *values)

    def ours(self) -> list[str]:
        """Return the tasks that we have."""
        rows = self._database.read(_OURS, self._token)
        return [row["task_id"] for row in rows]

    def give_back(self, task_ids: Sequence[str], *, at_rest: bool) -> None:
        """Let others have tasks; ``at_rest`` says that nothing is under way for them."""
        mark = "" if at_rest else _UNDER_WAY
        self._database.change(_GIVE_BACK, mark, self._token, list(task_ids))

    def forget(self, task_id: str) -> None:
        """Know that a task of ours is no more."""
        self._database.change(_FORGET, self._token, task_id)

    def place(self, task_id: str) -> Place | None:
        """Return where a task is, None if there is none."""
        rows = self._database.read(_OWNER, task_id)
        for row in rows:
            said = None if row["token"] == self._token else row["said"]
            other = node_rows.process_of(said) if said else None
            return Place(other, is_free=row["said"] is None)
        return None

    def others(self) -> list[Owner]:
        """Return the other services."""
        rows = self._database.read(_OTHERS, self._token)
        found = (node_rows.process_of(row["said"]) for row in rows)
        return [each for each in found if each is not None]
