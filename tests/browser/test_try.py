"""/try: the same model in the browser finds the same faces, and nothing leaves the device."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from detection import Detector, decode_picture, read_picture
from tests.browser.conftest import pause_demo
from tests.cameras.footage import door_frames
from tests.conftest import ROOT
from tests.portal_process import PortalProcess, wait_for

Visit = Callable[..., Page]


@pytest.fixture(scope="module")
def portal(portal: PortalProcess) -> PortalProcess:
    return pause_demo(portal)


@pytest.fixture(scope="session", autouse=True)
def runtime() -> None:
    """What `make try` fetches."""
    if (ROOT / "portal" / "static" / "ort" / ".fetched").exists():
        return
    if shutil.which("npm") is None:
        if os.environ.get("CI"):
            pytest.fail("npm is missing; in CI that is a failure.")
        pytest.skip("needs npm, for onnxruntime-web: apt install npm")
    subprocess.run(["make", "try"], cwd=ROOT, check=True)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The demo's lobby as PNGs, in sizes that are halved, shrunk, odd, upright and small."""
    folder = tmp_path_factory.mktemp("pictures")
    frames = [decode_picture(jpeg) for jpeg in door_frames(rate=1, width=1280)]
    busy = [frame for frame in frames if Detector.load().detect(frame)][:3]
    assert len(busy) == 3
    made = []
    for name, image in {
        "whole": busy[0],
        "odd": cv2.resize(busy[1], (1013, 571), interpolation=cv2.INTER_AREA),
        "shrunk": cv2.resize(busy[2], (500, 281), interpolation=cv2.INTER_AREA),
        "small": cv2.resize(busy[0], (320, 180), interpolation=cv2.INTER_AREA),
        "standing": np.ascontiguousarray(busy[1][:, 300:800]),
        "close up": close_up(busy[0]),
        "empty": np.full((240, 320, 3), 128, np.uint8),
    }.items():
        path = folder / f"{name}.png"
        cv2.imwrite(str(path), image)
        made.append(path)
    return made


def close_up(image: np.ndarray) -> np.ndarray:
    """The first face there, filling the picture: found by the near look alone."""
    height, width = image.shape[:2]
    x1, y1, x2, y2 = Detector.load().detect(image)[0].box * np.asarray([width, height, width, height])
    across, down = 0.1 * (x2 - x1), 0.1 * (y2 - y1)
    top, bottom, left, right = (round(max(0, v)) for v in (y1 - down, y2 + down, x1 - across, x2 + across))
    return np.asarray(cv2.resize(image[top:bottom, left:right], (480, 640), interpolation=cv2.INTER_CUBIC))


def open_page(page: Page) -> Page:
    page.goto("/try/")
    expect(page.locator("[data-note]")).to_contain_text("Ready", timeout=30_000)
    return page


def found_in(page: Page, picture: Path) -> list[dict[str, object]]:
    looks = int(page.locator("[data-stage]").get_attribute("data-looks") or 0)
    page.locator("[data-file]").set_input_files(picture)
    wait_for(lambda: int(page.locator("[data-stage]").get_attribute("data-looks") or 0) > looks, 10, "the result")
    return [json.loads(row.get_attribute("data-face") or "") for row in page.locator("[data-found] li").all()]


def test_the_browser_finds_what_the_worker_finds_and_sends_nothing(
    portal: PortalProcess, visit: Visit, pictures: list[Path]
) -> None:
    page = open_page(visit(portal))
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    detector, faces = Detector.load().with_looks(far_most=0), 0
    for path in pictures:
        image = read_picture(path)
        height, width = image.shape[:2]
        expected, found = detector.detect(image), found_in(page, path)
        assert [face["label"] for face in found] == [face.label for face in expected], path.name
        for theirs, ours in zip(found, expected, strict=True):
            faces += 1
            assert abs(float(str(theirs["confidence"])) - ours.confidence) <= 0.01, path.name
            difference = (np.asarray(theirs["box"]) - ours.box) * (width, height, width, height)
            assert np.abs(difference).max() <= 1.0, path.name
    assert faces >= 5
    assert [url for url in requests if not url.startswith("blob:")] == [], "nothing is asked for, so nothing is told"


def test_the_camera_is_watched_in_the_page_alone(portal: PortalProcess, filming_browser: Browser) -> None:
    context = filming_browser.new_context(base_url=portal.address)
    page = open_page(context.new_page())
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("websocket", lambda socket: requests.append(socket.url))
    page.get_by_role("button", name="Use my camera").click()
    expect(page.locator("[data-note]")).to_contain_text("pictures a second", timeout=10_000)
    expect(page.locator("[data-found] li").first).to_be_visible(timeout=20_000)
    page.get_by_role("button", name="Stop the camera").click()
    assert requests == []
    context.close()


def test_what_is_no_picture_is_said(portal: PortalProcess, visit: Visit, tmp_path: Path) -> None:
    page = open_page(visit(portal))
    (tmp_path / "no.png").write_bytes(b"no picture")
    page.locator("[data-file]").set_input_files(tmp_path / "no.png")
    expect(page.locator("[data-note]")).to_contain_text("cannot read this picture")
