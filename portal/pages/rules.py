"""Who is told what of a site: its rules, and the places outside to which they lead; for its managers."""

from __future__ import annotations

from collections.abc import Iterable
from string import Template
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.contrib import messages
from django.db import transaction
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from cameras.errors import AddressError, CameraError
from cameras.models import Camera, Site
from cameras.reach import addresses
from cameras.reach.credentials import seal, unseal
from portal.alerts.channels import destinations, vendors
from portal.models import Destination, Membership, Rule, Topic, User
from portal.pages.hours import HoursFields
from portal.people import access, audit
from portal.people.audit import Action
from portal.server import throttling
from portal.voice.call import check_template

TESTS_A_MINUTE = 10
MOST_RULES = 50
Kind = Destination.Kind


# -- rules -----------------------------------------------------------------------------------------------------------


@require_safe
def rules(request: HttpRequest, site_id: int) -> HttpResponse:
    """What a site tells, to whom, by what. Six queries for any number of rules."""
    site = access.get_site(request, site_id)
    rows = site.rules.prefetch_related("cameras", "people", "destinations", "stopped_by")
    context = {
        "site": site,
        "rules": rows,
        "destinations": site.destinations.all(),
        "can_mail": bool(settings.EMAIL_URL),
        "mqtt": bool(settings.MQTT_URL),
        "members": set(site.memberships.values_list("user_id", flat=True)),
    }
    return render(request, "alerts/rules.html", context)


def people_of(site: Site) -> Iterable[User]:
    """Whom a rule of this site may name: its members, and superusers."""
    named = User.objects.filter(Q(memberships__site=site) | Q(is_superuser=True), is_active=True)
    return named.distinct().order_by("name", "email")


class RuleForm(HoursFields):
    """One rule. Who it is told to is either roles, people or destinations, or several of these."""

    topics = forms.MultipleChoiceField(
        label=gettext_lazy("Notify about"),
        choices=Topic.choices,
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": gettext_lazy("Choose at least one.")},
    )
    roles = forms.MultipleChoiceField(
        label=gettext_lazy("Everybody with the role"),
        choices=Membership.Role.choices,
        required=False,
        widget=forms.CheckboxSelectMultiple,
    )
    next_1 = forms.TypedChoiceField(
        label=gettext_lazy("Then notify"), required=False, coerce=int, empty_value=None, choices=[]
    )
    next_2 = forms.TypedChoiceField(
        label=gettext_lazy("After the same time again"), required=False, coerce=int, empty_value=None, choices=[]
    )

    class Meta:
        model = Rule
        fields = (
            "name", "is_on", "topics", "cameras", "during", "roles", "people", "by_email", "by_push", "destinations",
            "repeats", "next_after_min",
        )  # fmt: skip
        widgets = {
            "cameras": forms.CheckboxSelectMultiple,
            "people": forms.CheckboxSelectMultiple,
            "destinations": forms.CheckboxSelectMultiple,
            "during": forms.RadioSelect,
        }
        labels = {
            "is_on": gettext_lazy("On"),
            "by_email": gettext_lazy("By e-mail"),
            "by_push": gettext_lazy("By push, in browsers where they switched it on"),
            "people": gettext_lazy("Also these people"),
            "destinations": gettext_lazy("And these destinations"),
            "repeats": gettext_lazy("“Again and again” means this many an hour"),
            "next_after_min": gettext_lazy("If nobody looks at it within this many minutes"),
        }

    instance: Rule

    def __init__(self, site: Site, data: Any = None, rule: Rule | None = None) -> None:
        super().__init__(data, instance=rule or Rule(site=site))
        self.add_hours(self.instance.hours or {})
        people = list(people_of(site))
        self._choose("cameras", Camera.objects.filter(site=site, deleted_at=None).order_by("name"))
        self._choose("people", people_of(site))
        self._choose("destinations", Destination.objects.filter(site=site))
        for name, place in (("next_1", 0), ("next_2", 1)):
            field = self.fields[name]
            field.choices = [("", _("Nobody")), *((user.pk, str(user)) for user in people)]  # type: ignore[attr-defined]
            if len(self.instance.next_people) > place:
                self.initial[name] = self.instance.next_people[place]

    def _choose(self, name: str, rows: Any) -> None:
        self.fields[name].queryset = rows  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        given = cleaned.get("roles") or cleaned.get("people")
        if not given and not cleaned.get("destinations"):
            self.add_error("roles", _("Choose whom to notify: a role, a person, or a destination."))
        if given and not (cleaned.get("by_email") or cleaned.get("by_push")):
            self.add_error("by_email", _("Choose how to notify these people: e-mail, push or both."))
        hours = self.read_hours(cleaned)
        if cleaned.get("during") == Rule.During.OWN and not hours and not self.errors:
            self.add_error("during", _("Enter these hours, or choose another option."))
        self.instance.hours = hours
        self.instance.next_people = [pk for name in ("next_1", "next_2") if (pk := cleaned.get(name))]
        if self.instance.next_people and not cleaned.get("next_after_min"):
            self.add_error("next_after_min", _("Enter how many minutes to wait before the next person is notified."))
        return cleaned

    @transaction.atomic
    def store(self) -> Rule:
        return self.save()  # type: ignore[no-any-return]


@never_cache
def add_rule(request: HttpRequest, site_id: int) -> HttpResponse:
    site = access.get_site(request, site_id)
    return edit(request, site, RuleForm(site, request.POST or None))


@never_cache
def rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    found = get_rule(request, rule_id)
    return edit(request, found.site, RuleForm(found.site, request.POST or None, found))


def edit(request: HttpRequest, site: Site, form: RuleForm) -> HttpResponse:
    is_new = form.instance.pk is None
    if request.method == "POST" and is_new and site.rules.count() >= MOST_RULES:
        form.add_error(None, _("A site has at most %(most)d rules. Change one of them.") % {"most": MOST_RULES})
    if request.method == "POST" and form.is_valid():
        form.store()
        audit.note(request, Action.RULE_CHANGED, form.instance.name, site)
        messages.success(request, _("%(rule)s is saved.") % {"rule": form.instance})
        return redirect("rules", site.pk)
    named = None if is_new else Rule.objects.get(pk=form.instance.pk)
    context = {"form": form, "site": site, "rule": named, "can_mail": bool(settings.EMAIL_URL)}
    return render(request, "alerts/rule.html", context, status=422 if form.errors else 200)


def get_rule(request: HttpRequest, rule_id: int) -> Rule:
    """A rule of a site that this person manages; raises as access.require does."""
    return access.get_of_site(request, Rule, rule_id)


@require_POST
def delete_rule(request: HttpRequest, rule_id: int) -> HttpResponse:
    found = get_rule(request, rule_id)
    audit.note(request, Action.RULE_CHANGED, found.name, found.site)
    messages.success(request, _("%(rule)s has been deleted: it no longer notifies anybody.") % {"rule": found})
    found.delete()
    return redirect("rules", found.site_id)


# -- destinations ----------------------------------------------------------------------------------------------------


class DestinationForm(forms.ModelForm[Destination]):
    """A place outside. Its address and secret are stored sealed; only scheme and host are shown again."""

    address = forms.CharField(label=gettext_lazy("Address"), max_length=1000, required=False, strip=True)
    secret = forms.CharField(
        label=gettext_lazy("Token"),
        max_length=300,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )

    class Meta:
        model = Destination
        fields = ("name", "kind", "body")
        widgets = {"body": forms.Textarea(attrs={"rows": 5})}
        labels = {"kind": gettext_lazy("Kind")}
        help_texts = {
            "body": gettext_lazy(
                "For a request that you write: $title, $text, $link, $site, $camera and $event are filled in."
            ),
        }

    instance: Destination

    def __init__(self, site: Site, data: Any = None, destination: Destination | None = None) -> None:
        super().__init__(data, instance=destination or Destination(site=site))
        if self.instance.sealed_address:
            kept = _("Leave it empty to keep the one that is stored: %(shown)s")
            self.fields["address"].help_text = kept % {"shown": self.instance.shown_address}
        if self.instance.sealed_secret:
            self.fields["secret"].help_text = _("One is stored, and never shown. Leave this empty to keep it.")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        address, kind = cleaned.get("address") or "", cleaned.get("kind")
        if not address:
            if not self.instance.sealed_address or "kind" in self.changed_data:
                self.add_error("address", _("Enter the address."))
            return cleaned
        if kind == Kind.VENDOR:
            if problem := vendors.check(address):
                self.add_error("address", problem)
        elif problem := self._problem(address, kind == Kind.OWN):
            self.add_error("address", problem)
        if self.instance.sealed_secret and not cleaned.get("secret") and kind != Kind.WEBHOOK:
            kept_for = addresses.authority_of(self._kept_address())
            if addresses.authority_of(address) != kept_for:  # whoever edits it must not have the token sent elsewhere
                self.add_error("secret", _("This leads to another host now. Enter the token again."))
        if kind == Kind.OWN and (problem := check_template(cleaned.get("body") or "", destinations.WORDS)):
            self.add_error("body", problem)
        return cleaned

    def _kept_address(self) -> str:
        try:
            return unseal(self.instance.sealed_address)
        except CameraError:
            return ""

    def _problem(self, address: str, with_placeholders: bool) -> str:
        if with_placeholders:
            if "$" in addresses.authority_of(address):
                return _("Write the host itself; placeholders are allowed only after it.")
            if problem := check_template(address, destinations.WORDS):
                return problem
            address = Template(address).safe_substitute(dict.fromkeys(destinations.WORDS, "x"))
        try:
            addresses.parse_address(address, ("https", "http"), 1000)
        except AddressError as error:
            return str(error)
        return ""

    def store(self) -> str:
        """Save; returns the secret of a new webhook, which is shown once."""
        made, cleaned, row = "", self.cleaned_data, self.instance
        if address := cleaned.get("address"):
            row.sealed_address = seal(address)
            row.shown_address = vendors.hide(address) if row.kind == Kind.VENDOR else shown(address)
        if row.kind == Kind.WEBHOOK:
            if not row.sealed_secret or "kind" in self.changed_data:
                made = destinations.new_secret()
                row.sealed_secret = seal(made)
        elif cleaned.get("secret"):
            row.sealed_secret = seal(cleaned["secret"])
        elif "kind" in self.changed_data:
            row.sealed_secret = ""
        row.save()
        return made


def shown(address: str) -> str:
    """Scheme and host: paths and queries of such addresses are often secrets."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"[:200]


@never_cache
def add_destination(request: HttpRequest, site_id: int) -> HttpResponse:
    site = access.get_site(request, site_id)
    return edit_destination(request, site, DestinationForm(site, request.POST or None))


@never_cache
def destination(request: HttpRequest, destination_id: int) -> HttpResponse:
    found = get_destination(request, destination_id)
    return edit_destination(request, found.site, DestinationForm(found.site, request.POST or None, found))


def edit_destination(request: HttpRequest, site: Site, form: DestinationForm) -> HttpResponse:
    if request.method == "POST" and form.is_valid():
        secret = form.store()
        audit.note(request, Action.RULE_CHANGED, form.instance.name, site)
        if secret:
            return render(request, "alerts/secret.html", {"site": site, "destination": form.instance, "secret": secret})
        messages.success(request, _("%(name)s is saved. Send a test to see its answer.") % {"name": form.instance})
        return redirect("rules", site.pk)
    named = Destination.objects.filter(pk=form.instance.pk).first()
    context = {"form": form, "site": site, "destination": named, "vendors": vendors.ALLOWED}
    return render(request, "alerts/destination.html", context, status=422 if form.errors else 200)


def get_destination(request: HttpRequest, destination_id: int) -> Destination:
    return access.get_of_site(request, Destination, destination_id)


@require_POST
def delete_destination(request: HttpRequest, destination_id: int) -> HttpResponse:
    found = get_destination(request, destination_id)
    audit.note(request, Action.RULE_CHANGED, found.name, found.site)
    messages.success(request, _("%(name)s is deleted.") % {"name": found})
    found.delete()
    return redirect("rules", found.site_id)


@require_POST
def test_destination(request: HttpRequest, destination_id: int) -> HttpResponse:
    """Send a test, and show what was answered."""
    found = get_destination(request, destination_id)
    if throttling.allow("destination-test", str(found.pk), TESTS_A_MINUTE):
        messages.info(request, f"{found}: {destinations.try_out(found)}")
    else:
        messages.warning(request, _("Too many tests. Wait a minute, then send it again."))
    return redirect("rules", found.site_id)
