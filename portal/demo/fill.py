"""Much of everything: `manage.py demo` fills an installation with sites, cameras and weeks of people, to look at.

It is made by the product's own code: people are those whom a replay of the demo's clips finds, and each is recorded as
a worker's findings are, with other times.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from django.utils import timezone

from cameras.models import Camera, CameraLease, Site
from cameras.replay.replay import Replay, replay
from cameras.states import CameraState
from cameras.watching import leases
from cameras.watching.findings import encode, glimpses_of
from detection import PassageFinding, make_key
from portal import demo
from portal.demo.seed import CLIPS, EMAIL
from portal.events.recording import record
from portal.figures import hours
from portal.models import Membership, Rule, SitePolicy, User

PLACES = (
    ("Aster Court", "Europe/Berlin"), ("Birch Lane 4", "Europe/London"), ("Canal Works", "Europe/Amsterdam"),
    ("Dover Yard", "Europe/London"), ("Elm Square", "Europe/Paris"), ("Foundry Hall", "Europe/Berlin"),
    ("Granary", "Europe/Madrid"), ("Harbour Gate", "Europe/Lisbon"), ("Iron Bridge", "Europe/London"),
    ("Juniper House", "America/Toronto"), ("Kiln Park", "America/New_York"), ("Linden Forum", "Europe/Vienna"),
)  # fmt: skip
DOORS = ("Front door", "Lobby", "Reception", "Side entrance", "Lifts", "Canteen", "Garage", "Staircase")
PAUSED, UNREACHABLE = 9, 11  # one camera in so many
NOWHERE = "rtsp://127.0.0.1:9/live"  # nothing listens at this port
OPEN_HOURS = (8, 18)


class FillError(Exception):
    """It cannot be filled; the text says why, and what to do."""


@dataclass(frozen=True)
class Amount:
    """How much. `masked` people are added for each violation."""

    sites: int = 12
    cameras: int = 62
    violations: int = 700
    days: int = 30
    masked: int = 6


def fill(amount: Amount, seed: int, say: Callable[[str], object] = lambda line: None) -> None:
    """Add to the demo; its manager gets the new sites. Raises FillError where there is no demo."""
    manager = User.objects.filter(email=EMAIL).first()
    if manager is None:
        raise FillError("There is no demo here to add to. Start with DEMO=1 and an empty DATA_DIR.")
    chance = random.Random(seed)  # noqa: S311 - made up people
    now = timezone.now()
    began = now - timedelta(days=amount.days)
    sites = [make_site(number, manager, amount.days) for number in range(amount.sites)]
    cameras = [make_camera(number, sites[number % len(sites)], began) for number in range(amount.cameras)]
    say(f"{len(sites)} sites, {len(cameras)} cameras")
    found = [replay(CLIPS / clip) for clip in demo.CLIPS]
    people = [(each, key) for each in found for key in each.violations]
    masked = [(each, key) for each in found for key, one in each.passages.items() if one.label == "mask"]
    Rule.objects.filter(site__in=sites).update(is_on=False)  # nobody is to be told of people of weeks ago
    for number in range(amount.violations):
        camera = chance.choice(cameras)
        show_bare(*chance.choice(people), camera, moment(camera, began, now, chance))
        for _person in range(amount.masked):
            show_masked(*chance.choice(masked), camera, moment(camera, began, now, chance))
        if number % 100 == 99:
            say(f"{number + 1} violations")
    Rule.objects.filter(site__in=sites).update(is_on=True)
    for camera in cameras:
        leases.release(camera.pk, 1, CameraState.PAUSED if camera.paused else CameraState.WAITING)
    for site in sites:
        hours.count_all_anew(site)


def make_site(number: int, manager: User, days: int) -> Site:
    name, zone = PLACES[number % len(PLACES)]
    again = number // len(PLACES)
    site = Site.objects.create(name=f"{name} {again + 1}" if again else name, time_zone=zone)
    SitePolicy.objects.update_or_create(site=site, defaults={"retention_days": max(30, days + 1)})
    Membership.objects.create(user=manager, site=site, role=Membership.Role.MANAGER)
    return site


def make_camera(number: int, site: Site, began: datetime) -> Camera:
    """One that plays a clip of the demo; some are paused, and some cannot be reached."""
    name = DOORS[(number // max(1, Site.objects.count())) % len(DOORS)]
    taken = Camera.objects.filter(site=site, name__startswith=name).count()
    given = {"kind": Camera.Kind.CLIP, "address": demo.CLIPS[number % len(demo.CLIPS)]}
    if number % UNREACHABLE == UNREACHABLE - 1:
        given = {"kind": Camera.Kind.RTSP, "address": NOWHERE}
    camera = Camera.objects.create(
        site=site, name=f"{name} {taken + 1}" if taken else name, paused=number % PAUSED == PAUSED - 1, **given
    )
    CameraLease.objects.get_or_create(camera=camera)
    leases.take(camera.pk, 0, "demo", now=began)
    return camera


def moment(camera: Camera, began: datetime, now: datetime, chance: random.Random) -> float:
    """Some time while its site is open; more lately than long ago."""
    share = chance.random() ** 0.7
    day = camera.site.local(began + (now - began) * share)
    at = day.replace(hour=chance.randrange(*OPEN_HOURS), minute=chance.randrange(60), second=chance.randrange(60))
    return min(at, now - timedelta(minutes=1)).timestamp()


def show_bare(seen: Replay, key: UUID, camera: Camera, at: float) -> None:
    """Record somebody without a mask, and their violation, as if they had come at this time."""
    found = seen.violations[key]
    passage = seen.passages[found.passage]
    shift = at - passage.started_at
    moved = _moved(passage, shift)
    record(encode(camera.pk, 1, moved))
    snapshot = seen.snapshots[found.key]
    violation = replace(
        found, key=make_key(found.started_at + shift), passage=moved.key, seq=1,
        started_at=found.started_at + shift, opened_at=found.opened_at + shift, bare_since=found.bare_since + shift,
        last_seen_at=found.last_seen_at + shift, ended_at=found.last_seen_at + shift, box=snapshot.box,
        snapshot=replace(snapshot, captured_at=snapshot.captured_at + shift),
        glimpses=tuple(
            replace(each, captured_at=each.captured_at + shift) for each in seen.glimpses[found.key].values()
        ),
    )  # fmt: skip
    record(encode(camera.pk, 1, violation))
    for each in glimpses_of(violation):
        record(encode(camera.pk, 1, each))


def show_masked(seen: Replay, key: UUID, camera: Camera, at: float) -> None:
    """Record somebody with a mask."""
    passage = seen.passages[key]
    record(encode(camera.pk, 1, _moved(passage, at - passage.started_at)))


def _moved(passage: PassageFinding, shift: float) -> PassageFinding:
    times = {name: getattr(passage, name) + shift for name in ("started_at", "last_seen_at")}
    return replace(passage, key=make_key(times["started_at"]), seq=1, ended_at=times["last_seen_at"], **times)
