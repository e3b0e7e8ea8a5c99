"""A camera's password is only in its row, sealed: after every kind of failure, everything that is kept is searched."""

from __future__ import annotations

import base64
import re
import socket
import threading
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import cast

import redis as redis_package

from tests.cameras.footage import lobby
from tests.cameras.http_camera import HttpCamera, file_as, http_camera, redirect
from tests.cameras.rtsp_server import RtspCamera
from tests.portal_process import PortalProcess, Visitor, marked_processes, python_in, wait_for

USER, PASSWORD = "admin", "Zq7@p/w%rd#K"


def spellings() -> dict[str, bytes]:
    """Raw, URL-encoded, and in base64 at every offset in a longer text."""
    found = {"raw": PASSWORD.encode()}
    found["quoted"] = urllib.parse.quote(PASSWORD, safe="").encode()
    found["quoted but /"] = urllib.parse.quote(PASSWORD).encode()
    for shift in range(3):
        coded = base64.b64encode(b"x" * shift + PASSWORD.encode())
        found[f"base64 at {shift}"] = coded[4 if shift else 0 :].rstrip(b"=")[:-2]
    found["basic"] = base64.b64encode(f"{USER}:{PASSWORD}".encode()).rstrip(b"=")[:-2]
    return found


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def values(url: str) -> dict[str, bytes]:
    """Every key of Redis with everything that it holds."""
    client = redis_package.Redis.from_url(url)
    found = {}
    for key in client.keys("*"):
        kind = cast("bytes", client.type(key)).decode()
        read: dict[str, Callable[[], object]] = {
            "string": lambda key=key: client.get(key),  # type: ignore[misc]
            "list": lambda key=key: client.lrange(key, 0, -1),  # type: ignore[misc]
            "set": lambda key=key: client.smembers(key),  # type: ignore[misc]
            "zset": lambda key=key: client.zrange(key, 0, -1),  # type: ignore[misc]
            "hash": lambda key=key: client.hgetall(key),  # type: ignore[misc]
            "stream": lambda key=key: client.xrange(key),  # type: ignore[misc]
        }
        value = read[kind]()
        found[f"redis {key!r}"] = value if isinstance(value, bytes) else repr(value).encode()
    client.close()
    return found


def processes(portal: PortalProcess) -> dict[str, bytes]:
    found = {}
    for pid in marked_processes(portal.marker):
        for name in ("cmdline", "environ"):
            found[f"{pid} {name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
    return found


def test_the_password_is_found_nowhere_after_every_kind_of_failure(
    portals: Callable[..., PortalProcess], tmp_path: Path
) -> None:
    environment = {"CAMERA_NETWORKS": "127.0.0.0/8", "LOG_LEVEL": "DEBUG", "WORKER_CAPACITY": "16"}
    portal = portals(environment=environment).start()
    visitor = Visitor(portal.address)
    visitor.sign_in(*portal.login())
    clip = lobby(tmp_path / "lobby.mp4", seconds=3)
    silent = socket.create_server(("127.0.0.1", 0))
    with (
        RtspCamera(clip, login=(USER, PASSWORD)) as good,
        RtspCamera(clip, login=(USER, "another"), scheme="basic") as refusing,
        RtspCamera(clip, login=(USER, PASSWORD), redirect_to="rtsp://127.0.0.1:9/x") as moved,
        RtspCamera(clip, login=(USER, PASSWORD), status=500) as broken,
        http_camera(HttpCamera(file_as(b"<html>", "text/html"), login=(USER, PASSWORD))) as page,
        http_camera(HttpCamera(redirect("http://127.0.0.1:9/"), login=(USER, PASSWORD))) as elsewhere,
        http_camera(HttpCamera(file_as(b"G" * 9000, "video/mp2t"), login=(USER, PASSWORD))) as garbage,
    ):
        cameras = {
            "good": good.address, "refusing": refusing.address, "moved": moved.address, "broken": broken.address,
            "page": page.address, "elsewhere": elsewhere.address, "garbage": garbage.address,
            "nothing": "rtsp://127.0.0.1:9/x", "silent": f"rtsp://127.0.0.1:{silent.getsockname()[1]}/x",
            "unknown": "rtsp://nothing.invalid/x", "forbidden": "rtsp://169.254.1.1/x",
        }  # fmt: skip
        form = {"site": "1", "transport": "tcp", "view": "320", "analyses_per_second": "5", "user": USER}
        reports = []
        for name, address in cameras.items():
            typed = form | {"name": name, "make": address.partition(":")[0], "address": address, "password": PASSWORD}
            status, body = post(visitor, "/cameras/test/", typed)
            if status == 202:
                reports.append(re.search(rb'"report": "([^"]+)"', body)[1].decode())  # type: ignore[index]
            spelled = (
                urllib.parse.quote(PASSWORD, safe="") if name == "unknown" else PASSWORD
            )  # else it is asked for in its field
            pasted = address.replace("://", f"://{USER}:{spelled}@")
            status, body = post(visitor, "/cameras/add/", typed | {"user": "", "password": "", "address": pasted})
            assert status == 200 and PASSWORD.encode() not in body
        assert len(reports) == 10, "ten tests a minute, then a sentence"
        states = "from cameras.models import *; print(sorted(CameraLease.objects.values_list('state', flat=True)))"
        expected = ["offline"] * 10 + ["online"] * 3
        wait_for(lambda: python_in(portal, states).strip() == str(expected), 60, "every camera's state")
        good.frozen = True
        good.kill()
        for report in reports:
            wait_for(lambda report=report: b"verdict" in visitor.get(report)[1], 20, "the test's end")  # type: ignore[misc]

    pages = {path: visitor.get(path)[1] for path in ("/", "/cameras/", "/audit/", "/audit.csv", "/strip/", *reports)}
    pages |= {f"/cameras/{number}/": visitor.get(f"/cameras/{number}/")[1] for number in range(3, 14)}
    # A fault of ours in the middle of saving a camera: the page, and what is logged about it.
    token = token_of(visitor)
    python_in(portal, "from django.db import connection as c; c.cursor().execute('DROP TABLE cameras_outage')")
    wrong = {"name": "x", "make": "rtsp", "password": PASSWORD, "address": "rtsp://10.0.0.1/ x"}
    status, pages["500"] = visitor.send("/cameras/3/", form | wrong | {"csrfmiddlewaretoken": token})
    assert status == 500 and b"Number to quote" in pages["500"]
    url = (portal.data_dir / "valkey-url").read_text().strip()
    searched = pages | values(url) | processes(portal)
    portal.stop()
    searched |= files(portal.data_dir) | {"output": portal.printed().encode()}
    assert len(searched) > 60 and any("web.log" in name for name in searched)
    assert any(b"nothing.invalid" in content for content in searched.values()), "the search finds what is there"
    for how, spelling in spellings().items():
        where = [name for name, content in searched.items() if spelling in content]
        assert where == [], f"the password, {how}, is in {where}"
    silent.close()
    assert threading.active_count() < 50


def post(visitor: Visitor, path: str, fields: dict[str, str]) -> tuple[int, bytes]:
    """The response to a form; its token comes from a page that exists."""
    return visitor.send(path, fields | {"csrfmiddlewaretoken": token_of(visitor)})


def token_of(visitor: Visitor) -> str:
    found = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', visitor.text("/profile/"))
    assert found
    return found[1]
