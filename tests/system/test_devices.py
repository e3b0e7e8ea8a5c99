"""Ten thousand frames, most of them faulty: the portal stays up, memory is steady, and another device loses none."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from detection import Detector, decode_picture
from tests.cameras.footage import door_frames
from tests.conftest import ROOT
from tests.portal_process import PortalProcess, python_in, wait_for
from tests.worlds import jpeg

Portals = Callable[..., PortalProcess]
FRAMES = 10_000
MOST_GROWTH_MB = 30
SEED = 5
INVITE = """
from cameras.models import Site
from portal.devices import pairing
from portal.models import User
print(pairing.invite(Site.objects.order_by('name')[0], User.objects.get(email='manager@demo.example'))[1])
"""
PAIR = """
import json
from cameras.models import Site
from portal.devices import pairing
from portal.models import User
olivia = User.objects.get(email='manager@demo.example')
site = Site.objects.order_by('name')[0]
print(json.dumps([[camera.pk, token] for camera, token in
                  (pairing.redeem(pairing.invite(site, olivia)[1], name) for name in ('Faulty', 'Steady'))]))
"""


def web_memory_mb(portal: PortalProcess) -> float:
    """Resident memory of the web process."""
    lines = Path(f"/proc/{portal.web_pid()}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def open_socket(portal: PortalProcess, token: str) -> ClientConnection:
    address = portal.address.replace("http", "ws") + "/ws/device/"
    cookie = {"Cookie": f"device={token}"}
    return connect(address, origin=Origin(portal.address), additional_headers=cookie, proxy=None)


class Steady(threading.Thread):
    """A device that behaves: five frames a second of the lobby, each acknowledged."""

    def __init__(self, portal: PortalProcess, token: str) -> None:
        super().__init__(daemon=True)
        self.portal, self.token = portal, token
        self.sent = self.acknowledged = 0
        self.answered: list[int] = []
        self.fault = ""
        self.stopping = threading.Event()

    def run(self) -> None:
        frames = list(door_frames(rate=5))
        try:
            with open_socket(self.portal, self.token) as socket:
                while not self.stopping.wait(0.2):  # its own pace
                    socket.send(frames[self.sent % len(frames)])
                    self.sent += 1
                    while self.acknowledged < self.sent:
                        self._hear(json.loads(socket.recv(timeout=5)))
        except Exception as error:
            self.fault = f"{type(error).__name__}: {error}"

    def _hear(self, message: dict[str, object]) -> None:
        if message["type"] == "ack":
            self.acknowledged += 1
        elif message["type"] == "answer":
            self.answered.append(int(str(message["number"])))


@pytest.mark.slow
def test_ten_thousand_frames_with_faults_leave_the_portal_standing(portals: Portals) -> None:
    portal = portals(environment={"DEMO": "1"}).start()
    (camera, token), (other, other_token) = json.loads(python_in(portal, PAIR))
    steady = Steady(portal, other_token)
    steady.start()
    wait_for(lambda: steady.answered or steady.fault, 40, "the steady device's first answer")
    steady_from, answered_from = steady.sent, len(steady.answered)

    good, huge, rng = jpeg(), os.urandom(600 * 1024), random.Random(SEED)
    print("seed", SEED)
    faults: dict[str, Callable[[], tuple[int, str, bytes]]] = {
        "cut": lambda: (camera, token, good[: rng.randrange(1, 200)]),
        "half": lambda: (camera, token, good[: len(good) // 2]),
        "huge": lambda: (camera, token, huge),
        "no jpeg": lambda: (camera, token, os.urandom(rng.randrange(1, 20_000))),
        "wrong token": lambda: (camera, token[::-1], good),
        "another's": lambda: (other, token, good),
    }
    names, seen = list(faults), Counter[int]()
    at: dict[int, float] = {}
    web = httpx.Client(base_url=f"{portal.address}/api/v1", timeout=20, trust_env=False)
    for number in range(1, FRAMES + 1):
        name = names[number % len(names)] if number % 100 else rng.choice(("huge", "no jpeg"))
        target, bearer, body = faults[name]()
        if number % 20 == 0:
            seen[push_by_socket(portal, bearer, body)] += 1
        else:
            headers = {"Authorization": f"Bearer {bearer}"}
            answer = web.post(f"/cameras/{target}/frames", content=body, headers=headers)
            assert answer.headers["Content-Type"].startswith("application/"), answer.text
            seen[answer.status_code] += 1
        if number in {1000, FRAMES}:
            at[number] = web_memory_mb(portal)
    web.close()
    print("answers", dict(seen), "memory in MB", {number: round(value, 1) for number, value in at.items()})
    assert set(seen) <= {200, 401, 403, 413, 415, 422, 429, 503, 1009, 4401, 4413, 4415, 4429}, seen
    assert {401, 403, 413, 415} <= set(seen)
    assert at[FRAMES] - at[1000] <= MOST_GROWTH_MB

    steady.stopping.set()
    steady.join(10)
    assert not steady.fault and steady.acknowledged == steady.sent > steady_from + 20
    answered = len(steady.answered) - answered_from
    lost = steady.sent - steady_from - answered
    print("of", steady.sent - steady_from, "frames of the steady device", answered, "were answered")
    assert lost <= 2, "no more than what was under way at both ends"
    assert portal.health()["status"] == "ok"


def test_the_readmes_client_pairs_itself_and_finds_a_face(portals: Portals, tmp_path: Path) -> None:
    """The ten lines of the README exactly as they are there, except for the secret and the port."""
    portal = portals().start()
    client = re.search(r"```python\n(import time\nimport httpx.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert client and len([line for line in client[1].splitlines() if line.strip()]) <= 10
    code = client[1].replace("http://127.0.0.1:8000", portal.address).replace("…", python_in(portal, INVITE).strip())
    (tmp_path / "client.py").write_text(code)
    frames = [frame for frame in door_frames(rate=1) if Detector.load().detect(decode_picture(frame))]
    (tmp_path / "door.jpg").write_bytes(frames[0])

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "client.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"((mask|no_mask|incorrect|unsure) [\d.]+ \[.*\]\n)+", done.stdout), done.stdout


def push_by_socket(portal: PortalProcess, token: str, body: bytes) -> int:
    """Send one frame over its own socket; returns the code with which that closes, or 200 if the frame was accepted."""
    try:
        with open_socket(portal, token) as socket:
            socket.send(body)
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                if json.loads(socket.recv(timeout=10))["type"] == "ack":
                    return 200
    except ConnectionClosed as error:
        return error.rcvd.code if error.rcvd else 1006
    raise AssertionError("neither taken nor refused")
