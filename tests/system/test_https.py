"""HTTPS at home: one setting, and a browser that trusts the authority is satisfied."""

from __future__ import annotations

import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT
from tests.portal_process import PortalProcess


def test_with_https_the_portal_speaks_tls_for_all_of_the_machines_names(portals: Callable[..., PortalProcess]) -> None:
    portal = portals(environment={"HTTPS": "1"}).start()
    assert re.search(r"https://\S+/connect/", portal.output), "it says what to do on the phone"
    folder = portal.data_dir / "certificates"
    assert stat.S_IMODE((folder / "authority.key").stat().st_mode) == 0o600
    trust = ssl.create_default_context(cafile=folder / "authority.crt")

    def get(path: str, host: str = "127.0.0.1") -> Any:
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        return opener.open(f"https://{host}:{portal.port}{path}", timeout=10)

    for host in ("127.0.0.1", "localhost"):
        answer = get("/sign-in/", host)
        cookies = answer.headers.get_all("Set-Cookie")
        assert cookies and all("Secure" in cookie for cookie in cookies)
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy and "media-src 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff" and answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Strict-Transport-Security"] is None, "a name in the LAN is not pinned"
        assert answer.headers["Referrer-Policy"] == "same-origin"
    page = get("/connect/").read().decode()
    assert "Certificate Trust Settings" in page and ":" in re.findall(r'class="secret">([^<]+)', page)[0]
    certificate = get("/connect/authority.crt")
    assert certificate.headers["Content-Type"] == "application/x-x509-ca-cert"
    assert certificate.read() == (folder / "authority.crt").read_bytes()
    leaf = (folder / "portal.crt").read_bytes()
    portal.stop()
    again = portals(environment={"HTTPS": "1"}).start()
    assert (again.data_dir / "certificates" / "portal.crt").read_bytes() == leaf, "the next start keeps it"
    again.stop()


@pytest.mark.parametrize("environment", [{"HTTPS": "1"}, {"PUBLIC_URL": "https://masks.example.org"}])
def test_check_deploy_is_clean(tmp_path: Path, environment: dict[str, str]) -> None:
    given = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT,
        env=given | {"DATA_DIR": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


LAN = "ip link set lo up && ip addr add 192.168.7.5/24 dev lo"
ASK = """
import ssl, sys, urllib.request
trust = ssl.create_default_context(cafile=sys.argv[1])
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust))
print(opener.open(f"https://192.168.7.5:{sys.argv[2]}/connect/", timeout=10).status)
"""


def test_bound_everywhere_a_phone_in_the_lan_is_let_in(portals: Callable[..., PortalProcess]) -> None:
    """In its own network namespace, with one private address: nothing listens outside it."""
    if os.geteuid() != 0 or not all(shutil.which(tool) for tool in ("unshare", "nsenter", "ip")):
        pytest.skip("a network of its own needs root, unshare, nsenter and ip")
    command = ["unshare", "--net", "sh", "-c", f'{LAN} && exec "$0" -m portal.server.run', sys.executable]
    portal = portals(environment={"HTTPS": "1", "BIND": "0.0.0.0"}, command=command).start()  # noqa: S104
    assert f"https://192.168.7.5:{portal.port}/connect/" in portal.output
    assert portal.process is not None
    inside = ["nsenter", f"--net=/proc/{portal.process.pid}/ns/net", sys.executable, "-c", ASK]
    authority = str(portal.data_dir / "certificates" / "authority.crt")
    answer = subprocess.run([*inside, authority, str(portal.port)], capture_output=True, text=True, check=False)
    assert answer.stdout.strip() == "200", answer.stderr
    portal.stop()
