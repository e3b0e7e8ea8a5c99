"""What `docker compose` would run, without Docker: each service's own file, read by the real program."""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psycopg
import pytest
import yaml
from paho.mqtt.enums import CallbackAPIVersion

from portal.server import variables
from tests.conftest import ROOT
from tests.on_postgres import postgres, programs
from tests.portal_process import PortalProcess, free_port, wait_for

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
TOOLS = Path(sys.executable).parent


def run(*command: object, **given: Any) -> subprocess.CompletedProcess[str]:
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=120, **given)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return found


def test_compose_is_what_its_specification_says() -> None:
    checked = run(TOOLS / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)
    assert checked.returncode == 0, checked.stdout


def test_everything_that_compose_asks_for_is_there(compose: dict[str, Any]) -> None:
    example = dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", (DEPLOY / "compose" / "example.env").read_text(), re.M))
    asked = set(re.findall(r"\$\{(\w+)", COMPOSE.read_text()))
    with_default = set(re.findall(r"\$\{(\w+):-", COMPOSE.read_text()))
    assert asked - with_default <= example.keys() and example.keys() <= asked
    for name in ("portal", "worker"):
        assert compose["services"][name]["environment"].keys() <= variables.DEFAULTS.keys()
    for service in compose["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in compose["volumes"], volume
        for other in service.get("depends_on", {}):
            assert "test" in compose["services"][other].get("healthcheck", {"test": ""}), other
    versions = [service["image"].partition(":")[2] for service in compose["services"].values()]
    assert all(re.match(r"v?\d", version) for version in versions), "each image has a version"


def test_the_dockerfile_is_sound_and_leaves_no_tools_behind() -> None:
    checked = run(TOOLS / "hadolint", "--failure-threshold", "info", ROOT / "Dockerfile")
    assert checked.returncode == 0, checked.stdout
    final = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert re.search(r"^USER \d+$", final, re.M) and "apt-get" not in final and "pip install" not in final


def copied() -> list[str]:
    """What the final image gets of this folder."""
    text = (ROOT / "Dockerfile").read_text()
    return [name for line in re.findall(r"^COPY (?!--)(.+) \S+$", text, re.M) for name in line.split()]


def test_the_build_is_given_all_that_it_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = [line[1:] for line in lines if line.startswith("!")]
    for name in copied():
        assert (ROOT / name).exists()
        assert any(fnmatch.fnmatch(name.split("/")[0], pattern) for pattern in allowed), name


@pytest.mark.slow
def test_the_portal_runs_from_a_read_only_root_with_only_what_the_image_holds(
    portals: Callable[..., PortalProcess], tmp_path: Path
) -> None:
    """As the container does, but for the user: everything is read-only but DATA_DIR and /tmp."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs root, for a mount namespace of its own")
    image, data = tmp_path / "image", tmp_path / "data"
    for name in {*copied()} - {"requirements.txt", "portal/server/install.sh"}:
        source, target = ROOT / name, image / name
        target.parent.mkdir(parents=True, exist_ok=True)
        leave = shutil.ignore_patterns("__pycache__", "ort")
        shutil.copytree(source, target, ignore=leave) if source.is_dir() else shutil.copy(source, target)
    data.mkdir()
    script = (
        f"mount --make-rprivate / && mount --bind {data} {data}"
        f" && mount --bind / / && mount -o remount,bind,ro / && mount -o remount,bind,rw {data}"
        f" && ! touch {image}/x 2>/dev/null && cd {image} && exec {sys.executable} -m portal.server.run"
    )
    given = {"DEMO": "1", "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(data)}
    portal = portals(data, command=["unshare", "--mount", "sh", "-c", script], environment=given, cwd=image)
    portal.start(120)
    assert portal.health()["status"] == "ok"
    wait_for(lambda: portal.health()["cameras_watched"], 60, "cameras that are watched")
    assert not list(image.rglob("*.pyc"))


def test_postgresql_gets_its_users_and_grafana_reads_only_the_reports(tmp_path: Path) -> None:
    passwords = {"PORTAL_DATABASE_PASSWORD": 'it\'s "p"', "REPORTS_DATABASE_PASSWORD": "r"}
    with postgres() as url:
        admin = psycopg.conninfo.conninfo_to_dict(url)
        where = {"PGHOST": str(admin["host"]), "PGPORT": str(admin["port"]), "POSTGRES_USER": "admin"}
        with psycopg.connect(url, autocommit=True) as first:
            first.execute("CREATE ROLE admin SUPERUSER LOGIN")
        # The server's first user is called portal here; there it is postgres.
        with psycopg.connect(url.replace("portal@", "admin@"), autocommit=True) as other:
            other.execute("ALTER ROLE portal RENAME TO first_user")
        environment = os.environ | passwords | where | {"PATH": f"{programs()}:{os.environ['PATH']}"}
        made = run("sh", DEPLOY / "compose" / "postgres.sh", env=environment)
        assert made.returncode == 0, made.stderr
        ours = url.replace("/postgres", "/portal")
        given = {"DATABASE_URL": ours, "DATA_DIR": str(tmp_path), "REDIS_URL": "redis://127.0.0.1:9/0"}
        migrated = run(sys.executable, "manage.py", "migrate", "--verbosity=0", env=os.environ | given, cwd=ROOT)
        assert migrated.returncode == 0, migrated.stderr
        with psycopg.connect(ours.replace("portal@", "grafana@"), autocommit=True) as reader:
            assert reader.execute("SELECT count(*) FROM report_days").fetchall() == [(0,)]
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("SELECT email FROM portal_user")
            assert reader.execute("SELECT rolsuper FROM pg_roles WHERE rolname = 'portal'").fetchall() == [(False,)]


def test_the_broker_lets_in_only_the_portal(tmp_path: Path) -> None:
    path = f"{os.environ['PATH']}:/usr/sbin"
    if shutil.which("mosquitto", path=path) is None:
        pytest.skip("needs mosquitto (Debian's package)")
    port, passwords = free_port(), tmp_path / "passwords"
    text = (DEPLOY / "compose" / "mosquitto.conf").read_text()
    for ours, theirs in (
        ("listener 1883", f"listener {port} 127.0.0.1"),
        ("/tmp/passwords", str(passwords)),
        ("/mosquitto/data/", f"{tmp_path}/"),
    ):
        assert ours in text
        text = text.replace(ours, theirs)
    config = tmp_path / "mosquitto.conf"
    config.write_text(text + ("user root\n" if os.geteuid() == 0 else ""))
    given = {"PASSWORDS": str(passwords), "CONFIG": str(config), "MQTT_PASSWORD": "pass word", "PATH": path}
    broker = subprocess.Popen(
        ["sh", DEPLOY / "compose" / "mosquitto.sh"], env=os.environ | given, stderr=subprocess.DEVNULL
    )
    try:
        wait_for(lambda: signed_in(port, "pass word") == "Success", 10, "the broker")
        assert signed_in(port, "wrong") == "Not authorized" == signed_in(port, "")
    finally:
        broker.terminate()
        broker.wait(10)


def signed_in(port: int, password: str) -> str:
    """How the broker answers, in the protocol's words; empty while it does not."""
    heard: list[str] = []
    client = paho.Client(CallbackAPIVersion.VERSION2)
    if password:
        client.username_pw_set("portal", password)
    client.on_connect = lambda _client, _data, _flags, reason, _properties: heard.append(str(reason))
    try:
        client.connect("127.0.0.1", port)
    except OSError:
        return ""
    client.loop_start()
    try:
        wait_for(lambda: heard, 5, "the broker's answer")
    finally:
        client.disconnect()
        client.loop_stop()
        client.on_connect = None
    return heard[0]


def test_caddy_serves_the_portal_and_grafana_by_their_names(tmp_path: Path) -> None:
    if shutil.which("caddy") is None:
        pytest.skip("needs caddy")
    (tmp_path / "portal").write_text((DEPLOY / "Caddyfile").read_text())
    text = (DEPLOY / "compose" / "Caddyfile").read_text()
    assert "import /etc/caddy/portal" in text
    (tmp_path / "Caddyfile").write_text(text.replace("/etc/caddy/portal", str(tmp_path / "portal")))
    given = {"PORTAL_HOST": "masks.test", "GRAFANA_HOST": "grafana.test", "PORTAL_UPSTREAM": "portal:8000"}
    done = run("caddy", "adapt", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile", env=os.environ | given)
    assert done.returncode == 0, done.stderr
    for word in ("masks.test", "grafana.test", '"portal:8000"', '"grafana:3000"', "read_header_timeout"):
        assert word in done.stdout, word


def test_prometheus_takes_its_configuration(tmp_path: Path) -> None:
    if shutil.which("promtool") is None:
        pytest.skip("needs promtool (Debian's package prometheus)")
    (tmp_path / "token").write_text("t")
    shutil.copy(DEPLOY / "prometheus" / "alerts.yml", tmp_path)
    text = (DEPLOY / "prometheus" / "prometheus.yml").read_text()
    (tmp_path / "prometheus.yml").write_text(text.replace("/run/secrets/metrics_token", str(tmp_path / "token")))
    checked = run("promtool", "check", "config", tmp_path / "prometheus.yml")
    assert checked.returncode == 0, checked.stderr
