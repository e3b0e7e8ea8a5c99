"""A page that is open at the door: the device's own page, or the loudspeaker page beside another camera.

The page says it in its browser's voice, or plays the rendered sound, and reports when the last word was said
(portal/devices/messages.py).
"""

from __future__ import annotations

import json

from django.utils import timezone

from cameras.redis import Errors, connection, door_channel
from portal.models import Reminder, Silence, Voice
from portal.voice.base import NotSaidError, Said, audio_path
from portal.voice.phrases import RIGHT_TO_LEFT


def say(reminder: Reminder, voice: Voice) -> Said:
    """Send it to all pages of this door; whether one is open is known at once."""
    body = {
        "type": "say",
        "reminder": str(reminder.pk),
        "step": reminder.step,
        "text": reminder.text,
        "language": reminder.language,
        "direction": "rtl" if reminder.language in RIGHT_TO_LEFT else "ltr",
        "audio": audio_path(reminder),
    }
    sent_at = timezone.now()
    try:
        heard = connection().publish(door_channel(reminder.camera_id, voice.output), json.dumps(body))
    except Errors as error:
        raise NotSaidError(Silence.UNREACHED, "Redis does not answer.") from error
    if not heard:
        raise NotSaidError(Silence.NOBODY)
    return Said(sent_at)
