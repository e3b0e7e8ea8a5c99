"""After a new key was put on top of DATA_DIR/keys/camera-passwords: seal all passwords of cameras and loudspeakers."""

from __future__ import annotations

from itertools import chain
from typing import Any

from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand

from cameras.credentials import reseal
from cameras.models import Camera
from portal.models import Voice


class Command(BaseCommand):
    help = "Seal all passwords of cameras and loudspeakers anew with the first key of DATA_DIR/keys/camera-passwords."

    def handle(self, *args: Any, **options: Any) -> None:
        done = lost = 0
        cameras = Camera.objects.exclude(sealed_password="")
        voices = Voice.objects.exclude(sealed_password="").select_related("camera")
        for row in chain(cameras.iterator(), voices.iterator()):
            camera = row.camera if isinstance(row, Voice) else row
            try:
                sealed = reseal(row.sealed_password)
            except InvalidToken:
                lost += 1
                self.stderr.write(f"{camera.pk}, {camera}: sealed with a key that is not here; type its password anew.")
                continue
            same = type(row).objects.filter(pk=row.pk, sealed_password=row.sealed_password)
            done += same.update(sealed_password=sealed)
        self.stdout.write(f"{done} sealed anew, {lost} could not be read.")
