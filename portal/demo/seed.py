"""The demo that the first start makes: two sites in two time zones, a camera at each, and their office manager."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings
from django.db import transaction

from cameras.models import Camera, Site
from cameras.reach.addresses import clips_folder
from portal import demo
from portal.models import Membership, SitePolicy, User
from portal.server.environment import private_file

EMAIL = "manager@demo.example"
CLIPS = Path(__file__).resolve().parent / "clips"
# Looping day and night, the demo sees thousands of people a day: about 1.5 GB of snapshots. One day is plenty.
RETENTION_DAYS = 1

SITES = (
    ("Harbour House", "Europe/Lisbon", "Front door", demo.CLIPS[0]),
    ("Maple Tower", "America/Toronto", "Lobby", demo.CLIPS[1]),
)


@dataclass(frozen=True)
class DemoLogin:
    """How to sign in to the demo, and the file (0600) that stores it: e-mail, then password, one line each."""

    email: str
    password: str
    path: Path


def ensure_demo() -> DemoLogin | None:
    """Make the demo if the database is empty; after that, only read its login. None if there is no demo."""
    path = settings.DATA_DIR / "demo-login.txt"
    if not User.objects.exists() and not Site.objects.exists():
        password = "-".join(secrets.token_hex(2) for _ in range(4))
        copy_clips()
        private_file(path, f"{EMAIL}\n{password}\n")
        make_rows(password)
    if not path.exists() or not User.objects.filter(email=EMAIL, is_active=True).exists():
        return None
    email, password = path.read_text().splitlines()[:2]
    return DemoLogin(email, password, path)


def copy_clips() -> None:
    """Put the demo's clips where cameras may read them."""
    for _site, _zone, _camera, clip in SITES:
        shutil.copyfile(CLIPS / clip, clips_folder() / clip)


@transaction.atomic
def make_rows(password: str) -> User:
    """The two sites with a camera each, and a manager of both who is not a superuser."""
    manager = User.objects.create_user(EMAIL, password, name="Olivia Reis")
    for name, zone, camera, clip in SITES:
        site = Site.objects.create(name=name, time_zone=zone)
        SitePolicy.objects.create(site=site, retention_days=RETENTION_DAYS)
        Camera.objects.create(site=site, name=camera, kind=Camera.Kind.CLIP, address=clip)
        Membership.objects.create(user=manager, site=site, role=Membership.Role.MANAGER)
    return manager
