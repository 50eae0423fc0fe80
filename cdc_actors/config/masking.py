"""How secrets look wherever something is shown to people."""

from __future__ import annotations

import re

MASK = "******"

# Up to the last @ before a blank: a password may hold an unescaped one itself, and too
# much is better masked than too little.
_USER_INFO = re.compile(r"(?P<scheme>\b[a-zA-Z][\w+.-]*)://(?P<user>\S*)@")
_PARAMETER = re.compile(r"([?&](?:\w*password|token)=)[^&\s]*", re.IGNORECASE)
# NATS reads a user without a password as a token.
_TOKEN_SCHEMES = frozenset({"nats", "tls"})


def mask_urls(text: str) -> str:
    """Return ``text`` with the passwords and tokens of the URLs in it masked."""
    return _PARAMETER.sub(rf"\1{MASK}", _USER_INFO.sub(_masked_user, text))


def _masked_user(match: re.Match[str]) -> str:
    scheme = match["scheme"]
    if scheme.lower() in _TOKEN_SCHEMES:
        return f"{scheme}://{MASK}@"
    user, colon, _ = match["user"].partition(":")
    return f"{scheme}://{user}:{MASK}@" if colon else f"{scheme}://{user}@"
