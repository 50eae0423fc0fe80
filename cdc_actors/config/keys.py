"""What keys there are, and how each is called in the environment and as a flag."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, get_args

import msgspec

from cdc_actors.config.model import Config
from cdc_actors.config.setting_types import Section, meta

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PREFIX = "CDC_ACTORS_"
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One setting: ``dotted`` is its path in the file, ``kind`` its annotated type."""

    dotted: str
    kind: Any
    default: Any

    @property
    def expected(self) -> str:
        """What a value must be, for an error."""
        return meta(self.kind).description or ""

    @property
    def showable(self) -> bool:
        """Whether an error may repeat the value."""
        return not meta(self.kind).extra

    @property
    def required(self) -> bool:
        """Whether there is no default."""
        return self.default is msgspec.NODEFAULT

    @property
    def variable(self) -> str:
        """The environment variable, e.g. ``CDC_ACTORS_SOURCE_CONFIG__URI``."""
        parts = (_WORD.sub("_", part).upper() for part in self.dotted.split("."))
        return PREFIX + "__".join(parts)

    @property
    def flag(self) -> str:
        """The command line's option, e.g. ``--log-level``."""
        return "--" + _WORD.sub("-", self.dotted).lower()


def closest(name: str, known: Iterable[str]) -> str | None:
    """Return the dotted key most like ``name``: a sibling, else one elsewhere."""
    parent, _, last = name.rpartition(".")
    known = tuple(known)
    siblings = [key for key in known if key.rpartition(".")[0] == parent]
    return _nearest(last, siblings, cutoff=0.6) or _nearest(last, known, cutoff=0.8)


def _nearest(last: str, keys: Iterable[str], *, cutoff: float) -> str | None:
    by_last = {key.rpartition(".")[2].casefold(): key for key in keys}
    matches = get_close_matches(last.casefold(), by_last, n=1, cutoff=cutoff)
    return by_last[matches[0]] if matches else None


def _walk(section: type[Section], prefix: str) -> Iterator[tuple[str, Key | None]]:
    for each in msgspec.structs.fields(section):
        dotted = prefix + each.encode_name
        below = _section(each.type)
        if below is not None:
            yield dotted, None
            yield from _walk(below, f"{dotted}.")
        else:
            yield dotted, Key(dotted=dotted, kind=each.type, default=_default(each))


def _section(kind: Any) -> type[Section] | None:
    """Return the section that ``kind`` is, or is if it is there at all."""
    for each in (kind, *get_args(kind)):
        if isinstance(each, type) and issubclass(each, Section):
            return each
    return None


def _default(each: msgspec.structs.FieldInfo) -> Any:
    if each.default_factory is msgspec.NODEFAULT:
        return each.default
    return each.default_factory()


_ALL = dict(_walk(Config, ""))
KEYS = {dotted: key for dotted, key in _ALL.items() if key is not None}
SECTIONS = frozenset(_ALL) - frozenset(KEYS)
QUEUES = tuple(
    f"sourceConfig.{name}" for name in ("natsmq", "rocksmq", "kafka", "pulsar")
)
"""The sections of which a configuration has one, or none where the source is a 2.6."""
ETCD, URI = "sourceConfig.etcd", "sourceConfig.uri"
STORAGE = "sourceConfig.storage"
