"""The README's table of what can be a source and a target, from what tests say they show.

A test says it by ``@pytest.mark.shows(source, queue, *targets, by=..., way=...)``, in
literals. ``python -m tests.support.compatibility`` prints the table.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.support.recorded_life import FOLDER

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
REAL, RECORDED, SOURCE = (
    "real server",
    "recorded from a real server",
    "from source only",
)
QUEUE, NODES, API = "message queue", "streaming nodes", "API alone"

_WITH_SERVERS = {"chaos", "contract", "integration"}
_HEAD = """\
| source | message queue | read from | to | shown by |
|---|---|---|---|---|"""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a test shows: ``by`` says what the source was, ``way`` how its log is read."""

    test: str
    source: str
    queue: str
    targets: tuple[str, ...]
    by: str
    way: str = QUEUE

    @property
    def doubt(self) -> str:
        """Why the test cannot show that; empty if it may."""
        if self.by not in (REAL, RECORDED, SOURCE) or self.way not in (
            QUEUE,
            NODES,
            API,
        ):
            return f"{self.test}: there is no {self.by!r}, or no {self.way!r}"
        if self.by == REAL and self.test.split("/")[0] not in _WITH_SERVERS:
            return f"{self.test} has no real server"
        life = f"life_{self.source.replace('.', '_')}.jsonl.gz"
        if self.by == RECORDED and not (FOLDER / life).exists():
            return f"{self.test}: no life of a {self.source} is recorded"
        if self.by == SOURCE and self.targets:
            return f"{self.test}: no {self.source} has come to a target"
        return ""


def claims() -> list[Claim]:
    """Return what all tests say they show."""
    return [each for path in sorted(TESTS.rglob("test_*.py")) for each in _claims(path)]


def table() -> str:
    """Return the table, the newest source last; queues with the same targets in a row."""
    targets: defaultdict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for each in claims():
        targets[each.source, each.way, each.by, each.queue].update(each.targets)
    rows: defaultdict[tuple[str, str, str, str], set[str]] = defaultdict(set)
    for (source, way, by, queue), found in targets.items():
        rows[source, way, by, _listed(found)].add(queue)
    lines = [
        f"| {source} | {_listed(queues)} | {way} | {to} | {by} |"
        for (source, way, by, to), queues in sorted(rows.items())
    ]
    return "\n".join([_HEAD, *lines])


def _listed(words: set[str]) -> str:
    return ", ".join(sorted(words, key=str.lower)) or "-"


def _claims(path: Path) -> Iterator[Claim]:
    for test in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            for call in _marks(test):
                source, queue, *targets = map(ast.literal_eval, call.args)
                given = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
                name = f"{path.relative_to(TESTS).as_posix()}::{test.name}"
                yield Claim(name, source, queue, tuple(targets), **given)


def _marks(test: ast.FunctionDef) -> list[ast.Call]:
    calls = [each for each in test.decorator_list if isinstance(each, ast.Call)]
    return [each for each in calls if ast.unparse(each.func) == "pytest.mark.shows"]


if __name__ == "__main__":
    print(table())  # noqa: T201 - what it is for
