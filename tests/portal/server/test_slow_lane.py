"""Requests that hash a password queue; nobody else waits for them, and slow peers hold up nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.urls import resolve
from django.urls.exceptions import Resolver404
from hypothesis import given
from hypothesis import strategies as st

from portal.server import slow_lane
from portal.server.slow_lane import AT_ONCE, MOST_BYTES, PATHS, SlowLane


class Work:
    """An application that answers once it is told to."""

    def __init__(self) -> None:
        self.begun, self.most, self.now = 0, 0, 0
        self.bodies: list[bytes] = []
        self.go_on = asyncio.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        self.bodies.append((await receive())["body"])
        self.begun, self.now = self.begun + 1, self.now + 1
        self.most = max(self.most, self.now)
        await self.go_on.wait()
        self.now -= 1
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def request(lane: SlowLane, *chunks: bytes, path: str = "/sign-in/", method: str = "POST") -> int:
    """The status of the answer; without chunks, of a body that never comes."""
    left, status = list(chunks), 0

    async def receive() -> dict[str, Any]:
        if not left:
            await asyncio.Future()
        return {"type": "http.request", "body": left.pop(0), "more_body": bool(left)}

    async def send(message: dict[str, Any]) -> None:
        nonlocal status
        status = message.get("status", status)

    await lane({"type": "http", "method": method, "path": path}, receive, send)
    return status


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


def test_a_few_at_a_time_and_pages_at_once() -> None:
    async def test() -> None:
        work = Work()
        lane = SlowLane(work)
        sign_ins = [asyncio.create_task(request(lane, b"form")) for _ in range(10)]
        await until(lambda: work.begun == AT_ONCE)
        page = asyncio.create_task(request(lane, b"", path="/", method="GET"))
        await until(lambda: work.begun == AT_ONCE + 1)
        assert work.bodies[-1] == b""
        work.go_on.set()
        assert await asyncio.gather(*sign_ins, page) == [200] * 11

    async_to_sync(test)()


def test_bodies_that_never_come_hold_up_no_sign_in() -> None:
    async def test() -> None:
        work = Work()
        work.go_on.set()
        lane = SlowLane(work)
        slow = [asyncio.create_task(request(lane)) for _ in range(50)]
        assert await request(lane, b"na", b"me=x") == 200 and work.bodies == [b"name=x"]
        for task in slow:
            task.cancel()
        await asyncio.gather(*slow, return_exceptions=True)
        assert await request(lane, b"form") == 200

    async_to_sync(test)()


def test_a_form_that_is_too_large_and_one_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_lane, "MOST_WAITING", 3)

    async def test() -> None:
        work = Work()
        lane = SlowLane(work)
        assert await request(lane, b"x" * MOST_BYTES, b"x") == 413 and work.begun == 0
        sign_ins = [asyncio.create_task(request(lane, b"form")) for _ in range(AT_ONCE + 3)]
        await until(lambda: work.begun == AT_ONCE and lane._waiting == 3)
        assert await request(lane, b"form") == 503
        work.go_on.set()
        assert await asyncio.gather(*sign_ins) == [200] * (AT_ONCE + 3) and work.most == AT_ONCE

    async_to_sync(test)()


def test_nobody_waits_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_lane, "WAITS_S", 0.05)

    async def test() -> None:
        work = Work()
        lane = SlowLane(work)
        busy = [asyncio.create_task(request(lane, b"form")) for _ in range(AT_ONCE)]
        await until(lambda: work.begun == AT_ONCE)
        assert await request(lane, b"form") == 503
        work.go_on.set()
        await asyncio.gather(*busy)
        assert await request(lane, b"form") == 200, "no place was lost"

    async_to_sync(test)()


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=6))
def test_a_form_arrives_as_it_was_sent(chunks: list[bytes]) -> None:
    async def test() -> None:
        work = Work()
        work.go_on.set()
        assert await request(SlowLane(work), *chunks) == 200 and work.bodies == [b"".join(chunks)]

    async_to_sync(test)()


@pytest.mark.parametrize("path", PATHS)
def test_each_path_is_one_of_the_portals(path: str) -> None:
    for rest in ("", "secret/", "a/b/"):
        try:
            resolve(f"{path}{rest}")
        except Resolver404:
            continue
        return
    raise AssertionError(f"{path} leads nowhere")
