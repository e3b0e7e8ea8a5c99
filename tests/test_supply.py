"""What is installed is what was looked at, and the service may do no more than it needs."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from portal.server import connections
from tests.conftest import ROOT

LISTS = ("requirements.txt", "requirements-train.txt", "requirements-dev.txt")
UNITS = sorted((ROOT / "deploy" / "systemd").glob("*.service"))
DIRECTIVES = {
    "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "RestrictNamespaces": "yes", "PrivateDevices": "yes",
    "ProtectProc": "invisible", "ProtectKernelModules": "yes", "ProtectKernelTunables": "yes",
    "ProtectKernelLogs": "yes", "ProtectSystem": "strict", "ProtectHome": "yes",
}  # fmt: skip


WHEEL = {
    "METADATA": "Metadata-Version: 2.1\nName: nothing\nVersion: 1.0\n",
    "WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "RECORD": "",
}


def pins(name: str) -> dict[str, list[str]]:
    """The hashes of each package of a list, by "name==version"."""
    text = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "-r "))]
    return {line.split(" ")[0]: re.findall(r"--hash=sha256:([0-9a-f]{64})\b", line) for line in lines}


@pytest.mark.parametrize("name", LISTS)
def test_every_package_has_an_exact_version_and_the_hashes_of_its_files(name: str) -> None:
    found = pins(name)
    assert found and all(re.fullmatch(r"[\w.-]+==[\w.]+;?", pin) for pin in found), found.keys()
    assert [pin for pin, hashes in found.items() if not hashes] == []


def test_pip_is_told_to_install_no_other_file() -> None:
    script = (ROOT / "portal/server/install.sh").read_text()
    assert "--require-hashes" in script and '"$how" -r "$requirements"' in script
    assert [line for line in (ROOT / "requirements-torch.txt").read_text().splitlines() if "==" in line] == [
        "torch==2.13.0"
    ], "the one list without hashes has one package"


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    """As pip itself says, without the network: a wheel of ours, and a list that expects another."""
    wheel = tmp_path / "nothing-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        for name, text in WHEEL.items():
            file.writestr(f"nothing-1.0.dist-info/{name}", text)
    (tmp_path / "list.txt").write_text(f"nothing==1.0 --hash=sha256:{'0' * 64}\n")
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(tmp_path),
               "--require-hashes", "--target", str(tmp_path / "there"), "-r", str(tmp_path / "list.txt")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "DO NOT MATCH THE HASHES" in done.stderr


def test_npms_files_have_their_hashes() -> None:
    packages = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    assert {
        name for name, entry in packages.items() if name and not entry.get("integrity", "").startswith("sha512-")
    } == set()
    wanted = json.loads((ROOT / "package.json").read_text())["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values()), "exact versions"


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_a_unit_takes_away_what_the_service_does_not_need(unit: Path) -> None:
    given: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            name, _equals, value = line.partition("=")
            given.setdefault(name, []).append(value)
    assert {name: given.get(name, [None])[0] for name in DIRECTIVES} == DIRECTIVES
    assert given["SystemCallFilter"][0] == "@system-service" and given["SystemCallFilter"][1].startswith("~@privileged")
    assert set(given["RestrictAddressFamilies"][0].split()) == {"AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK"}
    assert given["MemoryMax"] and given["TasksMax"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_knows_every_line_and_finds_little_exposed(unit: Path) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("needs systemd-analyze")
    checked = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    complaints = [line for line in checked.stderr.splitlines() if unit.name in line]
    assert all("is not executable" in line for line in complaints), "only that it is not installed here"
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", unit], capture_output=True, text=True, check=False
    )
    found = re.search(r"Overall exposure level for \S+: (\d+\.\d+)", judged.stdout)
    assert found and float(found[1]) < 2.0


def test_caddy_reads_its_file_and_keeps_the_same_bounds() -> None:
    if shutil.which("caddy") is None:
        pytest.skip("needs caddy")
    command = ["caddy", "adapt", "--adapter", "caddyfile", "--config", str(ROOT / "deploy" / "Caddyfile")]
    done = subprocess.run(command, capture_output=True, check=True)
    (server,) = json.loads(done.stdout)["apps"]["http"]["servers"].values()
    assert server["max_header_bytes"] <= connections.HEAD_BYTES
    assert (
        server["read_header_timeout"] == connections.HEAD_S * 1e9 and server["idle_timeout"] == connections.IDLE_S * 1e9
    )
    assert server["read_timeout"] == connections.BODY_WHOLE_S * 1e9
