"""Who gets and loses a role at a site: invitations, changes, removal, handing over.

A site keeps a manager: the last one can be neither removed nor demoted. For who may do it, see
portal/people/access.py.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from cameras.models import Site
from portal.models import Invitation, Membership, User

Role = Membership.Role
GOOD_FOR = timedelta(days=3)


class MembershipError(Exception):
    """It cannot be done; the text is a sentence to show to people."""


def hash_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


@transaction.atomic
def invite(email: str, site: Site, role: str, invited_by: User) -> tuple[Invitation, str]:
    """An invitation and its link's secret, which cannot be read again later. An open one is replaced.

    Raises MembershipError if that person already has a role there.
    """
    email = email.strip().lower()
    if Membership.objects.filter(site=site, user__email__iexact=email).exists():
        raise MembershipError(_("%(email)s is already at this site. Change the role in the list.") % {"email": email})
    secret = secrets.token_urlsafe(24)
    values = {
        "role": role,
        "invited_by": invited_by,
        "secret_hash": hash_of(secret),
        "expires_at": timezone.now() + GOOD_FOR,
    }
    open_one = Invitation.objects.filter(email=email, site=site, accepted_at__isnull=True)
    if open_one.update(**values):
        return open_one.get(), secret
    return Invitation.objects.create(email=email, site=site, **values), secret


def find_invitation(secret: str) -> Invitation | None:
    """The open invitation of a link; None if it is used, withdrawn or too old."""
    return (
        Invitation.objects.select_related("site", "invited_by")
        .filter(
            secret_hash=hash_of(secret),
            accepted_at__isnull=True,
            expires_at__gt=timezone.now(),
            site__archived_at__isnull=True,
        )
        .first()
    )


@transaction.atomic
def accept(invitation: Invitation, user: User) -> Membership:
    """Give the role. Raises MembershipError if it was used, or the inviter is no longer entitled to give it."""
    used = Invitation.objects.filter(pk=invitation.pk, accepted_at__isnull=True).update(accepted_at=timezone.now())
    if not used:
        raise MembershipError(_("This invitation has already been used."))
    inviter = invitation.invited_by
    entitled = inviter.is_superuser or managers(invitation.site).filter(user=inviter).exists()
    if not inviter.is_active or not entitled:
        raise MembershipError(_("The person who invited you no longer manages this site. Ask its manager again."))
    membership, _made = Membership.objects.get_or_create(
        user=user, site=invitation.site, defaults={"role": invitation.role}
    )
    return membership


def managers(site: Site) -> QuerySet[Membership]:
    """The people who manage a site and can sign in."""
    return Membership.objects.filter(site=site, role=Role.MANAGER, user__is_active=True)


def check_manager_stays(membership: Membership) -> None:
    """Raise MembershipError if the site would have no manager without this one. Call in a transaction."""
    Site.objects.select_for_update().get(pk=membership.site_id)  # two at once must not each rely on the other
    others = managers(membership.site).exclude(pk=membership.pk)
    if membership.role == Role.MANAGER and not others.exists():
        raise MembershipError(
            _("%(who)s is the last manager of %(site)s. Make somebody else a manager first.")
            % {"who": membership.user, "site": membership.site}
        )


@transaction.atomic
def change_role(membership: Membership, role: str) -> None:
    """Give another role; raises MembershipError for the last manager."""
    if role != Role.MANAGER:
        check_manager_stays(membership)
    Membership.objects.filter(pk=membership.pk).update(role=role)


@transaction.atomic
def remove(membership: Membership) -> None:
    """Remove the access; raises MembershipError for the last manager."""
    check_manager_stays(membership)
    membership.delete()


@transaction.atomic
def hand_over(site: Site, from_user: User, to: Membership) -> None:
    """Make somebody manager in place of `from_user`, who becomes a reviewer if they are a member of the site."""
    Site.objects.select_for_update().get(pk=site.pk)
    Membership.objects.filter(pk=to.pk).update(role=Role.MANAGER)
    Membership.objects.filter(site=site, user=from_user).exclude(pk=to.pk).update(role=Role.REVIEWER)
