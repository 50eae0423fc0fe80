"""Credentials as the event log may hold them: encrypted with a key kept elsewhere."""

from __future__ import annotations

import os
import tempfile
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Self

from eventsourcing.cryptography import AESCipher
from eventsourcing.utils import Environment

from cdc_actors.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VARIABLE = "CDC_ACTORS_KEY"
KEY_BYTES = 32


class SecretBox:
    """Encrypts short texts with AES-GCM. Any thread may use it."""

    def __init__(self, key: str, origin: str) -> None:
        """Take a base64 ``key``; ``origin`` says in messages where it is from.

        Raises:
            OperatorError: ``key`` is not 16, 24 or 32 bytes in base64.
        """
        self._origin = origin
        try:
            b64decode(key, validate=True)
            self._cipher = AESCipher(Environment(env={AESCipher.CIPHER_KEY: key}))
        except (ValueError, OSError):
            raise OperatorError(
                f"the key in {origin} is not {KEY_BYTES} bytes in base64; "
                f"`openssl rand -base64 {KEY_BYTES}` makes one"
            ) from None

    @classmethod
    def open(cls, key_path: Path | None, env: Mapping[str, str]) -> Self:
        """Take the key from ``CDC_ACTORS_KEY``, else from a file made at first use.

        Processes that start at the same time end up with the same key.

        Raises:
            OperatorError: There is no key, it is malformed, or others may read it.
        """
        if key := env.get(KEY_VARIABLE, "").strip():
            return cls(key, KEY_VARIABLE)
        if key_path is None:
            raise OperatorError(f"there is no key for secrets: set {KEY_VARIABLE}")
        try:
            if not key_path.exists():
                _make_key_file(key_path)
            return cls(_read_key_file(key_path), str(key_path))
        except OSError as error:
            raise OperatorError(
                f"the key file {key_path} cannot be used: {error.strerror}; "
                f"mend that, or set {KEY_VARIABLE}"
            ) from error

    def encrypt(self, text: str) -> str:
        """Return ``text`` encrypted, in base64; it looks different every time."""
        return b64encode(self._cipher.encrypt(text.encode())).decode()

    def decrypt(self, secret: str) -> str:
        """Return the text that ``encrypt`` was given.

        Raises:
            OperatorError: The key is not the one that encrypted it, or it is damaged.
        """
        try:
            return self._cipher.decrypt(b64decode(secret)).decode()
        except ValueError:
            raise OperatorError(
                f"a stored secret cannot be read with the key in {self._origin}: put "
                "back the key it was stored with, or create the task anew"
            ) from None


def _make_key_file(path: Path) -> None:
    """Write a new key, unless another process is first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    draft = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(AESCipher.create_key(KEY_BYTES) + "\n")
            file.flush()
            os.fsync(file.fileno())
        # A link appears whole or not at all, and never replaces another's key.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink()
    _sync_folder(path.parent)


def _sync_folder(path: Path) -> None:
    """Make new names in a folder outlast a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_key_file(path: Path) -> str:
    if path.stat().st_mode & 0o077:
        raise OperatorError(
            f"others than its owner may use the key file {path}: `chmod 600 {path}`"
        )
    return path.read_text(encoding="utf-8", errors="replace").strip()
