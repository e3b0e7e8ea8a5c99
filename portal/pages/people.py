"""The people of a manager's sites: who is there, in which role, and who is invited."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login
from django.contrib.auth.decorators import login_not_required
from django.contrib.auth.forms import BaseUserCreationForm
from django.core import signing
from django.core.mail import send_mail
from django.db import IntegrityError, transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from cameras.models import Site
from portal.models import Invitation, Membership, User
from portal.pages.sign_in import ShortHelpMixin, password_link
from portal.pages.undo import undo_by
from portal.people import access, audit, memberships
from portal.people.access import Right
from portal.people.audit import Action
from portal.people.memberships import MembershipError
from portal.server import throttling

UNDO_SALT = "portal.people.undo"
UNDO_S = 60
MANY_INVITATIONS = gettext_lazy("Too many invitations were sent within the last hour. Wait a while, then try again.")


class InviteForm(forms.Form):
    """E-mail, site and role of somebody to invite."""

    email = forms.EmailField(label=gettext_lazy("E-mail"), widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    site = forms.ModelChoiceField(
        label=gettext_lazy("Site"), queryset=Site.objects.none(), empty_label=gettext_lazy("Choose one")
    )
    role = forms.ChoiceField(
        label=gettext_lazy("Role"), choices=Membership.Role.choices, initial=Membership.Role.REVIEWER
    )

    def __init__(self, request: HttpRequest, *args: Any) -> None:
        super().__init__(*args)
        site = self.fields["site"]
        assert isinstance(site, forms.ModelChoiceField)  # noqa: S101 - for the type checker
        site.queryset = access.sites(request.user, Right.SET_UP)
        sites = list(site.queryset[:2])
        if len(sites) == 1:
            site.initial = sites[0].pk


def people(request: HttpRequest) -> HttpResponse:
    """The people at this person's sites, the open invitations, and a form for another one."""
    access.sites_to_set_up(request.user)
    return show(request, InviteForm(request))


def show(request: HttpRequest, form: InviteForm, status: int = 200) -> HttpResponse:
    here = access.sites(request.user, Right.SET_UP)
    rows = (
        Membership.objects.filter(site__in=here)
        .select_related("user", "site")
        .order_by("site__name", "user__name", "user__email")
    )
    invitations = Invitation.objects.filter(site__in=here, accepted_at__isnull=True).select_related("site")
    context = {
        "memberships": rows,
        "invitations": invitations,
        "helpable": access.helpable(request.user),
        "form": form,
        "roles": Membership.Role.choices,
        "now": timezone.now(),
    }
    return render(request, "people/people.html", context, status=status)


# -- invitations ----------------------------------------------------------------------------------------------------


@require_POST
def invite(request: HttpRequest) -> HttpResponse:
    """Invite somebody: by e-mail if the portal can send it, otherwise by a link that is shown once."""
    access.sites_to_set_up(request.user)
    form = InviteForm(request, request.POST)
    if not form.is_valid():
        return show(request, form, 422)
    site = form.cleaned_data["site"]
    if not throttling.allow_each("invitation", access.person(request).email, request):
        form.add_error("email", MANY_INVITATIONS)
        return show(request, form, 429)
    try:
        invitation, secret = memberships.invite(
            form.cleaned_data["email"], site, form.cleaned_data["role"], access.person(request)
        )
    except MembershipError as error:
        form.add_error("email", str(error))
        return show(request, form, 422)
    audit.note(request, Action.INVITED, f"{invitation.email}: {invitation.role}", site)
    return hand_out(request, invitation, secret)


@require_POST
def renew_invitation(request: HttpRequest, invitation_id: int) -> HttpResponse:
    """Make a new link for an invitation; the old one becomes invalid."""
    invitation = get_invitation(request, invitation_id)
    if not throttling.allow_each("invitation", access.person(request).email, request):
        messages.error(request, str(MANY_INVITATIONS))
        return redirect("people")
    invitation, secret = memberships.invite(invitation.email, invitation.site, invitation.role, access.person(request))
    audit.note(request, Action.INVITED, f"{invitation.email}: {invitation.role}", invitation.site)
    return hand_out(request, invitation, secret)


def hand_out(request: HttpRequest, invitation: Invitation, secret: str) -> HttpResponse:
    link = f"{settings.BASE_URL}{reverse('invitation', args=[secret])}"
    if settings.EMAIL_URL:
        context = {"invitation": invitation, "link": link}
        send_mail(
            _("You are invited to %(site)s") % {"site": invitation.site},
            render_to_string("people/invitation_mail.txt", context),
            None,
            [invitation.email],
        )
        messages.success(request, _("An invitation is on its way to %(email)s.") % {"email": invitation.email})
        return redirect("people")
    context = {"title": _("An invitation for %(email)s") % {"email": invitation.email}, "link": link}
    answer = render(request, "people/link.html", context | {"what": "invitation"})
    answer["Cache-Control"] = "no-store"
    return answer


def get_invitation(request: HttpRequest, invitation_id: int) -> Invitation:
    invitation = get_object_or_404(
        Invitation.objects.select_related("site"), pk=invitation_id, accepted_at__isnull=True
    )
    access.require(request.user, Right.SET_UP, invitation.site)
    return invitation


@require_POST
def withdraw_invitation(request: HttpRequest, invitation_id: int) -> HttpResponse:
    invitation = get_invitation(request, invitation_id)
    invitation.delete()
    audit.note(request, Action.INVITATION_WITHDRAWN, invitation.email, invitation.site)
    messages.success(request, _("The invitation of %(email)s is withdrawn.") % {"email": invitation.email})
    return redirect("people")


class JoinForm(ShortHelpMixin, BaseUserCreationForm):  # type: ignore[type-arg]  # generic only in the stubs
    """Name and password of somebody who was invited; the e-mail is the invitation's."""

    class Meta:
        model = User
        fields = ("name",)


@never_cache
@login_not_required
def invitation(request: HttpRequest, secret: str) -> HttpResponse:
    """The page of an invitation's link: make an account, or accept with an existing one."""
    found = memberships.find_invitation(secret)
    if found is None:
        return render(request, "people/invitation_gone.html", status=404)
    known = User.objects.filter(email__iexact=found.email).first()
    if known is not None and not known.is_active:
        return refuse_invitation(
            request, _("The account of %(email)s is disabled. Ask your manager.") % {"email": found.email}
        )
    context: dict[str, Any] = {"invitation": found, "known": known}
    if known is None:
        return join_as_new(request, found, context)
    if not request.user.is_authenticated or request.user.pk != known.pk:
        context["sign_in"] = f"{reverse('login')}?next={request.path}"
        return render(request, "people/invitation.html", context)
    if not getattr(request, "is_complete", False):
        return redirect(f"{reverse('second_factor')}?next={request.path}")
    if request.method == "POST":
        return join(request, found, known)
    return render(request, "people/invitation.html", context)


def join_as_new(request: HttpRequest, found: Invitation, context: dict[str, Any]) -> HttpResponse:
    form = JoinForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = form.save(commit=False)
        user.email = found.email
        return join(request, found, user)
    return render(request, "people/invitation.html", context | {"form": form}, status=422 if form.errors else 200)


def join(request: HttpRequest, found: Invitation, user: User) -> HttpResponse:
    """Give the role; somebody new is stored with it, or not at all."""
    try:
        with transaction.atomic():
            if user.pk is None:
                user.save()
            memberships.accept(found, user)
    except MembershipError as error:
        return refuse_invitation(request, str(error))
    except IntegrityError:  # the same link at the same moment, in another browser
        return refuse_invitation(request, _("This invitation has already been used."))
    audit.note(request, Action.JOINED, found.role, found.site, actor=user)
    if not request.user.is_authenticated:
        login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    messages.success(request, _("Welcome to %(site)s.") % {"site": found.site})
    return redirect("dashboard")


def refuse_invitation(request: HttpRequest, why: str) -> HttpResponse:
    context = {"title": _("This invitation cannot be used"), "advice": why}
    return render(request, "error.html", context, status=409)


# -- members --------------------------------------------------------------------------------------------------------


def get_membership(request: HttpRequest, membership_id: int) -> Membership:
    membership = get_object_or_404(Membership.objects.select_related("user", "site"), pk=membership_id)
    access.require(request.user, Right.SET_UP, membership.site)
    return membership


@require_POST
def change_role(request: HttpRequest, membership_id: int) -> HttpResponse:
    membership, role = get_membership(request, membership_id), request.POST.get("role", "")
    if role not in Membership.Role.values:
        messages.error(request, _("This is not a role. Choose one from the list."))
        return redirect("people")
    try:
        memberships.change_role(membership, role)
    except MembershipError as error:
        messages.error(request, str(error))
        return redirect("people")
    name = str(Membership.Role(role).label)
    audit.note(request, Action.ROLE_CHANGED, f"{membership.user.email}: {role}", membership.site)
    told = {"who": membership.user, "role": name, "site": membership.site}
    messages.success(request, _("%(who)s is now %(role)s at %(site)s.") % told)
    return back_to_people(request)


def back_to_people(request: HttpRequest) -> HttpResponse:
    """The people page, or the dashboard for someone who just gave up the right to see it."""
    return redirect("people" if access.sites(request.user, Right.SET_UP).exists() else "dashboard")


@require_POST
def remove(request: HttpRequest, membership_id: int) -> HttpResponse:
    """Remove somebody's access; ten seconds to undo."""
    membership = get_membership(request, membership_id)
    kept = {"user": membership.user_id, "site": membership.site_id, "role": membership.role}
    try:
        memberships.remove(membership)
    except MembershipError as error:
        messages.error(request, str(error))
        return redirect("people")
    audit.note(request, Action.REMOVED, membership.user.email, membership.site)
    told = _("%(who)s no longer has access to %(site)s.") % {"who": membership.user, "site": membership.site}
    undo = reverse("bring_back", args=[signing.dumps(kept, salt=UNDO_SALT)])
    messages.success(request, told, extra_tags=undo_by(undo))
    return back_to_people(request)


@require_POST
def bring_back(request: HttpRequest, kept: str) -> HttpResponse:
    """Undo `remove`."""
    try:
        given = signing.loads(kept, salt=UNDO_SALT, max_age=UNDO_S)
    except signing.BadSignature as error:
        raise Http404 from error
    site = get_object_or_404(Site, pk=given["site"])
    access.require(request.user, Right.SET_UP, site)
    user = get_object_or_404(User, pk=given["user"])
    Membership.objects.get_or_create(user=user, site=site, defaults={"role": given["role"]})
    audit.note(request, Action.BROUGHT_BACK, user.email, site)
    messages.success(request, _("%(who)s is back at %(site)s.") % {"who": user, "site": site})
    return redirect("people")


@require_POST
def hand_over(request: HttpRequest, membership_id: int) -> HttpResponse:
    """Make a colleague the manager in this person's place."""
    membership = get_membership(request, membership_id)
    memberships.hand_over(membership.site, access.person(request), membership)
    audit.note(request, Action.TRANSFERRED, membership.user.email, membership.site)
    told = {"who": membership.user, "site": membership.site}
    messages.success(request, _("%(who)s now manages %(site)s.") % told)
    return back_to_people(request)


@require_POST
def make_password_link(request: HttpRequest, user_id: int) -> HttpResponse:
    """Show a password link, once, to give to a colleague."""
    colleague = access.get_colleague_to_help(request.user, user_id)
    if not throttling.allow_each("password-link", access.person(request).email, request):
        messages.error(
            request, _("You have created too many password links within the last hour. Wait a while, then try again.")
        )
        return redirect("people")
    audit.note(request, Action.PASSWORD_LINK, colleague.email)
    context = {"title": _("A link for %(who)s") % {"who": colleague}, "link": password_link(colleague)}
    answer = render(request, "people/link.html", context)
    answer["Cache-Control"] = "no-store"
    return answer
