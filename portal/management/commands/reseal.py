"""Seals all passwords of cameras and loudspeakers after a new key was put first in DATA_DIR/keys/camera-passwords."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import InvalidToken
from django.core.management.base import BaseCommand

from cameras.models import Camera
from cameras.reach.credentials import reseal
from portal.models import Voice


class Command(BaseCommand):
    help = "Reseal all passwords of cameras and loudspeakers with the first key of DATA_DIR/keys/camera-passwords."

    def handle(self, *args: Any, **options: Any) -> None:
        done = lost = 0
        for rows, name in ((Camera.objects.all(), "name"), (Voice.objects.all(), "camera__name")):
            for key, title, before in rows.exclude(sealed_password="").values_list("pk", name, "sealed_password"):
                try:
                    sealed = reseal(before)
                except InvalidToken:
                    lost += 1
                    self.stderr.write(f"{key}, {title}: sealed with a key that is missing; type its password again.")
                    continue
                done += rows.filter(pk=key, sealed_password=before).update(sealed_password=sealed)
        self.stdout.write(f"{done} resealed, {lost} could not be read.")
