"""The worker's own machine: `aplay`, from the package alsa-utils."""

from __future__ import annotations

import shutil
import subprocess

from django.utils import timezone
from django.utils.translation import gettext as _

from portal.models import Reminder, Silence, Voice
from portal.voice import speech
from portal.voice.base import NotSaidError, Said
from portal.voice.speech import SpeechError

LONGEST_S = 30


def say(reminder: Reminder, voice: Voice) -> Said:
    """Play the rendered sound to its end."""
    player = shutil.which("aplay")
    if player is None:
        raise NotSaidError(Silence.UNREACHED, _("There is no `aplay` on the worker's machine: install alsa-utils."))
    device = ["-D", voice.sound_device] if voice.sound_device else []
    try:
        path = speech.render(reminder.text, reminder.language)
        sent_at = timezone.now()
        subprocess.run([player, "-q", *device, str(path)], check=True, timeout=LONGEST_S, capture_output=True)  # noqa: S603
    except (SpeechError, OSError) as error:
        raise NotSaidError(Silence.UNPLAYED, str(error)) from error
    except subprocess.CalledProcessError as error:
        raise NotSaidError(Silence.UNPLAYED, error.stderr.decode(errors="replace").strip()) from error
    except subprocess.TimeoutExpired as error:
        raise NotSaidError(Silence.UNPLAYED, _("The sound device accepts no sound.")) from error
    return Said(sent_at, timezone.now())
