"""How commands print: tables for people, JSON and YAML for programs."""

from __future__ import annotations

import json
import select
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
import yaml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

DIFFERENT = 3
"""Exit status: a difference was found."""

NOT_READY = 4
"""Exit status: what was asked for is not so, and may come to be so later."""

output_option = click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "yaml"]),
    default="table",
    show_default=True,
    help="Output format.",
)


def dump(value: Any, output: str) -> str:
    """Return ``value`` as JSON or YAML."""
    if output == "json":
        return json.dumps(value, indent=2, ensure_ascii=False)
    text: str = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    return text.rstrip("\n")


def dump_line(value: Any, output: str) -> str:
    """Return ``value`` as one of many: a line of JSON, or a document of YAML."""
    if output == "json":
        return json.dumps(value, ensure_ascii=False)
    return f"---\n{dump(value, output)}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return aligned columns; the last may be of any width."""
    lines = [head, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    widths[-1] = 0
    return "\n".join(
        "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each single value within ``value`` with its dotted path.

    Collections have their ids in the path, so that two states of a task compare.
    """
    if isinstance(value, dict) and value:
        for key, each in value.items():
            yield from flat(each, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value:
        for index, each in enumerate(value):
            key = each.get("collection_id", index) if isinstance(each, dict) else index
            yield from flat(each, f"{name}.{key}")
    else:
        yield name, value


def text_of(value: Any) -> str:
    """Return one value for a table."""
    if value is None:
        return "-"
    return value if isinstance(value, str) and value else json.dumps(value)


def lag_of(shown: dict[str, Any]) -> str:
    """Return a lag for a table."""
    lag = shown["lag_seconds"]
    return "-" if lag is None else f"{lag:.1f} s"


def problems(shown: dict[str, Any]) -> str:
    """Return how many problems of which kind a task has, ``-`` for none."""
    counts = shown["health"]["problems"]
    said = (
        f"{count} {kind.removeprefix('operations_').replace('_', ' ')}"
        for kind, count in counts.items()
        if count and isinstance(count, int)
    )
    return ", ".join(said) or "-"


def is_read() -> bool:
    """Tell whether somebody reads standard output: not once ``head`` has ended."""
    poll = select.poll()
    with suppress(OSError, ValueError):
        poll.register(sys.stdout.fileno(), 0)
    return not poll.poll(0)


def say(text: str) -> None:
    """Tell a person what was done; a program reads the exit status."""
    if sys.stdout.isatty():
        click.echo(text)
