"""Sites: their list, and the settings of one: name, time zone, language, opening hours, goal, days to keep."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_POST

from cameras.models import Camera, Site
from portal.figures import hours
from portal.models import Passage, SitePolicy, Violation, policy_of
from portal.pages.hours import HoursForm
from portal.pages.profile import ZoneField
from portal.pages.undo import undo_by
from portal.people import access, audit
from portal.people.access import AnyUser, Right
from portal.people.audit import Action


class SiteForm(forms.ModelForm[Site]):
    """What managers set for the site itself."""

    time_zone = ZoneField(
        label=gettext_lazy("Time zone"), help_text=gettext_lazy("Used for this site's days and hours.")
    )

    class Meta:
        model = Site
        fields = ("name", "address", "time_zone")


class PolicyForm(HoursForm):
    """What they set for the portal there; the opening hours are two fields per day."""

    class Meta:
        model = SitePolicy
        fields = ("language", "mask_goal", "retention_days", "alert_when_closed", "mqtt_commands", "mqtt_pictures")
        labels = {
            "retention_days": gettext_lazy("Days to keep"),
            "mask_goal": gettext_lazy("Goal: people with a mask, in percent"),
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_hours(self.instance.opening_hours or {})
        if not settings.MQTT_URL:
            del self.fields["mqtt_commands"], self.fields["mqtt_pictures"]

    @property
    def mqtt_fields(self) -> list[forms.BoundField]:
        return [self[name] for name in ("mqtt_commands", "mqtt_pictures") if name in self.fields]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        self.instance.opening_hours = self.read_hours(cleaned)
        return cleaned


class SiteForms:
    """Both, as one form on a page."""

    def __init__(self, data: Any = None, site: Site | None = None) -> None:
        self.site = SiteForm(data, instance=site)
        self.policy = PolicyForm(data, instance=policy_of(site) if site else None)

    def is_valid(self) -> bool:
        return all([self.site.is_valid(), self.policy.is_valid()])

    @property
    def errors(self) -> dict[str, Any]:
        return self.site.errors | self.policy.errors

    @property
    def non_field_errors(self) -> list[str]:
        return [*self.site.non_field_errors(), *self.policy.non_field_errors()]

    @property
    def changed(self) -> list[str]:
        return [*self.site.changed_data, *self.policy.changed_data]

    @property
    def plain_fields(self) -> list[forms.BoundField]:
        policy = [self.policy[name] for name in ("language", "mask_goal", "retention_days")]
        return [*self.site, *policy]

    @transaction.atomic
    def save(self) -> Site:
        site = self.site.save()
        policy = self.policy.save(commit=False)
        policy.site = site
        policy.save()
        return site


def listed(user: AnyUser) -> QuerySet[Site]:
    """The sites that this person may set up, with counts of what is there; superusers also get archived ones."""
    found = Site.objects.all() if user.is_superuser else access.sites(user, Right.SET_UP)
    return found.annotate(
        camera_count=Count("cameras", filter=Q(cameras__deleted_at__isnull=True), distinct=True),
        people_count=Count("memberships", distinct=True),
    ).order_by("archived_at", "name")


def sites(request: HttpRequest) -> HttpResponse:
    access.sites_to_set_up(request.user)
    return render(request, "sites/sites.html", {"sites": listed(request.user)})


def add_site(request: HttpRequest) -> HttpResponse:
    """A new site; superusers only. The next step is its first camera."""
    require_superuser(request)
    is_first = not Site.objects.exists()
    form = SiteForms(request.POST or None)
    if request.method == "POST" and form.is_valid():
        site = form.save()
        audit.note(request, Action.SITE_ADDED, site=site)
        messages.success(request, _("%(site)s is created. Now add its first camera.") % {"site": site})
        return redirect(f"{reverse('camera_add')}?site={site.pk}")
    return render(request, "sites/site.html", {"form": form, "first": is_first}, status=422 if form.errors else 200)


def require_superuser(request: HttpRequest) -> None:
    if not request.user.is_superuser:
        if access.sites(request.user).exists():
            raise PermissionDenied
        raise Http404


def site(request: HttpRequest, site_id: int) -> HttpResponse:
    found = access.get_site(request, site_id)
    form = SiteForms(request.POST or None, found)
    if request.method == "POST" and form.is_valid():
        changed = form.changed
        form.save()
        if "time_zone" in changed:
            hours.count_all_anew(found)
        audit.note(request, Action.SITE_CHANGED, ", ".join(changed), found)
        messages.success(request, _("%(site)s is saved.") % {"site": found})
        return redirect("site", found.pk)
    named = Site.objects.get(pk=site_id)
    context = {"form": form, "site": named, "has_history": request.user.is_superuser and has_history(named)}
    return render(request, "sites/site.html", context, status=422 if form.errors else 200)


def has_history(found: Site) -> bool:
    """Whether anything was, or could have been, seen there."""
    return any(rows.filter(site=found).exists() for rows in (Violation.objects, Passage.objects, Camera.objects))


@require_POST
def archive_site(request: HttpRequest, site_id: int) -> HttpResponse:
    """Archive a site that has a history; delete one that never had a camera."""
    require_superuser(request)
    found = access.get_site(request, site_id)
    if not has_history(found):
        audit.note(request, Action.SITE_DELETED, site=found)
        found.delete()
        messages.success(request, _("%(site)s is deleted.") % {"site": found})
        return redirect("sites")
    Site.objects.filter(pk=found.pk).update(archived_at=timezone.now())
    audit.note(request, Action.SITE_ARCHIVED, site=found)
    told = _(
        "%(site)s is archived: its cameras stop, and nobody can see it. Its data is deleted once the "
        "days to keep it have passed."
    )
    messages.success(request, told % {"site": found}, extra_tags=undo_by(reverse("site_restore", args=[found.pk])))
    return redirect("sites")


@require_POST
def restore_site(request: HttpRequest, site_id: int) -> HttpResponse:
    require_superuser(request)
    found = Site.objects.filter(pk=site_id).first()
    if found is None:
        raise Http404
    Site.objects.filter(pk=site_id).update(archived_at=None)
    audit.note(request, Action.SITE_RESTORED, site=found)
    messages.success(request, _("%(site)s is back.") % {"site": found})
    return redirect("sites")
