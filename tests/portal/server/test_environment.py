from __future__ import annotations

import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
import tomllib
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from django.core.management.base import CommandError
from django.test import Client
from hypothesis import given
from hypothesis import strategies as st

from cameras.models import Site
from portal import __version__
from portal.management.commands import prepare
from portal.models import Heartbeat
from portal.server import alive, certificates, health, variables
from portal.server import environment as env
from portal.server.variables import SettingError
from tests.conftest import ROOT
from tests.portal_process import wait_for


@pytest.fixture(autouse=True)
def _nobody_has_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "_latest", (float("-inf"), {}))


def test_a_private_file_is_its_owners_alone(tmp_path: Path) -> None:
    env.private_file(tmp_path / "key", "secret")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_the_secret_key_is_made_once(tmp_path: Path) -> None:
    first = env.secret_key(tmp_path)
    assert len(first) > 50 and env.secret_key(tmp_path) == first


@given(st.text("0123456789abcdef", min_size=1, max_size=48))
def test_celery_gets_the_same_password_and_path(password: str) -> None:
    url = env.celery_broker_url(f"unix://:{password}@/tmp/masks-x/v.sock?db=0")
    assert url == f"redis+socket://:{password}@/tmp/masks-x/v.sock?virtual_host=0"


def test_redis_by_tcp_is_passed_on_as_it_is() -> None:
    assert env.celery_broker_url("rediss://u:p@redis.example:6380/2") == "rediss://u:p@redis.example:6380/2"


@pytest.mark.parametrize(("text", "value"), [("1", True), ("off", False), ("", True), ("YES", True), ("no", False)])
def test_switches_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch, text: str, value: bool) -> None:
    monkeypatch.setenv("DEMO", text)
    assert variables.flag("DEMO") is value


@pytest.mark.parametrize("text", ["x", "0", "70000", "nan", "inf"])
def test_a_number_out_of_bounds_is_named_with_its_bounds(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("PORT", text)
    with pytest.raises(SettingError, match=r"PORT=.* from 1 to 65535"):
        variables.port()


@pytest.mark.parametrize(
    ("bind", "public", "allowed"),
    [
        ("127.0.0.1", "", ["localhost", "127.0.0.1", "[::1]"]),
        ("192.0.2.7", "", ["localhost", "127.0.0.1", "[::1]", "192.0.2.7"]),
    ],
)
def test_hosts_are_those_that_were_named(bind: str, public: str, allowed: list[str]) -> None:
    assert env.allowed_hosts(bind, public) == allowed


def test_bound_everywhere_the_machines_own_names_are_hosts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "Lobby-PC")
    found = env.allowed_hosts("0.0.0.0", "https://masks.example.org")  # noqa: S104
    assert {"localhost", "lobby-pc", "lobby-pc.local", "masks.example.org"} <= set(found)
    assert not any(host.startswith("169.254") for host in found)


def test_hosts_that_were_named_do_not_shut_the_supervisor_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_HOSTS", "masks.example.org, masks.lan")
    assert env.allowed_hosts("127.0.0.1", "") == ["localhost", "127.0.0.1", "[::1]", "masks.example.org", "masks.lan"]


def test_sqlite_is_set_up_for_several_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    options: Any = env.database(tmp_path)["OPTIONS"]
    assert options["transaction_mode"] == "IMMEDIATE" and "journal_mode=WAL" in options["init_command"]


@pytest.mark.django_db
def test_health_says_what_is_down(client: Client, redis: Any) -> None:
    answer = client.get("/healthz")
    assert answer.status_code == 503
    state = answer.json()
    assert (state["web"], state["database"], state["redis"]) == ("ok", "ok", "ok")
    assert (state["stream_workers"], state["job_workers"], state["status"]) == ("down", "down", "down")


@pytest.mark.django_db
def test_health_is_ok_when_all_live(client: Client, redis: Any) -> None:
    from cameras.watching.leases import WorkerState, announce
    from portal.server.health import note_jobs_alive

    announce(WorkerState("north", "1", 4, watching=(1, 2)))
    note_jobs_alive()
    answer = client.get("/healthz")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["cameras_watched"]) == ("ok", 2)
    assert answer.json()["version"] == __version__


def test_however_many_ask_for_the_health_only_a_few_rows_are_written(
    client: Client, redis: Any, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody may ask, unsigned."""
    beats: list[int] = []
    monkeypatch.setattr(health, "FRESH_S", 60)
    monkeypatch.setattr(Heartbeat, "beat", lambda: beats.append(1))
    answers = [client.get("/healthz").json() for _ in range(20)]
    assert len(beats) == 1 and all(answer == answers[0] for answer in answers)


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert newest is not None and newest.group(1) == project["version"] == __version__


def test_every_variable_and_every_command_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    assert {name for name in variables.DEFAULTS.keys() - variables.OURS if f"| `{name}` |" not in readme} == set()
    commands = {path.stem for path in (ROOT / "portal/management/commands").glob("[a-z]*.py")}
    assert {command for command in commands if f"manage.py {command}" not in readme} == set()


def test_no_variable_is_read_that_is_not_declared() -> None:
    source = "".join(path.read_text() for path in (ROOT / "portal").rglob("*.py"))
    read = set(re.findall(r'variables\.(?:read|flag|number|choice|names)\(\s*"(\w+)"', source))
    assert read | {"CAMERA_NETWORKS", "PORT", "WORKER_CAPACITY"} == set(variables.DEFAULTS)


def test_tests_hear_nothing_of_the_operators_variables() -> None:
    given = os.environ | dict.fromkeys(variables.DEFAULTS, "operator's")
    code = "import json, os, tests.isolation; print(json.dumps(dict(os.environ)))"
    done = subprocess.run([sys.executable, "-c", code], env=given, cwd=ROOT, capture_output=True, text=True, check=True)
    left = json.loads(done.stdout)
    assert [name for name in variables.DEFAULTS if left.get(name) == "operator's"] == []


@pytest.mark.parametrize(
    "page", ["components/words.html", "door/door.html", "door/speaker.html", "door/pair.html", "try.html"]
)
def test_every_word_that_scripts_say_is_given_by_the_page(page: str) -> None:
    """Pages that need no account have their own words; all others share components/words.html."""
    own = {
        "door/door.html": "door.js",
        "door/speaker.html": "speaker.js",
        "door/pair.html": "pair.js",
        "try.html": "try.js",
    }
    given = (ROOT / "portal/templates" / page).read_text()
    names = {
        re.sub(r"-(\w)", lambda found: found.group(1).upper(), name) for name in re.findall(r"data-([\w-]+)=", given)
    }
    every = {path.name: path.read_text() for path in (ROOT / "portal/static/portal").glob("*.js")}
    shared = "".join(text for name, text in every.items() if name not in own.values())
    scripts = every[own[page]] if page in own else shared
    said = set(re.findall(r'say\("(\w+)"', scripts)) | set(re.findall(r'\? "(\w+)" : "\w+";\n.*say\(name', scripts))
    assert said and said <= names, said - names


def test_logs_are_json_if_asked_for(tmp_path: Path) -> None:
    code = "import django, logging; django.setup(); logging.getLogger('x').warning('a %s', 'b')"
    given = {"DATA_DIR": str(tmp_path), "LOG_FORMAT": "json", "DJANGO_SETTINGS_MODULE": "portal.settings"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | given, capture_output=True)
    line = json.loads(done.stderr.decode().splitlines()[0])
    assert (line["level"], line["logger"], line["message"]) == ("WARNING", "x", "a b")
    assert datetime.strptime(line["at"], "%Y-%m-%dT%H:%M:%S%z").tzinfo is not None


@pytest.mark.django_db
def test_readiness_is_of_this_process_alone(client: Client, redis: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any worker it is ready; without Redis it is not; it writes nothing."""
    beats: list[int] = []
    monkeypatch.setattr(Heartbeat, "beat", lambda: beats.append(1))
    assert client.get("/readyz").status_code == 200 and client.get("/healthz").status_code == 503
    assert len(beats) == 1, "by /healthz"
    monkeypatch.setattr(health, "connection", lambda: Dead())
    answer = client.get("/readyz")
    assert answer.status_code == 503 and answer.json() == {"database": "ok", "redis": "down"}


class Dead:
    def ping(self) -> bool:
        raise ConnectionError


def test_a_process_beats_only_while_its_loops_go_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEAT_FILE", str(tmp_path / "beat"))
    monkeypatch.setattr(alive, "BEAT_EVERY_S", 0.02)
    rounds = [time.monotonic()]
    alive.beat_while(lambda: rounds)
    wait_for((tmp_path / "beat").exists, 5, "the first beat")
    rounds[0] -= alive.ROUND_WITHIN_S + 1
    newest = 0

    def stands() -> bool:
        nonlocal newest
        before, newest = newest, (tmp_path / "beat").stat().st_mtime_ns
        threading.Event().wait(0.1)
        return before == newest

    wait_for(stands, 5, "it stops beating")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"PORTAL": "http://masks.example.org", "KEY": "k"}, "Write https://"),
        ({"PORTAL": "masks.example.org", "KEY": "k"}, "Write https://"),
        ({"PORTAL": "https://masks.example.org"}, "needs KEY"),
        ({"PORTAL": "https://masks.example.org", "KEY": "k", "PORTAL_AUTHORITY": "/nowhere.crt"}, "at /connect/"),
    ],
)
def test_a_worker_at_a_site_is_told_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], says: str
) -> None:
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=re.escape(says)):
        env.portal_elsewhere()


def test_a_worker_at_a_site_knows_its_portal(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.portal_elsewhere() == ("", "", "")
    monkeypatch.setenv("PORTAL", "https://masks.example.org/")
    monkeypatch.setenv("KEY", "worker_x")
    assert env.portal_elsewhere() == ("https://masks.example.org", "worker_x", "")
    monkeypatch.setenv("PORTAL", "http://127.0.0.1:8000")  # a tunnel that ends here
    assert env.portal_elsewhere()[0] == "http://127.0.0.1:8000"


def test_the_name_of_a_worker_at_a_site_cannot_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKER_NAME", "site:1:1")
    with pytest.raises(SettingError, match="colon"):
        env.worker_name()


@pytest.mark.django_db
def test_a_portal_and_a_worker_at_a_site_do_not_share_a_folder(settings: Any, tmp_path: Path) -> None:
    settings.DATA_DIR = tmp_path
    settings.PORTAL = "https://masks.example.org"
    Site.objects.create(name="Here")
    with pytest.raises(CommandError, match="folder of a portal"):
        prepare.Command().check_whose_folder()
    Site.objects.all().delete()
    prepare.Command().check_whose_folder()
    Site.objects.create(name="Mirrored")
    prepare.Command().check_whose_folder()
    settings.PORTAL = ""
    with pytest.raises(CommandError, match="worker at a site"):
        prepare.Command().check_whose_folder()


def test_make_worker_says_what_it_needs() -> None:
    made = subprocess.run(
        ["make", "--no-print-directory", "-o", ".venv/.installed", "worker", "PORTAL=", "KEY="],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert made.returncode and "make worker PORTAL=https://" in made.stdout


@pytest.mark.parametrize(
    ("bind", "public_url", "https", "expected"),
    [
        ("127.0.0.1", "", False, []),
        ("localhost", "", False, []),
        ("::1", "", True, []),
        ("192.168.1.5", "", True, ["https://192.168.1.5:8000"]),
        ("0.0.0.0", "", False, ["http://192.168.1.5:8000", "http://[fd00::5]:8000"]),  # noqa: S104
        ("0.0.0.0", "https://masks.example.org", False, ["https://masks.example.org"]),  # noqa: S104
    ],
)
def test_by_which_addresses_other_devices_reach_the_portal(
    monkeypatch: pytest.MonkeyPatch, bind: str, public_url: str, https: bool, expected: list[str]
) -> None:
    found = [ip_address(text) for text in ("127.0.0.1", "::1", "192.168.1.5", "fd00::5")]
    monkeypatch.setattr(certificates, "machine_addresses", lambda: found)
    assert env.reachable(bind, 8000, public_url, https=https) == expected


@pytest.mark.django_db
def test_the_greeting_names_addresses_for_other_devices_and_has_a_code_for_a_phone(settings: Any) -> None:
    settings.DEMO, settings.OWN_CERTIFICATE, settings.PUBLIC_URL = False, True, ""
    settings.REACHABLE = ["https://192.168.1.5:8000"]
    text, _, code = prepare.Command().greeting().partition("\f")
    assert "    https://192.168.1.5:8000/\n" in text
    halves = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0)}
    lines = re.sub(r"\x1b\[[0-9;]*m", "", code).strip("\n").split("\n")
    rows = [[halves[character][half] for character in line] for line in lines for half in (0, 1)]
    small = np.array(rows, np.uint8)
    pictures = [np.kron(each, np.ones((8, 8), np.uint8)) for each in (small, 255 - small)]
    found = {cv2.QRCodeDetector().detectAndDecode(picture)[0] for picture in pictures}
    assert "https://192.168.1.5:8000/connect/" in found
    settings.REACHABLE = []
    assert "\f" not in prepare.Command().greeting()
