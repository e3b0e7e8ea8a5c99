"""What slow peers cost, measured: `manage.py bench peers`.

A portal of its own is started in a temporary folder, and asked for its sign-in page while hundreds of peers keep
connections open with heads and bodies that never end, and a few send heads without end as fast as they can.
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
import urllib.request
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STARTS_WITHIN_S = 60.0
DRIP_S = 1.0
ASKS = 60

HEAD = b"GET /sign-in/ HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "
BODY = b"POST /sign-in/ HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1900000\r\n\r\n"


@dataclass(frozen=True)
class Figures:
    """The sign-in page, in milliseconds, and the web process' memory, in MB."""

    phase: str
    page_ms: float
    slowest_ms: float
    memory_mb: float


def measure(bodies: int, heads: int, endless: int) -> list[Figures]:
    """Before, during and after; a phase lasts for as long as it takes to ask for the page sixty times."""
    with portal() as (port, web):
        return asyncio.run(_measure(port, web, bodies, heads, endless))


async def _measure(port: int, web: int, bodies: int, heads: int, endless: int) -> list[Figures]:
    async def ask(phase: str) -> Figures:
        times = [await asyncio.to_thread(page_ms, port) for _ in range(ASKS)]
        return Figures(phase, statistics.median(times), max(times), memory_mb(web))

    figures = [await ask("before")]
    async with crowd(port, [(slow, BODY, bodies), (slow, HEAD, heads)]):
        figures.append(await ask(f"{bodies} bodies and {heads} heads that never end"))
    async with crowd(port, [(fast, HEAD, endless)]):
        figures.append(await ask(f"{endless} heads of 120 MB, again and again"))
    figures.append(await ask("after"))
    return figures


def page_ms(port: int) -> float:
    """One request over a connection of its own."""
    began = time.perf_counter()
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/sign-in/", timeout=60) as answer:  # noqa: S310
        answer.read()
    return (time.perf_counter() - began) * 1000


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
def portal() -> Iterator[tuple[int, int]]:
    """A portal without a camera; yields its port and the id of its web process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        given = {"PORT": str(port), "DATA_DIR": folder, "DEMO": "0", "HTTPS": "0", "REDIS_URL": "", "DATABASE_URL": ""}
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, "-m", "portal.server.run"],
            cwd=ROOT,
            env=os.environ | given,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            for line in process.stdout or ():
                if b"Ctrl-C stops it" in line:
                    break
            yield port, web_of(process.pid)
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(STARTS_WITHIN_S)


def web_of(supervisor: int) -> int:
    """The child that serves pages."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    (web,) = [pid for pid in children if b"uvicorn" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    return int(web)
