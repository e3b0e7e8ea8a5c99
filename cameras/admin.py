"""Sites, cameras and leases in Django's admin, for superusers."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import F
from django.forms import ModelForm
from django.http import HttpRequest

from cameras.models import Camera, CameraLease, Reign, Site


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that the portal makes itself: to be looked at, not to be changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Site)
class SiteAdmin(admin.ModelAdmin[Site]):
    list_display = ("name", "time_zone", "retention_days")
    search_fields = ("name",)


@admin.register(Camera)
class CameraAdmin(admin.ModelAdmin[Camera]):
    list_display = ("name", "site", "kind", "paused", "state", "watched_by")
    list_filter = ("site", "kind", "paused")
    list_select_related = ("site", "lease")
    search_fields = ("name", "site__name")

    @admin.display(description="state")
    def state(self, camera: Camera) -> str:
        return str(camera.lease.get_state_display()) if hasattr(camera, "lease") else "–"

    @admin.display(description="watched by")
    def watched_by(self, camera: Camera) -> str:
        return camera.lease.worker if hasattr(camera, "lease") else "–"

    def save_model(self, request: HttpRequest, obj: Camera, form: ModelForm[Camera], change: bool) -> None:
        """A change is a new version: who watches begins anew with it, within seconds."""
        super().save_model(request, obj, form, change)
        if change:
            Camera.objects.filter(pk=obj.pk).update(version=F("version") + 1)


@admin.register(CameraLease)
class CameraLeaseAdmin(ReadOnlyAdmin):
    list_display = ("camera", "worker", "token", "state", "state_since", "state_detail")
    list_filter = ("state", "worker")
    list_select_related = ("camera",)


@admin.register(Reign)
class ReignAdmin(ReadOnlyAdmin):
    list_display = ("camera", "token", "worker", "taken_at", "ended_at")
    list_filter = ("worker",)
    list_select_related = ("camera",)
