"""A small web camera for tests: MJPEG, MPEG-TS or MP4, and all the ways in which one can misbehave."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av

BOUNDARY = "frame"


@dataclass
class HttpCamera:
    """What it answers, and what was requested. `frozen` stops the pictures while the connection stays open."""

    answer: Callable[[BaseHTTPRequestHandler, HttpCamera], None]
    login: tuple[str, str] | None = None
    port: int = 0
    frozen: bool = False
    ending: threading.Event = field(default_factory=threading.Event)
    asked: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}/video"

    def is_allowed(self, header: str) -> bool:
        if self.login is None:
            return True
        return header == "Basic " + base64.b64encode(":".join(self.login).encode()).decode()


@contextmanager
def http_camera(camera: HttpCamera) -> Iterator[HttpCamera]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            camera.asked.append(self.path)
            if not camera.is_allowed(self.headers.get("Authorization", "")):
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                self.end_headers()
                return
            try:
                camera.answer(self, camera)
            except OSError:
                return

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", camera.port), Handler)
    server.daemon_threads = True
    camera.port = server.server_address[1]
    camera.ending.clear()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield camera
    finally:
        camera.ending.set()
        server.shutdown()
        server.server_close()
        thread.join(5)


def mjpeg(pictures: list[bytes], rate: float) -> Callable[[BaseHTTPRequestHandler, HttpCamera], None]:
    """These JPEGs in a loop, as multipart/x-mixed-replace."""

    def answer(handler: BaseHTTPRequestHandler, camera: HttpCamera) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        handler.end_headers()
        number = 0
        while not camera.ending.wait(1 / rate):
            if camera.frozen:
                continue
            data = pictures[number % len(pictures)]
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
            handler.wfile.write(head + data + b"\r\n")
            number += 1

    return answer


def file_as(content: bytes, content_type: str) -> Callable[[BaseHTTPRequestHandler, HttpCamera], None]:
    """A file, sent in pieces, twice as fast as it plays."""

    def answer(handler: BaseHTTPRequestHandler, camera: HttpCamera) -> None:
        handler.send_response(200)
        if content_type:
            handler.send_header("Content-Type", content_type)
        handler.end_headers()
        step = max(1000, len(content) // 40)
        for start in range(0, len(content), step):
            handler.wfile.write(content[start : start + step])
            if camera.ending.wait(0.1):
                return

    return answer


def redirect(to: str) -> Callable[[BaseHTTPRequestHandler, HttpCamera], None]:
    def answer(handler: BaseHTTPRequestHandler, camera: HttpCamera) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()

    return answer


def endless_headers(drip_s: float) -> Callable[[BaseHTTPRequestHandler, HttpCamera], None]:
    def answer(handler: BaseHTTPRequestHandler, camera: HttpCamera) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        began = time.monotonic()
        while time.monotonic() - began < 60 and not camera.ending.wait(drip_s):
            handler.wfile.write(b"X-More: " + b"a" * (8000 if drip_s < 0.05 else 8) + b"\r\n")

    return answer


def jpegs_of(clip: Path, every: int = 3, side: int = 640) -> list[bytes]:
    """Pictures of a clip, as a web camera would send them."""
    found = []
    with av.open(str(clip)) as container:
        for number, frame in enumerate(container.decode(video=0)):
            if number % every == 0:
                picture = frame.to_image()
                picture.thumbnail((side, side))
                out = io.BytesIO()
                picture.save(out, "JPEG", quality=80)
                found.append(out.getvalue())
    return found


def mpegts_of(clip: Path) -> bytes:
    """A clip's video in MPEG-TS, not re-encoded."""
    out = io.BytesIO()
    with av.open(str(clip)) as source, av.open(out, "w", format="mpegts") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    return out.getvalue()
