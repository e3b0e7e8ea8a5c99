"""The front page: live tiles, and a strip that says whether all is well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any

from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import ngettext
from django.views.decorators.http import require_safe

from cameras.models import Camera, CameraSpot, Site
from cameras.redis import Errors
from cameras.states import CameraState
from cameras.watching.leases import living_workers
from portal.alerts import quiet
from portal.events import messages
from portal.events.notices import current_notices
from portal.models import Passage
from portal.people import access
from portal.people.access import AnyUser, Right

FIRST_STEPS_FOR = timedelta(hours=1)
FIRST_STEPS_OVER = "first-steps-over"
FEW = 6  # cameras that anybody can look over
CHOICE = "dashboard"


@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    tiles = read_tiles(request.user)
    go_on = "go-on" in request.GET or FIRST_STEPS_OVER in request.session
    if request.user.is_superuser and not tiles and not go_on and (step := next_first_step()):
        return redirect(step)
    if "go-on" in request.GET:
        request.session[FIRST_STEPS_OVER] = True
        return redirect("dashboard")
    strip = strip_context(request.user, tiles)
    choice = Choice.of(request)
    context = {
        "tiles": in_order(choice.fitting(tiles)) if len(tiles) > FEW else tiles,
        "is_many": len(tiles) > FEW,
        "choice": choice,
        "sites": sorted({(tile["camera"].site_id, tile["camera"].site.name) for tile in tiles}, key=itemgetter(1)),
        "first": is_first_picture(request, tiles),
        **strip,
    }
    return render(request, "dashboard/dashboard.html", context)


@dataclass(frozen=True)
class Choice:
    """Which of many cameras somebody wants to see; kept for as long as they are signed in."""

    site: str = ""
    find: str = ""

    @classmethod
    def of(cls, request: HttpRequest) -> Choice:
        """What was asked for now, or else the last time. What is none (a site that is not theirs) is everything."""
        if "site" in request.GET or "find" in request.GET:
            request.session[CHOICE] = [request.GET.get("site", "")[:20], request.GET.get("find", "")[:80]]
        return cls(*request.session.get(CHOICE, ("", "")))

    def fitting(self, tiles: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = [tile for tile in tiles if self.site in {"", str(tile["camera"].site_id)}]
        words = self.find.casefold().split()
        names = {tile["camera"].pk: f"{tile['camera'].name} {tile['camera'].site.name}".casefold() for tile in tiles}
        return [tile for tile in found or tiles if all(word in names[tile["camera"].pk] for word in words)]


def in_order(tiles: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What needs a person first, then what is seen, then what is paused."""
    ranks = {CameraState.WAITING: 1, CameraState.ONLINE: 2, CameraState.UNKNOWN: 2, CameraState.PAUSED: 3}
    return sorted(tiles, key=lambda tile: ranks.get(tile["state"]["state"], 0))


def next_first_step() -> str | None:
    """Where a superuser of an empty installation continues: its first site, then its first camera."""
    if not Site.objects.exists():
        return reverse("site_add")
    if not Camera.objects.exists():
        first = Site.objects.filter(archived_at__isnull=True).order_by("pk").first()
        return f"{reverse('camera_add')}?site={first.pk}" if first else None
    return None


def is_first_picture(request: HttpRequest, tiles: list[dict[str, Any]]) -> bool:
    """Whether this person just set up the very first camera and it has not seen anybody yet."""
    if not request.user.is_superuser or len(tiles) != 1 or FIRST_STEPS_OVER in request.session:
        return False
    age = timezone.now() - tiles[0]["camera"].created_at
    return age < FIRST_STEPS_FOR and not Passage.objects.exists()


@require_safe
def strip(request: HttpRequest) -> HttpResponse:
    """Only the strip, for a page that stays open."""
    return render(request, "dashboard/strip.html", strip_context(request.user, read_tiles(request.user)))


def read_tiles(user: AnyUser) -> list[dict[str, Any]]:
    """This person's cameras, each with its state from messages.camera, and whether it is quiet. Four queries."""
    cameras = list(access.cameras(user).order_by("site__name", "name"))
    own = set(access.sites(user, Right.SET_UP).values_list("pk", flat=True))
    reviewed = set(access.sites(user, Right.REVIEW).values_list("pk", flat=True))
    quiet_until = quiet.now_quiet(camera.pk for camera in cameras)
    return [
        {
            "camera": camera,
            "state": messages.worded(messages.camera(camera)),
            "may_set_up": camera.site_id in own,
            "may_review": camera.site_id in reviewed,
            "quiet_until": camera.site.local(quiet_until[camera.pk]) if camera.pk in quiet_until else None,
        }
        for camera in cameras
    ]


def strip_context(user: AnyUser, tiles: list[dict[str, Any]]) -> dict[str, Any]:
    """People seen today and how many of them were masked, the state of the cameras, and the portal's notices.

    While Redis does not answer, nobody knows which cameras are watched: their tiles are changed to say so.
    """
    try:
        notices = list(current_notices().values())
        if (waiting := sum(tile["state"]["state"] == CameraState.WAITING for tile in tiles)) and no_room():
            text = ngettext(
                "%(count)d camera is not being watched: this portal has no more room. Ask its operator "
                "for more, or pause a camera.",
                "%(count)d cameras are not being watched: this portal has no more room. Ask its operator "
                "for more, or pause cameras.",
                waiting,
            )
            notices.append(text % {"count": waiting})
    except Errors:
        notices = [f"{CameraState.UNKNOWN.meaning} {CameraState.UNKNOWN.remedy}"]
        for tile in tiles:
            tile["state"] = messages.not_known(tile["state"])
    return {
        "today": seen_today(list(access.sites(user))),
        "cameras": count_cameras(tiles),
        "notices": notices,
        "spots": asked_spots(tiles),
    }


def no_room() -> bool:
    """Whether every place of every worker is taken."""
    living = living_workers()
    return bool(living) and all(len(worker.watching) >= worker.room for worker in living)


def asked_spots(tiles: list[dict[str, Any]]) -> list[Camera]:
    """The cameras that ask their manager about a spot. One query."""
    own = {tile["camera"].pk: tile["camera"] for tile in tiles if tile["may_set_up"]}
    asked = CameraSpot.objects.filter(camera__in=own, answer=CameraSpot.Answer.ASKED).order_by()
    return [own[pk] for pk in sorted(asked.values_list("camera_id", flat=True).distinct())]


def count_cameras(tiles: list[dict[str, Any]]) -> dict[str, int | None]:
    """How many cameras are watched, down (and the first of those) and paused."""
    states = [(tile["camera"].pk, tile["state"]["state"]) for tile in tiles]
    paused = sum(state == CameraState.PAUSED for _, state in states)
    down = [pk for pk, state in states if state not in {CameraState.PAUSED, CameraState.ONLINE, CameraState.UNKNOWN}]
    return {
        "watched": sum(state == CameraState.ONLINE for _, state in states),
        "unknown": sum(state == CameraState.UNKNOWN for _, state in states),
        "down": len(down),
        "first_down": down[0] if down else None,
        "paused": paused,
    }


def seen_today(sites: list[Site], now: datetime | None = None) -> dict[str, int]:
    """People whose label is sure, since each site's own midnight, and how many of them had a mask. One query."""
    now = now or timezone.now()
    today = Q(pk__in=[])
    for site in sites:
        today |= Q(site=site, started_at__gte=site.midnight(site.local(now).date()))
    sure = Passage.asked().filter(today, label__in=("mask", "no_mask", "incorrect"))
    counts: dict[str, int] = sure.aggregate(people=Count("pk"), masked=Count("pk", filter=Q(label="mask")))
    return counts
