"""How secrets look wherever something is shown to people."""

from __future__ import annotations

import re

MASK = "******"

# Up to the last @ before a blank: a password may hold an unescaped one itself, and too
# much is better masked than too little.
_USER_INFO = re.compile(r"(?P<scheme>\b[a-zA-Z][\w+.-]*)://(?P<user>\S*)@")
# The same without a scheme, as libraries repeat an address that they could not resolve.
_BARE_USER_INFO = re.compile(r"(?P<user>[^\s:/@]+):(?!//)\S*@")
_PARAMETER = re.compile(r"([?&](?:\w*password|token)=)[^&\s]*", re.IGNORECASE)
# NATS reads a user without a password as a token.
_TOKEN_SCHEMES = frozenset({"nats", "tls"})


def mask_urls(text: str) -> str:
    """Return ``text`` with the passwords and tokens of the addresses in it masked."""
    if "@" in text:
        text = _USER_INFO.sub(_masked_user, text)
        text = _BARE_USER_INFO.sub(rf"\g<user>:{MASK}@", text)
    return _PARAMETER.sub(rf"\1{MASK}", text)


def _masked_user(match: re.Match[str]) -> str:
    scheme = match["scheme"]
    if scheme.lower() in _TOKEN_SCHEMES:
        return f"{scheme}://{MASK}@"
    user, colon, _ = match["user"].partition(":")
    return f"{scheme}://{user}:{MASK}@" if colon else f"{scheme}://{user}@"
