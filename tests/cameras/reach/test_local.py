"""A clip or USB camera is watched only at the site to which the operator assigned it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cameras.errors import AddressError
from cameras.reach.local import check_assigned, is_assigned
from cameras.reach.place import Place
from cameras.sources import Opening, open_source
from portal.server.environment import local_cameras
from portal.server.variables import SettingError


@pytest.fixture(autouse=True)
def _assigned(settings: Any) -> None:
    settings.LOCAL_CAMERAS = [("3", "/dev/video0"), ("3", "lobby-*.mp4"), ("*", "demo.mp4")]


def test_what_is_assigned_to_another_site_is_not_opened(settings: Any) -> None:
    for kind, address in (("usb", "/dev/video0"), ("clip", "lobby-1.mp4"), ("clip", "other.mp4")):
        with pytest.raises(AddressError, match=f"LOCAL_CAMERAS=7:{address}"):
            open_source(Opening(Place(kind, address), site_id=7))
    with pytest.raises(AddressError, match="no such clip"):  # it may be opened, and is not there
        open_source(Opening(Place("clip", "lobby-1.mp4"), site_id=3))


def test_a_pattern_and_any_site() -> None:
    check_assigned(3, "lobby-1.mp4")
    check_assigned(99, "demo.mp4")
    assert not is_assigned(3, "hall.mp4") and not is_assigned(33, "/dev/video0") and not is_assigned(0, "/dev/video0")


@given(st.integers(0, 99), st.text(max_size=20))
def test_nothing_else_is_assigned_to_anybody(site_id: int, source: str) -> None:
    expected = source == "demo.mp4" or (
        site_id == 3 and (source == "/dev/video0" or (source.startswith("lobby-") and source.endswith(".mp4")))
    )
    assert is_assigned(site_id, source) == expected


@pytest.mark.parametrize("text", ["/dev/video0", "x:/dev/video0", "3:", ":/dev/video0", "3=/dev/video0"])
def test_a_list_that_cannot_be_read_is_said(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("LOCAL_CAMERAS", f"3:/dev/video1,{text}")
    with pytest.raises(SettingError, match="like 3:/dev/video0"):
        local_cameras([])


def test_the_operators_list_and_the_demos_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_CAMERAS", " 3:/dev/video0 , *:wall.mp4")
    assert local_cameras(["demo.mp4"]) == [("*", "demo.mp4"), ("3", "/dev/video0"), ("*", "wall.mp4")]
