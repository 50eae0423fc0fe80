"""TLS for connections of waitress, which has none.

OpenSSL works on buffers in memory and never on the socket: a handshake that comes byte
by byte holds up nobody, and waitress sees a connection that is ready or is not, as ever.
"""

from __future__ import annotations

import ssl
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from cdc_actors.errors import OperatorError
from cdc_http.channel import Channel


def server_context(cert_path: str, key_path: str) -> ssl.SSLContext:
    """Return TLS 1.2 and above with a certificate chain in PEM.

    Raises:
        OperatorError: A file cannot be read or used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    for name, path in (("tls.certPath", cert_path), ("tls.keyPath", key_path)):
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise OperatorError(
                f"{name} {path} cannot be read: {error.strerror}"
            ) from error
    try:
        # With a password at hand OpenSSL does not ask the terminal for one.
        context.load_cert_chain(cert_path, key_path, password="")
    except ssl.SSLError as error:
        raise OperatorError(
            f"tls.certPath {cert_path} and tls.keyPath {key_path} cannot be used "
            f"({error.reason or 'no PEM'}): they must be a certificate and its own key "
            "in PEM, without a password"
        ) from error
    return context


def client_context(ca_path: str) -> ssl.SSLContext:
    """Return TLS that trusts the authorities in a file of PEM, or the system's without.

    Raises:
        OperatorError: The file cannot be read or used.
    """
    try:
        return ssl.create_default_context(cafile=ca_path or None)
    except ssl.SSLError as error:
        raise OperatorError(
            f"tls.caPath {ca_path} cannot be used: it must be CA certificates in PEM"
        ) from error
    except OSError as error:
        raise OperatorError(
            f"tls.caPath {ca_path} cannot be read: {error.strerror}"
        ) from error


class TlsChannel(Channel):
    """One encrypted connection; the loop's thread and a worker's may send."""

    def __init__(
        self, context: ssl.SSLContext, *arguments: Any, **options: Any
    ) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # An SSLObject is for one thread at a time. Nothing is closed under this lock:
        # that takes the lock of waitress's buffers, under which it sends.
        self._tls_lock = threading.Lock()
        self._wire = bytearray()
        self._sealed = 0
        super().__init__(*arguments, **options)

    def handle_read(self) -> None:
        """Decrypt what has come; a handshake or half a record brings no data yet."""
        try:
            raw = self.recv(self.adj.recv_bytes)
            data = self._decrypted(raw) if raw else b""
        except OSError:
            self.handle_close()
            return
        if data:
            self.last_activity = time.time()
            self.received(data)
        elif data is None:
            self.handle_close()

    def writable(self) -> bool:
        """Say whether something waits for the socket, be it of a handshake."""
        return bool(self._wire) or bool(super().writable())

    def handle_write(self) -> None:
        """Send what waits, the oldest first."""
        try:
            with self._tls_lock:
                self._flush()
        except OSError:
            self.will_close = True
        super().handle_write()

    def send(self, data: bytes, do_close: bool = True) -> int:  # noqa: ARG002, FBT001, FBT002
        """Encrypt and send; return how many bytes of ``data`` are on their way.

        That is 0 until all of what they became is: the caller comes again with the same
        bytes in front, which are not encrypted twice.
        """
        with self._tls_lock:
            if not self._sealed:
                self._sealed = self._tls.write(data)
            if not self._flush():
                return 0
            sent, self._sealed = self._sealed, 0
        return sent

    def handle_close(self) -> None:
        """Say goodbye, so that the client knows that nothing was cut off, and close."""
        if self.connected:
            with self._tls_lock, suppress(OSError):
                # It waits for the other side's goodbye, we do not.
                with suppress(ssl.SSLError):
                    self._tls.unwrap()
                self._flush()
        super().handle_close()

    def _decrypted(self, raw: bytes) -> bytes | None:
        """Return the data in ``raw``, None if the client has said goodbye."""
        parts: list[bytes] = []
        with self._tls_lock:
            self._incoming.write(raw)
            try:
                while part := self._tls.read(len(raw)):
                    parts.append(part)
                ended = True
            except ssl.SSLWantReadError:
                ended = False
            self._flush()
        return None if ended and not parts else b"".join(parts)

    def _flush(self) -> bool:
        """Hand the socket what it takes; say whether that is all. Called locked."""
        self._wire += self._outgoing.read()
        while self._wire:
            # A connection that is gone closes when the loop sees it.
            sent = super().send(self._wire, do_close=False)
            if not sent:
                return False
            self.last_activity = time.time()
            del self._wire[:sent]
        return True
