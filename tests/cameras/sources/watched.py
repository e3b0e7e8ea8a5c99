"""A camera of the tests as a watch sees it."""

from __future__ import annotations

from cameras.reach.place import Place
from cameras.settings import CameraSettings
from cameras.states import CameraState
from tests.cameras.http_camera import HttpCamera
from tests.cameras.rtsp_server import RtspCamera
from tests.cameras.watching.notes import Notes

PASSWORD = "p@ss/w%rd:#ü"


def settings_for(camera: RtspCamera | HttpCamera, user: str = "", password: str = "", **more: str) -> CameraSettings:
    kind = camera.address.partition(":")[0]
    return CameraSettings(1, "Door", Place(kind, camera.address, user, password, **more))


def is_online(notes: Notes, after: int = 0) -> bool:
    return any(state is CameraState.ONLINE for state, _ in notes.states[after:])
