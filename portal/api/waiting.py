"""A request that waits for a site's next event (long poll): without a query in between, and not too many at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from contextlib import suppress

from asgiref.sync import async_to_sync, sync_to_async
from channels.layers import get_channel_layer
from django.db import connection
from django.utils.translation import gettext as _

from cameras.redis import Errors
from portal.api.problems import Problem
from portal.events.feed import site_group
from portal.models import SiteFeed
from portal.people.access import Actor

LONGEST_S = 25
LOOK_AGAIN_S = 5.0  # a message may be lost
MOST_OF_A_CALLER = 4
MOST_IN_ALL = 64  # of one web process: each holds a thread

_guard = threading.Lock()
_waiting: Counter[str] = Counter()


def newest(site_id: int) -> int:
    """The number of the site's newest event."""
    return SiteFeed.objects.filter(pk=site_id).values_list("number", flat=True).first() or 0


def wait_beyond(site_id: int, number: int, seconds: float, actor: Actor) -> None:
    """Return when the site has an event after `number`, or after so many seconds; raises Problem if too many wait."""
    who = f"{type(actor).__name__}:{actor.pk}"
    with _guard:
        if _waiting[who] >= MOST_OF_A_CALLER or _waiting.total() >= MOST_IN_ALL:
            raise Problem(429, _("Too many requests are waiting. Ask without “wait”."), 10)
        _waiting[who] += 1
    try:
        _wait(site_id, number, time.monotonic() + seconds)
    finally:
        with _guard:
            _waiting[who] -= 1
            if not _waiting[who]:
                del _waiting[who]


def _wait(site_id: int, number: int, deadline: float) -> None:
    while newest(site_id) <= number and (left := deadline - time.monotonic()) > 0:
        try:
            async_to_sync(_until_beyond)(site_id, number, deadline)
        except Errors:
            time.sleep(min(left, 1.0))  # without Redis, pages ask for what they missed, too


async def _until_beyond(site_id: int, number: int, deadline: float) -> None:
    """Listen to what the site's pages are told; each time, and now and then, look at the number."""
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.group_add(site_group(site_id), channel)
    try:
        while await sync_to_async(_newest_unheld)(site_id) <= number and (left := deadline - time.monotonic()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(min(left, LOOK_AGAIN_S)):
                    await layer.receive(channel)
    finally:
        await layer.group_discard(site_group(site_id), channel)


def _newest_unheld(site_id: int) -> int:
    """The number; the connection to the database is given back, as others need it meanwhile."""
    number = newest(site_id)
    if not connection.in_atomic_block:
        connection.close()
    return number
