"""Who joins, who leaves, who may do what to whom."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from portal.models import Invitation, Membership, User
from portal.people import memberships
from tests.worlds import PASSWORD, World, see

pytestmark = pytest.mark.django_db
SignIn = Callable[[User], Client]
EMAIL = "Dora@Example.org"


def invite(client: Client, world: World, **given: object) -> str:
    """The path of an invitation's link, which is shown once."""
    form = {"email": EMAIL, "site": world.here.pk, "role": "reviewer"} | given
    page = client.post("/people/invite/", form).content.decode()
    found = re.search(r"(/invitation/[\w-]+/)", page)
    assert found, page
    return found[1]


def role_of(user: User, world: World) -> str:
    return Membership.objects.get(user=user, site=world.here).role


def test_somebody_new_joins_by_a_link(world: World, sign_in: SignIn) -> None:
    link, guest = invite(sign_in(world.alice), world), Client()
    page = guest.get(link).content.decode()
    assert "Alice invites you to Harbour House, as Reviewer" in page and "dora@example.org" in page
    form = {"name": "Dora", "password1": PASSWORD, "password2": PASSWORD}
    assert "Welcome to Harbour House" in guest.post(link, form, follow=True).content.decode()
    dora = User.objects.get(email="dora@example.org")
    assert role_of(dora, world) == "reviewer" and not dora.is_staff and not dora.is_superuser
    assert guest.get("/violations/").status_code == 200, "she is signed in"
    assert Client().get(link).status_code == 404, "it is valid once"


def test_a_weak_password_is_said_and_the_link_stays_good(world: World, sign_in: SignIn) -> None:
    link = invite(sign_in(world.alice), world)
    answer = Client().post(link, {"name": "Dora", "password1": "dora", "password2": "dora"})
    assert answer.status_code == 422 and "too short" in answer.content.decode()
    assert not User.objects.filter(name="Dora").exists() and Client().get(link).status_code == 200


def test_a_refused_invitation_leaves_no_account(world: World, sign_in: SignIn) -> None:
    link = invite(sign_in(world.alice), world)
    Membership.objects.filter(user=world.alice).update(role="viewer")
    form = {"name": "Dora", "password1": PASSWORD, "password2": PASSWORD}
    answer = Client().post(link, form)
    assert answer.status_code == 409 and "no longer manages this site" in answer.content.decode()
    assert not User.objects.filter(email__iexact=EMAIL).exists()


def test_a_link_used_twice_at_the_same_moment_is_a_sentence(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both browsers have found the invitation open, and nobody with that e-mail."""
    link = invite(sign_in(world.alice), world)
    found = memberships.find_invitation(link.split("/")[2])
    form = {"name": "Dora", "password1": PASSWORD, "password2": PASSWORD}
    Client().post(link, form)
    with monkeypatch.context() as patch:
        patch.setattr(memberships, "find_invitation", lambda secret: found)
        patch.setattr(User.objects, "filter", lambda **given: User.objects.none())
        answer = Client().post(link, form)
    assert answer.status_code == 409 and "already been used" in answer.content.decode()
    assert User.objects.filter(email__iexact=EMAIL).count() == 1
    known = invite(sign_in(world.alice), world, email="charlie@example.org")
    same = memberships.find_invitation(known.split("/")[2])
    charlie = sign_in(world.charlie)
    charlie.post(known)
    with monkeypatch.context() as patch:
        patch.setattr(memberships, "find_invitation", lambda secret: same)
        answer = charlie.post(known)
    assert answer.status_code == 409 and "already been used" in answer.content.decode()


def test_an_invitation_of_a_disabled_account_is_a_sentence(world: World, sign_in: SignIn) -> None:
    link = invite(sign_in(world.alice), world, email="charlie@example.org")
    User.objects.filter(pk=world.charlie.pk).update(is_active=False)
    for answer in (
        Client().get(link),
        Client().post(link, {"name": "x", "password1": PASSWORD, "password2": PASSWORD}),
    ):
        assert answer.status_code == 409 and "is disabled. Ask your manager" in answer.content.decode()


def test_no_browser_keeps_a_page_with_notes_names_or_faces(world: World, sign_in: SignIn) -> None:
    client, violation = sign_in(world.alice), see(world.door)
    for path in ("/", "/violations/", f"/violations/{violation.pk}/", "/strip/", "/people/", "/audit/", "/profile/"):
        assert "no-store" in client.get(path)["Cache-Control"], path
    assert not client.get("/cameras/add/").has_header("Cache-Control"), "what was typed survives a step back"


def test_somebody_who_has_an_account_signs_in_and_says_yes(world: World, sign_in: SignIn) -> None:
    link = invite(sign_in(world.alice), world, email="charlie@example.org")
    assert f"/sign-in/?next={link}" in Client().get(link).content.decode()
    stranger = sign_in(world.stranger)
    assert "which is a different account" in stranger.get(link).content.decode()
    assert stranger.post(link).status_code == 200 and not Membership.objects.filter(user=world.stranger).exists()
    charlie = sign_in(world.charlie)
    assert "Join Harbour House" in charlie.get(link).content.decode()
    charlie.post(link)
    assert role_of(world.charlie, world) == "reviewer"


def test_an_invitation_ends_after_three_days_and_when_it_is_withdrawn(world: World, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    link = invite(alice, world)
    Invitation.objects.update(expires_at=timezone.now() + timedelta(minutes=1))
    assert Client().get(link).status_code == 200
    Invitation.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert Client().get(link).status_code == 404 and "expired: create" in alice.get("/people/").content.decode()
    again = invite(alice, world)
    assert again != link and Client().get(link).status_code == 404 and Client().get(again).status_code == 200
    assert Invitation.objects.count() == 1
    alice.post(f"/people/invitations/{Invitation.objects.get().pk}/withdraw/")
    assert Client().get(again).status_code == 404
    assert Client().get("/invitation/nonsense/").status_code == 404


def test_the_links_secret_is_not_kept(world: World, sign_in: SignIn) -> None:
    link = invite(sign_in(world.alice), world)
    kept = " ".join(str(value) for row in Invitation.objects.values_list() for value in row)
    assert link.split("/")[2] not in kept
    assert timedelta(days=3) == memberships.GOOD_FOR


def test_with_mail_the_link_goes_by_mail_and_names_the_public_address(
    world: World, sign_in: SignIn, settings: Any
) -> None:
    settings.EMAIL_URL, settings.BASE_URL = "smtp://mail.example", "https://masks.example.org"
    page = sign_in(world.alice).post(
        "/people/invite/", {"email": EMAIL, "site": world.here.pk, "role": "viewer"}, follow=True, HTTP_HOST="127.0.0.1"
    )
    assert "on its way to dora@example.org" in page.content.decode()
    assert len(mail.outbox) == 1 and mail.outbox[0].to == ["dora@example.org"]
    assert "https://masks.example.org/invitation/" in mail.outbox[0].body


def test_who_invited_must_still_be_entitled(world: World, sign_in: SignIn) -> None:
    link = invite(sign_in(world.alice), world)
    Membership.objects.create(user=world.stranger, site=world.here, role="manager")
    Membership.objects.filter(user=world.alice).update(role="viewer")
    form = {"name": "Dora", "password1": PASSWORD, "password2": PASSWORD}
    assert "no longer manages this site" in Client().post(link, form).content.decode()
    assert not Membership.objects.filter(user__name="Dora").exists()


def test_a_member_is_not_invited_again(world: World, sign_in: SignIn) -> None:
    form = {"email": "BOB@example.org", "site": world.here.pk, "role": "manager"}
    answer = sign_in(world.alice).post("/people/invite/", form)
    assert answer.status_code == 422 and "is already at this site" in answer.content.decode()


def test_roles_change_and_removal_is_undone(world: World, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    bob = Membership.objects.get(user=world.bob, site=world.here)

    def give(role: str) -> str:
        return alice.post(f"/people/roles/{bob.pk}/", {"role": role}, follow=True).content.decode()

    assert "Bob is now Viewer" in give("viewer")
    assert role_of(world.bob, world) == "viewer"
    assert "This is not a role" in give("queen")
    page = alice.post(f"/people/roles/{bob.pk}/remove/", follow=True).content.decode()
    undo = re.search(r'action="(/people/bring-back/[^"]+)"', page)
    assert undo and not Membership.objects.filter(user=world.bob).exists()
    alice.post(undo[1])
    assert role_of(world.bob, world) == "viewer"


def test_the_last_manager_cannot_leave(world: World, sign_in: SignIn) -> None:
    alice, hers = sign_in(world.alice), Membership.objects.get(user=world.alice)
    for path, form in ((f"/people/roles/{hers.pk}/remove/", {}), (f"/people/roles/{hers.pk}/", {"role": "viewer"})):
        assert "is the last manager of Harbour House" in alice.post(path, form, follow=True).content.decode()
        assert role_of(world.alice, world) == "manager"
    Membership.objects.create(user=world.stranger, site=world.here, role="manager")
    User.objects.filter(pk=world.stranger.pk).update(is_active=False)
    alice.post(f"/people/roles/{hers.pk}/remove/")
    assert role_of(world.alice, world) == "manager", "one who cannot sign in is no other manager"
    User.objects.filter(pk=world.stranger.pk).update(is_active=True)
    alice.post(f"/people/roles/{hers.pk}/remove/")
    assert not Membership.objects.filter(user=world.alice).exists()


def test_a_site_is_handed_over(world: World, sign_in: SignIn) -> None:
    bob = Membership.objects.get(user=world.bob, site=world.here)
    sign_in(world.alice).post(f"/people/roles/{bob.pk}/hand-over/")
    assert (role_of(world.bob, world), role_of(world.alice, world)) == ("manager", "reviewer")


def test_nobody_makes_herself_more_than_she_is(world: World, sign_in: SignIn) -> None:
    bob = sign_in(world.bob)
    his = Membership.objects.get(user=world.bob, site=world.here)
    assert bob.post(f"/people/roles/{his.pk}/", {"role": "manager"}).status_code == 403
    assert (
        bob.post("/people/invite/", {"email": "bob2@x.org", "site": world.here.pk, "role": "manager"}).status_code
        == 403
    )
    alice = sign_in(world.alice)
    form = {"email": "alice2@example.org", "site": world.there.pk, "role": "manager"}
    assert alice.post("/people/invite/", form).status_code == 422, "not at a site that she does not manage"
    alice.post(
        "/profile/", {"name": "Alice", "theme": "dark", "is_superuser": "1", "is_staff": "1", "email": "x@y.org"}
    )
    world.alice.refresh_from_db()
    assert not world.alice.is_superuser and not world.alice.is_staff and world.alice.email == "alice@example.org"
