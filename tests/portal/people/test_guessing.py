"""Passwords, codes and links: how often they may be tried, and that nobody can keep the owner out by trying."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st
from limits import parse

from portal.models import Invitation, Pairing, SignedIn, User
from portal.people import hashing, two_factor
from portal.people.hashing import Bench, BusyError
from portal.server import throttling
from tests.html import squeezed
from tests.portal.people.test_two_factor import code_of, turn_on
from tests.worlds import PASSWORD, World

pytestmark = pytest.mark.django_db(transaction=True)
SignIn = Callable[[User], Client]
WRONG = "wrong"


def at(number: int) -> Client:
    """A browser somewhere else."""
    return Client(REMOTE_ADDR=f"203.0.113.{number}")


def attempt(client: Client, user: User, password: str = WRONG) -> int:
    return client.post("/sign-in/", {"username": user.email, "password": password}).status_code


def test_many_places_that_guess_at_one_account_are_slowed_and_its_owner_is_not(world: World) -> None:
    home = at(1)
    assert attempt(home, world.alice, PASSWORD) == 302
    home.post("/sign-out/")
    seen = [attempt(at(10 + number), world.alice) for number in range(20)]
    assert seen[:10] == [200] * 10 and set(seen[10:]) == {429}
    stranger = at(99).post("/sign-in/", {"username": world.alice.email.upper(), "password": PASSWORD})
    assert stranger.status_code == 429 and int(stranger["Retry-After"]) <= 900, "even the right one waits elsewhere"
    assert "Then try again" in squeezed(stranger)
    assert attempt(home, world.alice, PASSWORD) == 302, "where she always comes from, she gets in"
    assert attempt(at(98), world.bob, PASSWORD) == 302, "and nobody else is slowed"


def test_a_colleague_who_guesses_from_the_same_office_does_not_lock_her_out(world: World) -> None:
    """Behind one address: django-axes alone would lock her name there for a quarter of an hour."""
    hers, other = at(1), at(1)
    assert attempt(hers, world.alice, PASSWORD) == 302
    hers.post("/sign-out/")
    assert 429 in [attempt(other, world.alice) for _ in range(8)]
    assert attempt(hers, world.alice, PASSWORD) == 302


def test_whoever_is_right_may_sign_in_from_many_new_browsers(world: World) -> None:
    assert [attempt(at(number), world.alice, PASSWORD) for number in range(15)] == [302] * 15


def test_her_own_browser_has_a_bound_too(world: World) -> None:
    hers = at(1)
    assert attempt(hers, world.alice, PASSWORD) == 302
    hers.post("/sign-out/")
    assert [attempt(hers, world.alice) for _ in range(11)][-2:] == [200, 429]


def test_one_address_that_tries_many_accounts_is_slowed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "FROM_ADDRESS", parse("6 per 15 minutes"))
    thief = at(1)
    seen = [thief.post("/sign-in/", {"username": f"{n}@example.org", "password": "x"}).status_code for n in range(8)]
    assert seen == [200] * 6 + [429] * 2


def test_a_cookie_that_somebody_made_up_is_none(world: World) -> None:
    thief = at(1)
    thief.cookies[throttling.KNOWN_COOKIE] = f"{throttling._mark(world.alice.email)}aaaaaaaaaaaaaaaa"
    assert [attempt(thief, world.alice) for _ in range(6)][-1] == 429, "django-axes counts it as anybody's"


def test_the_password_alone_makes_no_browser_known(world: World, sign_in: SignIn) -> None:
    turn_on(sign_in(world.alice), world.alice)
    thief = at(1)
    assert attempt(thief, world.alice, PASSWORD) == 302 and throttling.KNOWN_COOKIE not in thief.cookies
    thief.post("/sign-in/code/", {"code": code_of(world.alice)})
    assert throttling.KNOWN_COOKIE in thief.cookies


def test_whoever_knows_only_the_password_cannot_lock_the_owners_codes(world: World, sign_in: SignIn) -> None:
    home = at(1)
    turn_on(sign_in(world.alice), world.alice)
    attempt(home, world.alice, PASSWORD)
    assert home.post("/sign-in/code/", {"code": code_of(world.alice)}).status_code == 302
    home.post("/sign-out/")
    thief = at(2)
    attempt(thief, world.alice, PASSWORD)
    tries = [thief.post("/sign-in/code/", {"code": f"{n:06d}"}).status_code for n in range(14)]
    assert tries == [200] * 10 + [429] * 4
    attempt(home, world.alice, PASSWORD)
    answer = home.post("/sign-in/code/", {"code": code_of(world.alice, ahead=1)})
    assert answer.status_code == 302, "her code is taken at once"


@pytest.mark.parametrize("path", ["/profile/two-factor/off/", "/profile/recovery-codes/"])
def test_a_change_of_the_second_factor_wants_a_proof_and_guesses_are_slowed(
    world: World, sign_in: SignIn, path: str
) -> None:
    client = sign_in(world.alice)
    codes = turn_on(client, world.alice)
    for proof in ("", "wrong", "000000"):
        page = squeezed(client.post(path, {"proof": proof}, follow=True))
        assert "neither your password nor a code" in page
    assert two_factor.has_second_factor(world.alice) and two_factor.codes_left(world.alice) == 10
    assert "as they are" in page or "stays on" in page
    answer = client.post(path, {"proof": PASSWORD if "off" in path else codes[0]}, follow=True).content.decode()
    assert "Two-factor is off" in answer or len(re.findall(r"<li><code>\w+</code></li>", answer)) == 10
    for _ in range(10):
        client.post(path, {"proof": "wrong"})
    if "codes" in path:
        assert "no more attempts are possible" in squeezed(client.post(path, {"proof": PASSWORD}, follow=True))


def test_to_turn_it_on_in_a_session_left_open_wants_the_password(world: World) -> None:
    client = at(1)
    attempt(client, world.alice, PASSWORD)
    assert 'name="proof"' not in client.get("/profile/two-factor/").content.decode(), "she has just given it"
    SignedIn.objects.update(at=timezone.now() - timedelta(hours=1))
    page = client.get("/profile/two-factor/").content.decode()
    assert 'name="proof"' in page
    right = code_of(world.alice)
    refused = client.post("/profile/two-factor/", {"code": right, "proof": "wrong"}).content.decode()
    assert "neither your password" in refused and not two_factor.has_second_factor(world.alice)
    client.post("/profile/two-factor/", {"code": code_of(world.alice), "proof": PASSWORD})
    assert two_factor.has_second_factor(world.alice)


def test_the_old_password_cannot_be_guessed_in_an_open_session(world: World, sign_in: SignIn) -> None:
    client = sign_in(world.alice)
    form = {"old_password": "wrong", "new_password1": "An0ther-long-one", "new_password2": "An0ther-long-one"}
    assert [client.post("/profile/password/", form).status_code for _ in range(11)] == [422] * 10 + [429]


# -- what costs others something -----------------------------------------------------------------------------------


def test_reset_mails_have_a_limit_an_account_an_address_and_in_all(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_URL = "smtp://mail.example"
    limit = throttling.Limit(account=2, address=3, in_all=5)
    monkeypatch.setitem(throttling.LIMITS, "reset-mail", limit)

    def ask(number: int, email: str) -> int:
        return at(number).post("/password/", {"email": email}).status_code

    assert [ask(n, "alice@example.org") for n in range(1, 4)] == [302, 302, 429], "an account"
    assert ask(1, "ALICE@example.org") == 429, "however it is spelled"
    assert [ask(1, f"{n}@example.org") for n in range(3)] == [302, 302, 429], "an address"
    assert [ask(n, f"{n}@example.org") for n in range(20, 23)] == [302, 429, 429], "in all"
    assert len(mail.outbox) == 2, "only accounts get one"


def test_nobody_elsewhere_can_use_up_her_reset_mails(world: World, settings: Any) -> None:
    settings.EMAIL_URL = "smtp://mail.example"
    hers = at(1)
    attempt(hers, world.alice, PASSWORD)
    hers.post("/sign-out/")
    for number in range(10, 16):
        at(number).post("/password/", {"email": world.alice.email})
    assert hers.post("/password/", {"email": world.alice.email}).status_code == 302 and len(mail.outbox) == 4


def test_of_many_guesses_at_the_same_moment_no_more_get_through(world: World, rf: Any) -> None:
    barrier, got = threading.Barrier(25), []

    def guess() -> None:
        request = rf.post("/sign-in/")
        barrier.wait(5)
        got.append(throttling.guess("password", request, "alice@example.org"))

    threads = [threading.Thread(target=guess) for _ in range(25)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got.count(0) <= 10 and len(got) == 25


@pytest.mark.parametrize(
    ("what", "path", "rows"),
    [("invitation", "/people/invite/", Invitation), ("pairing", "/devices/add/", Pairing)],
)
def test_links_have_a_limit_and_a_sentence(
    world: World, sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, what: str, path: str, rows: Any
) -> None:
    monkeypatch.setitem(throttling.LIMITS, what, throttling.Limit(account=2, address=9, in_all=9))
    client = sign_in(world.alice)
    for number in range(3):
        form = {"site": world.here.pk, "role": "viewer", "email": f"{number}@example.org"}
        answer = client.post(path, form, follow=True)
    assert rows.objects.count() == 2 and "within the last hour" in squeezed(answer)


def test_without_redis_nothing_is_mailed_and_no_code_is_taken_but_people_sign_in(
    world: World, sign_in: SignIn, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_on(sign_in(world.bob), world.bob)

    def away() -> None:
        raise OSError("Redis is away")

    monkeypatch.setattr(throttling, "_limiter", away)
    settings.EMAIL_URL = "smtp://mail.example"
    assert at(1).post("/password/", {"email": "alice@example.org"}).status_code == 429 and not mail.outbox
    assert attempt(at(1), world.alice, PASSWORD) == 302
    client = at(2)
    attempt(client, world.bob, PASSWORD)
    assert client.post("/sign-in/code/", {"code": code_of(world.bob)}).status_code == 429


def test_djangos_own_sign_in_page_is_ours(world: World) -> None:
    answer = at(1).get("/admin/login/?next=/admin/")
    assert answer["Location"] == "/sign-in/?next=/admin/"
    assert at(1).post("/admin/login/", {"username": world.root.email, "password": PASSWORD}).status_code == 302
    assert at(1).get("/admin/", follow=True).redirect_chain[-1][0].startswith("/sign-in/")


# -- hashing ----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 3), st.integers(0, 4), st.integers(1, 12))
def test_no_more_work_than_the_bench_has_places(at_once: int, most_waiting: int, come: int) -> None:
    bench = Bench(at_once, most_waiting)
    now, most, turned_away, done = 0, 0, 0, 0
    lock, go = threading.Lock(), threading.Event()

    def work() -> None:
        nonlocal now, most, turned_away, done
        try:
            with bench.turn():
                with lock:
                    now += 1
                    most = max(most, now)
                go.wait(5)
                with lock:
                    now, done = now - 1, done + 1
        except BusyError:
            with lock:
                turned_away += 1

    threads = [threading.Thread(target=work) for _ in range(come)]
    for thread in threads:
        thread.start()
    expected = max(0, come - at_once - most_waiting)
    deadline = time.monotonic() + 5
    while turned_away < expected and time.monotonic() < deadline:
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join()
    assert most <= at_once and turned_away == expected and done == come - expected


def test_too_many_sign_ins_at_once_are_asked_to_come_back(
    world: World, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PASSWORD_HASHERS = ["portal.people.hashing.BoundedArgon2"]
    monkeypatch.setattr(hashing, "bench", Bench(0, 0))
    client = Client(raise_request_exception=False)
    answer = client.post("/sign-in/", {"username": world.alice.email, "password": PASSWORD})
    assert answer.status_code == 503 and "signing in at this moment" in squeezed(answer)
