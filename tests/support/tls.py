"""TLS before a server that has none: real certificates, real handshakes."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import ssl
import threading
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """PEM files: an authority, and one certificate of it for both sides."""

    authority: Path
    certificate: Path
    key: Path


def certificates(folder: Path) -> Certificates:
    """Make an authority and a certificate for 127.0.0.1, good for a day."""
    # Pulsar's broker takes no other kind of key.
    authority_key, key = (rsa.generate_private_key(65537, 2048) for _ in range(2))
    authority = _certificate("authority", authority_key, None, authority_key)
    own = _certificate("127.0.0.1", key, authority, authority_key)
    files = Certificates(
        authority=folder / "ca.pem",
        certificate=folder / "cert.pem",
        key=folder / "key.pem",
    )
    pem = serialization.Encoding.PEM
    files.authority.write_bytes(authority.public_bytes(pem))
    files.certificate.write_bytes(own.public_bytes(pem))
    files.key.write_bytes(
        key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def _certificate(
    name: str,
    key: rsa.RSAPrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: rsa.RSAPrivateKey,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    address = x509.IPAddress(ip_address("127.0.0.1"))
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(
            x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True
        )
        .sign(issuer_key, hashes.SHA256())
    )


@contextlib.contextmanager
def tls_front(
    address: str, files: Certificates, *, mutual: bool = True
) -> Iterator[str]:
    """Yield an ``https`` address of ``address``.

    It is for who has a certificate only, or for everybody if it is not ``mutual``.
    """
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="tls-front")
    thread.start()
    front = _Front(address)
    try:
        start = asyncio.run_coroutine_threadsafe(
            front.start(_context(files, mutual=mutual)), loop
        )
        yield f"https://127.0.0.1:{start.result(60)}"
    finally:
        asyncio.run_coroutine_threadsafe(front.stop(), loop).result(60)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _context(files: Certificates, *, mutual: bool) -> ssl.SSLContext:
    context = ssl.create_default_context(
        ssl.Purpose.CLIENT_AUTH, cafile=str(files.authority)
    )
    context.load_cert_chain(files.certificate, files.key)
    context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


class _Front:
    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition("://")[2].partition(":")
        self._behind = (host, int(port))
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, context: ssl.SSLContext) -> int:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", 0, ssl=context
        )
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # What is closed waits for the other side, and the loop does not wait for it.
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self._writers.append(writer)
        there, back = await asyncio.open_connection(*self._behind)
        self._writers.append(back)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pump(reader, back))
                group.create_task(_pump(there, writer))
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            back.close()
            self._tasks.discard(task)


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while chunk := await source.read(1 << 16):
        sink.write(chunk)
        await sink.drain()
    sink.close()
