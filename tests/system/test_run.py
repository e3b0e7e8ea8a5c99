from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from portal.server.run import STANDS_S, STARTING_S
from tests.conftest import ROOT
from tests.portal_process import PortalProcess, Visitor, free_port, marked_processes, python_in, wait_for

Portals = Callable[..., PortalProcess]


def test_a_second_start_is_quick_and_keeps_all_data(portals: Portals) -> None:
    first = portals().start()
    visitor = Visitor(first.address)
    visitor.sign_in(*first.login())
    before = set(wait_for(visitor.violations, 60, "a violation"))
    login = first.login()
    first.stop()

    began = time.monotonic()
    second = portals().start(within_s=10)
    assert time.monotonic() - began < 10
    assert second.login() == login
    visitor = Visitor(second.address)
    visitor.sign_in(*login)
    assert before <= set(visitor.violations())
    wait_for(lambda: second.health()["cameras_watched"] == 2, 15, "both cameras being watched again")


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_to_the_supervisor_alone_ends_everything_within_five_seconds(portals: Portals, name: str) -> None:
    portal = portals().start()
    assert portal.process is not None
    os.kill(portal.process.pid, getattr(signal, name))
    wait_for(lambda: not marked_processes(portal.marker), 5, "the end of all processes")


def test_after_a_kill_of_the_supervisor_no_process_is_left(portals: Portals) -> None:
    portal = portals().start()
    assert portal.process is not None
    lines = b" ".join(cmdline(pid) for pid in marked_processes(portal.marker))
    assert all(name in lines for name in (b"uvicorn", b"streams@", b"jobs@", b"beat", b"valkey-server")), (
        "all are marked"
    )
    os.kill(portal.process.pid, signal.SIGKILL)
    wait_for(lambda: not marked_processes(portal.marker), 5, "the end of all processes")


def test_after_a_kill_of_make_no_process_is_left(portals: Portals) -> None:
    portal = portals(command=["sh", "-c", "MAKELEVEL=1 .venv/bin/python -m portal.server.run & wait"]).start()
    assert portal.process is not None
    os.kill(portal.process.pid, signal.SIGKILL)
    wait_for(lambda: not marked_processes(portal.marker), 6, "the end of all processes")


def test_a_worker_that_is_killed_is_started_again_and_loses_nobody(portals: Portals) -> None:
    portal = portals().start()
    wait_for(lambda: portal.health()["cameras_watched"] == 2, 15, "both cameras being watched")
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    before = set(wait_for(visitor.violations, 60, "a violation"))
    (worker,) = [pid for pid in marked_processes(portal.marker) if b"streams@" in cmdline(pid)]
    os.kill(worker, signal.SIGKILL)
    # Five seconds without a picture, and the job worker's round, which is late on a busy machine.
    wait_for(lambda: "online" not in states(portal), 9, "the word that no picture comes")
    wait_for(lambda: states(portal) == ["online"], 15, "both cameras, online again")
    assert OUTAGE_OF_ALL in python_in(portal, OUTAGES), "the gap is an outage of each camera"
    wait_for(lambda: set(visitor.violations()) - before, 60, "a violation after the worker came back")
    spools = list((portal.data_dir / "spool").iterdir())
    assert len(spools) == 1, "the spool of the killed worker is recorded and gone"


def states(portal: PortalProcess) -> list[str]:
    """The states that cameras are in, each once; read directly, as one may last for less than a Python starts in."""
    with contextlib.closing(sqlite3.connect(portal.data_dir / "portal.sqlite3")) as database:
        return sorted({state for (state,) in database.execute("SELECT state FROM cameras_cameralease")})


OUTAGES = "from cameras.models import *; print(sorted(Outage.objects.values_list('camera_id', 'reason')))"
OUTAGE_OF_ALL = "[(1, 'The worker that watched it ended.'), (2, 'The worker that watched it ended.')]"


def test_one_process_that_keeps_ending_does_not_end_the_others(portals: Portals) -> None:
    """It is told on the page and in /healthz, and started again after growing pauses."""
    portal = portals().start()
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    ends = 0
    while ends < 5:
        (beat,) = wait_for(lambda: portal.pids(" beat") or portal.pids("\0beat\0"), 20, "the process, started again")
        os.kill(beat, signal.SIGKILL)
        ends += 1
        wait_for(lambda pid=beat: not cmdline(pid), 5, "its end")  # type: ignore[misc]
        if ends >= 3:
            wait_for(lambda: "“beat” of the portal keeps stopping" in visitor.text("/"), 5, "the notice on the page")
            health = visitor.get("/healthz")
            assert health[0] == 503 and b'"keeps_ending": ["beat"]' in health[1]
    assert portal.process is not None and portal.process.poll() is None
    assert json.loads(health[1])["cameras_watched"] == 2
    wait_for(lambda: visitor.get("/healthz")[0] == 200, 60, "all to be well again")
    assert "keeps stopping" not in visitor.text("/")


def test_a_process_that_stands_still_is_killed_and_started_again(portals: Portals, tmp_path: Path) -> None:
    """All four, stopped at once, as a deadlock or a debugger would; systemd hears of the supervisor meanwhile."""
    address = str(tmp_path / "notify")
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as heard:
        heard.bind(address)
        heard.settimeout(10)
        portal = portals(environment={"NOTIFY_SOCKET": address}).start()
        assert [heard.recv(100), heard.recv(100)] == [b"READY=1", b"WATCHDOG=1"], "alive only once it is ready"
        stand_still_and_be_replaced(portal)  # nobody listens meanwhile, which holds up nothing


def stand_still_and_be_replaced(portal: PortalProcess) -> None:
    names = {"web": "uvicorn", "streams": "streams@", "jobs": "jobs@", "beat": "\0beat\0"}
    before = {name: portal.pids(word) for name, word in names.items()}
    for pids in before.values():
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)

    def replaced() -> bool:
        now = {name: portal.pids(word) for name, word in names.items()}
        return all(now[name] and not set(now[name]) & set(before[name]) for name in names)

    wait_for(replaced, STARTING_S + STANDS_S, "four new processes")
    for name in names:
        assert f"The {name} process stands still" in portal.printed()

    def watches() -> bool:
        with contextlib.suppress(OSError):
            return bool(portal.health()["cameras_watched"] == 2)
        return False

    wait_for(watches, 45, "all to be well")


def test_while_the_database_is_locked_pages_say_so_soon(portals: Portals) -> None:
    portal = portals().start()
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    lock = sqlite3.connect(portal.data_dir / "portal.sqlite3", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    try:
        for path in ("/", "/violations/", "/healthz"):
            began = time.monotonic()
            status, page = visitor.get(path)
            assert time.monotonic() - began < 5, path
            assert (status == 503) == (path == "/healthz"), "reading goes on"
        assert b'"database": "down"' in page
        began = time.monotonic()
        status, page = Visitor(portal.address).post("/sign-in/", username="a@b.example", password="x")
        assert time.monotonic() - began < 8 and status == 503 and b"The database is busy" in page
    finally:
        lock.rollback()
        lock.close()
    wait_for(lambda: visitor.get("/healthz")[0] == 200, 10, "all to be well again")


TOKENS = "from cameras.models import *; print(sorted(CameraLease.objects.values_list('camera_id', 'token')))"


def test_while_valkey_is_away_workers_watch_on_and_keep_their_leases(portals: Portals) -> None:
    portal = portals().start()
    wait_for(lambda: portal.health()["cameras_watched"] == 2, 15, "both cameras being watched")
    tokens = python_in(portal, TOKENS)
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    before = set(wait_for(visitor.violations, 60, "a violation"))
    servers = [
        pid for pid in marked_processes(portal.marker) if cmdline(pid).split(b"\0")[0].endswith(b"valkey-server")
    ]
    assert len(servers) == 1
    (valkey,) = servers
    os.kill(valkey, signal.SIGKILL)
    wait_for(lambda: "starting it again" in portal.printed(), 15, "the supervisor to start it again")
    wait_for(lambda: is_well(portal), 60, "all to be well again")
    wait_for(lambda: set(visitor.violations()) - before, 60, "a violation afterwards")
    assert python_in(portal, TOKENS) == tokens, "nobody took a camera from who watched it all the while"


def is_well(portal: PortalProcess) -> bool:
    try:
        return bool(portal.health()["cameras_watched"] == 2)
    except OSError:
        return False


def cmdline(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def ends_with_one_line(portal: PortalProcess, within_s: float = 30) -> str:
    process = portal.launch()
    assert process.wait(within_s) != 0
    lines = portal.printed().strip().splitlines()
    assert len(lines) == 1, lines
    assert marked_processes(portal.marker) == []
    return lines[0]


def test_a_port_that_is_taken_is_one_clear_line(portals: Portals) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        line = ends_with_one_line(portals(port=port))
    assert f"Port {port}" in line and "make run PORT=" in line


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"REDIS_URL": "redis://127.0.0.1:{port}/0"}, "Redis does not answer"),
        ({"REDIS_URL": "http://127.0.0.1"}, "REDIS_URL must begin"),
        ({"DATABASE_URL": "postgres://nobody:nothing@127.0.0.1:{port}/none"}, "The database does not answer"),
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL"),
        ({"PORT": "http"}, "PORT=http cannot be used. Write a port number from 1 to 65535"),
        ({"HTTPS": "perhaps"}, "HTTPS=perhaps is neither on nor off"),
        ({"DEMO": "perhaps"}, "DEMO=perhaps is neither on nor off"),
        ({"BIND": "203.0.113.77"}, "BIND|cannot be used"),
        ({"PUBLIC_URL": "masks"}, "PUBLIC_URL=masks is not an address"),
        ({"WORKER_CAPACITY": "many"}, "WORKER_CAPACITY=many"),
        ({"EMAIL_URL": "pigeon://x"}, "EMAIL_URL cannot be read"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_what_cannot_be_used_is_one_clear_line(portals: Portals, environment: dict[str, str], says: str) -> None:
    given = {name: value.format(port=free_port()) for name, value in environment.items()}
    assert re.search(says, ends_with_one_line(portals(environment=given)))


def test_two_portals_do_not_share_a_data_dir(portals: Portals) -> None:
    portals().start()
    assert "already uses" in ends_with_one_line(portals())


def test_a_python_without_venv_is_one_clear_line(tmp_path: Path) -> None:
    bare = tmp_path / "python3"
    bare.write_text('#!/bin/sh\ncase "$2" in *venv*) exit 1;; esac\nexit 0\n')
    bare.chmod(0o755)
    command = ["sh", "portal/server/install.sh", str(bare), str(tmp_path / "venv"), "requirements.txt"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.strip().splitlines() == [f"{bare} has no venv. On Debian and Ubuntu: apt install python3-venv."]


def test_without_demo_only_the_printed_link_makes_the_first_user_and_only_once(portals: Portals) -> None:
    portal = portals(environment={"DEMO": "0"}).start()
    link = re.search(r"http://\S+(/first-user/\S+)", portal.output)
    assert link
    path = link.group(1)
    stranger = Visitor(portal.address)
    assert stranger.get("/first-user/something/")[0] == 404
    visitor = Visitor(portal.address)
    fields = {"name": "Ada", "email": "ada@example.org", "password1": "a-Long-pass-4u", "password2": "a-Long-pass-4u"}
    status, page = visitor.post(path, **fields)
    assert status == 200 and b"First steps: 1 of 3" in page
    assert visitor.get("/admin/")[0] == 200
    assert stranger.get(path)[0] == 404
    portal.stop()
    assert "Sign in with your e-mail" in portals(environment={"DEMO": "0"}).start().output
