"""How often somebody may do expensive or dangerous things. The `limits` package counts in Redis, for all web processes.

`allow` bounds a pace; `allow_each` bounds what costs other people something, by account, by address and in all;
`guess` bounds guesses: passwords and codes.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import get_random_string, salted_hmac
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute, RateLimitItemPerSecond, parse
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from cameras.redis import Errors, connection
from portal.people.audit import address_of


@cache
def _limiter() -> MovingWindowRateLimiter:
    storage = RedisStorage("redis://", connection_pool=connection().connection_pool, key_prefix="limit")
    return MovingWindowRateLimiter(storage)


def allow(what: str, who: str, times_a_minute: int) -> bool:
    """Whether this person may do it once more within this minute; it is counted if so."""
    return bool(_limiter().hit(RateLimitItemPerMinute(times_a_minute), what, who))


def allow_a_second(what: str, who: str, times: int) -> bool:
    """Whether they may do it once more within this second; it is counted if so."""
    return bool(_limiter().hit(RateLimitItemPerSecond(max(1, times)), what, who))


# -- what costs others something --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Limit:
    """How often an hour something may be done: by or to an account, from an address, and in all."""

    account: int
    address: int
    in_all: int


LIMITS = {
    "reset-mail": Limit(account=3, address=10, in_all=200),
    "invitation": Limit(account=30, address=60, in_all=300),
    "pairing": Limit(account=40, address=80, in_all=400),
    "camera-test": Limit(account=200, address=400, in_all=1000),
    "password-link": Limit(account=30, address=60, in_all=200),
}


def allow_each(what: str, account: str, request: HttpRequest) -> bool:
    """Whether it may be done once more within this hour; it is counted if so. While Redis is away, nothing may.

    Args:
        account: whose doing it is, or whom it reaches. From a browser that it signs in from it counts apart, so that
            nobody elsewhere can use it up.
    """
    limit = LIMITS[what]
    whose = known_as(request, account) or account.strip().lower()
    bounds = (
        (RateLimitItemPerHour(limit.account), (what, "account", whose)),
        (RateLimitItemPerHour(limit.address), (what, "address", address_of(request))),
        (RateLimitItemPerHour(limit.in_all), (what, "all")),
    )
    try:
        return _hit_all(bounds)
    except Errors:
        return False


Bounds = tuple[tuple[RateLimitItem, tuple[str, ...]], ...]


def _hit_all(bounds: Bounds) -> bool:
    """Count in all of them, or in none: who is over one bound uses nothing of the others up.

    Each count is also the last word: of many at the same moment no more get through than the bound allows.
    """
    limiter = _limiter()
    if not all(limiter.test(item, *names) for item, names in bounds):
        return False
    return all(limiter.hit(item, *names) for item, names in bounds)


# -- guesses ----------------------------------------------------------------------------------------------------------

KNOWN_COOKIE = "known"
KNOWN_S = 365 * 24 * 3600
MOST_KNOWN = 8  # accounts in one browser
FROM_KNOWN = parse("10 per 15 minutes")
ON_ACCOUNT = (parse("10 per 15 minutes"), parse("50 per day"))
FROM_ADDRESS = parse("100 per 15 minutes")  # an office whose people all sign in for the first time


def remember(request: HttpRequest, response: HttpResponse, account: str) -> None:
    """This browser is one from which the account signs in: guesses made elsewhere do not slow it down.

    A device cookie, as OWASP's page on slowing down online guessing calls it; it opens nothing by itself.
    """
    kept = [entry for entry in _known(request) if not entry.startswith(_mark(account))]
    mine = f"{_mark(account)}{get_random_string(16)}"
    value = " ".join([mine, *kept][:MOST_KNOWN])
    options = {"max_age": KNOWN_S, "httponly": True, "samesite": "Lax", "secure": settings.HTTPS}
    response.set_signed_cookie(KNOWN_COOKIE, value, salt=KNOWN_COOKIE, **options)


def known_as(request: HttpRequest, account: str) -> str:
    """The name of this browser if the account signs in from it, else an empty text."""
    return next((entry for entry in _known(request) if entry.startswith(_mark(account))), "")


def guess(what: str, request: HttpRequest, account: str) -> int:
    """0 if a guess at this account may be made from here; it is counted, before it is known whether it is right.

    Else for how many seconds there is none: nothing is counted then. Raises cameras.redis.Errors.
    """
    bounds = _guesses(what, request, account)
    if _hit_all(bounds):
        return 0
    limiter, now = _limiter(), time.time()
    over = [(item, names) for item, names in bounds if not limiter.test(item, *names)]
    return max((int(limiter.get_window_stats(item, *names).reset_time - now) + 1 for item, names in over), default=1)


def was_right(what: str, request: HttpRequest, account: str) -> None:
    """The guess was right: the account's tries of the last minutes are forgotten, as django-axes forgets them.

    Those of the day and of the address stay: somebody who knows one password must not try others' for ever.
    """
    with suppress(*Errors):
        for item, names in _guesses(what, request, account):
            if item in {FROM_KNOWN, ON_ACCOUNT[0]}:
                _limiter().clear(item, *names)


def _guesses(what: str, request: HttpRequest, account: str) -> Bounds:
    """From a browser that the account signs in from, a bound of its own; else those of the account and the address."""
    account = account.strip().lower()
    if known := known_as(request, account):
        return ((FROM_KNOWN, (what, "known", known)),)
    return (
        *((item, (what, "account", account)) for item in ON_ACCOUNT),
        (FROM_ADDRESS, (what, "address", address_of(request))),
    )


def _known(request: HttpRequest) -> list[str]:
    value = request.get_signed_cookie(KNOWN_COOKIE, "", salt=KNOWN_COOKIE, max_age=KNOWN_S)
    return (value or "").split()


def _mark(account: str) -> str:
    """Which account a cookie's entry is for, without naming it."""
    return salted_hmac(KNOWN_COOKIE, account.strip().lower()).hexdigest()[:20] + "."
