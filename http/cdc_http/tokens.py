"""API tokens: made once, kept as salted hashes only, recognised in each request."""

from __future__ import annotations

import hmac
import secrets
import threading
from hashlib import scrypt, sha256
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cdc_actors.config.auth import Token

_SECRET_BYTES = 32
_SALT_BYTES = 16


def new_token(name: str) -> tuple[str, str]:
    """Return a new token of that name, and its hash for the settings."""
    token = f"{name}.{secrets.token_urlsafe(_SECRET_BYTES)}"
    salt = secrets.token_bytes(_SALT_BYTES)
    return token, f"scrypt:{salt.hex()}:{_hashed(token, salt).hex()}"


class TokenRing:
    """The tokens that are taken. Any thread may use it.

    A token begins with its name, so that one hash at most is made to check it. The hash
    is slow on purpose: a token that was right is known again by a quick digest.
    """

    def __init__(self, tokens: Iterable[Token]) -> None:
        self._tokens = {token.name: token for token in tokens}
        self._digests: dict[str, bytes] = {}
        # Guesses must not take every core: one hash at a time.
        self._hashing = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._tokens)

    def find(self, text: str) -> Token | None:
        """Return the token that ``text`` is, None if it is none."""
        name = text.partition(".")[0]
        token = self._tokens.get(name)
        if token is None:
            return None
        digest = sha256(text.encode()).digest()
        if hmac.compare_digest(digest, self._digests.get(name, b"")):
            return token
        with self._hashing:
            if not _matches(text, token.hash):
                return None
        self._digests[name] = digest
        return token


def _matches(text: str, stored: str) -> bool:
    _, salt, expected = stored.split(":")
    found = _hashed(text, bytes.fromhex(salt))
    return hmac.compare_digest(found, bytes.fromhex(expected))


def _hashed(text: str, salt: bytes) -> bytes:
    """Return scrypt of ``text``: 16 MiB and some tens of milliseconds."""
    return scrypt(text.encode(), salt=salt, n=1 << 14, r=8, p=1, dklen=32)
