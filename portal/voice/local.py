"""The worker's own machine: `aplay`, from the package alsa-utils."""

from __future__ import annotations

import re
import shutil
import subprocess

from django.utils import timezone
from django.utils.translation import gettext as _

from portal.models import Reminder, Silence, Voice
from portal.voice import speech
from portal.voice.base import NotSaidError, Said
from portal.voice.speech import SpeechError

LONGEST_S = 30
LIST_S = 5
_HARDWARE = re.compile(r"default|(plug)?hw:[A-Za-z0-9_]+(,\d{1,3}){0,2}|(plug)?hw:CARD=[A-Za-z0-9_]+(,DEV=\d{1,3})?")


def is_device(name: str, player: str) -> bool:
    """Whether this is a device, and not one of ALSA's plug-ins, some of which write files or run programs."""
    if _HARDWARE.fullmatch(name):
        return True
    try:
        listed = subprocess.run([player, "-L"], check=True, timeout=LIST_S, capture_output=True, text=True)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return False
    return name in {line.strip() for line in listed.stdout.splitlines() if line[:1].strip()}


def say(reminder: Reminder, voice: Voice) -> Said:
    """Play the rendered sound to its end."""
    player = shutil.which("aplay")
    if player is None:
        raise NotSaidError(Silence.UNREACHED, _("There is no `aplay` on the worker's machine: install alsa-utils."))
    if voice.sound_device and not is_device(voice.sound_device, player):
        raise NotSaidError(
            Silence.UNPLAYED,
            _("“%(name)s” is not a sound device of the worker's machine. `aplay -L` there lists them.")
            % {"name": voice.sound_device},
        )
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
