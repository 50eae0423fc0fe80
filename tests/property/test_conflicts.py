"""Tasks of one target: whatever is asked for in whatever order, nothing is had twice."""

from __future__ import annotations

from contextlib import suppress
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from cdc_actors.errors import TaskConflictError
from cdc_actors.tasks import ConnectParam, TaskSpec, resolve_conflicts
from cdc_actors.tasks.names import ANY

NAMES = "ab"
SELECTIONS = st.dictionaries(
    st.sampled_from([*NAMES, ANY]),
    st.lists(st.sampled_from([*NAMES, ANY]), min_size=1, unique=True).map(tuple),
    min_size=1,
)
DELETE = st.integers(0, 3)


@given(st.lists(SELECTIONS | DELETE, max_size=12))
def test_no_collection_is_in_two_tasks(requests):
    """After any creates and deletes each collection is in one task at most."""
    tasks: list[TaskSpec] = []
    for asked in requests:
        if isinstance(asked, int):
            del tasks[asked : asked + 1]
            continue
        target = ConnectParam(uri="http://target:19530")
        spec = TaskSpec(target=target, db_collections=asked)
        with suppress(TaskConflictError):
            others = [(str(number), each) for number, each in enumerate(tasks)]
            tasks.append(resolve_conflicts(spec, others))
        for name in product([*NAMES, "other"], repeat=2):
            assert sum(task.selects(*name) for task in tasks) <= 1
