"""A real Home Assistant finds the cameras at the broker by itself, shows them, and switches one off and on.

It runs in a virtual environment of its own (500 MB), which HOME_ASSISTANT may name; without Python 3.13 it is skipped.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.portal.alerts.brokers import Mosquitto
from tests.portal_process import PortalProcess, free_port, python_in, wait_for

pytestmark = pytest.mark.slow

VERSION = "2025.4.4"
ALLOW = """
from cameras.models import Site; from portal.models import SitePolicy
for site in Site.objects.all():
    SitePolicy.objects.update_or_create(site=site, defaults={"mqtt_commands": True, "mqtt_pictures": True})
"""
PAUSED = "from cameras.models import Camera\nprint(sorted(Camera.objects.values_list('name', 'paused')))"


def python_3_13() -> str:
    found = shutil.which("python3.13")
    ours = sorted((Path.home() / ".pyenv" / "versions").glob("3.13*/bin/python3.13"))
    return str(ours[-1]) if ours else found or ""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Home Assistant's command."""
    if given := os.environ.get("HOME_ASSISTANT"):
        return Path(given) / "bin" / "hass"
    python = python_3_13()
    if not python:
        pytest.skip("needs Python 3.13, for Home Assistant")
    folder = tmp_path_factory.mktemp("home-assistant")
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "pip"), "install", "--quiet", f"homeassistant=={VERSION}"]
    subprocess.run(pip, check=True, timeout=900)
    return folder / "bin" / "hass"


class HomeAssistant:
    """On loopback, with its MQTT integration set up for this broker."""

    def __init__(self, program: Path, folder: Path, broker: Mosquitto) -> None:
        self.program, self.folder, self.port = program, folder, free_port()
        self.address, self.token = f"http://127.0.0.1:{self.port}", ""
        (folder / ".storage").mkdir(parents=True)
        (folder / "configuration.yaml").write_text(
            f"homeassistant:\n  name: Test\nhttp:\n  server_host: 127.0.0.1\n  server_port: {self.port}\n"
            "api:\nonboarding:\nlogger:\n  default: warning\n"
        )
        entry = {
            "entry_id": "mqtt", "version": 1, "minor_version": 2, "domain": "mqtt", "title": "mqtt",
            "data": {"broker": "127.0.0.1", "port": broker.port}, "options": {}, "source": "user", "unique_id": None,
            "pref_disable_new_entities": False, "pref_disable_polling": False, "disabled_by": None,
            "created_at": "2026-01-01T00:00:00+00:00", "modified_at": "2026-01-01T00:00:00+00:00",
            "discovery_keys": {}, "subentries": [],
        }  # fmt: skip
        store = {"version": 1, "minor_version": 5, "key": "core.config_entries", "data": {"entries": [entry]}}
        (folder / ".storage" / "core.config_entries").write_text(json.dumps(store))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [str(self.program), "-c", str(self.folder)]
        with (self.folder / "out.log").open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        wait_for(self.answers, 300, "Home Assistant")
        form = {"client_id": f"{self.address}/", "name": "Test", "username": "test", "password": "a-Long-pass-4u",
                "language": "en"}  # fmt: skip
        code = self.ask("/api/onboarding/users", form)["auth_code"]
        grant = {"grant_type": "authorization_code", "code": code, "client_id": f"{self.address}/"}
        data = urllib.parse.urlencode(grant).encode()
        with urllib.request.urlopen(f"{self.address}/auth/token", data) as answer:
            self.token = json.load(answer)["access_token"]

    def answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.address}/api/onboarding", timeout=2).close()
        except OSError:
            return False
        return True

    def ask(self, path: str, body: object = None) -> Any:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.address}{path}", data, headers | {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def states(self) -> dict[str, str]:
        return {row["entity_id"]: row["state"] for row in self.ask("/api/states")}

    def faults(self) -> list[str]:
        log = self.folder / "home-assistant.log"
        lines = (log.read_text() if log.exists() else "") + (self.folder / "out.log").read_text()
        return [line for line in lines.splitlines() if "ERROR" in line and "mqtt" in line.lower()]

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(60)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    started = Mosquitto(tmp_path)
    started.start()
    yield started
    started.kill()


@pytest.fixture
def home(program: Path, tmp_path: Path, broker: Mosquitto) -> Iterator[HomeAssistant]:
    one = HomeAssistant(program, tmp_path / "home", broker)
    yield one
    one.stop()


def test_home_assistant_shows_the_cameras_and_switches_one(
    home: HomeAssistant, broker: Mosquitto, portals: Callable[..., PortalProcess], tmp_path: Path
) -> None:
    portal = portals(tmp_path / "data", environment={"MQTT_URL": broker.url}).start()
    python_in(portal, ALLOW)
    home.start()
    door = "front_door_harbour_house"
    wanted = {
        f"binary_sensor.{door}_online": "on", f"sensor.{door}_state": "online", f"switch.{door}_watching": "on",
        f"switch.{door}_spoken_reminder": "off",
    }  # fmt: skip
    wait_for(lambda: wanted.items() <= home.states().items(), 60, f"{wanted}")
    event, counts = f"event.{door}_no_mask", f"sensor.{door}_without_a_mask_last_minute"
    wait_for(lambda: home.states().get(event, "unknown")[:2] == "20", 60, "the time of somebody without a mask")
    wait_for(lambda: home.states().get(counts, "unknown").isdigit(), 90, "the counts of a minute")
    there = home.states()
    assert f"button.{door}_quiet_for_an_hour" in there and f"image.{door}_last_without_a_mask" in there
    home.ask("/api/services/switch/turn_off", {"entity_id": f"switch.{door}_watching"})
    wait_for(lambda: "('Front door', True)" in python_in(portal, PAUSED), 10, "the pause")
    wait_for(lambda: home.states()[f"sensor.{door}_state"] == "paused", 10, "the state")
    home.ask("/api/services/switch/turn_on", {"entity_id": f"switch.{door}_watching"})
    wait_for(lambda: home.states()[f"sensor.{door}_state"] == "online", 30, "the state again")
    python_in(portal, "from cameras.models import Camera\nfrom django.utils import timezone\n"
                      "Camera.objects.filter(name='Front door').update(deleted_at=timezone.now())")  # fmt: skip
    wait_for(lambda: not any(door in name for name in home.states()), 20, "its end")
    portal.stop()
    lobby = "lobby_maple_tower"
    wait_for(lambda: home.states()[f"sensor.{lobby}_state"] == "unavailable", 10, "the portal's end")
    assert home.faults() == []
