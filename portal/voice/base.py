"""What every output is: a function that says a reminder, or raises NotSaidError."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.core import signing
from django.urls import reverse

from portal.models import Reminder, Silence, Voice

SALT = "portal.outputs.audio"
AUDIO_GOOD_FOR_S = 300


class NotSaidError(Exception):
    """Nothing was said: the reason, and a sentence with further detail (may be empty)."""

    def __init__(self, why: Silence, detail: str = "") -> None:
        super().__init__(detail)
        self.why = why


@dataclass(frozen=True)
class Said:
    """When it was passed on, and when its last word was said, if that is known."""

    sent_at: datetime
    played_at: datetime | None = None


Sender = Callable[[Reminder, Voice], Said]


def audio_path(reminder: Reminder) -> str:
    """Where the reminder's sound can be fetched, by anyone who was sent this, for AUDIO_GOOD_FOR_S."""
    return reverse("voice_audio", args=[signing.dumps(str(reminder.pk), salt=SALT)])


def audio_url(reminder: Reminder) -> str:
    """The same as a full address, for clients that are not browsers."""
    return f"{settings.BASE_URL}{audio_path(reminder)}"
