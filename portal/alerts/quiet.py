"""Quiet for an hour: nobody is told of a camera. It goes on watching, and other systems still get its data."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.utils import timezone

from cameras.models import Camera
from portal.models import CameraQuiet, User
from portal.models.alerts import QUIET_FOR


def begin(camera: Camera, by: User | None, now: datetime) -> datetime:
    """Returns until when. Asked for again, the hour begins anew."""
    until = now + QUIET_FOR
    CameraQuiet.objects.update_or_create(camera=camera, defaults={"until": until, "by": by})
    return until


def end(camera: Camera) -> bool:
    """Whether it was quiet."""
    return bool(CameraQuiet.objects.filter(camera=camera).delete()[0])


def now_quiet(camera_ids: Iterable[int]) -> dict[int, datetime]:
    """Until when, of those that are quiet now. One query."""
    rows = CameraQuiet.objects.filter(camera__in=camera_ids, until__gt=timezone.now())
    return dict(rows.values_list("camera_id", "until"))
