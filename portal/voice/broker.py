"""What listens to the MQTT broker (docs/mqtt.md): the job worker, which keeps the connection, publishes it.

facemask/v1/<site>/<camera>/say   {"text": "Please put on your mask.", "language": "en", "audio_url": "https://…"}
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import cast

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from cameras.redis import Errors, connection
from portal.models import Reminder, Silence, Voice
from portal.voice.base import NotSaidError, Said, audio_url

SAY_KEY = "mqtt-say"  # a list: what is to be said
SAID_KEY = "mqtt-said:"  # a list each: that the broker has it
WITHIN_S = 3.0
MOST_WAITING = 100


@dataclass(frozen=True)
class Saying:
    """One thing to be said; after `until` (seconds since the epoch) it would come too late."""

    reminder: str
    site: int
    camera: int
    text: str
    language: str
    audio_url: str
    until: float


def say(reminder: Reminder, voice: Voice) -> Said:
    """Have it published, and wait until the broker has it."""
    if not settings.MQTT_URL:
        raise NotSaidError(Silence.UNREACHED, _("This portal has no MQTT broker. Its operator sets MQTT_URL."))
    saying = Saying(
        str(reminder.pk), reminder.site_id, reminder.camera_id, reminder.text, reminder.language, audio_url(reminder),
        time.time() + WITHIN_S,
    )  # fmt: skip
    try:
        connection().rpush(SAY_KEY, json.dumps(asdict(saying)))
        connection().ltrim(SAY_KEY, -MOST_WAITING, -1)
        until = time.monotonic() + WITHIN_S
        while time.monotonic() < until:
            if connection().blpop([f"{SAID_KEY}{reminder.pk}"], timeout=1):
                return Said(timezone.now())
    except Errors as error:
        raise NotSaidError(Silence.UNREACHED, type(error).__name__) from error
    raise NotSaidError(Silence.UNREACHED, _("The MQTT broker did not accept it. The portal's notices say more."))


def next_saying() -> Saying | None:
    """The next thing to be published, if it is still worth it. For the process that keeps the connection."""
    while (text := cast("bytes | None", connection().lpop(SAY_KEY))) is not None:
        saying = Saying(**json.loads(text))
        if saying.until > time.time():
            return saying
    return None


def note_taken(reminder: str) -> None:
    """The broker has it."""
    connection().rpush(f"{SAID_KEY}{reminder}", b"1")
    connection().expire(f"{SAID_KEY}{reminder}", 10)
