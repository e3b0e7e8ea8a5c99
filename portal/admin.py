"""Sites, cameras, people and what was seen, in Django's admin, for superusers.

Pictures are not shown here: portal/people/pictures.py is the only way to them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.db.models import F, QuerySet
from django.forms import ModelForm
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from cameras.models import Camera, CameraLease, Outage, Reign, Site
from portal.events import retention
from portal.models import AuditEntry, Invitation, Membership, Passage, SitePolicy, User, Violation

admin.site.site_header = _("Mask portal: administration")
admin.site.site_title = _("Mask portal")
admin.site.unregister(Group)


class ReadOnlyAdmin(admin.ModelAdmin[Any]):
    """Rows that the portal makes itself: they can be viewed, but not changed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class WithHistoryAdmin(admin.ModelAdmin[Any]):
    """Rows that violations depend on: deleting one also deletes its violations and their pictures."""

    def violations(self, row: Any) -> QuerySet[Violation]:
        raise NotImplementedError

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> tuple[Any, Any, set[str], list[Any]]:
        """Dependent rows may not be deleted on their own, but they may be deleted along with this row."""
        deleted, counts, _needed, protected = super().get_deleted_objects(objs, request)
        return deleted, counts, set(), protected

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        while rows := list(self.violations(obj)[: retention.STEP_ROWS]):
            retention.delete_violations(rows)
        obj.delete()

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> None:
        for row in queryset:
            self.delete_model(request, row)


class SitePolicyInline(admin.StackedInline[SitePolicy, Site]):
    model = SitePolicy
    can_delete = False


@admin.register(Site)
class SiteAdmin(WithHistoryAdmin):
    list_display = ("name", "time_zone")
    search_fields = ("name",)
    inlines = (SitePolicyInline,)

    def violations(self, row: Site) -> QuerySet[Violation]:
        return Violation.objects.filter(site=row)


@admin.register(Camera)
class CameraAdmin(WithHistoryAdmin):
    list_display = ("name", "site", "kind", "paused", "state", "watched_by")
    list_filter = ("site", "kind", "paused")
    list_select_related = ("site", "lease")
    search_fields = ("name", "site__name")

    def violations(self, row: Camera) -> QuerySet[Violation]:
        return Violation.objects.filter(camera=row)

    @admin.display(description="state")
    def state(self, camera: Camera) -> str:
        return str(camera.lease.get_state_display()) if hasattr(camera, "lease") else "–"

    @admin.display(description="watched by")
    def watched_by(self, camera: Camera) -> str:
        return camera.lease.worker if hasattr(camera, "lease") else "–"

    def get_readonly_fields(self, request: HttpRequest, obj: Camera | None = None) -> tuple[str, ...]:
        """A camera stays at its site: what it saw belongs there, and so do the people watching it live."""
        return ("site",) if obj is not None else ()

    def save_model(self, request: HttpRequest, obj: Camera, form: ModelForm[Camera], change: bool) -> None:
        """A change makes a new version: the camera is watched with it within seconds."""
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


class MembershipInline(admin.TabularInline[Membership, User]):
    model = Membership
    extra = 1


class NewUserForm(AdminUserCreationForm):  # type: ignore[type-arg]  # generic only in the stubs
    class Meta:
        model = User
        fields = ("email", "name")


@admin.register(User)
class PersonAdmin(UserAdmin[User]):
    list_display = ("email", "name", "is_active", "is_superuser", "last_login")
    list_filter = ("is_active", "is_superuser")
    search_fields = ("email", "name")
    ordering = ("email",)
    inlines: ClassVar[Any] = (MembershipInline,)
    add_form = NewUserForm
    fieldsets: ClassVar[Any] = (
        (None, {"fields": ("email", "name", "password")}),
        (_("Rights"), {"fields": ("is_active", "is_staff", "is_superuser")}),
    )
    add_fieldsets: Any = ((None, {"fields": ("email", "name", "usable_password", "password1", "password2")}),)


@admin.register(Membership)
class MembershipAdmin(admin.ModelAdmin[Membership]):
    list_display = ("user", "site", "role")
    list_filter = ("site", "role")
    list_select_related = ("user", "site")
    search_fields = ("user__email", "user__name", "site__name")


@admin.register(Passage)
class PassageAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "site", "camera", "label", "confidence", "ended_at")
    list_filter = ("site", "label")
    list_select_related = ("site", "camera")
    date_hierarchy = "started_at"
    show_full_result_count = False


@admin.register(Violation)
class ViolationAdmin(ReadOnlyAdmin):
    list_display = ("started_at", "site", "camera", "label", "status", "reviewed_by", "reviewed_at")
    list_filter = ("site", "label", "status")
    list_select_related = ("site", "camera", "reviewed_by")
    exclude = ("snapshot", "box")
    date_hierarchy = "started_at"
    show_full_result_count = False


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    list_display = ("at", "actor", "action", "subject", "site", "address")
    list_filter = ("action",)
    search_fields = ("actor", "subject")
    show_full_result_count = False


@admin.register(Invitation)
class InvitationAdmin(ReadOnlyAdmin):
    list_display = ("email", "site", "role", "invited_by", "expires_at", "accepted_at")
    list_select_related = ("site", "invited_by")
    exclude = ("secret_hash",)


@admin.register(Outage)
class OutageAdmin(ReadOnlyAdmin):
    list_display = ("camera", "began_at", "ended_at", "reason")
    list_select_related = ("camera",)
