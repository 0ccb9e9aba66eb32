"""A real PostgreSQL in a folder of its own: on a Unix socket, run by an account without rights, gone with the tests."""

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

START_SECONDS = 60
NOBODY = 65_534
# Nothing here outlives the machine, and nobody else comes in: the socket lies in a folder of the account's.
SETTINGS = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "listen_addresses=", "max_connections=40")


class Postgres:
    """One server; `database` makes an empty database in it and gives its URL."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._numbers = itertools.count(1)
        self._run(
            "initdb", f"--pgdata={folder}/data", "--username=uem", "--auth=trust", "--locale=C", "--encoding=UTF8"
        )
        self.start()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join(f"-c {setting}" for setting in (*SETTINGS, f"unix_socket_directories={self.folder}"))
        log = f"--log={self.folder}/log"
        self._run(
            "pg_ctl",
            "start",
            "--wait",
            f"--timeout={START_SECONDS}",
            f"--pgdata={self.folder}/data",
            log,
            f"--options={options}",
        )

    def stop(self) -> None:
        """Stop it at once, whoever is connected."""
        self._run(
            "pg_ctl", "stop", "--wait", f"--timeout={START_SECONDS}", "--mode=fast", f"--pgdata={self.folder}/data"
        )

    def database(self) -> str:
        """The URL of an empty database, as SQLAlchemy reads it."""
        name = f"uem{next(self._numbers)}"
        with psycopg.connect(host=str(self.folder), user="uem", dbname="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return f"postgresql+psycopg://uem@/{name}?host={self.folder}"

    def _run(self, program: str, *arguments: str) -> None:
        account = NOBODY if os.getuid() == 0 else None
        done = subprocess.run(
            [str(_programs() / program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server inherits it: a pipe would stay open as long as it runs
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            check=False,
            user=account,
            group=account,
            extra_groups=None if account is None else (),
        )
        log = self.folder / "log"
        said = log.read_text()[-2_000:] if log.exists() else ""
        assert done.returncode == 0, f"{program} ended with {done.returncode}\n{said}"


@contextmanager
def running() -> Iterator[Postgres]:
    """A server for as long as this lasts."""
    folder = Path(tempfile.mkdtemp(prefix="sentry-postgres-"))
    if os.getuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    try:
        server = Postgres(folder)
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """Where Debian has the programs of the newest PostgreSQL that is installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    assert found, "no PostgreSQL: `.ci/setup tests` installs it"
    return found[-1]
