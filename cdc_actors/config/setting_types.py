"""What settings can be: their types, what an error says of each, and what is secret.

The type of a setting carries what an error says was expected, and whether it is a
secret: there is no second list to keep in step.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, get_args

import msgspec
from msgspec import Meta

from cdc_actors.masking import MASK, mask_urls

Text = Annotated[str, Meta(description="text; put quotes around it")]
Name = Annotated[str, Meta(min_length=1, description="text that is not empty")]
Secret = Annotated[
    str, Meta(description="text; put quotes around it", extra={"secret": True})
]
Flag = Annotated[bool, Meta(description="true or false")]
Count = Annotated[int, Meta(ge=1, description="a whole number of at least 1")]
Bytes = Annotated[
    int,
    Meta(ge=32 << 20, description="a number of bytes of at least 33554432 (32 MiB)"),
]
Rate = Annotated[
    int, Meta(ge=0, description="a number of bytes a second, 0 for no limit")
]
Endpoints = Annotated[
    tuple[Name, ...],
    Meta(
        min_length=1, description="a list of at least one address", extra={"url": True}
    ),
]
HttpUrl = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^/\s]+",
        description="an address such as http://127.0.0.1:19530",
        extra={"url": True},
    ),
]
NodeUrl = Annotated[
    str,
    Meta(
        pattern=r"^(https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:[0-9]{1,5})?/?)?\Z",
        # It has its place in what an owner writes down, which is not long.
        max_length=300,
        description="an address without a path, such as http://10.0.0.3:8444, or empty",
    ),
]
PostgresUrl = Annotated[
    str,
    Meta(
        pattern=r"^(postgres(ql)?://\S+)?$",
        description="an address such as postgresql://user@127.0.0.1:5432/cdc",
        extra={"url": True},
    ),
]
Options = Annotated[
    dict[str, str | int | float | bool],
    Meta(
        description="names and values, such as {fetch.min.bytes: 100000}; in the "
        "environment fetch.min.bytes=100000,client.id=cdc",
        extra={"options": True},
    ),
]

_SECRET_OPTION = re.compile(r"password|secret|token|pem|key|config", re.IGNORECASE)


class Section(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A group of settings; its text form masks secrets."""

    def __repr__(self) -> str:
        """Name every setting, with secrets masked."""
        shown = (
            f"{each.name}={masked(getattr(self, each.name), each.type)!r}"
            for each in msgspec.structs.fields(self)
        )
        return f"{type(self).__name__}({', '.join(shown)})"


def meta(kind: Any) -> Meta:
    """Return what the type of a setting says beside the type itself."""
    return next((each for each in get_args(kind) if isinstance(each, Meta)), Meta())


def masked(value: Any, kind: Any) -> Any:
    """Return ``value`` as it may be shown."""
    extra = meta(kind).extra or {}
    if "secret" in extra:
        return MASK if value else value
    if "options" in extra:
        secret = {name: MASK for name in value if _SECRET_OPTION.search(name)}
        return value | secret
    if "named" in extra:
        return tuple(each["name"] for each in msgspec.to_builtins(value))
    if "url" not in extra:
        return value
    if isinstance(value, str):
        return mask_urls(value)
    return tuple(mask_urls(each) for each in value)
