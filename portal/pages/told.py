"""What reaches one person: the links in messages, what to stop, their browsers' notifications, and the news."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_not_required
from django.contrib.staticfiles import finders
from django.core import signing
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from cameras.models import Camera, Outage
from portal.alerts import quiet
from portal.alerts.channels import mail, push
from portal.alerts.channels.mail import STOP_SALT
from portal.alerts.wording import target_of
from portal.models import Delivery, Membership, PushSubscription, Rule, User, Violation
from portal.pages.undo import undo_by
from portal.people import access, audit
from portal.people.access import Right
from portal.people.audit import Action
from portal.server import throttling

MOST_NEWS = 60
LOOK_BACK = timedelta(days=14)
MOST_BROWSERS = 10
TESTS_A_MINUTE = 10
MAIL_TESTS_A_MINUTE = 2


# -- links in messages ------------------------------------------------------------------------------------------------


@require_safe
def told(request: HttpRequest, key: UUID) -> HttpResponse:
    """A message's link: note that its receiver has seen it, and lead on."""
    found = get_told(request, key)
    if found.receiver_id in (None, request.user.pk):
        note_seen(found)
    path = target_of(found)
    if path.startswith(reverse("cameras")) and not access.may(request.user, Right.SET_UP, found.site_id):
        path = reverse("dashboard")
    return redirect(path)


def note_seen(found: Delivery) -> None:
    """What this person was told about the same thing, or together with it, is seen too."""
    same = Q(pk=found.pk)
    if found.violation_id is not None:
        same |= Q(violation=found.violation_id)
    if found.outage_id is not None:
        same |= Q(outage=found.outage_id)
    if found.sent_at is not None:
        same |= Q(lane=found.lane, event=found.event, camera=found.camera_id, sent_at=found.sent_at)
    mine = Delivery.objects.filter(same, receiver=found.receiver_id, seen_at=None)
    mine.update(seen_at=timezone.now())


@require_safe
def told_quiet(request: HttpRequest, key: UUID) -> HttpResponse:
    """The same message's “Quiet for an hour”: one click by who is signed in. Only its receiver knows this address."""
    found = get_told(request, key)
    if found.camera is None:
        raise Http404
    access.require(request.user, Right.REVIEW, found.site_id)
    if found.receiver_id in (None, request.user.pk):
        note_seen(found)
    make_quiet(request, found.camera)
    return redirect("dashboard")


def get_told(request: HttpRequest, key: UUID) -> Delivery:
    rows = Delivery.objects.filter(key=key, site__in=access.sites(request.user))
    found = rows.select_related("camera__site", "violation", "outage").first()
    if found is None:
        raise Http404
    return found


def make_quiet(request: HttpRequest, camera: Camera) -> None:
    until = quiet.begin(camera, access.person(request), timezone.now())
    audit.note(request, Action.CAMERA_QUIET, camera.name, camera.site)
    text = _("Nobody is notified about %(camera)s until %(until)s. It goes on watching.")
    messages.success(
        request, text % {"camera": camera, "until": f"{camera.site.local(until):%H:%M}"},
        extra_tags=undo_by(reverse("camera_loud", args=[camera.pk])),
    )  # fmt: skip


@require_POST
def quiet_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    make_quiet(request, get_reviewed_camera(request, camera_id))
    return redirect("dashboard")


@require_POST
def loud_camera(request: HttpRequest, camera_id: int) -> HttpResponse:
    camera = get_reviewed_camera(request, camera_id)
    if quiet.end(camera):
        audit.note(request, Action.CAMERA_LOUD, camera.name, camera.site)
    messages.success(request, _("People are notified about %(camera)s again.") % {"camera": camera})
    return redirect("dashboard")


def get_reviewed_camera(request: HttpRequest, camera_id: int) -> Camera:
    found = access.cameras(request.user).filter(pk=camera_id).first()
    if found is None:
        raise Http404
    access.require(request.user, Right.REVIEW, found.site)
    audit.about(request, found.site)
    return found


# -- stop -------------------------------------------------------------------------------------------------------------


@csrf_exempt  # mail programs send it by themselves (RFC 8058); the token says who and what
@login_not_required
@never_cache
def stop(request: HttpRequest, token: str) -> HttpResponse:
    """Stop what one rule tells one person. A GET asks first: programs that look at links must not stop anything."""
    try:
        rule_id, user_id = signing.loads(token, salt=STOP_SALT)
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise Http404 from error
    rule = Rule.objects.select_related("site").filter(pk=rule_id).first()
    user = User.objects.filter(pk=user_id).first()
    if rule is None or user is None:
        raise Http404
    if request.method == "POST":
        rule.stopped_by.add(user)
        audit.note(request, Action.PROFILE_CHANGED, rule.name, rule.site, actor=user)
    context = {"rule": rule, "site": rule.site, "stopped": rule.stopped_by.filter(pk=user.pk).exists()}
    return render(request, "alerts/stop.html", context)


@require_POST
def switch_rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    """On the profile: stop what a rule tells this person, or have it told again."""
    person = access.person(request)
    rule = next((rule for rule in reaching(person) if rule.pk == rule_id), None)
    if rule is None:
        raise Http404
    if request.POST.get("to") == "stop":
        rule.stopped_by.add(person)
    else:
        rule.stopped_by.remove(person)
    audit.note(request, Action.PROFILE_CHANGED, rule.name, rule.site)
    return redirect("profile")


def reaching(person: User) -> list[Rule]:
    """The rules that tell this person something, or would if they had not stopped them. Three queries."""
    roles = dict(Membership.objects.filter(user=person).values_list("site_id", "role"))
    rules = Rule.objects.filter(is_on=True, site__in=access.sites(person)).select_related("site")
    named = set(Rule.people.through.objects.filter(user_id=person.pk).values_list("rule_id", flat=True))
    return [
        rule
        for rule in rules
        if rule.pk in named or roles.get(rule.site_id) in rule.roles or person.pk in rule.next_people
    ]


# -- push -------------------------------------------------------------------------------------------------------------


@login_not_required
@require_safe
def push_worker(request: HttpRequest) -> HttpResponse:
    """The service worker, at an address that never changes: browsers compare it there."""
    path = finders.find("portal/push-worker.js")
    if path is None:
        raise Http404
    with open(path, "rb") as file:
        answer = HttpResponse(file.read(), content_type="text/javascript; charset=utf-8")
    answer["Cache-Control"] = "no-cache"
    return answer


@require_POST
def push_on(request: HttpRequest) -> HttpResponse:
    """This browser wants notifications; the body is what its PushManager gave it."""
    person = access.person(request)
    try:
        given = json.loads(request.body)
        endpoint, keys = str(given["endpoint"]), given["keys"]
        p256dh, secret = str(keys["p256dh"]), str(keys["auth"])
        if len(push.unpadded(p256dh)) != 65 or len(push.unpadded(secret)) != 16 or len(endpoint) > 1000:
            raise ValueError
    except (ValueError, KeyError, TypeError):
        return JsonResponse({"error": _("This is not a valid push subscription. Load the page again.")}, status=400)
    if not push.is_known(endpoint):
        text = _("This browser's notification service is not known here. The operator can allow it: PUSH_SERVICES.")
        return JsonResponse({"error": text}, status=422)
    browser = request.META.get("HTTP_USER_AGENT", "")[:300]
    values: dict[str, Any] = {"user": person, "p256dh": p256dh, "auth": secret, "browser": browser}
    values["with_picture"] = bool(given.get("with_picture"))
    PushSubscription.objects.update_or_create(endpoint=endpoint, defaults=values)
    old = PushSubscription.objects.filter(user=person).order_by("-created_at").values_list("pk", flat=True)
    PushSubscription.objects.filter(pk__in=list(old[MOST_BROWSERS:])).delete()
    audit.note(request, Action.PROFILE_CHANGED, _("notifications on"))
    return JsonResponse({"ok": True})


@require_POST
def mail_test(request: HttpRequest) -> HttpResponse:
    """Send this person a test by e-mail."""
    person = access.person(request)
    if not settings.EMAIL_URL:
        messages.warning(request, _("This portal has no mail server. Its operator sets EMAIL_URL."))
    elif throttling.allow("mail-test", str(person.pk), MAIL_TESTS_A_MINUTE):
        messages.info(request, mail.try_out(person))
    else:
        messages.warning(request, _("Too many tests. Wait a minute, then send it again."))
    return redirect("profile")


@require_POST
def push_test(request: HttpRequest, subscription_id: UUID) -> HttpResponse:
    found = PushSubscription.objects.filter(pk=subscription_id, user=access.person(request)).first()
    if found is None:
        raise Http404
    if throttling.allow("push-test", str(found.pk), TESTS_A_MINUTE):
        messages.info(request, push.try_out(found))
    else:
        messages.warning(request, _("Too many tests. Wait a minute, then send it again."))
    return redirect("profile")


@require_POST
def push_off(request: HttpRequest, subscription_id: UUID) -> HttpResponse:
    PushSubscription.objects.filter(pk=subscription_id, user=access.person(request)).delete()
    audit.note(request, Action.PROFILE_CHANGED, _("notifications off"))
    messages.success(request, _("That browser no longer gets notifications."))
    return redirect("profile")


# -- news -------------------------------------------------------------------------------------------------------------


@never_cache
@require_safe
def news(request: HttpRequest) -> HttpResponse:
    """What happened since this person looked last, at all of their sites, and what of it they were told meanwhile."""
    person = access.person(request)
    since = max(person.looked_at, timezone.now() - LOOK_BACK)
    seen = access.violations(person).filter(started_at__gt=since).order_by("-started_at")[:MOST_NEWS]
    down = Outage.objects.filter(camera__in=access.cameras(person)).filter(
        Q(began_at__gt=since) | Q(ended_at__gt=since)
    )
    was_told = Delivery.objects.filter(receiver=person, created_at__gt=since, state=Delivery.State.SENT)
    channels: dict[tuple[str, Any], list[str]] = {}
    for row in was_told.only("violation_id", "outage_id", "channel")[:500]:
        what = ("violation", row.violation_id) if row.violation_id else ("outage", row.outage_id)
        names = channels.setdefault(what, [])
        if (name := str(row.get_channel_display())) not in names:
            names.append(name)
    rows: list[dict[str, Any]] = [
        {"at": each.started_at, "violation": each, "site": each.site, "told": channels.get(("violation", each.pk), [])}
        for each in seen
    ]
    rows += [
        {"at": each.began_at, "outage": each, "site": each.camera.site, "told": channels.get(("outage", each.pk), [])}
        for each in down.select_related("camera__site").order_by("-began_at")[:MOST_NEWS]
    ]
    rows.sort(key=lambda row: row["at"], reverse=True)
    User.objects.filter(pk=person.pk).update(looked_at=timezone.now())
    context = {"rows": rows[:MOST_NEWS], "since": since, "more": len(rows) > MOST_NEWS}
    return render(request, "alerts/news.html", context)


def count_news(person: User) -> int:
    """How many there are, at most 99, for the bell. Two short queries."""
    since = max(person.looked_at, timezone.now() - LOOK_BACK)
    sites = access.sites(person)
    seen = Violation.objects.filter(site__in=sites, started_at__gt=since).order_by()[:99].count()
    down = Outage.objects.filter(camera__site__in=sites, began_at__gt=since).order_by()[:99].count()
    return min(99, seen + down)
