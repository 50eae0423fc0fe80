"""Reading a YAML file, with the line of each key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import yaml

from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_QUOTED = re.compile(r"'.{2,}'")


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A file's content, and the line of each key by its dotted name."""

    path: Path
    content: dict[Any, Any] = field(default_factory=dict, repr=False)
    lines: dict[str, int] = field(default_factory=dict, repr=False)

    def origin(self, dotted: str) -> str:
        """Return where ``dotted`` is set, for people."""
        line = self.lines.get(dotted)
        return f"file {self.path}" if line is None else f"file {self.path}:{line}"


def read(path: Path) -> YamlFile:
    """Read ``path``; an empty file has no keys.

    Raises:
        OperatorError: It cannot be read, is not YAML, is not a mapping at its root, or
            has a key twice.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        message = f"The configuration {path} cannot be read: {error.strerror}."
        raise OperatorError(message) from error
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        message = f"The configuration {path} is not valid YAML: {_reason(error)}."
        raise OperatorError(message) from error
    if content is None:
        return YamlFile(path)
    if not isinstance(content, dict):
        raise OperatorError(
            f"The configuration {path} must hold keys and values, one on a line, "
            "such as `logLevel: info`."
        )
    return YamlFile(path, content, _lines(path, root))


def _reason(error: Exception) -> str:
    """Say what is wrong and where, without words of the file: they may be a secret."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, ValueError) and not isinstance(error, UnicodeDecodeError):
        return "a number or a date that cannot be one; put quotes around it"
    if not isinstance(error, yaml.MarkedYAMLError):
        return "a character that is not allowed, or not UTF-8"
    mark = error.problem_mark
    place = "" if mark is None else f" in line {mark.line + 1}"
    problem = _QUOTED.sub("(hidden)", error.problem or "it cannot be parsed")
    return f"{problem}{place}; put quotes around a value with special characters"


def _lines(path: Path, root: yaml.Node | None) -> dict[str, int]:
    lines: dict[str, int] = {}
    for dotted, line in _keys(root, ""):
        if dotted in lines:
            raise OperatorError(
                f"The configuration {path} has {dotted} twice, in the lines "
                f"{lines[dotted]} and {line}: remove one."
            )
        lines[dotted] = line
    return lines


def _keys(node: yaml.Node | None, prefix: str) -> Iterator[tuple[str, int]]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        dotted = f"{prefix}{key.value}"
        yield dotted, key.start_mark.line + 1
        yield from _keys(value, f"{dotted}.")
