"""Every state that a camera or a device can be in: one sentence on what it means, one on what to do."""

from __future__ import annotations

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


class CameraState(models.TextChoices):
    """What the people of a site see beside a camera's name."""

    WAITING = "waiting", _("Waiting for a worker")
    CONNECTING = "connecting", _("Connecting")
    ONLINE = "online", _("Online")
    OFFLINE = "offline", _("Offline")
    PAUSED = "paused", _("Paused")
    QUARANTINE = "quarantine", _("In quarantine")
    UNKNOWN = "unknown", _("Not known")  # never stored: what pages say while nobody can know

    @property
    def meaning(self) -> str | Promise:
        return _MEANINGS[self][0]

    @property
    def remedy(self) -> str | Promise:
        return _MEANINGS[self][1]


_MEANINGS: dict[CameraState, tuple[str | Promise, str | Promise]] = {
    CameraState.WAITING: (
        _("No worker watches this camera yet."),
        _(
            "One will take it within seconds. If not, ask the operator of this portal to check that a "
            "worker is running and has room."
        ),
    ),
    CameraState.CONNECTING: (_("The worker asks the camera for its pictures."), _("Nothing to do; it keeps trying.")),
    CameraState.ONLINE: (_("Pictures are coming in and being checked."), _("Nothing to do.")),
    CameraState.OFFLINE: (
        _("No pictures are coming from this camera."),
        _("Check the camera's power and network."),
    ),
    CameraState.UNKNOWN: (
        _("The portal's Redis does not answer, so live pictures are frozen. The cameras are still being watched."),
        _("It comes back by itself. If not, ask the operator of this portal to check Redis (or Valkey)."),
    ),
    CameraState.QUARANTINE: (
        _("It is not being watched, to protect the other cameras."),
        _("Its video crashed the worker twice. Choose another stream or connection type, then press “Try again”."),
    ),
    CameraState.PAUSED: (_("Somebody paused this camera."), _("Resume it when it should watch again.")),
}


class DeviceWord(models.TextChoices):
    """Why a device sends no pictures, as its page says at the door, and to people watching from elsewhere."""

    CLOSED = "closed", _("Page closed")
    ASLEEP = "asleep", _("Asleep")
    DENIED = "denied", _("Permission denied")
    NO_CAMERA = "no-camera", _("No camera")
    BUSY = "busy", _("Camera in use")
    INSECURE = "insecure", _("Needs HTTPS")
    UNPAIRED = "unpaired", _("No longer paired")

    @property
    def meaning(self) -> str | Promise:
        return _DEVICE_MEANINGS[self][0]

    @property
    def remedy(self) -> str | Promise:
        return _DEVICE_MEANINGS[self][1]


_DEVICE_MEANINGS: dict[DeviceWord, tuple[str | Promise, str | Promise]] = {
    DeviceWord.CLOSED: (
        _("The page was closed on the device."),
        _("Open it there again; it is in the browser's history."),
    ),
    DeviceWord.ASLEEP: (
        _("The device is asleep, or shows another page."),
        _("Wake it, and switch off its automatic lock while it is at the door."),
    ),
    DeviceWord.DENIED: (
        _("The device's browser does not let the page use the camera."),
        _("Allow the camera in the browser's settings for this page, then load the page again."),
    ),
    DeviceWord.NO_CAMERA: (
        _("The device has no camera that its browser can use."),
        _("Plug one in, or use another device."),
    ),
    DeviceWord.BUSY: (
        _("Another program is using the device's camera."),
        _("Close that program there; the page tries again by itself."),
    ),
    DeviceWord.INSECURE: (
        _("Browsers allow the camera only on pages that are opened over https."),
        _("Start the portal with HTTPS=1, or behind a server that speaks https, and pair the device again."),
    ),
    DeviceWord.UNPAIRED: (
        _("The device's pairing was revoked."),
        _("Pair it again, with a new link."),
    ),
}
