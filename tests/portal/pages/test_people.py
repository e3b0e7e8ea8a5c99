from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from portal.models import User
from tests.worlds import PASSWORD, World

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]


def try_to_sign_in(client: Client, email: str, password: str, address: str = "192.0.2.1") -> Any:
    return client.post("/sign-in/", {"username": email, "password": password}, REMOTE_ADDR=address)


def test_people_sign_in_by_e_mail_in_any_case(world: World, client: Client) -> None:
    answer = try_to_sign_in(client, "ALICE@Example.org", PASSWORD)
    assert answer.status_code == 302 and answer["Location"] == "/"


def test_after_signing_in_one_comes_where_one_wanted_but_never_elsewhere(world: World) -> None:
    for wanted, leads in (("/violations/", "/violations/"), ("https://evil.example/", "/")):
        form = {"username": "alice@example.org", "password": PASSWORD, "next": wanted}
        assert Client().post("/sign-in/", form)["Location"] == leads


def test_a_wrong_password_says_so_and_keeps_the_e_mail(world: World, client: Client) -> None:
    page = try_to_sign_in(client, "alice@example.org", "wrong").content.decode()
    assert "do not match" in page and 'value="alice@example.org"' in page


def test_five_failures_lock_this_e_mail_from_this_address_only(world: World) -> None:
    for _ in range(5):
        answer = try_to_sign_in(Client(), "alice@example.org", "wrong")
    assert answer.status_code == 429
    assert "15 minutes" in answer.content.decode()
    assert try_to_sign_in(Client(), "alice@example.org", PASSWORD).status_code == 429
    assert try_to_sign_in(Client(), "bob@example.org", PASSWORD).status_code == 302, "a colleague in the same office"
    assert try_to_sign_in(Client(), "alice@example.org", PASSWORD, "192.0.2.2").status_code == 302


def test_other_spellings_of_an_e_mail_give_no_more_tries(world: World) -> None:
    for name in (
        "Alice@example.org",
        "aLice@example.org",
        "alIce@example.org",
        " alice@example.org",
        "ALICE@EXAMPLE.ORG",
    ):
        answer = try_to_sign_in(Client(), name, "wrong")
    assert answer.status_code == 429
    assert try_to_sign_in(Client(), "alicE@example.org", PASSWORD).status_code == 429


def test_a_form_that_is_too_old_says_so(world: World) -> None:
    answer = Client(enforce_csrf_checks=True).post("/sign-in/", {"username": "a", "password": "b"})
    assert answer.status_code == 403 and "This form has expired" in answer.content.decode()


def test_a_camera_and_a_site_are_deleted_with_what_they_saw(world: World, sign_in: SignIn) -> None:
    from cameras.models import Camera, Site
    from portal.models import Passage
    from tests.portal.events.test_recording import stored
    from tests.worlds import see

    client = sign_in(world.root)
    see(world.door), see(world.hall)
    client.post(f"/admin/cameras/camera/{world.door.pk}/delete/", {"post": "yes"})
    assert not Camera.objects.filter(pk=world.door.pk).exists()
    assert not Passage.objects.filter(site=world.here).exists() and len(stored()) == 1
    client.post(f"/admin/cameras/camera/{world.hall.pk}/delete/", {"post": "yes"})
    client.post(f"/admin/cameras/site/{world.there.pk}/delete/", {"post": "yes"})
    assert not Site.objects.filter(pk=world.there.pk).exists() and stored() == []


def test_an_account_that_is_off_does_not_sign_in(world: World, client: Client) -> None:
    User.objects.filter(pk=world.alice.pk).update(is_active=False)
    assert try_to_sign_in(client, "alice@example.org", PASSWORD).status_code == 200


@pytest.mark.parametrize("path", ["/sign-in/", "/password/"])
def test_a_form_with_ten_thousand_characters_is_refused_beside_its_field(
    world: World, client: Client, settings: Any, path: str
) -> None:
    settings.EMAIL_URL = "memorymail://"
    form = {"username": "a" * 10_000, "email": "a" * 10_000 + "@x.org", "password": "b" * 10_000}
    answer = client.post(path, form)
    assert answer.status_code == 200 and 'class="error"' in answer.content.decode()


def test_a_forgotten_password_is_set_by_a_link_in_the_mail_built_from_public_url(
    world: World, client: Client, settings: Any
) -> None:
    settings.EMAIL_URL, settings.BASE_URL = "memorymail://", "https://masks.example.org"
    client.post("/password/", {"email": "alice@example.org"}, headers={"host": "localhost"})
    (message,) = mail.outbox
    link = re.search(r"https://masks\.example\.org(/password/\S+)", str(message.body))
    assert link
    set_password(client, link.group(1), "an-Even-longer-pass-7")
    assert try_to_sign_in(Client(), "alice@example.org", "an-Even-longer-pass-7").status_code == 302
    assert "no longer works" in Client().get(link.group(1), follow=True).content.decode()


def test_an_unknown_e_mail_gets_no_mail_and_the_same_answer(world: World, client: Client, settings: Any) -> None:
    settings.EMAIL_URL = "memorymail://"
    known = client.post("/password/", {"email": "alice@example.org"})
    unknown = client.post("/password/", {"email": "nobody@example.org"})
    assert (known.status_code, known["Location"]) == (unknown.status_code, unknown["Location"])
    assert len(mail.outbox) == 1


def set_password(client: Client, path: str, password: str) -> None:
    form = client.get(path, follow=True)
    client.post(form.redirect_chain[-1][0], {"new_password1": password, "new_password2": password})


def test_without_e_mail_the_page_says_so_and_a_manager_hands_a_link_over_once(
    world: World, client: Client, sign_in: SignIn
) -> None:
    assert "This portal sends no e-mail" in client.get("/password/").content.decode()
    assert client.post("/password/", {"email": "bob@example.org"}).status_code == 200 and not mail.outbox
    answer = sign_in(world.alice).post(f"/people/{world.bob.pk}/password-link/")
    assert answer["Cache-Control"] == "no-store"
    link = re.search(r">http://[^/<]+(/password/[^<]+)<", answer.content.decode())
    assert link
    set_password(client, link.group(1), "a-Third-long-pass-9")
    assert try_to_sign_in(Client(), "bob@example.org", "a-Third-long-pass-9").status_code == 302
    assert "no longer works" in Client().get(link.group(1), follow=True).content.decode()


def test_a_password_that_is_too_simple_is_refused_in_words(world: World, client: Client, sign_in: SignIn) -> None:
    answer = sign_in(world.alice).post(f"/people/{world.bob.pk}/password-link/")
    link = re.search(r">http://[^/<]+(/password/[^<]+)<", answer.content.decode())
    assert link
    form = client.get(link.group(1), follow=True)
    page = client.post(form.redirect_chain[-1][0], {"new_password1": "12345", "new_password2": "12345"})
    assert "at least 10 characters" in page.content.decode()


def test_signing_out_ends_the_session(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    assert client.post("/sign-out/")["Location"] == "/sign-in/"
    assert client.get("/")["Location"].startswith("/sign-in/")


def test_every_page_has_a_strict_policy_and_no_inline_script(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    for path in ("/", "/violations/", "/people/", "/nothing/"):
        answer = client.get(path)
        policy = answer["Content-Security-Policy"]
        assert "script-src 'self'" in policy and "unsafe" not in policy and "media-src 'none'" in policy
        assert not re.search(r"<script(?![^>]*src=)", answer.content.decode())
        assert " style=" not in answer.content.decode() and " onclick=" not in answer.content.decode()


def test_a_page_that_is_not_there_says_what_to_do(world: World, sign_in: SignIn) -> None:
    answer = sign_in(world.alice).get("/nothing/")
    assert answer.status_code == 404 and "Ask its manager for access" in answer.content.decode()


def test_a_fault_of_ours_has_a_number_to_quote(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = sign_in(world.alice)
    client.raise_request_exception = False
    monkeypatch.setattr("portal.events.keyset.cursor_of", lambda *given: 1 / 0)
    monkeypatch.setattr("portal.pages.violations.PAGE_ROWS", 1)
    from tests.worlds import see

    see(world.door), see(world.door, time.time() - 100)
    answer = client.get("/violations/")
    assert answer.status_code == 500
    number = re.search(r"<code>(\w{8})</code>", answer.content.decode())
    assert number and f"error {number.group(1)} at /violations/" in caplog.text


def test_the_admins_lists_cost_no_query_a_row(world: World, sign_in: SignIn) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    from tests.worlds import see

    client = sign_in(world.root)
    lists = ("portal/user", "portal/membership", "portal/violation", "portal/passage", "cameras/camera",
             "cameras/site", "cameras/cameralease", "cameras/reign")  # fmt: skip

    def cost(name: str) -> int:
        with CaptureQueriesContext(connection) as queries:
            assert client.get(f"/admin/{name}/").status_code == 200
        return len(queries)

    see(world.door)
    before = {name: cost(name) for name in lists}
    for _ in range(5):
        see(world.door)
    for name in ("portal/violation", "portal/passage"):
        assert cost(name) == before[name]
    assert max(before.values()) < 15


def test_the_admin_shows_no_picture(world: World, sign_in: SignIn) -> None:
    from tests.worlds import see

    violation = see(world.door)
    page = sign_in(world.root).get(f"/admin/portal/violation/{violation.pk}/change/").content.decode()
    assert (violation.snapshot.name or "nothing") not in page


def test_a_user_made_in_the_admin_can_sign_in(world: World, sign_in: SignIn) -> None:
    form = {"email": "New@Example.org", "name": "New", "usable_password": "true", "password1": PASSWORD,
            "password2": PASSWORD, "memberships-TOTAL_FORMS": "1", "memberships-INITIAL_FORMS": "0",
            "memberships-0-site": str(world.here.pk), "memberships-0-role": "viewer"}  # fmt: skip
    sign_in(world.root).post("/admin/portal/user/add/", form)
    assert try_to_sign_in(Client(), "new@example.org", PASSWORD).status_code == 302


def test_a_camera_changed_in_the_admin_is_a_new_version(world: World, sign_in: SignIn) -> None:
    form = {"site": world.there.pk, "name": "Back door", "kind": "clip", "address": "x.mp4", "analyses_per_second": "5",
            "transport": "tcp", "view": "320", "model": "default", "reminder_after_s": "2"}  # fmt: skip
    sign_in(world.root).post(f"/admin/cameras/camera/{world.door.pk}/change/", form)
    world.door.refresh_from_db()
    assert (world.door.name, world.door.version) == ("Back door", 2)
    assert world.door.site == world.here, "what it saw belongs there: a camera stays at its site"
