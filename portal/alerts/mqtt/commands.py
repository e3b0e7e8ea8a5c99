"""What another system asks of a camera, if its site allows it: `<prefix>/v1/<site>/<camera>/set`.

pause · resume · reminder on · reminder off · snooze · wake
"""

from __future__ import annotations

import logging
import re

from django.db import transaction
from django.utils import timezone

from cameras.models import Camera
from portal.alerts import quiet
from portal.models import Voice, policy_of
from portal.people import audit
from portal.people.audit import Action

log = logging.getLogger(__name__)

MOST_BYTES = 64
_TOPIC = re.compile(r"(\d{1,18})/(\d{1,18})/set")


def obey(topic: str, payload: bytes) -> bool:
    """Do what is asked; `topic` is without the portal's prefix. What is not understood or not allowed is logged.

    Returns whether it was done.
    """
    found = _TOPIC.fullmatch(topic)
    word = payload[: MOST_BYTES + 1].decode(errors="replace").strip().lower()
    if found is None or word not in COMMANDS:
        log.warning("a command by MQTT was not understood, at %.80s: %.70r", topic, word)
        return False
    camera = Camera.objects.filter(pk=int(found[2]), site=int(found[1]), deleted_at=None, site__archived_at=None)
    camera_row = camera.select_related("site__policy").first()
    if camera_row is None or not policy_of(camera_row.site).mqtt_commands:
        log.warning("a command by MQTT is not allowed there: %.80s %s", topic, word)
        return False
    with transaction.atomic():
        COMMANDS[word](camera_row)
    return True


def _pause(camera: Camera) -> None:
    _set_paused(camera, True, Action.CAMERA_PAUSED)


def _resume(camera: Camera) -> None:
    _set_paused(camera, False, Action.CAMERA_RESUMED)


def _set_paused(camera: Camera, paused: bool, action: audit.Action) -> None:
    if Camera.objects.filter(pk=camera.pk).exclude(paused=paused).update(paused=paused):
        audit.note(None, action, _by(camera), camera.site)


def _reminder_on(camera: Camera) -> None:
    _mute(camera, False)


def _reminder_off(camera: Camera) -> None:
    _mute(camera, True)


def _mute(camera: Camera, muted: bool) -> None:
    if Voice.objects.filter(camera=camera).exclude(is_muted=muted).update(is_muted=muted):
        audit.note(None, Action.VOICE_CHANGED, _by(camera), camera.site)


def _snooze(camera: Camera) -> None:
    quiet.begin(camera, None, timezone.now())
    audit.note(None, Action.CAMERA_QUIET, _by(camera), camera.site)


def _wake(camera: Camera) -> None:
    if quiet.end(camera):
        audit.note(None, Action.CAMERA_LOUD, _by(camera), camera.site)


def _by(camera: Camera) -> str:
    return f"{camera.name} (MQTT)"


COMMANDS = {
    "pause": _pause, "resume": _resume, "reminder on": _reminder_on, "reminder off": _reminder_off,
    "snooze": _snooze, "wake": _wake,
}  # fmt: skip
