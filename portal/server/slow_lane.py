"""Where a password is hashed, requests queue: so that a page is as fast while sixty people sign in as at any time.

ASGI middleware. Those who wait cost a coroutine each, no thread and no connection to the database; who would have to
wait for too long is told to come back. A request queues only once its body is here: slow peers hold up nobody.
Below it, portal/people/hashing.py bounds the hashing itself.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from django.utils.translation import gettext_lazy as _

from portal.server.body_limit import answer, refuse

# The beginnings of the paths whose POST checks or sets a password.
PATHS = ("/sign-in/", "/password/", "/invitation/", "/first-user/", "/profile/password/", "/profile/two-factor/",
         "/profile/recovery-codes/")  # fmt: skip
AT_ONCE = 2
MOST_BYTES = 64 * 1024  # of such a form
MOST_WAITING = 100
WAITS_S = 20.0
BUSY = _("Many people are signing in at this moment. Wait a few seconds, then try again.")


class SlowLane:
    """Lets a few such requests through at a time, in the order in which they came."""

    def __init__(self, application: Any) -> None:
        self._application = application
        self._lanes: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = (
            weakref.WeakKeyDictionary()
        )
        self._waiting = 0

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> Any:
        if scope["method"] != "POST" or not scope["path"].startswith(PATHS):
            return await self._application(scope, receive, send)
        body = await read_body(receive)
        if body is None:
            return None
        if len(body) > MOST_BYTES:
            return await refuse(scope["path"], send, MOST_BYTES)
        lane = self._lanes.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(AT_ONCE))
        if not await self._wait(lane):
            return await answer(send, 503, str(BUSY).encode(), retry_after_s=10)
        try:
            return await self._application(scope, replay(body, receive), send)
        finally:
            lane.release()

    async def _wait(self, lane: asyncio.Semaphore) -> bool:
        """Whether it is this request's turn."""
        if not lane.locked():
            return await lane.acquire()
        if self._waiting >= MOST_WAITING:
            return False
        self._waiting += 1
        try:
            await asyncio.wait_for(lane.acquire(), WAITS_S)
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True


async def read_body(receive: Any) -> bytes | None:
    """All of a request's body, or the first MOST_BYTES and some more of it; None if the peer left."""
    body = b""
    while len(body) <= MOST_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    return body


def replay(body: bytes, receive: Any) -> Any:
    """A `receive` that gives the body again, and then whatever comes."""
    given = False

    async def again() -> Any:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
