"""Who may see and do what: the only place that knows roles.

Views, consumers and pictures get their objects here. What a person may not know of is Http404; what they may know of
but not do is PermissionDenied (403). The table is in docs/access.md and tested in tests/portal/people/test_access.py.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest

from cameras.models import Camera, Site, SiteWorker
from portal.models import Delivery, Destination, Membership, Program, Rule, User, Violation
from portal.people import audit

Role = Membership.Role
AnyUser = User | AnonymousUser
Actor = AnyUser | Program  # whoever may see or do something
SiteRow = TypeVar("SiteRow", Delivery, Destination, Program, Rule, SiteWorker)  # what managers set up for a site


def person(request: HttpRequest) -> User:
    """The person who is signed in. Nobody else reaches pages that are not open to all; raises PermissionDenied."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


class Right(Enum):
    """What a person can do at a site."""

    READ_FIGURES = "read figures"
    LOOK = "look"
    SEE_FACES = "see faces"
    REVIEW = "review"
    SET_UP = "set up"

    @property
    def roles(self) -> frozenset[str]:
        """The roles that have this right; superusers have every right."""
        return _ROLES[self]


_ROLES: dict[Right, frozenset[str]] = {
    Right.READ_FIGURES: frozenset({Role.MANAGER, Role.REVIEWER, Role.VIEWER}),
    Right.LOOK: frozenset({Role.MANAGER, Role.REVIEWER, Role.VIEWER}),
    Right.SEE_FACES: frozenset({Role.MANAGER, Role.REVIEWER}),
    Right.REVIEW: frozenset({Role.MANAGER, Role.REVIEWER}),
    Right.SET_UP: frozenset({Role.MANAGER}),
}


# What each right of a program brings along.
_OF_PROGRAMS: dict[str, frozenset[Right]] = {
    Program.May.FIGURES: frozenset({Right.READ_FIGURES}),
    Program.May.VIOLATIONS: frozenset({Right.READ_FIGURES, Right.LOOK}),
    Program.May.PICTURES: frozenset({Right.READ_FIGURES, Right.LOOK, Right.SEE_FACES}),
    Program.May.REVIEW: frozenset({Right.READ_FIGURES, Right.LOOK, Right.REVIEW}),
}


class Audience(Enum):
    """Whom a picture is rendered for."""

    FACES = "faces"
    PIXELATED = "pixelated"


@dataclass(frozen=True)
class Scope:
    """What one person may see, as read at one moment: role by site id. Compare two to see whether it changed."""

    user_id: int
    superuser: bool
    roles: tuple[tuple[int, str], ...]

    @property
    def site_ids(self) -> frozenset[int]:
        return frozenset(site_id for site_id, _ in self.roles)

    def may(self, right: Right, site_id: int) -> bool:
        if self.superuser:
            return site_id in self.site_ids
        return any(site == site_id and role in right.roles for site, role in self.roles)


def scopes(user_ids: list[int]) -> dict[int, Scope]:
    """The scopes of the active users among these. Two queries, three if there is a superuser among them."""
    users = dict(User.objects.filter(pk__in=user_ids, is_active=True).values_list("pk", "is_superuser"))
    roles: dict[int, list[tuple[int, str]]] = {pk: [] for pk in users}
    if any(users.values()):
        everything = [
            (pk, Role.MANAGER.value)
            for pk in Site.objects.filter(archived_at__isnull=True).order_by("pk").values_list("pk", flat=True)
        ]
        roles |= {pk: everything for pk, superuser in users.items() if superuser}
    ordinary = [pk for pk, superuser in users.items() if not superuser]
    rows = Membership.objects.filter(user_id__in=ordinary, site__archived_at__isnull=True)
    for user_id, site_id, role in rows.order_by("site_id").values_list("user_id", "site_id", "role"):
        roles[user_id].append((site_id, role))
    return {pk: Scope(pk, superuser, tuple(roles[pk])) for pk, superuser in users.items()}


def scope(user: AnyUser) -> Scope:
    """What this person may see; nothing if they are signed out or deactivated."""
    if user.pk is None:
        return Scope(0, False, ())
    return scopes([user.pk]).get(user.pk, Scope(user.pk, False, ()))


def sites(user: Actor, right: Right = Right.LOOK) -> QuerySet[Site]:
    """The sites where this person, or program, has `right`."""
    if not user.is_active:
        return Site.objects.none()
    current = Site.objects.filter(archived_at__isnull=True)
    if isinstance(user, Program):
        has = any(right in _OF_PROGRAMS.get(each, frozenset()) for each in user.rights)
        return current.filter(pk=user.site_id) if has else current.none()
    if user.is_superuser:
        return current
    return current.filter(pk__in=Membership.objects.filter(user_id=user.pk, role__in=right.roles).values("site_id"))


def cameras(user: Actor, right: Right = Right.LOOK) -> QuerySet[Camera]:
    """The cameras of the sites where this person has `right`, with site, lease and voice."""
    rows = Camera.objects.filter(site__in=sites(user, right), deleted_at__isnull=True)
    return rows.select_related("site", "lease", "voice")


def violations(user: Actor) -> QuerySet[Violation]:
    return Violation.objects.filter(site__in=sites(user)).select_related("site", "camera", "reviewed_by")


def may(user: Actor, right: Right, site: Site | int) -> bool:
    """Whether this person has `right` at the site. One query, none for a superuser."""
    if not user.is_active:
        return False
    site_id = site.pk if isinstance(site, Site) else site
    everywhere = not isinstance(user, Program) and user.is_superuser
    return everywhere or sites(user, right).filter(pk=site_id).exists()


def require(user: Actor, right: Right, site: Site | int) -> None:
    """Raise Http404 for a stranger to the site, PermissionDenied for somebody there with a lesser role."""
    if may(user, right, site):
        return
    if may(user, Right.LOOK, site):
        raise PermissionDenied
    raise Http404


def get_violation(user: Actor, violation_id: uuid.UUID) -> Violation:
    """The violation, for a member of its site; Http404 for a stranger."""
    found = violations(user).filter(pk=violation_id).first()
    if found is None:
        raise Http404
    return found


def get_violations(user: Actor, violation_ids: list[uuid.UUID], right: Right) -> list[Violation]:
    """All of these violations, given `right` at each one's site; raises as `require` does. Usually two queries."""
    found = list(violations(user).filter(pk__in=violation_ids))
    if len(found) != len(set(violation_ids)):
        raise Http404
    entitled = set(sites(user, right).filter(pk__in={row.site_id for row in found}).values_list("pk", flat=True))
    if any(row.site_id not in entitled for row in found):
        raise PermissionDenied
    return found


def audience(user: Actor, violation: Violation) -> Audience:
    """How this person may see this violation's picture; Http404 for a stranger."""
    if may(user, Right.SEE_FACES, violation.site_id):
        return Audience.FACES
    require(user, Right.LOOK, violation.site_id)
    return Audience.PIXELATED


def colleagues(user: AnyUser) -> QuerySet[User]:
    """The people whose access this person manages: for a manager those at their sites, for a superuser everybody."""
    if not user.is_active:
        return User.objects.none()
    if user.is_superuser:
        return User.objects.all()
    return User.objects.filter(memberships__site__in=sites(user, Right.SET_UP)).distinct()


def helpable(user: AnyUser) -> set[int]:
    """The colleagues whose password link this person may make. Two queries at most.

    A link is as good as the account. So a manager gets it only for people who are not superusers and have no role at a
    site that the manager does not manage; otherwise managers could gain rights that they do not have.
    """
    active = colleagues(user).filter(is_active=True)
    if not user.is_superuser:
        elsewhere = Membership.objects.exclude(site__in=sites(user, Right.SET_UP)).values("user_id")
        active = active.filter(is_superuser=False, is_staff=False).exclude(pk__in=elsewhere)
    return set(active.values_list("pk", flat=True))


def get_colleague_to_help(user: AnyUser, colleague_id: int) -> User:
    """A colleague whose password link this person may make; raises as `require` does."""
    colleague = colleagues(user).filter(pk=colleague_id, is_active=True).first()
    if colleague is not None and colleague.pk in helpable(user):
        return colleague
    if colleague is None and not Membership.objects.filter(user_id=colleague_id, site__in=sites(user)).exists():
        raise Http404
    raise PermissionDenied


def sites_to_set_up(user: AnyUser) -> QuerySet[Site]:
    """The sites that this person manages; PermissionDenied for somebody at a site with a lesser role, else Http404."""
    found = sites(user, Right.SET_UP)
    if not user.is_superuser and not found.exists():
        if sites(user).exists():
            raise PermissionDenied
        raise Http404
    return found


def get_camera(request: HttpRequest, camera_id: int) -> Camera:
    """A camera that this person may set up, noted as what the request is about; raises as `require` does."""
    found = cameras(request.user).filter(pk=camera_id).first()
    if found is None:
        raise Http404
    require(request.user, Right.SET_UP, found.site)
    audit.about(request, found.site)
    return found


def get_of_site(request: HttpRequest, model: type[SiteRow], key: int) -> SiteRow:
    """A row of a site that this person may set up, noted as what the request is about; raises as `require` does."""
    rows = model._default_manager.select_related("site")
    found = rows.filter(pk=key, site__in=sites(request.user)).first()
    if found is None:
        raise Http404
    require(request.user, Right.SET_UP, found.site)
    audit.about(request, found.site)
    return found


def get_site(request: HttpRequest, site_id: int) -> Site:
    """A site that this person may set up, noted as what the request is about; raises as `require` does."""
    found = sites(request.user).filter(pk=site_id).first()
    if found is None:
        raise Http404
    require(request.user, Right.SET_UP, found)
    audit.about(request, found)
    return found
