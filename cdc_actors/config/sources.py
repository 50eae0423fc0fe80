"""Where settings come from: a file, the environment, flags.

Each function returns settings by dotted key and appends what is wrong to ``problems``,
so that an operator sees everything at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from cdc_actors.config import compat
from cdc_actors.config.keys import KEYS, PREFIX, SECTIONS, Key, closest
from cdc_actors.config.setting_types import meta

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cdc_actors.config.yamlfile import YamlFile

# The key to the secrets of the log, and where and with which token commands ask the API.
_NO_SETTINGS = frozenset({f"{PREFIX}KEY", f"{PREFIX}TOKEN", f"{PREFIX}URL"})
_FROM_FILE = "_FILE"
_VARIABLES = {key.variable: key for key in KEYS.values()}


@dataclass(frozen=True, slots=True)
class Setting:
    """A value as it was found. ``text`` if it comes from where all values are text."""

    value: Any
    origin: str
    text: bool


def from_file(
    file: YamlFile, problems: list[str], ignored: list[str]
) -> dict[str, Setting]:
    """Take the file's keys; those of milvus-cdc without effect go to ``ignored``.

    Its old names of keys count where the new ones are not there.
    """
    settings: dict[str, Setting] = {}
    old: dict[str, Setting] = {}
    for dotted, value in _leaves(file.content, ""):
        if value is None:
            continue
        origin = file.origin(dotted)
        refusal = compat.refusal(dotted, value)
        if compat.ignored(dotted, value):
            ignored.append(dotted)
        elif refusal is not None:
            problems.append(f"{dotted} ({origin}) {refusal}")
        elif dotted in compat.RENAMED:
            old[compat.RENAMED[dotted]] = Setting(value, origin, text=False)
        elif dotted in KEYS:
            settings[dotted] = Setting(value, origin, text=False)
        elif dotted in SECTIONS:
            problems.append(f"{dotted} ({origin}) must be a section with keys below it")
        else:
            problems.append(_unknown(dotted, origin))
    return old | settings


def from_environment(
    environ: Mapping[str, str], problems: list[str]
) -> dict[str, Setting]:
    """Take the variables that begin with ``CDC_ACTORS_``."""
    settings: dict[str, Setting] = {}
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name in _NO_SETTINGS:
            continue
        key = _VARIABLES.get(name.removesuffix(_FROM_FILE))
        if key is None:
            problems.append(_unknown_variable(name))
        elif key.dotted in settings:
            problems.append(f"{key.variable} and {name} are both set: remove one")
        else:
            value = _value(name, environ[name], problems)
            settings[key.dotted] = Setting(value, f"environment {name}", text=True)
    return settings


def from_flags(flags: Mapping[str, str]) -> dict[str, Setting]:
    """Take what the command line sets, by dotted key."""
    return {
        dotted: Setting(value, f"flag {KEYS[dotted].flag}", text=True)
        for dotted, value in flags.items()
    }


def parts(key: Key, setting: Setting) -> Any:
    """Return the value, taken apart where a list or options are one text."""
    if not isinstance(setting.value, str):
        return setting.value
    if "named" in (meta(key.kind).extra or {}):
        return _json(setting.value)
    if isinstance(key.default, tuple):
        return [part.strip() for part in setting.value.split(",")]
    if isinstance(key.default, dict):
        return _options(setting.value)
    return setting.value


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _options(text: str) -> Any:
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    if not all(equals for _, equals, _ in pairs):
        return text
    return {name.strip(): value.strip() for name, _, value in pairs}


def _leaves(content: Mapping[Any, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        dotted = f"{prefix}{name}"
        if dotted in SECTIONS and isinstance(value, dict):
            yield from _leaves(value, f"{dotted}.")
        else:
            yield dotted, value


def _unknown(dotted: str, origin: str) -> str:
    near = closest(dotted, (*KEYS, *SECTIONS))
    hint = "" if near is None else f"; did you mean {near}?"
    return f"{dotted} ({origin}) is not a known key{hint}"


def _unknown_variable(name: str) -> str:
    near = closest(name, _VARIABLES)
    hint = "" if near is None else f"; did you mean {near}?"
    return f"the environment variable {name} belongs to no known key{hint}"


def _value(name: str, value: str, problems: list[str]) -> str:
    if not name.endswith(_FROM_FILE):
        return value
    try:
        return Path(value).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        problems.append(f"{name} names a file that cannot be read: {error.strerror}")
    except UnicodeDecodeError:
        problems.append(f"{name} names a file that is not UTF-8 text")
    return ""
