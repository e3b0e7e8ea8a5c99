"""How often somebody may do what costs much. The `limits` package counts, in Redis, for all web processes together."""

from __future__ import annotations

from functools import cache

from limits import RateLimitItemPerMinute
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
