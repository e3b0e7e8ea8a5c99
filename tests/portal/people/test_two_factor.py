"""The second factor guards pages, Django's admin, pictures, sockets and password resets."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from portal.models import AuditEntry, SignedIn, User
from portal.pages.sign_in import password_link
from portal.people import two_factor
from tests.html import squeezed
from tests.worlds import PASSWORD, World, see

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]


def code_of(user: User, ahead: int = 0) -> str:
    device = TOTPDevice.objects.filter(user=user).latest("pk")
    totp = TOTP(device.bin_key, device.step, device.t0, device.digits, device.drift)
    totp.time = time.time() + ahead * 30
    return f"{totp.token():06d}"


def turn_on(client: Client, user: User) -> list[str]:
    """Turn the second factor on; returns the recovery codes."""
    page = client.get("/profile/two-factor/").content.decode()
    assert 'src="data:image/png;base64,' in page
    page = client.post("/profile/two-factor/", {"code": code_of(user)}).content.decode()
    TOTPDevice.objects.filter(user=user).update(last_t=-1)  # so that the test may use the same half minute again
    return re.findall(r"<li><code>(\w+)</code></li>", page)


def after_password(user: User) -> Client:
    client = Client()
    client.post("/sign-in/", {"username": user.email, "password": PASSWORD})
    return client


def test_it_is_turned_on_and_asked_for(world: World, sign_in: SignIn) -> None:
    codes = turn_on(sign_in(world.alice), world.alice)
    assert len(codes) == two_factor.RECOVERY_CODES and len(set(codes)) == 10
    client = after_password(world.alice)
    for path in ("/", "/violations/", "/people/", "/profile/"):
        assert client.get(path)["Location"].startswith("/sign-in/code/?next=")
    page = client.get("/sign-in/code/?next=/violations/").content.decode()
    assert "One more step" in page and "Live</a>" not in page
    assert "This code is wrong" in client.post("/sign-in/code/", {"code": "000000"}).content.decode()
    time_of_throttle = TOTPDevice.objects.get(user=world.alice)
    time_of_throttle.throttle_reset()
    answer = client.post("/sign-in/code/", {"code": code_of(world.alice), "next": "/violations/"})
    assert answer["Location"] == "/violations/" and client.get("/violations/").status_code == 200


def test_a_recovery_code_is_good_once(world: World, sign_in: SignIn) -> None:
    codes = turn_on(sign_in(world.alice), world.alice)
    assert after_password(world.alice).post("/sign-in/code/", {"code": codes[0]}).status_code == 302
    assert after_password(world.alice).post("/sign-in/code/", {"code": codes[0]}).status_code == 200
    assert two_factor.codes_left(world.alice) == 9


def test_admin_pictures_and_sign_out(world: World, sign_in: SignIn) -> None:
    turn_on(sign_in(world.root), world.root)
    violation, client = see(world.door), after_password(world.root)
    for path in ("/admin/", "/admin/portal/user/", f"/violations/{violation.pk}/snapshot.jpg", "/audit.csv", "/strip/"):
        assert client.get(path)["Location"].startswith("/sign-in/code/")
    assert client.post("/sign-out/").status_code == 302 and client.get("/")["Location"].startswith("/sign-in/?")
    assert "otp" not in Client().get("/admin/").content.decode()


def test_a_forgotten_password_needs_the_code_too(world: World, sign_in: SignIn) -> None:
    turn_on(sign_in(world.alice), world.alice)
    path = password_link(world.alice).partition("8000")[2]
    client = Client()
    form_path = client.get(path)["Location"]
    new = {"new_password1": "an-Other-long-1", "new_password2": "an-Other-long-1"}
    page = client.post(form_path, new).content.decode()
    assert "Code" in page and User.objects.get(pk=world.alice.pk).check_password(PASSWORD)
    answer = client.post(form_path, new | {"code": code_of(world.alice)})
    assert answer.status_code == 302 and User.objects.get(pk=world.alice.pk).check_password("an-Other-long-1")


def test_the_operator_can_require_it(world: World, sign_in: SignIn, settings: Any) -> None:
    settings.REQUIRE_TWO_FACTOR = "managers"
    alice = sign_in(world.alice)
    assert alice.get("/")["Location"].startswith("/profile/two-factor/")
    assert sign_in(world.bob).get("/").status_code == 200
    assert sign_in(world.root).get("/admin/")["Location"].startswith("/profile/two-factor/")
    turn_on(alice, world.alice)
    assert alice.get("/").status_code == 200
    page = alice.post("/profile/two-factor/off/", {"proof": PASSWORD}, follow=True).content.decode()
    assert "keep two-factor on" in page and two_factor.has_second_factor(world.alice)
    settings.REQUIRE_TWO_FACTOR = "everybody"
    assert sign_in(world.bob).get("/")["Location"].startswith("/profile/two-factor/")


def test_it_is_turned_off_with_the_password(world: World, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    turn_on(alice, world.alice)
    assert (
        "neither your password" in alice.post("/profile/two-factor/off/", {"proof": "x"}, follow=True).content.decode()
    )
    assert two_factor.has_second_factor(world.alice)
    alice.post("/profile/two-factor/off/", {"proof": PASSWORD})
    assert not two_factor.has_second_factor(world.alice)
    assert after_password(world.alice).get("/").status_code == 200


def test_turning_it_on_ends_all_other_sessions(world: World, sign_in: SignIn) -> None:
    other, alice = sign_in(world.alice), sign_in(world.alice)
    turn_on(alice, world.alice)
    assert alice.get("/").status_code == 200 and other.get("/").status_code == 302


def test_without_the_code_nothing_is_set_up_again(world: World, sign_in: SignIn) -> None:
    """Somebody who stole the password must not be able to replace the app with their own."""
    turn_on(sign_in(world.alice), world.alice)
    thief = after_password(world.alice)
    assert thief.get("/profile/two-factor/")["Location"] == "/sign-in/code/"
    assert thief.post("/profile/two-factor/", {"code": "123456"})["Location"] == "/sign-in/code/"
    assert thief.post("/profile/recovery-codes/")["Location"] == "/sign-in/code/"
    assert thief.post("/profile/two-factor/off/", {"proof": PASSWORD})["Location"] == "/sign-in/code/"
    assert TOTPDevice.objects.filter(user=world.alice).count() == 1


# -- profile --------------------------------------------------------------------------------------------------------


def test_the_profile_is_kept_and_shown(world: World, sign_in: SignIn) -> None:
    alice = sign_in(world.alice)
    alice.post("/profile/", {"name": "Alice A.", "theme": "dark", "time_zone": "Europe/Lisbon", "language": "en"})
    page = alice.get("/").content.decode()
    assert 'data-theme="dark"' in page and 'lang="en"' in page
    violation = see(world.door)
    page = alice.get(f"/violations/{violation.pk}/").content.decode()
    assert "(Europe/Lisbon)" not in page, "her own zone needs no name"
    bob = sign_in(world.bob).get(f"/violations/{violation.pk}/").content.decode()
    assert "(Europe/Lisbon)" in bob
    answer = alice.post("/profile/", {"name": "", "theme": "plaid", "time_zone": "Mars/Olympus"})
    assert answer.status_code == 422 and answer.content.decode().count("Select a valid choice") == 2


def test_sign_out_everywhere_leaves_only_this_session(world: World, sign_in: SignIn) -> None:
    phone, laptop = sign_in(world.alice), sign_in(world.alice)
    page = laptop.get("/profile/").content.decode()
    assert page.count("(here)") == 1 and SignedIn.objects.filter(user=world.alice).count() == 2
    laptop.post("/profile/sign-out-everywhere/")
    assert laptop.get("/profile/").status_code == 200 and phone.get("/profile/").status_code == 302
    assert SignedIn.objects.filter(user=world.alice).count() == 1
    assert sign_in(world.bob).get("/profile/").status_code == 200


def test_a_new_password_ends_all_other_sessions(world: World, sign_in: SignIn) -> None:
    phone, laptop = sign_in(world.alice), sign_in(world.alice)
    form = {"old_password": PASSWORD, "new_password1": "an-Other-long-1", "new_password2": "an-Other-long-1"}
    laptop.post("/profile/password/", form)
    assert laptop.get("/").status_code == 200 and phone.get("/").status_code == 302
    assert AuditEntry.objects.filter(action="password-changed", actor_id=world.alice.pk).exists()


def test_sessions_that_ended_are_not_listed(world: World, sign_in: SignIn) -> None:
    sign_in(world.alice)
    Session.objects.all().delete()
    page = squeezed(sign_in(world.alice).get("/profile/"))
    assert page.count("<li> <strong>") == 1
