"""The machinery under all sockets, with a real Valkey: nothing runs when nobody is there, whatever gets lost."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest
from redis import asyncio as redis_asyncio

from cameras.redis import connection
from cameras.watching.preview import View
from portal.devices.sockets import DoorSockets
from portal.live import sockets as machine
from portal.live.hub import Hub
from portal.live.sockets import Sockets
from tests.sockets import run


class Page:
    """A member that hears what it is told, or nothing."""

    def __init__(self, reads: bool = True) -> None:
        self.reads = reads
        self.heard: list[bytes] = []
        self.closed_with = 0

    async def tell(self, data: bytes) -> None:
        if not self.reads:
            await asyncio.Event().wait()
        self.heard.append(data)

    async def end(self, code: int) -> None:
        self.closed_with = code


class Pages(Sockets[Page]):
    def rounds(self) -> Sequence[Coroutine[Any, Any, None]]:
        return (self.follow(lambda: ["news"], self._heard),)

    async def _heard(self, _channel: str, data: bytes) -> None:
        await self.each(list(self.members), lambda page: page.tell(data))


async def until(condition: Any, within_s: float = 5.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come in time"
        await asyncio.sleep(0.02)


async def publish(page: Page) -> None:
    """Publish until the page has heard it: nothing arrives until it is subscribed."""

    def spoke() -> bool:
        connection().publish("news", b"x")
        return bool(page.heard)

    await until(spoke)


def test_the_slow_are_let_go_and_hold_up_no_other(redis: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "SLOW_S", 0.2)

    async def test() -> None:
        pages, good, slow = Pages(), Page(), Page(reads=False)
        pages.join(good)
        pages.join(slow)
        await publish(good)
        await until(lambda: slow.closed_with == 4408)
        assert pages.members == {good}
        pages.leave(good)
        assert pages.is_idle

    run(test)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("make", [Pages, Hub, DoorSockets])
def test_a_lost_cancellation_leaves_nothing_running(
    redis: object, monkeypatch: pytest.MonkeyPatch, make: type[Sockets[Any]]
) -> None:
    """redis-py can swallow a cancellation while it connects: the round ends anyway, as nobody is there any more."""
    real = redis_asyncio.client.PubSub.get_message
    lost: list[str] = []
    entered: list[str] = []

    async def get_message(self: Any, **given: Any) -> Any:
        entered.append("once")
        try:
            return await real(self, **given)
        except asyncio.CancelledError:
            lost.append("once")
            return None

    monkeypatch.setattr(redis_asyncio.client.PubSub, "get_message", get_message)

    class Looker(Page):
        """Needs something from Redis, whichever kind of sockets it joins."""

        token_hash = session_key = session_hash = ""
        user_id = 0
        scope_now = type("Scope", (), {"site_ids": frozenset()})()

        def channels(self) -> set[str]:
            return {"news"}

        def looks_at(self) -> frozenset[View]:
            return frozenset()

        async def stand(self, door: object, again: bool) -> None: ...

        async def heartbeat(self, feeds: object) -> None: ...

    async def test() -> None:
        sockets, one = make(), Looker()
        sockets.join(one)
        if isinstance(sockets, Hub):
            sockets.look(one, frozenset({View(1)}))  # type: ignore[arg-type]
        running = list(sockets._tasks)
        await until(lambda: entered)
        sockets.leave(one)
        await until(lambda: all(task.done() for task in running))
        assert lost, "the cancellation reached redis-py"

    run(test)
