"""How often somebody may do expensive things. The `limits` package counts in Redis, for all web processes together."""

from __future__ import annotations

from functools import cache

from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

from cameras.redis import connection


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
