"""Credentials as the event log may hold them: encrypted with a key kept elsewhere.

There may be several keys. The last one encrypts, the others only still decrypt.
"""

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

    def __init__(self, keys: str, origin: str) -> None:
        """Take base64 ``keys`` with blanks or commas between, the newest last.

        ``origin`` says in messages where they are from.

        Raises:
            OperatorError: There is none, or one is not 16, 24 or 32 bytes in base64.
        """
        self._origin = origin
        newest_first = keys.replace(",", " ").split()[::-1]
        self._ciphers = [_cipher(key, origin) for key in newest_first or [""]]

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
        return b64encode(self._ciphers[0].encrypt(text.encode())).decode()

    def decrypt(self, secret: str) -> str:
        """Return the text that ``encrypt`` was given.

        Raises:
            OperatorError: No key is the one that encrypted it, or it is damaged.
        """
        return self._opened(secret)[1]

    def is_outdated(self, secret: str) -> bool:
        """Say whether an older key than the newest encrypted ``secret``.

        Raises:
            OperatorError: As for ``decrypt``.
        """
        return self._opened(secret)[0] > 0

    def _opened(self, secret: str) -> tuple[int, str]:
        """Return how many keys are newer than the right one, and the text."""
        for newer, cipher in enumerate(self._ciphers):
            # The cipher has a checksum: a wrong key never gives a text.
            with suppress(ValueError):
                return newer, cipher.decrypt(b64decode(secret)).decode()
        raise OperatorError(
            f"a stored secret cannot be read with the key in {self._origin}: put "
            "back the key it was stored with, or create the task again"
        )


def add_key(path: Path) -> None:
    """Put a new key behind those in the file, which is made if there is none.

    Raises:
        OperatorError: The file cannot be used, or others may read it.
    """
    SecretBox.open(path, {})
    try:
        with path.open("a") as file:
            # The line before may have been written by hand, and not ended.
            file.write(f"\n{AESCipher.create_key(KEY_BYTES)}\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OperatorError(
            f"no key can be added to {path}: {error.strerror}"
        ) from error


def _cipher(key: str, origin: str) -> AESCipher:
    try:
        b64decode(key, validate=True)
        return AESCipher(Environment(env={AESCipher.CIPHER_KEY: key}))
    except (ValueError, OSError):
        raise OperatorError(
            f"a key in {origin} is not {KEY_BYTES} bytes in base64; "
            f"`openssl rand -base64 {KEY_BYTES}` makes one"
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
