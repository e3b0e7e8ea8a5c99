"""Who may do what: the table of docs/access.md, by hand."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
from django.test import Client
from PIL import Image

from portal import access
from portal.models import Membership, User, Violation
from portal.pictures import PictureView, render
from tests.worlds import World, see

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]
WHO = ("root", "alice", "bob", "vera", "charlie", "stranger", None)

# What each of WHO gets for a violation of Harbour House.
TABLE = [
    ("GET", "/violations/{id}/", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/violations/{id}/snapshot.jpg", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/violations/{id}/face.jpg", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/violations/{id}/thumbnail.jpg", (200, 200, 200, 200, 404, 404, "login")),
    ("GET", "/violations/{id}/snapshot.jpg?download", (200, 200, 200, 403, 404, 404, "login")),
    ("POST", "/violations/review/ confirm", (302, 302, 302, 403, 404, 404, "login")),
    ("POST", "/violations/review/ dismiss", (302, 302, 302, 403, 404, 404, "login")),
    ("POST", "/violations/review/ note", (302, 302, 302, 403, 404, 404, "login")),
    ("GET", "/people/", (200, 200, 403, 403, 200, 404, "login")),
    ("POST", "/people/{bob}/password-link/", (200, 200, 403, 403, 404, 404, "login")),
    ("GET", "/violations/", (200, 200, 200, 200, 200, 200, "login")),
    ("GET", "/", (200, 200, 200, 200, 200, 200, "login")),
    ("GET", "/strip/", (200, 200, 200, 200, 200, 200, "login")),
    ("GET", "/admin/portal/violation/", (200, 302, 302, 302, 302, 302, 302)),
]
PUBLIC = {"login", "logout", "password_reset", "password_reset_done", "password_reset_confirm", "first_user", "healthz"}
CASES = [(method, path, who, expected[i]) for method, path, expected in TABLE for i, who in enumerate(WHO)]


@pytest.mark.parametrize(("method", "path", "who", "expected"), CASES, ids=lambda value: str(value))
def test_who_may_do_what(
    world: World, sign_in: SignIn, method: str, path: str, who: str | None, expected: int | str
) -> None:
    violation = see(world.door)
    client = sign_in(getattr(world, who)) if who else Client()
    address, _, decision = path.partition(" ")
    address = address.format(id=violation.pk, bob=world.bob.pk)
    form = {"seen": f"{violation.pk}:0", "decision": decision, "note": "seen"} if decision else {}
    answer = client.get(address) if method == "GET" else client.post(address, form)
    if expected == "login":
        assert answer.status_code == 302 and answer["Location"].startswith("/sign-in/")
    else:
        assert answer.status_code == expected
    violation.refresh_from_db()
    assert (violation.review_version > 0) == (method == "POST" and bool(decision) and expected == 302)


def test_every_address_has_its_row_or_is_public() -> None:
    """A new page without a row in the table fails here."""
    from django.urls import get_resolver, resolve

    from portal.urls import urlpatterns

    key = "00000000-0000-0000-0000-000000000001"
    rows = {resolve(path.split("?")[0].split(" ")[0].format(id=key, bob=1)).url_name for _, path, _ in TABLE}
    named = {pattern.name for pattern in urlpatterns if getattr(pattern, "name", None)}
    assert named <= rows | PUBLIC, named - rows - PUBLIC
    assert get_resolver().url_patterns == urlpatterns


def test_a_list_shows_only_the_own_sites(world: World, sign_in: SignIn) -> None:
    here, there = see(world.door), see(world.hall)
    page = sign_in(world.charlie).get("/violations/").content.decode()
    assert str(there.pk) in page and str(here.pk) not in page
    assert "Harbour House" not in page, "not even the name of a site that is not hers"
    assert "Front door" not in sign_in(world.charlie).get("/").content.decode()
    assert str(here.pk) not in sign_in(world.stranger).get("/violations/").content.decode()


def test_a_viewer_sees_the_face_pixelated_and_the_rest_as_it_is(world: World, sign_in: SignIn) -> None:
    violation = see(world.door)

    def pixels(user: User) -> Image.Image:
        answer = sign_in(user).get(f"/violations/{violation.pk}/snapshot.jpg")
        assert answer["Cache-Control"] == "private, no-store"
        return Image.open(io.BytesIO(answer.content)).convert("RGB")

    def colours(picture: Image.Image) -> int:
        return len(picture.crop((262, 112, 378, 248)).quantize(64).getcolors() or [])

    def contrast(picture: Image.Image) -> float:
        row = [picture.getpixel((x, 180))[0] for x in range(262, 378)]  # type: ignore[index]
        return sum(abs(a - b) for a, b in zip(row, row[1:], strict=False)) / len(row)

    plain, hidden = pixels(world.bob), pixels(world.vera)
    assert contrast(plain) > 8 * contrast(hidden)
    assert plain.getpixel((20, 20)) == pytest.approx(hidden.getpixel((20, 20)), abs=6)


def test_every_view_of_a_picture_hides_the_face_from_a_viewer(world: World) -> None:
    violation = see(world.door)
    for view in PictureView:
        assert render(violation, access.Audience.PIXELATED, view) != render(violation, access.Audience.FACES, view)


def test_a_role_that_is_taken_away_or_an_account_that_is_off_sees_nothing(world: World, sign_in: SignIn) -> None:
    violation = see(world.door)
    client = sign_in(world.bob)
    assert client.get(f"/violations/{violation.pk}/").status_code == 200
    Membership.objects.filter(user=world.bob).delete()
    assert client.get(f"/violations/{violation.pk}/").status_code == 404
    client = sign_in(world.alice)
    User.objects.filter(pk=world.alice.pk).update(is_active=False)
    assert client.get(f"/violations/{violation.pk}/snapshot.jpg").status_code == 302


def test_a_manager_makes_no_password_link_that_makes_her_more_than_she_is(world: World, sign_in: SignIn) -> None:
    Membership.objects.create(user=world.root, site=world.here, role="viewer")
    Membership.objects.create(user=world.charlie, site=world.here, role="viewer")
    client = sign_in(world.alice)
    for colleague in (world.root, world.charlie):
        assert client.post(f"/people/{colleague.pk}/password-link/").status_code == 403


def test_only_what_one_may_review_can_be_chosen(world: World, sign_in: SignIn) -> None:
    Membership.objects.create(user=world.bob, site=world.there, role="viewer")
    here, there = see(world.door), see(world.hall)
    page = sign_in(world.bob).get("/violations/").content.decode()
    assert f'name="seen" value="{here.pk}:0"' in page and f'value="{there.pk}' not in page


def test_scopes_are_read_in_two_queries_for_any_number_of_people(
    world: World, django_assert_num_queries: Callable[[int], object]
) -> None:
    with django_assert_num_queries(2):  # type: ignore[attr-defined]
        scopes = access.scopes([world.alice.pk, world.bob.pk, world.charlie.pk, world.stranger.pk])
    assert scopes[world.alice.pk].site_ids == {world.here.pk}
    assert scopes[world.stranger.pk].site_ids == frozenset()


def test_the_same_review_of_two_sites_needs_the_right_at_both(world: World, sign_in: SignIn) -> None:
    Membership.objects.create(user=world.bob, site=world.there, role="viewer")
    seen = [f"{see(camera).pk}:0" for camera in (world.door, world.hall)]
    answer = sign_in(world.bob).post("/violations/review/", {"seen": seen, "decision": "confirm"})
    assert answer.status_code == 403
    assert not Violation.objects.exclude(status="open").exists()
