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
    """Nothing was said: why, and a sentence with what is known beyond it (may be empty)."""

    def __init__(self, why: Silence, detail: str = "") -> None:
        super().__init__(detail)
        self.why = why


@dataclass(frozen=True)
class Said:
    """When it was handed on, and when its last word was said, where that is known."""

    sent_at: datetime
    played_at: datetime | None = None


Sender = Callable[[Reminder, Voice], Said]


def audio_path(reminder: Reminder) -> str:
    """Where the reminder's sound can be fetched, by whoever was told, for AUDIO_GOOD_FOR_S."""
    return reverse("voice_audio", args=[signing.dumps(str(reminder.pk), salt=SALT)])


def audio_url(reminder: Reminder) -> str:
    """The same as a whole address, for what is no browser."""
    return f"{settings.BASE_URL}{audio_path(reminder)}"
