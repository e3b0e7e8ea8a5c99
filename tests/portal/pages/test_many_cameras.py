"""The dashboard of somebody with more cameras than anybody can look over."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test.utils import CaptureQueriesContext

from cameras.models import Camera, CameraLease
from cameras.states import CameraState
from tests.worlds import World

pytestmark = pytest.mark.django_db


@pytest.fixture
def many(world: World) -> World:
    """Twelve cameras: in turns one that is down, one that nobody watches, one that is paused."""
    states = (CameraState.PAUSED, CameraState.WAITING, CameraState.OFFLINE)
    for number in range(12):
        state = states[number % 3]
        camera = Camera.objects.create(
            site=world.here, name=f"Gate {number:02}", address="x.mp4", paused=state is CameraState.PAUSED
        )
        CameraLease.objects.create(camera=camera, state=state)
    return world


def names(page: str) -> list[str]:
    return re.findall(r'data-name="([^"]+)"', page)


def test_what_is_down_comes_before_what_waits_and_what_is_paused_comes_last(many: World, sign_in: Any) -> None:
    page = sign_in(many.alice).get("/").content.decode()
    states = re.findall(r'data-name="Gate \d\d"\s+data-state="(\w+)"', page)
    assert states == ["offline"] * 4 + ["waiting"] * 4 + ["paused"] * 4


def test_a_choice_is_kept_and_what_is_not_theirs_is_no_choice(many: World, sign_in: Any) -> None:
    client = sign_in(many.alice)
    assert names(client.get("/?site=&find=gate+03").content.decode()) == ["Gate 03"]
    assert names(client.get("/").content.decode()) == ["Gate 03"]
    everything = names(client.get("/?site=&find=").content.decode())
    assert len(everything) > 12
    assert names(client.get(f"/?site={many.there.pk}&find=").content.decode()) == everything, "another's site"
    assert many.hall.name not in everything
    for odd in ("?site=x&find=", "?site=-1", "?find=%00%25_'\"", f"?find={'a' * 500}"):
        assert client.get(f"/{odd}").status_code == 200


def test_many_cameras_cost_no_more_queries_than_few(world: World, sign_in: Any, request: Any, connection: Any) -> None:
    client = sign_in(world.alice)
    client.get("/")
    with CaptureQueriesContext(connection) as few:
        client.get("/")
    request.getfixturevalue("many")
    with CaptureQueriesContext(connection) as more:
        client.get("/")
    assert len(more) == len(few)


@pytest.fixture
def connection() -> Any:
    from django.db import connection

    return connection
