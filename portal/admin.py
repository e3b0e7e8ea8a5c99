"""People and what was seen, in Django's admin, for superusers. Pictures are not shown here: they have one door."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.forms import AdminUserCreationForm
from django.contrib.auth.models import Group
from django.utils.translation import gettext_lazy as _

from cameras.admin import ReadOnlyAdmin
from portal.models import Membership, Passage, User, Violation

admin.site.site_header = _("Mask portal: administration")
admin.site.site_title = _("Mask portal")
admin.site.unregister(Group)


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
