"""A store on each database: a SQLite file of its own, and a database on a PostgreSQL of this run's own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from driftwatch.model import CheckResult, StackDeclaration
from driftwatch.store import Store
from driftwatch.store.sqlite import DATABASE_FILE
from driftwatch.store.tables import Base

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
_PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


class Postgres:
    """A private server on a Unix socket, not as root, and with nothing in it but these tests'."""

    def __init__(self, programs: Path, directory: Path) -> None:
        self._programs = programs
        self._data = directory / "data"
        self.socket = directory / "socket"
        self._count = 0
        self._template: str | None = None
        self._cleared: str | None = None
        self._as = ["--reuid=nobody", "--regid=nogroup", "--clear-groups"] if not os.geteuid() else []
        for path in (directory, self._data, self.socket):
            path.mkdir(exist_ok=True)
            if self._as:
                shutil.chown(path, "nobody", "nogroup")
        self._data.chmod(0o700)
        self._initialise()
        with (self._data / "postgresql.conf").open("a") as file:
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{self.socket}'\n")
            file.write("fsync = off\nmax_connections = 60\nshared_buffers = 16MB\nlog_statement = none\n")

    def start(self) -> None:
        """The server ends with this process, however that ends."""
        with (self._data / "log").open("ab") as log:
            self._server = subprocess.Popen(
                ["setpriv", "--pdeathsig", "QUIT", *self._as, self._programs / "postgres", "-D", self._data],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                env=_ENVIRONMENT,
            )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert self._server.poll() is None, (self._data / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not come up"
            time.sleep(0.05)

    def stop(self) -> None:
        """At once, as in a power cut: no goodbyes to clients."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait()

    def _answers(self) -> bool:
        try:
            self.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def _initialise(self) -> None:
        options = ["-U", "driftwatch", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"]
        done = subprocess.run(
            [
                *(["setpriv", *self._as] if self._as else []),
                self._programs / "initdb",
                "-D",
                self._data,
                *options,
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            cwd="/",
            env=_ENVIRONMENT,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def url(self, name: str) -> str:
        return f"postgresql://driftwatch@/{name}?host={self.socket}"

    def new_database(self, *, empty: bool = False) -> str:
        """A database that is empty, or a copy of one that has the schema already."""
        self._count += 1
        name = f"test_{self._count}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {'template0' if empty else self._upgraded()}")
        return name

    def cleared_database(self) -> str:
        """One database for all tests that only use it: emptied, which is faster than a new one each time."""
        if self._cleared is None:
            self._cleared = self.new_database()
        tables = ", ".join(Base.metadata.tables)
        self.execute(f"TRUNCATE {tables} RESTART IDENTITY", database=self._cleared)
        return self._cleared

    def _upgraded(self) -> str:
        if self._template is None:
            self._template = "upgraded"
            self.execute("CREATE DATABASE upgraded")
            Store.open(state_dir=self.socket, database=self.url("upgraded")).close()
        return self._template

    def execute(self, statement: str, *, database: str = "postgres") -> list[tuple[Any, ...]]:
        with psycopg.connect(
            dbname=database, user="driftwatch", host=str(self.socket), autocommit=True
        ) as connection:
            answer = connection.execute(statement)  # type: ignore[call-overload]
            return answer.fetchall() if answer.description else []


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    if not _PROGRAMS or not shutil.which("setpriv"):
        pytest.skip("PostgreSQL's server programs are not installed: the store is tested on SQLite only")
    # Not in pytest's own directory: that is closed to the user the server runs as.
    directory = Path(tempfile.mkdtemp(prefix="driftwatch-pg-"))
    server = Postgres(_PROGRAMS[0], directory)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(directory)


@dataclass(frozen=True)
class Place:
    """What `Store.open` needs to open the same database again."""

    state_dir: Path
    database: str | None

    def open(self, patience: float = 5.0) -> Store:
        return Store.open(state_dir=self.state_dir, database=self.database, patience=patience)


@pytest.fixture(scope="session")
def upgraded_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file that has the schema already."""
    directory = tmp_path_factory.mktemp("upgraded")
    Store.open(state_dir=directory, database=None).close()
    return directory / DATABASE_FILE


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "sqlite":
        return request.getfixturevalue("sqlite_place")
    server: Postgres = request.getfixturevalue("postgres")
    return Place(tmp_path / "state", server.url(server.cleared_database()))


@pytest.fixture
def store(place: Place) -> Iterator[Store]:
    opened = place.open()
    yield opened
    opened.close()


@pytest.fixture
def sqlite_place(tmp_path: Path, upgraded_file: Path) -> Place:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    shutil.copy(upgraded_file, directory / DATABASE_FILE)
    return Place(tmp_path / "state", None)


@pytest.fixture
def sqlite_store(sqlite_place: Place) -> Iterator[Store]:
    opened = sqlite_place.open()
    yield opened
    opened.close()


@pytest.fixture
def record(store: Store) -> Callable[..., Any]:
    """Records a result in the store, told to one channel."""

    def write(check: CheckResult, **words: Any) -> Any:
        declaration = StackDeclaration(id=check.stack, owners=("@platform",))
        return store.record_check(check, declaration=declaration, **({"channels": ["slack"]} | words))

    return write
