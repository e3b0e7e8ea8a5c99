"""After a new key was put on top of DATA_DIR/keys/camera-passwords: seal all cameras' passwords with it."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand

from cameras.credentials import reseal
from cameras.models import Camera


class Command(BaseCommand):
    help = "Seal all cameras' passwords anew with the first key of DATA_DIR/keys/camera-passwords."

    def handle(self, *args: Any, **options: Any) -> None:
        done = lost = 0
        for camera in Camera.objects.exclude(sealed_password="").iterator():
            try:
                sealed = reseal(camera.sealed_password)
            except InvalidToken:
                lost += 1
                self.stderr.write(f"{camera.pk}, {camera}: sealed with a key that is not here; type its password anew.")
                continue
            done += Camera.objects.filter(pk=camera.pk, sealed_password=camera.sealed_password).update(
                sealed_password=sealed
            )
        self.stdout.write(f"{done} sealed anew, {lost} could not be read.")
