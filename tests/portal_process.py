"""A portal as `make run` starts it, for tests that look at it from outside."""

from __future__ import annotations

import http.cookiejar
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from portal.server import variables
from tests.conftest import ROOT

T = TypeVar("T")
MARKER = "MASKS_TEST_MARKER"


def wait_for(condition: Callable[[], T], within_s: float, what: str) -> T:
    """The condition's first true value; at the deadline, an AssertionError that says what was waited for."""
    deadline = time.monotonic() + within_s
    while True:
        if value := condition():
            return value
        assert time.monotonic() < deadline, f"{what} did not come within {within_s} s"
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def marked_processes(marker: str) -> list[int]:
    """The processes that have this marker in their environment: a name could be shared, or changed."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                environment = (entry / "environ").read_bytes()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if f"{MARKER}={marker}".encode() in environment and state != "Z":
                found.append(int(entry.name))
    return found


SAME_FOLDER = {
    "DEMO", "BIND", "MQTT_URL", "LOCAL_CAMERAS", "CAMERA_NETWORKS", "FREE_DISK_FLOOR_MB", "METRICS_TOKEN", "LOG_LEVEL",
    "WORKER_NAME", "WORKER_CAPACITY", "WORKER_SITES",
}  # fmt: skip
MAKES_ANOTHER_FOLDER = variables.DEFAULTS.keys() - SAME_FOLDER  # what a first start puts into DATA_DIR depends on these


@dataclass
class PortalProcess:
    """Starts with `start`; `stop` sends what Ctrl-C sends, to the whole foreground group."""

    data_dir: Path
    environment: dict[str, str] = field(default_factory=dict)
    command: list[str] = field(default_factory=lambda: [sys.executable, "-m", "portal.server.run"])
    cwd: Path = ROOT
    on: tuple[str, ...] = ()  # what runs a command on another host (tests/system/hosts.py)
    port: int = field(default_factory=free_port)
    marker: str = field(default_factory=lambda: uuid.uuid4().hex)
    process: subprocess.Popen[bytes] | None = None
    shell: subprocess.Popen[str] | None = None  # of `python_in`
    output: str = ""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def launch(self) -> subprocess.Popen[bytes]:
        keep = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG", "TMPDIR"}}
        pip = {name: value for name, value in os.environ.items() if name.startswith(("PIP_", "SSL_", "REQUESTS_"))}
        given = {"PORT": str(self.port), "DATA_DIR": str(self.data_dir), MARKER: self.marker}
        demo = self.environment.get("DEMO", "1")
        is_usual = not self.environment.keys() & MAKES_ANOTHER_FOLDER and demo in {"0", "1"}
        if self.cwd == ROOT and is_usual and not self.data_dir.exists():
            shutil.copytree(prepared(demo), self.data_dir)
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(
                [*self.on, *self.command],
                cwd=self.cwd,
                env=keep | pip | given | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self.process

    @property
    def log_path(self) -> Path:
        return self.data_dir.parent / f"{self.data_dir.name}-{self.marker[:6]}.out"

    def printed(self) -> str:
        return self.log_path.read_text()

    def start(self, within_s: float = 60) -> PortalProcess:
        process = self.launch()

        def ready() -> bool:
            assert process.poll() is None, f"it ended: {self.printed()}"
            return "Ctrl-C stops it" in self.printed()

        wait_for(ready, within_s, "the greeting")
        self.output = self.printed()
        return self

    def stop(self, within_s: float = 5.0) -> float:
        """End it as Ctrl-C does; returns how long that took."""
        self.close_shell()
        if self.process is None:
            return 0.0
        began = time.monotonic()
        os.killpg(self.process.pid, signal.SIGINT)
        wait_for(lambda: not marked_processes(self.marker), within_s, "the end of all processes")
        self.process.wait(5)
        return time.monotonic() - began

    def kill(self) -> None:
        """For the end of a test: nothing may outlive it. How the portal ends by itself is what test_run.py is about."""
        self.close_shell()
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)
        for pid in marked_processes(self.marker):
            with suppress(ProcessLookupError):  # it has just ended by itself
                os.kill(pid, signal.SIGKILL)

    def close_shell(self) -> None:
        if self.shell is not None:
            self.shell.kill()
            self.shell.communicate()
            self.shell = None

    def web_pid(self) -> int:
        """The process that serves pages and sockets."""
        (web,) = self.pids("uvicorn")
        return web

    def pids(self, word: str) -> list[int]:
        """The processes whose command line has this word in it."""
        lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in marked_processes(self.marker)}
        return [pid for pid, line in lines.items() if word.encode() in line]

    @contextmanager
    def standing_still(self, word: str) -> Iterator[None]:
        """Suspend those processes meanwhile, as if they were busy for ever."""
        pids = self.pids(word)
        assert pids, f"no process of {word}"
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def login(self) -> tuple[str, str]:
        email, password = (self.data_dir / "demo-login.txt").read_text().splitlines()
        return email, password

    def health(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.address}/healthz", timeout=5) as answer:
            return dict(json.load(answer))


class Visitor:
    """A browser without scripts: cookies, forms, redirects."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener = urllib.request.build_opener(
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()), urllib.request.ProxyHandler({})
        )

    def get(self, path: str) -> tuple[int, bytes]:
        return self._open(urllib.request.Request(self.address + path))

    def text(self, path: str) -> str:
        return self.get(path)[1].decode()

    def post(self, path: str, **fields: str) -> tuple[int, bytes]:
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', self.text(path))
        assert token, "the page has no form"
        return self.send(path, fields | {"csrfmiddlewaretoken": token.group(1)})

    def send(self, path: str, fields: dict[str, str]) -> tuple[int, bytes]:
        """Submit a form as it is."""
        data = urllib.parse.urlencode(fields).encode()
        return self._open(urllib.request.Request(self.address + path, data, {"Referer": self.address + path}))

    def sign_in(self, email: str, password: str) -> None:
        status, page = self.post("/sign-in/", username=email, password=password)
        assert status == 200 and b"Sign out" in page, "the portal did not let us in"

    def violations(self) -> list[str]:
        """The newest, a page of them."""
        return re.findall(r'data-violation="([0-9a-f-]{36})"', self.text("/violations/"))

    def _open(self, request: urllib.request.Request) -> tuple[int, bytes]:
        try:
            with self._opener.open(request, timeout=20) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


@cache
def prepared(demo: str) -> Path:
    """A DATA_DIR as `manage.py prepare` makes it at a first start; made once, as that takes longer than a start."""
    from tests.isolation import FOLDER, VALKEY_SOCKET
    from tests.services import valkey

    folder = FOLDER / f"prepared-{demo}"
    with nullcontext() if VALKEY_SOCKET.exists() else valkey():
        environment = os.environ | {"DATA_DIR": str(folder), "DEMO": demo}
        subprocess.run([sys.executable, "manage.py", "prepare"], cwd=ROOT, env=environment, check=True)
    return folder


SHELL = """
import contextlib, io, json, os, sys, traceback
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
import django
django.setup()
from django.db import connections
for line in sys.stdin:
    out, fault = io.StringIO(), ""
    try:
        with contextlib.redirect_stdout(out):
            exec(json.loads(line), {})
    except Exception:
        fault = traceback.format_exc()
    connections.close_all()
    print(json.dumps([out.getvalue(), fault]), flush=True)
"""


def python_in(portal: PortalProcess, code: str) -> str:
    """Run Python with Django in the portal's DATA_DIR, as its operator could; returns what it printed.

    One process runs it all until the portal stops: each start of Django would take longer than most of the code.
    """
    if portal.shell is None:
        given = {"DATA_DIR": str(portal.data_dir), "PORT": str(portal.port), "REDIS_URL": ""}
        environment = os.environ | given | portal.environment
        portal.shell = subprocess.Popen(
            [*portal.on, sys.executable, "-c", SHELL], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    assert portal.shell.stdin is not None and portal.shell.stdout is not None
    portal.shell.stdin.write(json.dumps(code) + "\n")
    portal.shell.stdin.flush()
    printed, fault = json.loads(portal.shell.stdout.readline() or '["", "the shell ended"]')
    assert not fault, fault
    return str(printed)
