"""Every state that a camera can be in: one sentence of what it means, one of what to do."""

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

    @property
    def meaning(self) -> str | Promise:
        return _MEANINGS[self][0]

    @property
    def remedy(self) -> str | Promise:
        return _MEANINGS[self][1]


_MEANINGS: dict[CameraState, tuple[str | Promise, str | Promise]] = {
    CameraState.WAITING: (
        _("No worker watches this camera yet."),
        _("It is taken within seconds. If not, look whether a stream worker runs and has room."),
    ),
    CameraState.CONNECTING: (_("The worker asks the camera for its pictures."), _("Nothing to do; it keeps trying.")),
    CameraState.ONLINE: (_("Pictures come in and are looked at."), _("Nothing to do.")),
    CameraState.OFFLINE: (
        _("No pictures come from this camera."),
        _("Look at the camera's power and network."),
    ),
    CameraState.PAUSED: (_("Somebody paused this camera."), _("Resume it when it should watch again.")),
}
