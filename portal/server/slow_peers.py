"""What slow peers cost, measured: `manage.py bench peers`.

A portal of its own is started in a temporary folder, and asked for its sign-in page while hundreds of peers keep
connections open with heads and bodies that never end, a few send heads without end as fast as they can, and sixty
people sign in at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
STOPS_WITHIN_S = 60.0
DRIP_S = 1.0
ASKS = 60

HEAD = b"GET /sign-in/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
BODY = b"POST /sign-in/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1900000\r\n\r\n"


@dataclass(frozen=True)
class PageFigures:
    """The sign-in page, in milliseconds, and the web process' memory, in MB."""

    phase: str
    page_ms: float
    slowest_ms: float
    memory_mb: float


def measure(bodies: int, heads: int, endless: int, sign_ins: int) -> list[PageFigures]:
    """Before, during and after; a phase lasts for as long as it takes to ask for the page sixty times."""
    with portal() as (port, web):
        return asyncio.run(_measure(port, web, bodies, heads, endless, sign_ins))


async def _measure(port: int, web: int, bodies: int, heads: int, endless: int, sign_ins: int) -> list[PageFigures]:
    async def ask(phase: str, until: asyncio.Future[Any] | None = None) -> PageFigures:
        times: list[float] = []
        while len(times) < ASKS if until is None else not (times and until.done()):
            times.append(await asyncio.to_thread(page_ms, port))
        return PageFigures(phase, statistics.median(times), max(times), memory_mb(web))

    figures = [await ask("before")]
    async with crowd(port, [(slow, BODY, bodies), (slow, HEAD, heads)]):
        figures.append(await ask(f"{bodies} bodies and {heads} heads that never end"))
    async with crowd(port, [(fast, HEAD, endless)]):
        figures.append(await ask(f"{endless} heads of 120 MB, again and again"))
    with ThreadPoolExecutor(sign_ins) as people:
        loop = asyncio.get_running_loop()
        forms = await asyncio.to_thread(lambda: [FilledForm(port) for _ in range(sign_ins)])
        all_in = asyncio.gather(*(loop.run_in_executor(people, form.send) for form in forms))
        figures.append(await ask(f"{sign_ins} sign-ins at once", all_in))
    figures.append(await ask("after"))
    return figures


def page_ms(port: int) -> float:
    """One request over a connection of its own."""
    began = time.perf_counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/sign-in/", timeout=60) as answer:  # noqa: S310
        answer.read()
    return (time.perf_counter() - began) * 1000


class FilledForm:
    """The sign-in page in somebody's browser, filled in."""

    def __init__(self, port: int) -> None:
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        self._address = f"http://127.0.0.1:{port}/sign-in/"
        with self._browser.open(self._address, timeout=60) as answer:
            self._token = answer.read().decode().split('name="csrfmiddlewaretoken" value="')[1].split('"')[0]

    def send(self) -> int:
        """The password is checked; returns the status of the answer."""
        given = {"username": f"{self._token[:8]}@example.org", "password": self._token}
        data = urllib.parse.urlencode(given | {"csrfmiddlewaretoken": self._token}).encode()
        try:
            with self._browser.open(self._address, data, timeout=60) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


def memory_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


# -- the crowd --------------------------------------------------------------------------------------------------------

Peer = Callable[[int, bytes], Coroutine[None, None, None]]


@contextlib.asynccontextmanager
async def crowd(port: int, groups: list[tuple[Peer, bytes, int]]) -> AsyncIterator[None]:
    """Peers that come again as soon as they are turned out, until the end of the block."""

    async def come_again(peer: Peer, beginning: bytes) -> None:
        while True:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await peer(port, beginning)
            await asyncio.sleep(0.1)

    tasks = [
        asyncio.create_task(come_again(peer, beginning)) for peer, beginning, count in groups for _ in range(count)
    ]
    await asyncio.sleep(2)  # until all are there
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def slow(port: int, beginning: bytes) -> None:
    """A byte a second, for as long as it is taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(beginning)
        while not reader.at_eof():
            writer.write(b"x")
            await writer.drain()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(reader.read(1024), DRIP_S)
    finally:
        writer.close()


async def fast(port: int, beginning: bytes) -> None:
    """120 MB of one field, as fast as it is taken."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(beginning)
        for _ in range(1_200):
            writer.write(b"x" * 100_000)
            await writer.drain()
    finally:
        writer.close()


# -- the portal -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def portal(**more: str) -> Iterator[tuple[int, int]]:
    """A portal without a camera, with these variables set; yields its port and the id of its web process.

    Its DATA_DIR is in its own temporary folder, unless `more` names another.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        given = {"PORT": str(port), "DATA_DIR": folder, "DEMO": "0", "HTTPS": "0", "REDIS_URL": "", "DATABASE_URL": ""}
        given |= more
        command = [sys.executable, "-m", "portal.server.run"]
        with subprocess.Popen(  # noqa: S603
            command, cwd=ROOT, env=os.environ | given, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
        ) as process:
            try:
                for line in process.stdout or ():
                    if b"Ctrl-C stops it" in line:
                        break
                yield port, web_of(process.pid)
            finally:
                process.send_signal(signal.SIGINT)
                process.wait(STOPS_WITHIN_S)


def web_of(supervisor: int) -> int:
    """The child that serves pages."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (web,) = [pid for pid in children if b"uvicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return int(web)
