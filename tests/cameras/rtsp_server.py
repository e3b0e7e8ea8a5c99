"""A small RTSP camera for tests: plays a clip in a loop, H.264 or H.265, over TCP or UDP, with Basic or Digest login.

RFC 2326 (RTSP), 3550 (RTP), 6184 (H.264), 7798 (H.265), 7616 (Digest, here with MD5 as on most cameras). It can be
frozen, cut off, made to redirect, or made to name a foreign source.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import random
import re
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cameras.replay.rtsp_server import CLOCK, RecordedVideo, rtp_header

REASONS = {200: "OK", 302: "Moved", 401: "Unauthorized", 404: "Not Found", 454: "Session Not Found", 461: "No"}


@dataclass
class RtspCamera:
    """Runs in its own thread; `frozen` stops the pictures while connections stay open.

    Args:
        login: user and password, or None for an open camera.
        redirect_to: the address that DESCRIBE is redirected to, with 302.
        foreign_source: named in Transport as source=; nobody should ask it for pictures.
        loss: the part of the packets that is not sent, at random with a fixed seed.
    """

    clip: Path
    login: tuple[str, str] | None = None
    scheme: str = "digest"
    redirect_to: str = ""
    foreign_source: str = ""
    status: int = 200
    transports: tuple[str, ...] = ("tcp", "udp")
    port: int = 0
    start_at_key: bool = True
    changes_nonce: bool = False
    loss: float = 0.0
    frozen: bool = False
    refused: int = 0
    requests: list[str] = field(default_factory=list)
    transports_used: list[str] = field(default_factory=list)

    def __enter__(self) -> RtspCamera:
        self.video = RecordedVideo(self.clip)
        self.nonce = secrets.token_hex(8)
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rtsp-camera", daemon=True)
        self._thread.start()
        self._wait(self._start())
        return self

    def __exit__(self, *exc: object) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    def _wait(self, task: Any) -> Any:
        future: Future[Any] = asyncio.run_coroutine_threadsafe(task, self._loop)
        return future.result(10)

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._began = time.monotonic()

    def kill(self) -> None:
        """As if its plug were pulled."""

        async def end() -> None:
            self._server.close()
            for writer in list(self._writers):
                writer.transport.abort()
            pending = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in pending:
                task.cancel()
            await asyncio.gather(*pending, return_exceptions=True)

        self._wait(end())

    def revive(self) -> None:
        self._wait(self._start())

    @property
    def address(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/live"

    def _is_allowed(self, method: str, headers: dict[str, str]) -> bool:
        if self.login is None:
            return True
        user, password = self.login
        given = headers.get("authorization", "")
        if self.scheme == "basic":
            return given == "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
        fields = dict(re.findall(r'(\w+)="?([^",]*)"?', given))

        def md5(text: str) -> str:
            return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()

        secret = md5(f"{user}:camera:{password}")
        wanted = md5(f"{secret}:{self.nonce}:{md5(method + ':' + fields.get('uri', ''))}")
        return (
            fields.get("username") == user and fields.get("response") == wanted and "rtsp://" in fields.get("uri", "")
        )

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        session = _Session(self, writer)
        try:
            while True:
                first = await reader.readexactly(1)
                if first == b"$":
                    await reader.readexactly(struct.unpack(">xH", await reader.readexactly(3))[0])
                    continue
                text = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin1").lstrip("\r\n")
                line, *rest = text.split("\r\n")
                method, uri = line.split(" ")[:2]
                self.requests.append(f"{method} {uri}")
                headers = {k.strip().lower(): v.strip() for k, _, v in (each.partition(":") for each in rest if each)}
                if not await session.answer(method, uri, headers):
                    return
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError, OSError, ValueError):
            pass
        finally:
            session.end()
            self._writers.discard(writer)
            writer.close()


class _Session:
    """One connection."""

    def __init__(self, camera: RtspCamera, writer: asyncio.StreamWriter) -> None:
        self.camera = camera
        self.writer = writer
        self.send: Callable[[bytes, int], object] | None = None
        self.sockets: list[socket.socket] = []
        self.player: asyncio.Task[None] | None = None
        self.name = secrets.token_hex(4)

    async def answer(self, method: str, uri: str, headers: dict[str, str]) -> bool:
        camera, code, extra, body = self.camera, 200, {}, ""
        if method == "OPTIONS":
            extra["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN, GET_PARAMETER"
        elif not camera._is_allowed(method, headers):
            code = 401
            camera.refused += "authorization" in headers
            extra["WWW-Authenticate"] = (
                'Basic realm="camera"' if camera.scheme == "basic" else f'Digest realm="camera", nonce="{camera.nonce}"'
            )
        elif method == "DESCRIBE" and camera.redirect_to:
            code, extra["Location"] = 302, camera.redirect_to
        elif method == "DESCRIBE" and camera.status != 200:
            code = camera.status
        elif method == "DESCRIBE":
            body = camera.video.sdp()
            camera.nonce = secrets.token_hex(8) if camera.changes_nonce else camera.nonce
            extra |= {"Content-Type": "application/sdp", "Content-Base": uri.rstrip("/") + "/"}
        elif method == "SETUP":
            code, transport = self.set_up(headers.get("transport", ""))
            extra["Transport"] = transport
        elif method == "PLAY":
            code = 200 if self.send else 454
        if method not in {"OPTIONS", "DESCRIBE"}:
            extra["Session"] = f"{self.name};timeout=60"
        lines = [f"RTSP/1.0 {code} {REASONS.get(code, 'No')}", f"CSeq: {headers.get('cseq', 0)}"]
        lines += [f"{name}: {value}" for name, value in extra.items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        self.writer.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())
        await self.writer.drain()
        if method == "PLAY" and code == 200 and self.player is None:
            self.player = asyncio.ensure_future(self.play())
        return method != "TEARDOWN"

    def set_up(self, wanted: str) -> tuple[int, str]:
        interleaved, ports = re.search(r"interleaved=(\d+)", wanted), re.search(r"client_port=(\d+)", wanted)
        source = f";source={self.camera.foreign_source}" if self.camera.foreign_source else ""
        if "TCP" in wanted and "tcp" in self.camera.transports:
            channel = int(interleaved[1]) if interleaved else 0
            self.send = lambda data, which: self.writer.write(
                struct.pack(">cBH", b"$", channel + which, len(data)) + data
            )
            self.camera.transports_used.append("tcp")
            return 200, f"RTP/AVP/TCP;unicast{source};interleaved={channel}-{channel + 1}"
        if ports and "TCP" not in wanted and "udp" in self.camera.transports:
            self.sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
            for each in self.sockets:
                each.bind(("127.0.0.1", 0))
                each.setblocking(False)
            to = int(ports[1])
            self.send = lambda data, which: self.sockets[which].sendto(data, ("127.0.0.1", to + which))
            own = "-".join(str(each.getsockname()[1]) for each in self.sockets)
            self.camera.transports_used.append("udp")
            return 200, f"RTP/AVP;unicast{source};client_port={to}-{to + 1};server_port={own}"
        return 461, ""

    def end(self) -> None:
        if self.player:
            self.player.cancel()
        for each in self.sockets:
            each.close()

    def join(self) -> tuple[int, int]:
        """(round, unit) at which a viewer who joins now begins."""
        video = self.camera.video
        turn, position = divmod((time.monotonic() - self.camera._began) * CLOCK, video.duration)
        for number, unit in enumerate(video.units):
            if unit.dts >= position and (unit.is_key or not self.camera.start_at_key):
                return int(turn), number
        return int(turn) + 1, 0

    async def play(self) -> None:
        """Send each unit when it is due."""
        assert self.send is not None
        camera, video, ssrc, seq = self.camera, self.camera.video, secrets.randbits(32), secrets.randbits(15)
        turn, number = self.join()
        noise = random.Random(26)
        with contextlib.suppress(ConnectionError, OSError, RuntimeError):
            while True:
                if number >= len(video.units):
                    turn, number = turn + 1, 0
                if camera.video is not video:  # another encoding; the times go on
                    video, number = camera.video, 0
                unit = video.units[number]
                number += 1
                due = camera._began + (turn * video.duration + unit.dts) / CLOCK
                if (wait := due - time.monotonic()) > 0:
                    await asyncio.sleep(wait)
                if camera.frozen:
                    continue
                stamp = (turn * video.duration + unit.pts) & 0xFFFFFFFF
                payloads = video.payloads(unit.nals)
                for index, payload in enumerate(payloads):
                    head = rtp_header(seq, stamp, ssrc, index == len(payloads) - 1)
                    seq += 1
                    if noise.random() < camera.loss:
                        continue
                    with contextlib.suppress(BlockingIOError):
                        self.send(head + payload, 0)
                await self.writer.drain()
